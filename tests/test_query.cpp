#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <ranges>

using namespace cosqlite;
using support::failure_of;
using support::on_loop;
using support::temp_database;

namespace {

struct user {
  std::int64_t id = 0;
  std::string name;
};

task<connection> with_users() {
  connection db = co_await open(":memory:");
  co_await db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT UNIQUE)");
  co_await db.execute("INSERT INTO users(name) VALUES('ada'), ('bob'), ('cyd')");
  co_return db;
}

}  // namespace

TEST_CASE("execute reports the rows it changed and the last rowid") {
  on_loop([]() -> task<> {
    connection db = co_await with_users();
    execute_result r = co_await db.execute("INSERT INTO users(name) VALUES('dan'), ('eve')");
    CHECK(r.changes == 2);
    CHECK(r.last_insert_rowid == 5);
    r = co_await db.execute("UPDATE users SET name = name || '!' WHERE id > 3");
    CHECK(r.changes == 2);
    r = co_await db.execute("SELECT * FROM users");
    CHECK(r.changes == 0);
    r = co_await db.execute("CREATE TABLE other(a)");
    CHECK(r.changes == 0);
    r = co_await db.execute("DELETE FROM users WHERE id = 99");
    CHECK(r.changes == 0);
    r = co_await db.execute("DELETE FROM users");
    CHECK(r.changes == 5);
    r = co_await db.execute("INSERT OR IGNORE INTO users(id) VALUES(1), (1)");
    CHECK(r.changes == 1);
    r = co_await db.execute("DELETE FROM users RETURNING id");
    CHECK(r.changes == 1);
    co_await db.close();
  });
}

TEST_CASE("changes of triggers are not counted") {
  on_loop([]() -> task<> {
    connection db = co_await with_users();
    co_await db.execute_script(
        "CREATE TABLE log(a); CREATE TRIGGER logs AFTER DELETE ON users BEGIN INSERT INTO log VALUES(old.id); INSERT INTO "
        "log VALUES(old.id); END");
    CHECK((co_await db.execute("DELETE FROM users WHERE id < 3")).changes == 2);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM log") == 4);
    co_await db.close();
  });
}

TEST_CASE("query gives all rows with random access") {
  on_loop([]() -> task<> {
    connection db = co_await with_users();
    const rows all = co_await db.query("SELECT id, name FROM users ORDER BY id");
    REQUIRE(all.size() == 3);
    CHECK(all.columns() == 2);
    CHECK(all.column_name(1) == "name");
    CHECK(all[2].get<std::string>("name") == "cyd");
    CHECK(all.front().get<int>("ID") == 1);
    CHECK(all[1].as<user>().name == "bob");
    CHECK(all[0].name(0) == "id");
    int sum = 0;
    for (const row& r : all) sum += r.get<int>(0);
    CHECK(sum == 6);
    CHECK(all.end() - all.begin() == 3);
    CHECK(std::ranges::count_if(all, [](const row& r) { return r.get<int>(0) > 1; }) == 2);
    const rows none = co_await db.query("SELECT id AS x FROM users WHERE 0");
    CHECK(none.empty());
    CHECK(none.columns() == 1);
    CHECK(none.column_name(0) == "x");
    const rows nothing = co_await db.query("UPDATE users SET name = name");
    CHECK(nothing.empty());
    CHECK(nothing.columns() == 0);
    co_await db.close();
  });
}

TEST_CASE("typed queries give scalars and structs") {
  on_loop([]() -> task<> {
    connection db = co_await with_users();
    const std::vector<user> users = co_await db.query<user>("SELECT id, name FROM users WHERE id >= ? ORDER BY id", 2);
    REQUIRE(users.size() == 2);
    CHECK(users[0].name == "bob");
    const auto names = co_await db.query<std::string>("SELECT name FROM users ORDER BY id DESC");
    CHECK(names == std::vector<std::string>{"cyd", "bob", "ada"});
    CHECK((co_await db.query<int>("SELECT 1 WHERE 0")).empty());
    const user first = co_await db.query_one<user>("SELECT id, name FROM users ORDER BY id");
    CHECK(first.name == "ada");
    const std::optional<user> bob =
        co_await db.query_optional<user>("SELECT id, name FROM users WHERE name = ?", "bob");
    REQUIRE(bob);
    CHECK(bob->id == 2);
    CHECK(!(co_await db.query_optional<user>("SELECT id, name FROM users WHERE name = ?", "zoe")).has_value());
    const auto e = co_await failure_of<no_row_error>(db.query_one<user>("SELECT id, name FROM users WHERE 0"));
    CHECK(e.sql() == "SELECT id, name FROM users WHERE 0");
    co_await db.close();
  });
}

TEST_CASE("query_one reads no further than the first row") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<int>("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c") == 1);
    CHECK(co_await db.query_optional<int>("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c") ==
          1);
    co_await db.close();
  });
}

TEST_CASE("writes with RETURNING give rows, and take their whole effect whatever is read of them") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    CHECK(co_await db.query_one<int>("INSERT INTO t(a) VALUES(1), (2), (3) RETURNING id") == 1);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 3);
    const auto seen1 = co_await db.query<int>("UPDATE t SET a = a * 10 RETURNING a");
    CHECK(seen1 == std::vector<int>{10, 20, 30});
    const cosqlite::rows gone = co_await db.query("DELETE FROM t WHERE id > 1 RETURNING id, a");
    CHECK(gone.size() == 2);
    CHECK(!(co_await db.query_optional<int>("DELETE FROM t WHERE id = 77 RETURNING id")).has_value());
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
    co_await db.close();
  });
}

TEST_CASE("many columns and large results arrive whole") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    std::string sql = "SELECT 0";
    for (int i = 1; i < 500; ++i) sql += ", " + std::to_string(i);
    const rows wide = co_await db.query(sql);
    CHECK(wide.columns() == 500);
    CHECK(wide[0].get<int>(499) == 499);
    const rows tall = co_await db.query(
        "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 20000) SELECT n, printf('%d-%.*c', n, n % 300, 'x') FROM c");
    REQUIRE(tall.size() == 20000);
    bool right = true;
    for (std::size_t i = 0; i < tall.size(); ++i) {
      const auto text = tall[i].get<std::string_view>(1);
      const auto n = i + 1;
      right = right && text.starts_with(std::to_string(n) + "-") &&
              text.size() == std::to_string(n).size() + 1 + (n % 300 == 0 ? 1 : n % 300);
    }
    CHECK(right);
    co_await db.close();
  });
}

TEST_CASE("a raw BEGIN in execute is the caller's own affair") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    co_await db.execute("BEGIN");
    co_await db.execute("INSERT INTO t VALUES(1)");
    co_await db.execute("ROLLBACK");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}
