#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::temp_database;

TEST_CASE("a script runs all its statements in order and drops their rows") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(R"(
      -- a comment with a ; in it
      CREATE TABLE t(a);
      INSERT INTO t VALUES('a;b'); ;;
      /* another; */ INSERT INTO t SELECT 'c' UNION ALL SELECT 'd';
      SELECT * FROM t;
      CREATE TRIGGER r AFTER DELETE ON t BEGIN INSERT INTO t VALUES('again'); SELECT 1; END;
      DELETE FROM t WHERE a = 'c'
    )");
    CHECK(co_await db.query_one<std::string>("SELECT group_concat(a) FROM t") == "a;b,d,again");
    co_await db.execute_script("");
    co_await db.execute_script("  -- nothing\n");
    co_await db.execute_script(";;;");
    co_await db.close();
  });
}

TEST_CASE("a script stops at the statement that fails, and names it alone") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto e = co_await failure_of<error>(db.execute_script(
        "CREATE TABLE t(a); INSERT INTO t VALUES(1); INSERT INTO nowhere VALUES(1); INSERT INTO t VALUES(2)"));
    CHECK(contains(e.what(), "no such table: nowhere"));
    CHECK(contains(e.sql(), "INSERT INTO nowhere VALUES(1)"));
    CHECK(!contains(e.sql(), "CREATE TABLE"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
    const auto c = co_await failure_of<constraint_error>(
        db.execute_script("CREATE UNIQUE INDEX i ON t(a); INSERT INTO t VALUES(1); INSERT INTO t VALUES(7)"));
    CHECK(c.name() == "SQLITE_CONSTRAINT_UNIQUE");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
    co_await failure_of<error>(db.execute_script("SELECT 1; SELEC 2"));
    co_await db.close();
  });
}

TEST_CASE("a script in a transaction is undone with it, and cannot go on behind it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    {
      transaction tx = co_await db.begin();
      co_await tx.execute_script("INSERT INTO t VALUES(1); INSERT INTO t VALUES(2)");
      co_await tx.rollback();
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    {
      transaction tx = co_await db.begin();
      co_await failure_of<transaction_error>(
          tx.execute_script("INSERT INTO t VALUES(1); ROLLBACK; INSERT INTO t VALUES(2)"));
      co_await tx.rollback();
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("a script may have a transaction of its own") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute_script("BEGIN; CREATE TABLE t(a); INSERT INTO t VALUES(1); COMMIT");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
    co_await db.close();
  });
}

TEST_CASE("a deadline stops a script, within a statement and between two") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await failure_of<timeout_error>(db.with(10ms).execute_script(
        "SELECT 1; WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c; CREATE TABLE late(a)"));
    std::string many;
    for (int i = 0; i < 200000; ++i) many += "SELECT 1;";
    co_await failure_of<timeout_error>(db.with(5ms).execute_script(many));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM sqlite_schema") == 0);
    co_await db.close();
  });
}
