#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

using cosqlite::connection;
using cosqlite::task;
using support::failure_of;
using support::temp_database;

namespace {

using numbers = std::vector<int>;

template <class F>
void with_database(const char* schema, F body) {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute_script(schema);
    co_await body(db);
    co_await db.close();
  });
}

}  // namespace

TEST_CASE("a live query gives its rows at once, and anew after each commit that touches its table") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE other(x)", [](connection& db) -> task<> {
    auto live = db.observe<int>("SELECT id FROM t WHERE id > ? ORDER BY id", 1);
    CHECK((co_await live.next())->empty());
    co_await db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    CHECK(*(co_await live.next()) == numbers{2});
    co_await db.execute("INSERT INTO other VALUES (1)");
    co_await db.execute("INSERT INTO t VALUES (3, 'c')");
    CHECK(*(co_await live.next()) == numbers{2, 3});
    co_await db.execute("DELETE FROM t");
    CHECK((co_await live.next())->empty());
  });
}

TEST_CASE("a burst of commits makes one refresh") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY)", [](connection& db) -> task<> {
    auto live = db.observe<int>("SELECT count(*) FROM t");
    CHECK((co_await live.next())->front() == 0);
    for (int i = 0; i < 20; ++i) co_await db.execute("INSERT INTO t DEFAULT VALUES");
    CHECK((co_await live.next())->front() == 20);
    // Nothing is due now: only the next commit ends the wait.
    const auto wait = [](decltype(live)* q) -> task<int> {
      const auto rows = co_await q->next();
      co_return rows->front();
    };
    const auto write = [](connection* to) -> task<> {
      const char* sql = "INSERT INTO t DEFAULT VALUES";
      co_await to->query("SELECT 1");
      co_await to->execute(sql);
    };
    const auto [count, nothing] = co_await cosqlite::when_all(wait(&live), write(&db));
    static_cast<void>(nothing);
    CHECK(count == 21);
  });
}

TEST_CASE("a live query is not woken by other tables, rollbacks or undone savepoints") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE other(x)", [](connection& db) -> task<> {
    auto live = db.with(std::chrono::milliseconds(30)).observe<int>("SELECT id FROM t");
    co_await live.next();
    co_await db.execute("INSERT INTO other VALUES (1)");
    co_await db.execute_script("BEGIN; INSERT INTO t VALUES (1); ROLLBACK");
    co_await db.execute_script("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (1); ROLLBACK TO s; COMMIT");
    co_await failure_of<cosqlite::timeout_error>(live.next());
    co_await db.execute("INSERT INTO t VALUES (5)");
    CHECK(*(co_await live.next()) == numbers{5});
  });
}

TEST_CASE("a live query follows views, joins, tables without rowid and full-text indexes") {
  with_database(R"(
    CREATE TABLE a(id INTEGER PRIMARY KEY);
    CREATE TABLE w(k INTEGER PRIMARY KEY, v) WITHOUT ROWID;
    CREATE VIEW both AS SELECT id FROM a UNION ALL SELECT k FROM w;
    CREATE VIRTUAL TABLE f USING fts5(body);
  )",
                [](connection& db) -> task<> {
                  auto live = db.observe<int>("SELECT count(*) FROM both");
                  CHECK((co_await live.next())->front() == 0);
                  co_await db.execute("INSERT INTO a VALUES (1)");
                  CHECK((co_await live.next())->front() == 1);
                  co_await db.execute("INSERT INTO w VALUES (1, 1)");
                  CHECK((co_await live.next())->front() == 2);
                  auto text = db.observe<std::string>("SELECT body FROM f WHERE f MATCH ?", "hello");
                  CHECK((co_await text.next())->empty());
                  co_await db.execute("INSERT INTO f VALUES ('hello world')");
                  CHECK((co_await text.next())->size() == 1);
                });
}

TEST_CASE("a live query follows a change of the schema") {
  with_database("CREATE TABLE a(x); CREATE TABLE b(x); CREATE VIEW v AS SELECT x FROM a", [](connection& db) -> task<> {
    auto live = db.observe<int>("SELECT count(*) FROM v");
    co_await live.next();
    co_await db.execute_script("DROP VIEW v; CREATE VIEW v AS SELECT x FROM b");
    co_await db.execute("INSERT INTO a VALUES (1)");
    CHECK((co_await live.next())->front() == 0);
    co_await db.execute("INSERT INTO b VALUES (1)");
    CHECK((co_await live.next())->front() == 1);
  });
}

TEST_CASE("an untyped live query gives rows with names") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY, name)", [](connection& db) -> task<> {
    auto live = db.observe("SELECT id, name FROM t WHERE name = :n", cosqlite::named(":n", "ada"));
    CHECK((co_await live.next())->empty());
    co_await db.execute("INSERT INTO t VALUES (7, 'ada')");
    const auto rows = co_await live.next();
    CHECK(rows->front().get<std::string>("name") == "ada");
  });
}

TEST_CASE("what a live query meets is thrown, and the following next tries again") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY)", [](connection& db) -> task<> {
    auto live = db.observe<int>("SELECT id FROM missing");
    co_await failure_of<cosqlite::error>(live.next());
    co_await db.execute("CREATE TABLE missing(id INTEGER PRIMARY KEY)");
    CHECK((co_await live.next())->empty());
    co_await db.execute("INSERT INTO missing VALUES (1)");
    CHECK(*(co_await live.next()) == numbers{1});
  });
}

TEST_CASE("several live queries are independent, and end with the connection") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY)", [](connection& db) -> task<> {
    auto one = db.observe<int>("SELECT count(*) FROM t");
    auto two = db.observe<int>("SELECT max(id) FROM t");
    co_await one.next();
    {
      auto dropped = db.observe<int>("SELECT id FROM t");
      co_await dropped.next();
    }
    co_await db.execute("INSERT INTO t VALUES (3)");
    CHECK((co_await one.next())->front() == 1);
    CHECK((co_await two.next())->front() == 3);
    co_await db.close();
    CHECK(!(co_await one.next()).has_value());
  });
}

TEST_CASE("a next that is dropped while it waits loses no refresh") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY)", [](connection& db) -> task<> {
    auto live = db.observe<int>("SELECT id FROM t");
    co_await live.next();
    {
      auto never_awaited = live.next();
    }
    co_await db.execute("INSERT INTO t VALUES (1)");
    CHECK(*(co_await live.next()) == numbers{1});
  });
}

TEST_CASE("an observed table may be written beside a session") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY)", [](connection& db) -> task<> {
    if (!cosqlite::sqlite_compiled_with("ENABLE_SESSION")) co_return;
    cosqlite::session s = co_await db.create_session();
    auto live = db.observe<int>("SELECT id FROM t");
    co_await live.next();
    co_await db.execute("INSERT INTO t VALUES (1)");
    CHECK(*(co_await live.next()) == numbers{1});
    CHECK((co_await s.changeset()).rows().size() == 1);
  });
}
