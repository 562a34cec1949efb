#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <optional>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

/// The statements that SQLite holds for the connection.
task<int> prepared_count(connection& db) {
  co_return co_await db.run([](sqlite3* raw) {
    int count = 0;
    for (sqlite3_stmt* s = sqlite3_next_stmt(raw, nullptr); s; s = sqlite3_next_stmt(raw, s)) ++count;
    return count;
  });
}

task<bool> is_prepared(connection& db, std::string_view sql) {
  co_return co_await db.run([sql](sqlite3* raw) {
    for (sqlite3_stmt* s = sqlite3_next_stmt(raw, nullptr); s; s = sqlite3_next_stmt(raw, s)) {
      if (sqlite3_sql(s) == sql) return true;
    }
    return false;
  });
}

}  // namespace

TEST_CASE("a prepared statement knows its columns and parameters") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
    const statement s =
        co_await db.prepare("SELECT id, name AS called, 1 + 1 FROM users WHERE id = :id AND name <> ?2");
    REQUIRE(s.columns().size() == 3);
    CHECK(s.columns()[0].name == "id");
    CHECK(s.columns()[0].declared_type == "INTEGER");
    CHECK(s.columns()[1].name == "called");
    CHECK(s.columns()[1].origin == "name");
    CHECK(s.columns()[1].table == "users");
    CHECK(s.columns()[1].schema == "main");
    CHECK(s.columns()[2].table.empty());
    REQUIRE(s.parameters().size() == 2);
    CHECK(s.parameters()[0] == ":id");
    CHECK(s.parameters()[1] == "?2");
    const statement none = co_await db.prepare("DELETE FROM users WHERE id = ?");
    CHECK(none.columns().empty());
    CHECK(none.parameters() == std::vector<std::string>{""});
    co_await db.close();
  });
}

TEST_CASE("a statement has all the calls of a connection") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    statement insert = co_await db.prepare("INSERT INTO t VALUES(?, ?)");
    for (int i = 1; i <= 5; ++i) {
      const execute_result r = co_await insert.execute(i, std::to_string(i));
      CHECK(r.changes == 1);
      CHECK(r.last_insert_rowid == i);
    }
    statement select = co_await db.prepare("SELECT a FROM t WHERE a > :low ORDER BY a");
    CHECK((co_await select.query(2)).size() == 3);
    const auto seen1 = co_await select.query<int>(3);
    CHECK(seen1 == std::vector<int>{4, 5});
    CHECK(co_await select.query_one<int>(named("low", 1)) == 2);
    CHECK(!(co_await select.query_optional<int>(9)).has_value());
    auto untyped = select.stream(4);
    CHECK((co_await untyped.next())->get<int>("a") == 5);
    auto typed = select.stream<int>(0);
    CHECK(co_await typed.next() == 1);
    co_await failure_of<no_row_error>(select.query_one<int>(9));
    const auto e = co_await failure_of<misuse_error>(select.query_one<int>());
    CHECK(e.sql() == "SELECT a FROM t WHERE a > :low ORDER BY a");
    co_await db.close();
  });
}

TEST_CASE("errors of prepare are thrown by prepare") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto e = co_await failure_of<error>(db.prepare("SELECT * FROM nowhere"));
    CHECK(support::contains(e.what(), "no such table: nowhere"));
    co_await failure_of<misuse_error>(db.prepare("SELECT 1; SELECT 2"));
    co_await db.close();
  });
}

TEST_CASE("a statement runs again while a stream of it is open") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    statement s = co_await db.prepare(
        "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 5000) SELECT n FROM c WHERE n > ?");
    auto a = s.stream<int>(0);
    CHECK(co_await a.next() == 1);
    CHECK(co_await s.query_one<int>(10) == 11);
    auto b = s.stream<int>(100);
    CHECK(co_await b.next() == 101);
    CHECK(co_await a.next() == 2);
    co_await db.close();
  });
}

TEST_CASE("a statement under a deadline stops in time") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    statement s = co_await db.prepare(endless_read);
    co_await failure_of<timeout_error>(s.with(10ms).query());
    std::stop_source stop;
    stop.request_stop();
    co_await failure_of<cancelled_error>(s.with(stop.get_token()).query());
    co_await db.close();
  });
}

TEST_CASE("a statement outlives its connection and is refused then") {
  temp_database file;
  on_loop([&]() -> task<> {
    std::optional<statement> s;
    {
      connection db = co_await open(file.path());
      s = co_await db.prepare("SELECT 1");
      CHECK(co_await s->query_one<int>() == 1);
    }
    co_await failure_of<closed_error>(s->query_one<int>());
    CHECK(s->columns().size() == 1);
  });
}

