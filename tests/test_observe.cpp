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

/// The next numbers of a live query.
task<std::string> in_a_line(cosqlite::live_query<std::vector<int>>& live) {
  const auto rows = co_await live.next();
  REQUIRE(rows);
  std::string line;
  for (const int n : *rows) line += (line.empty() ? "" : ", ") + std::to_string(n);
  co_return line;
}

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
    CHECK((co_await in_a_line(live)) == "2");
    co_await db.execute("INSERT INTO other VALUES (1)");
    co_await db.execute("INSERT INTO t VALUES (3, 'c')");
    CHECK((co_await in_a_line(live)) == "2, 3");
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
    auto live = db.with(std::chrono::seconds(1)).observe<int>("SELECT id FROM t");
    co_await live.next();
    co_await db.execute("INSERT INTO other VALUES (1)");
    co_await db.execute_script("BEGIN; INSERT INTO t VALUES (1); ROLLBACK");
    co_await db.execute_script("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (1); ROLLBACK TO s; COMMIT");
    co_await failure_of<cosqlite::timeout_error>(live.next());
    co_await db.execute("INSERT INTO t VALUES (5)");
    CHECK((co_await in_a_line(live)) == "5");
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

TEST_CASE("a change of the schema is a refresh of its own, unless it is rolled back") {
  with_database("CREATE TABLE a(x); CREATE TABLE b(x); CREATE VIEW v AS SELECT x FROM a", [](connection& db) -> task<> {
    auto live = db.with(std::chrono::seconds(10)).observe<int>("SELECT count(*) FROM v");
    auto hasty = db.with(std::chrono::seconds(1)).observe<int>("SELECT count(*) FROM v");
    co_await live.next();
    co_await hasty.next();
    co_await db.execute_script("BEGIN; INSERT INTO b VALUES (1); DROP VIEW v; ROLLBACK");
    co_await db.execute_script(
        "BEGIN; SAVEPOINT s; CREATE VIEW w AS SELECT 1; ROLLBACK TO s; INSERT INTO b VALUES (1); COMMIT");
    co_await failure_of<cosqlite::timeout_error>(hasty.next());
    co_await db.execute_script("/* nobody writes to a */ DROP VIEW v; CREATE VIEW v AS SELECT x FROM b");
    CHECK((co_await live.next())->front() == 1);
    co_await db.execute("INSERT INTO b VALUES (2)");
    CHECK((co_await live.next())->front() == 2);
  });
}

TEST_CASE("a live query follows what only a subquery, a common table expression or a join reads") {
  const char* queries[] = {
      "SELECT id FROM t WHERE id IN (SELECT x FROM other) ORDER BY id",
      "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM OTHER) AND id IN (SELECT x FROM main.other) ORDER BY id",
      "WITH chosen AS (SELECT x FROM other) SELECT x FROM chosen ORDER BY x",
      "SELECT t.id FROM t JOIN other ON other.x = t.id ORDER BY 1",
      "SELECT id FROM t WHERE (SELECT count(*) FROM other) > 0 AND id <= (SELECT max(x) FROM other) ORDER BY id",
  };
  for (const char* sql : queries) {
    with_database("CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE other(x); INSERT INTO t VALUES (1), (2)",
                  [sql](connection& db) -> task<> {
                    auto live = db.observe<int>(sql);
                    CHECK((co_await in_a_line(live)).empty());
                    co_await db.execute("INSERT INTO other VALUES (1)");
                    CHECK((co_await in_a_line(live)) == "1");
                  });
  }
}

TEST_CASE("a live query that counts notices, however the table is written and whatever shares its name") {
  const char* queries[] = {"SELECT count(*) FROM T", "SELECT count(*) FROM main.t",
                           "SELECT count(*) FROM Main.T AS other", "SELECT count(*) FROM F"};
  for (const char* sql : queries) {
    with_database(
        "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE VIRTUAL TABLE f USING fts5(body)",
        [sql](connection& db) -> task<> {
          auto live = db.observe<int>(sql);
          CHECK((co_await live.next())->front() == 0);
          co_await db.execute_script("BEGIN; INSERT INTO t VALUES (1); INSERT INTO f VALUES ('word'); COMMIT");
          CHECK((co_await live.next())->front() == 1);
        });
  }
}

TEST_CASE("a live query notices what triggers, foreign keys and REPLACE change in its table") {
  with_database(R"(
    CREATE TABLE p(id INTEGER PRIMARY KEY);
    CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE, u UNIQUE);
    CREATE TABLE log(id INTEGER PRIMARY KEY);
    CREATE TRIGGER g AFTER INSERT ON p BEGIN INSERT INTO log VALUES (new.id); END;
  )",
                [](connection& db) -> task<> {
                  auto logged = db.observe<int>("SELECT id FROM log");
                  auto children = db.observe<int>("SELECT id FROM c ORDER BY id");
                  CHECK((co_await in_a_line(logged)).empty());
                  CHECK((co_await in_a_line(children)).empty());
                  co_await db.execute("INSERT INTO p VALUES (7)");
                  CHECK((co_await in_a_line(logged)) == "7");
                  co_await db.execute("INSERT INTO c VALUES (1, 7, 'x')");
                  CHECK((co_await in_a_line(children)) == "1");
                  co_await db.execute("REPLACE INTO c VALUES (2, 7, 'x')");
                  CHECK((co_await in_a_line(children)) == "2");
                  co_await db.execute("DELETE FROM p");
                  CHECK((co_await in_a_line(children)).empty());
                });
}

