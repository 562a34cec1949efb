// What a connection and its statements have done so far.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <vector>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

task<cosqlite::statement_stats> stats_of(connection& db, std::string sql) {
  const auto all = co_await db.statement_stats();
  const auto found = std::ranges::find(all, sql, &cosqlite::statement_stats::sql);
  REQUIRE(found != all.end());
  co_return *found;
}

std::string numbers(int count) {
  return "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < " + std::to_string(count) +
         ") SELECT i FROM n";
}

}  // namespace

TEST_CASE("calls and the statement cache are counted") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const connection_stats before = co_await db.stats();
    for (int i = 0; i < 5; ++i) co_await db.query("SELECT 1");
    co_await db.query("SELECT 2");
    const connection_stats after = co_await db.stats();
    CHECK(after.calls - before.calls >= 6);
    CHECK(after.cache_hits - before.cache_hits == 4);
    CHECK(after.cache_misses - before.cache_misses == 2);
    CHECK(after.statements - before.statements == 2);
    CHECK(after.statement_memory > before.statement_memory);
    co_await db.close();
  });
}

TEST_CASE("calls that shared a transaction are counted, and groups that were lost") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute_script(R"(
      CREATE TABLE t(a UNIQUE);
      CREATE TRIGGER r BEFORE INSERT ON t WHEN new.a = 7 BEGIN SELECT RAISE(ROLLBACK, 'seven'); END;)");
    const auto write = [](connection* to, int v) -> task<int> {
      try {
        co_await to->execute("INSERT INTO t VALUES(?)", v);
      } catch (const constraint_error&) {
        co_return 1;
      }
      co_return 0;
    };
    // Not every round need find its calls in one group: how they meet is a matter of timing.
    connection_stats s;
    for (int round = 0; s.lost_groups == 0; ++round) {
      std::vector<task<int>> all;
      for (int i = 0; i < 16; ++i) all.push_back(write(&db, i == 7 ? 7 : 100 * (round + 1) + i));
      const std::vector<int> refused = co_await when_all(std::move(all));
      CHECK(std::ranges::count(refused, 1) == 1);
      s = co_await db.stats();
    }
    CHECK(s.groups >= 1);
    CHECK(s.grouped_calls >= 2 * s.groups);
    CHECK(s.lost_groups <= s.groups);
    CHECK(co_await db.query_one<int>("SELECT count(*) % 15 FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("waits for locks of others are counted") {
  temp_database file;
  on_loop([&]() -> task<> {
    open_options options;
    options.busy_timeout = 20ms;
    connection db = co_await open(file.path(), options);
    co_await db.execute("CREATE TABLE t(a)");
    const connection_stats before = co_await db.stats();
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    co_await failure_of<busy_error>(db.execute("INSERT INTO t VALUES(1)"));
    other.execute("ROLLBACK");
    const connection_stats after = co_await db.stats();
    CHECK(after.busy_waits > before.busy_waits);
    co_await db.close();
  });
}

TEST_CASE("SQLite's own counters of pages and memory are there") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    const connection_stats before = co_await db.stats();
    CHECK(before.schema_memory > 0);
    CHECK(before.cache_memory > 0);
    co_await db.execute("PRAGMA cache_size = 10");
    co_await db.execute("INSERT INTO t SELECT zeroblob(1000) FROM (" + numbers(1000) + ")");
    co_await db.query_one<int>("SELECT sum(length(a)) FROM t");
    const connection_stats after = co_await db.stats();
    CHECK(after.pages_written > before.pages_written);
    CHECK(after.pages_spilled > before.pages_spilled);
    CHECK(after.pages_read_from_cache > before.pages_read_from_cache);
    CHECK(after.pages_read_from_file > before.pages_read_from_file);
    co_await db.close();
  });
}

TEST_CASE("foreign keys that are violated until COMMIT show") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(R"(
      CREATE TABLE parent(id INTEGER PRIMARY KEY);
      CREATE TABLE child(of REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
      BEGIN;
      INSERT INTO child VALUES(1);)");
    const connection_stats violated = co_await db.stats();
    CHECK(violated.deferred_foreign_keys);
    co_await db.execute("INSERT INTO parent VALUES(1)");
    co_await db.execute("COMMIT");
    const connection_stats mended = co_await db.stats();
    CHECK(!mended.deferred_foreign_keys);
    co_await db.close();
  });
}