TEST_CASE("a cached statement follows changes of the schema, its number of columns too") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    co_await db.execute("INSERT INTO t VALUES(1)");
    CHECK((co_await db.query("SELECT * FROM t")).columns() == 1);
    statement s = co_await db.prepare("SELECT * FROM t");
    CHECK((co_await s.query()).columns() == 1);

    raw_database(file.path()).execute("ALTER TABLE t ADD COLUMN b DEFAULT 'bee'");
    const rows changed = co_await db.query("SELECT * FROM t");
    REQUIRE(changed.columns() == 2);
    CHECK(changed.column_name(1) == "b");
    CHECK(changed[0].get<std::string>("b") == "bee");
    CHECK((co_await s.query()).columns() == 2);
    const auto typed = co_await db.query<std::pair<int, std::string>>("SELECT * FROM t");
    CHECK(typed[0].second == "bee");

    co_await db.execute("ALTER TABLE t RENAME COLUMN b TO c");
    const rows renamed = co_await s.query();
    CHECK(renamed[0].get<std::string>("c") == "bee");

    auto stream = db.stream("SELECT * FROM t");
    CHECK((co_await stream.next())->size() == 2);
    stream.close();
    raw_database(file.path()).execute("DROP TABLE t");
    co_await failure_of<error>(s.query());
    co_await failure_of<error>(db.query("SELECT * FROM t"));
    raw_database(file.path()).execute("CREATE TABLE t(x, y, z)");
    CHECK((co_await db.query("SELECT * FROM t")).columns() == 3);
    co_await db.close();
  });
}

TEST_CASE("the cache keeps the statements used last, by number") {
  on_loop([]() -> task<> {
    open_options o;
    o.statement_cache = 4;
    o.coalesce = false;
    connection db = co_await open(":memory:", o);
    for (int i = 0; i < 20; ++i) co_await db.query_one<int>("SELECT " + std::to_string(i));
    CHECK(co_await prepared_count(db) <= 4);
    CHECK(co_await is_prepared(db, "SELECT 19"));
    CHECK(!co_await is_prepared(db, "SELECT 0"));
    co_await db.query_one<int>("SELECT 16");
    for (int i = 20; i < 23; ++i) co_await db.query_one<int>("SELECT " + std::to_string(i));
    CHECK(co_await is_prepared(db, "SELECT 16"));
    CHECK(!co_await is_prepared(db, "SELECT 17"));
    co_await db.close();
  });
}

TEST_CASE("the cache is bounded in bytes of SQL too, and larger texts are not kept") {
  on_loop([]() -> task<> {
    open_options o;
    o.statement_cache_bytes = 3000;
    connection db = co_await open(":memory:", o);
    for (int i = 0; i < 20; ++i) co_await db.query_one<int>("SELECT " + std::to_string(i) + std::string(900, ' '));
    CHECK(co_await prepared_count(db) <= 4);
    const std::string large = "SELECT 1" + std::string(5000, ' ');
    co_await db.query_one<int>(large);
    co_await db.query_one<int>("SELECT 2");
    CHECK(!co_await is_prepared(db, large));
    co_await db.close();
  });
}

TEST_CASE("a statement that is held stays prepared whatever the cache does, and goes when it is let go") {
  on_loop([]() -> task<> {
    open_options o;
    o.statement_cache = 2;
    connection db = co_await open(":memory:", o);
    std::optional<statement> held = co_await db.prepare("SELECT 'held'");
    for (int i = 0; i < 10; ++i) co_await db.query_one<int>("SELECT " + std::to_string(i));
    CHECK(co_await is_prepared(db, "SELECT 'held'"));
    CHECK(co_await held->query_one<std::string>() == "held");
    held.reset();
    for (int i = 0; i < 10; ++i) co_await db.query_one<int>("SELECT " + std::to_string(i));
    CHECK(!co_await is_prepared(db, "SELECT 'held'"));
    co_await db.close();
  });
}

TEST_CASE("no bound value stays in a statement that is cached") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.query_one<std::string>("SELECT ?", std::string("secret"));
    const auto expanded = co_await db.run([](sqlite3* raw) {
      std::string all;
      for (sqlite3_stmt* s = sqlite3_next_stmt(raw, nullptr); s; s = sqlite3_next_stmt(raw, s)) {
        char* text = sqlite3_expanded_sql(s);
        all += text;
        sqlite3_free(text);
      }
      return all;
    });
    CHECK(!support::contains(expanded, "secret"));
    co_await db.close();
  });
}