TEST_CASE("calls that shared a transaction make one refresh") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY)", [](connection& db) -> task<> {
    auto live = db.with(std::chrono::seconds(1)).observe<int>("SELECT count(*) FROM t");
    co_await live.next();
    const auto insert = [](connection* to) -> task<> {
      const char* sql = "INSERT INTO t DEFAULT VALUES";
      co_await to->execute(sql);
    };
    std::vector<task<>> calls;
    for (int i = 0; i < 20; ++i) calls.push_back(insert(&db));
    co_await cosqlite::when_all(std::move(calls));
    CHECK((co_await live.next())->front() == 20);
    co_await failure_of<cosqlite::timeout_error>(live.next());
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
    CHECK((co_await in_a_line(live)) == "1");
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
    CHECK((co_await in_a_line(live)) == "1");
  });
}

TEST_CASE("an observed table may be written beside a session") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY)", [](connection& db) -> task<> {
    if (!cosqlite::sqlite_compiled_with("ENABLE_SESSION")) co_return;
    cosqlite::session s = co_await db.create_session();
    auto live = db.observe<int>("SELECT id FROM t");
    co_await live.next();
    co_await db.execute("INSERT INTO t VALUES (1)");
    CHECK((co_await in_a_line(live)) == "1");
    CHECK((co_await s.changeset()).rows().size() == 1);
    co_await db.execute("CREATE TABLE w(k PRIMARY KEY) WITHOUT ROWID");
    auto keys = db.observe<int>("SELECT k FROM w");
    CHECK((co_await in_a_line(keys)).empty());
    co_await db.execute("INSERT INTO w VALUES (3)");
    CHECK((co_await in_a_line(keys)) == "3");
  });
}

TEST_CASE("a live query of a pool reads on a reader what the writer commits") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute_script(
        "CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(id INTEGER PRIMARY KEY);"
        "CREATE VIEW v AS SELECT id FROM a");
    auto live = p.observe<int>("SELECT id FROM v WHERE id > ? ORDER BY id", 1);
    auto hasty = p.with(std::chrono::seconds(1)).observe("SELECT id FROM v");
    CHECK((co_await in_a_line(live)).empty());
    CHECK((co_await hasty.next())->size() == 0);
    co_await p.execute("INSERT INTO a VALUES (1), (2)");
    CHECK((co_await in_a_line(live)) == "2");
    CHECK((co_await hasty.next())->size() == 2);
    co_await p.execute("INSERT INTO b VALUES (9)");
    co_await failure_of<cosqlite::timeout_error>(hasty.next());
    const std::uint64_t reads = p.stats().reads;
    {
      // The writer is busy: a refresh needs only a reader.
      cosqlite::leased_connection writer = co_await p.acquire_writer();
      co_await writer.execute("INSERT INTO a VALUES (3)");
      CHECK((co_await in_a_line(live)) == "2, 3");
    }
    CHECK(p.stats().reads > reads);
    co_await p.execute_script("DROP VIEW v; CREATE VIEW v AS SELECT id FROM b");
    CHECK((co_await in_a_line(live)) == "9");
    co_await p.execute("INSERT INTO b VALUES (10)");
    CHECK((co_await in_a_line(live)) == "9, 10");
    co_await p.close();
    CHECK(!(co_await live.next()).has_value());
  });
}

TEST_CASE("a live query of a pool misses no commit, whoever writes while it reads") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute("CREATE TABLE t(id INTEGER PRIMARY KEY)");
    const auto watch = [](cosqlite::pool* from, int last) -> task<int> {
      auto live = from->observe<int>("SELECT count(*) FROM t");
      int refreshes = 0;
      while (auto rows = co_await live.next()) {
        ++refreshes;
        if (rows->front() == last) break;
      }
      co_return refreshes;
    };
    const auto write = [](cosqlite::pool* to, int times) -> task<> {
      for (int i = 0; i < times; ++i) co_await to->execute("INSERT INTO t DEFAULT VALUES");
    };
    const auto [one, two, nothing, too] =
        co_await cosqlite::when_all(watch(&p, 400), watch(&p, 400), write(&p, 200), write(&p, 200));
    static_cast<void>(nothing);
    static_cast<void>(too);
    CHECK(one >= 1);
    CHECK(one <= 401);
    CHECK(two >= 1);
    co_await p.close();
  });
}

TEST_CASE("a live query of a pool in memory uses its one connection") {
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(":memory:");
    co_await p.execute("CREATE TABLE t(id INTEGER PRIMARY KEY)");
    auto live = p.observe<int>("SELECT id FROM t");
    CHECK((co_await in_a_line(live)).empty());
    co_await p.execute("INSERT INTO t VALUES (4)");
    CHECK((co_await in_a_line(live)) == "4");
    co_await p.close();
  });
}

TEST_CASE("a live query gives the rows of a database that a backup or an image has put in the place") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute_script("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    auto live = db.observe<int>("SELECT id FROM t");
    CHECK((co_await in_a_line(live)) == "1");
    connection other = co_await cosqlite::open(":memory:");
    co_await other.execute_script("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (2)");
    co_await other.backup(db, {.pages = 0});
    CHECK((co_await in_a_line(live)) == "2");
    co_await other.execute("UPDATE t SET id = 3");
    cosqlite::bytes image = co_await other.serialize();
    co_await db.deserialize(std::move(image));
    CHECK((co_await in_a_line(live)) == "3");
    co_await db.execute("INSERT INTO t VALUES (4)");
    CHECK((co_await in_a_line(live)) == "3, 4");
    co_await db.close();
  });
}