TEST_CASE("a statement's counters show scans, sorts and missing indexes") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script("CREATE TABLE t(a, b); CREATE TABLE u(a, b)");
    co_await db.execute("INSERT INTO t SELECT i, i % 7 FROM (" + numbers(200) + ")");
    co_await db.execute("INSERT INTO u SELECT i, i % 7 FROM (" + numbers(200) + ")");
    const std::string scan = "SELECT count(*) FROM t WHERE b = 3";
    for (int i = 0; i < 3; ++i) co_await db.query_one<int>(scan);
    const cosqlite::statement_stats scanned = co_await stats_of(db, scan);
    CHECK(scanned.runs == 3);
    CHECK(scanned.full_scan_steps >= 3 * 199);
    CHECK(scanned.steps > 0);
    CHECK(scanned.sorts == 0);
    CHECK(scanned.memory > 0);
    CHECK(scanned.read_only);
    CHECK(!scanned.running);
    const std::string sort = "SELECT a FROM t ORDER BY b";
    co_await db.query<int>(sort);
    const cosqlite::statement_stats sorted = co_await stats_of(db, sort);
    CHECK(sorted.sorts == 1);
    const std::string join = "SELECT count(*) FROM t JOIN u ON t.a = u.a";
    co_await db.query_one<int>(join);
    const cosqlite::statement_stats joined = co_await stats_of(db, join);
    CHECK(joined.automatic_index_rows > 0);
    const std::string write = "UPDATE t SET b = b";
    co_await db.execute(write);
    const cosqlite::statement_stats written = co_await stats_of(db, write);
    CHECK(!written.read_only);
    co_await db.close();
  });
}

TEST_CASE("a statement that was compiled anew for a changed schema shows it") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    const std::string read = "SELECT * FROM t";
    co_await db.query(read);
    co_await db.execute("ALTER TABLE t ADD COLUMN b");
    co_await db.query(read);
    const cosqlite::statement_stats s = co_await stats_of(db, read);
    CHECK(s.reprepares >= 1);
    co_await db.close();
  });
}

TEST_CASE("a statement under a stream is running") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::string sql = numbers(1'000'000);
    {
      auto stream = db.stream<int>(sql);
      co_await stream.next();
      const cosqlite::statement_stats open = co_await stats_of(db, sql);
      CHECK(open.running);
    }
    const cosqlite::statement_stats left = co_await stats_of(db, sql);
    CHECK(!left.running);
    co_await db.close();
  });
}

TEST_CASE("in_transaction follows a raw BEGIN, COMMIT and what SQLite rolls back itself") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a UNIQUE ON CONFLICT ROLLBACK)");
    CHECK(!co_await db.in_transaction());
    co_await db.execute("BEGIN");
    CHECK(co_await db.in_transaction());
    co_await db.execute("COMMIT");
    CHECK(!co_await db.in_transaction());
    co_await db.execute("BEGIN");
    co_await db.execute("INSERT INTO t VALUES(1)");
    co_await failure_of<constraint_error>(db.execute("INSERT INTO t VALUES(1)"));
    CHECK(!co_await db.in_transaction());
    {
      transaction tx = co_await db.begin();
      co_await tx.execute("INSERT INTO t VALUES(2)");
      co_await tx.commit();
    }
    CHECK(!co_await db.in_transaction());
    co_await db.close();
  });
}

TEST_CASE("total_changes counts all rows since the opening, those of triggers and of what was rolled back too") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(R"(
      CREATE TABLE t(a); CREATE TABLE log(a);
      CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO log VALUES(new.a); END;)");
    CHECK(co_await db.total_changes() == 0);
    const execute_result inserted = co_await db.execute("INSERT INTO t VALUES(1), (2)");
    CHECK(inserted.changes == 2);
    CHECK(co_await db.total_changes() == 4);
    co_await db.execute("UPDATE t SET a = a");
    CHECK(co_await db.total_changes() == 6);
    co_await db.execute("BEGIN");
    co_await db.execute("DELETE FROM t");
    co_await db.execute("ROLLBACK");
    CHECK(co_await db.total_changes() == 8);
    co_await db.close();
  });
}

TEST_CASE("data_version changes when another connection has committed, not by own commits") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    const std::int64_t first = co_await db.data_version();
    co_await db.execute("INSERT INTO t VALUES(1)");
    CHECK(co_await db.data_version() == first);
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    other.execute("INSERT INTO t VALUES(2)");
    CHECK(co_await db.data_version() == first);
    other.execute("COMMIT");
    const std::int64_t second = co_await db.data_version();
    CHECK(second != first);
    CHECK(co_await db.data_version() == second);
    co_await db.close();
  });
}
