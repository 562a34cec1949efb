// Checkpoints of the write-ahead log, and PRAGMA optimize.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <filesystem>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

std::uintmax_t log_size(const temp_database& file) { return std::filesystem::file_size(file.path() + "-wal"); }

task<connection> with_rows_in_the_log(std::string path, int busy_ms = 20) {
  open_options options;
  options.busy_timeout = std::chrono::milliseconds(busy_ms);
  connection db = co_await open(path, options);
  co_await db.execute_script("PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(a); INSERT INTO t VALUES(1), (2), (3)");
  co_return db;
}

/// Another program that reads old data until it is told to end.
class old_reader {
 public:
  explicit old_reader(const std::string& path) : db_(path) {
    db_.execute("BEGIN");
    REQUIRE(db_.number("SELECT count(*) FROM t") == 3);
  }
  void end() const { db_.execute("COMMIT"); }

 private:
  raw_database db_;
};

}  // namespace

TEST_CASE("a passive checkpoint moves the log into the file") {
  temp_database file;
  temp_database copy;
  on_loop([&]() -> task<> {
    connection db = co_await with_rows_in_the_log(file.path());
    const checkpoint_result done = co_await db.checkpoint();
    CHECK(!done.busy);
    CHECK(done.log > 0);
    CHECK(done.checkpointed == done.log);
    std::filesystem::copy_file(file.path(), copy.path());
    const raw_database alone(copy.path());
    CHECK(alone.number("SELECT sum(a) FROM t") == 6);
    co_await db.close();
  });
}

TEST_CASE("restart lets the log start anew, truncate cuts it to nothing") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await with_rows_in_the_log(file.path());
    const auto full = log_size(file);
    REQUIRE(full > 0);
    const checkpoint_result restarted = co_await db.checkpoint(checkpoint_mode::restart);
    CHECK(!restarted.busy);
    CHECK(restarted.checkpointed == restarted.log);
    co_await db.execute("INSERT INTO t VALUES(4)");
    CHECK(log_size(file) == full);
    const checkpoint_result cut = co_await db.checkpoint(checkpoint_mode::truncate);
    CHECK(!cut.busy);
    CHECK(log_size(file) == 0);
    CHECK(co_await db.query_one<int>("SELECT sum(a) FROM t") == 10);
    co_await db.close();
  });
}

TEST_CASE("a reader of old data holds a checkpoint up: passive passes by, the others say that it was busy") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await with_rows_in_the_log(file.path());
    const old_reader reader(file.path());
    co_await db.execute("INSERT INTO t VALUES(4)");
    const checkpoint_result passive = co_await db.checkpoint(checkpoint_mode::passive);
    CHECK(!passive.busy);
    CHECK(passive.checkpointed < passive.log);
    for (const checkpoint_mode mode : {checkpoint_mode::full, checkpoint_mode::restart, checkpoint_mode::truncate}) {
      const checkpoint_result waited = co_await db.checkpoint(mode);
      CHECK(waited.busy);
      CHECK(waited.checkpointed < waited.log);
    }
    reader.end();
    const checkpoint_result full = co_await db.checkpoint(checkpoint_mode::full);
    CHECK(!full.busy);
    CHECK(full.checkpointed == full.log);
    co_await db.close();
  });
}

TEST_CASE("a deadline ends a checkpoint that waits, and says that the time went on a lock") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await with_rows_in_the_log(file.path(), 60'000);
    const old_reader reader(file.path());
    co_await db.execute("INSERT INTO t VALUES(4)");
    auto limited = db.with(30ms);
    const auto late = co_await failure_of<timeout_error>(limited.checkpoint(checkpoint_mode::truncate));
    CHECK(late.spent_in() == timeout_error::stage::lock);
    reader.end();
    const checkpoint_result after = co_await db.checkpoint(checkpoint_mode::truncate);
    CHECK(!after.busy);
    co_await db.close();
  });
}

TEST_CASE("without a write-ahead log there is nothing to move") {
  temp_database file;
  on_loop([&]() -> task<> {
    open_options options;
    options.journal_mode = journal::del;
    connection db = co_await open(file.path(), options);
    co_await db.execute("CREATE TABLE t(a)");
    const checkpoint_result none = co_await db.checkpoint(checkpoint_mode::truncate);
    CHECK(!none.busy);
    CHECK(none.log == -1);
    CHECK(none.checkpointed == -1);
    co_await db.close();
  });
}

TEST_CASE("a checkpoint is of one schema, or of all; an unknown one is an error") {
  temp_database file;
  temp_database other;
  on_loop([&]() -> task<> {
    open_options options;
    options.attach = true;
    connection db = co_await open(file.path(), options);
    co_await db.execute("ATTACH ? AS other", other.path());
    co_await db.execute_script(R"(
      PRAGMA other.journal_mode = wal;
      CREATE TABLE main.t(a); INSERT INTO main.t VALUES(1);
      CREATE TABLE other.t(a); INSERT INTO other.t VALUES(1);)");
    co_await db.checkpoint(checkpoint_mode::truncate, "other");
    CHECK(log_size(other) == 0);
    CHECK(log_size(file) > 0);
    co_await db.checkpoint(checkpoint_mode::truncate);
    CHECK(log_size(file) == 0);
    const auto unknown = co_await failure_of<error>(db.checkpoint(checkpoint_mode::passive, "nobody"));
    CHECK(support::contains(unknown.what(), "nobody"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM other.t") == 1);
    co_await db.close();
  });
}

TEST_CASE("a checkpoint inside a transaction that has written is refused, and the transaction stands") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await with_rows_in_the_log(file.path());
    co_await db.execute("BEGIN IMMEDIATE");
    co_await db.execute("INSERT INTO t VALUES(4)");
    const auto refused = co_await failure_of<busy_error>(db.checkpoint(checkpoint_mode::full));
    CHECK(refused.name() == "SQLITE_LOCKED");
    co_await db.execute("COMMIT");
    CHECK(co_await db.query_one<int>("SELECT sum(a) FROM t") == 10);
    const checkpoint_result after = co_await db.checkpoint(checkpoint_mode::full);
    CHECK(!after.busy);
    co_await db.close();
  });
}

namespace {

/// A table of which the planner has used an index, for which it has no statistics.
task<connection> with_a_table_to_analyze(std::string path, bool optimize_on_close) {
  open_options options;
  options.optimize_on_close = optimize_on_close;
  connection db = co_await open(path, options);
  co_await db.execute_script(R"(
    CREATE TABLE t(a, b);
    CREATE INDEX by_a ON t(a);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    INSERT INTO t SELECT i % 10, i FROM n;)");
  CHECK(co_await db.query_one<int>("SELECT count(*) FROM t WHERE a = 3 AND b > 0") == 100);
  co_return db;
}

std::string statistics_in(const temp_database& file) {
  const raw_database db(file.path());
  if (db.number("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'") == 0) return "none";
  return db.text("SELECT stat FROM sqlite_stat1 WHERE idx = 'by_a'");
}

}  // namespace

TEST_CASE("optimize writes the statistics that the planner has missed") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await with_a_table_to_analyze(file.path(), false);
    CHECK(statistics_in(file) == "none");
    co_await db.optimize();
    CHECK(statistics_in(file) == "1000 100");
    co_await db.close();
  });
}

TEST_CASE("optimize_on_close writes them when the connection is closed, and only then") {
  temp_database optimized;
  temp_database plain;
  on_loop([&]() -> task<> {
    connection db = co_await with_a_table_to_analyze(optimized.path(), true);
    CHECK(statistics_in(optimized) == "none");
    co_await db.close();
    CHECK(statistics_in(optimized) == "1000 100");
    connection other = co_await with_a_table_to_analyze(plain.path(), false);
    co_await other.close();
    CHECK(statistics_in(plain) == "none");
  });
}
