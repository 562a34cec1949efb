// Reads that follow one another closely share a read transaction. Nothing but speed may tell: each must see what it
// would have seen in a transaction of its own.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <chrono>
#include <random>
#include <string>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

/// Polls for so long that the transaction is still open at the next call, however slow the machine is.
open_options patient() {
  open_options o;
  o.poll = 1s;
  o.coalesce_time = 10s;
  o.synchronous = sync::off;
  return o;
}

/// A connection with a table of one number, which is \p n.
task<connection> open_with_number(std::string path, std::int64_t n) {
  const open_options options = patient();
  connection db = co_await open(std::move(path), options);
  co_await db.execute_script("CREATE TABLE IF NOT EXISTS t(n INTEGER); DELETE FROM t");
  co_await db.execute("INSERT INTO t VALUES (?)", n);
  co_return db;
}

task<std::int64_t> read(connection& db) {
  const auto n = co_await db.query_one<std::int64_t>("SELECT n FROM t");
  co_return n;
}

/// Reads until the transaction is being shared.
task<> warm_up(connection& db) {
  for (int i = 0; i < 5; ++i) co_await read(db);
}

task<std::uint64_t> followed(connection& db) {
  const connection_stats s = co_await db.stats();
  co_return s.followed_reads;
}

}  // namespace

TEST_CASE("reads that follow one another share a read transaction") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_number(file.path(), 7);
    // On a crowded machine the worker sleeps at times rather than polls: then the next read stands alone.
    std::uint64_t shared = 0;
    while (shared < 100) {
      for (int i = 0; i < 100; ++i) REQUIRE((co_await read(db)) == 7);
      shared = co_await followed(db);
    }
    co_await db.close();
  });
}

TEST_CASE("a read sees what another connection has committed since the read before it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection reader = co_await open_with_number(file.path(), 0);
    const open_options options = patient();
    connection writer = co_await open(file.path(), options);
    std::uint64_t shared = 0;
    for (std::int64_t i = 1; i <= 500 || shared < 500; ++i) {
      co_await warm_up(reader);
      co_await writer.execute("UPDATE t SET n = ?", i);
      REQUIRE((co_await read(reader)) == i);
      if (i % 100 == 0) shared = co_await followed(reader);
    }
    co_await writer.close();
    co_await reader.close();
  });
}

TEST_CASE("a read sees what a program without the library has committed, and checkpointed") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_number(file.path(), 0);
    const raw_database other(file.path());
    for (std::int64_t i = 1; i <= 200; ++i) {
      co_await warm_up(db);
      other.execute(("UPDATE t SET n = " + std::to_string(i)).c_str());
      if (i % 7 == 0) other.execute("PRAGMA wal_checkpoint(PASSIVE)");
      REQUIRE((co_await read(db)) == i);
    }
    co_await db.close();
  });
}

TEST_CASE("a read sees what its own connection has written between reads") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_number(file.path(), 0);
    for (std::int64_t i = 1; i <= 200; ++i) {
      co_await warm_up(db);
      co_await db.execute("UPDATE t SET n = ?", i);
      REQUIRE((co_await read(db)) == i);
      co_await warm_up(db);
      transaction tx = co_await db.begin();
      co_await tx.execute("UPDATE t SET n = n + 1000");
      const auto inside = co_await tx.query_one<std::int64_t>("SELECT n FROM t");
      REQUIRE(inside == i + 1000);
      co_await tx.rollback();
      REQUIRE((co_await read(db)) == i);
    }
    co_await db.close();
  });
}

TEST_CASE("between shared reads no transaction shows") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_number(file.path(), 0);
    co_await warm_up(db);
    CHECK_FALSE(co_await db.in_transaction());
    co_await warm_up(db);
    const auto autocommit = co_await db.run([](sqlite3* raw) { return sqlite3_get_autocommit(raw); });
    CHECK(autocommit == 1);
    co_await warm_up(db);
    co_await db.execute("BEGIN IMMEDIATE");
    co_await db.execute("UPDATE t SET n = 1");
    co_await db.execute("COMMIT");
    co_await warm_up(db);
    co_await db.execute("VACUUM");
    CHECK((co_await read(db)) == 1);
    co_await db.close();
  });
}

TEST_CASE("shared reads let go of the file when the connection has nothing to do") {
  const temp_database file;
  on_loop([&]() -> task<> {
    open_options options = patient();
    options.poll = 50us;
    connection db = co_await open(file.path(), options);
    co_await db.execute_script("CREATE TABLE t(n INTEGER); INSERT INTO t VALUES (0)");
    const raw_database other(file.path());
    sqlite3_busy_timeout(other.get(), 60'000);
    for (int i = 0; i < 20; ++i) {
      co_await warm_up(db);
      // Needs the log for itself: nobody may read from it.
      other.execute("UPDATE t SET n = n + 1; PRAGMA wal_checkpoint(TRUNCATE)");
      CHECK(std::filesystem::file_size(file.path() + "-wal") == 0);
    }
    co_await db.close();
  });
}

TEST_CASE("no more than coalesce_calls reads share a transaction") {
  const temp_database file;
  on_loop([&]() -> task<> {
    open_options options = patient();
    options.coalesce_calls = 10;
    connection db = co_await open(file.path(), options);
    co_await db.execute_script("CREATE TABLE t(n INTEGER); INSERT INTO t VALUES (0)");
    std::uint64_t shared = 0;
    while (shared == 0) {
      for (int i = 0; i < 1000; ++i) co_await read(db);
      shared = co_await followed(db);
      CHECK(shared <= 920);
    }
    co_await db.close();
  });
}

TEST_CASE("a database that is not in WAL mode is locked for the length of each read only") {
  const temp_database file;
  on_loop([&]() -> task<> {
    open_options options = patient();
    options.journal_mode = journal::del;
    connection db = co_await open(file.path(), options);
    co_await db.execute_script("CREATE TABLE t(n INTEGER); INSERT INTO t VALUES (0)");
    const raw_database other(file.path());
    for (int i = 0; i < 100; ++i) {
      co_await warm_up(db);
      other.execute("BEGIN EXCLUSIVE; UPDATE t SET n = n + 1; COMMIT");
      REQUIRE((co_await read(db)) == i + 1);
    }
    CHECK((co_await followed(db)) == 0);
    CHECK_FALSE(std::filesystem::exists(file.path() + "-shm"));
    co_await db.close();
  });
}

TEST_CASE("changing the journal or locking mode between shared reads is noticed") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_number(file.path(), 3);
    co_await warm_up(db);
    CHECK((co_await db.query_one<std::string>("PRAGMA journal_mode = delete")) == "delete");
    co_await warm_up(db);
    {
      const raw_database other(file.path());
      other.execute("UPDATE t SET n = 4");
    }
    CHECK((co_await read(db)) == 4);
    CHECK_FALSE(std::filesystem::exists(file.path() + "-shm"));
    CHECK((co_await db.query_one<std::string>("PRAGMA locking_mode = exclusive")) == "exclusive");
    CHECK((co_await db.query_one<std::string>("PRAGMA journal_mode = wal")) == "wal");
    co_await warm_up(db);
    CHECK((co_await read(db)) == 4);
    CHECK_FALSE(std::filesystem::exists(file.path() + "-shm"));
    co_await db.close();
  });
}

TEST_CASE("a read sees what others commit to an attached database") {
  const temp_database file;
  const temp_database attached;
  on_loop([&]() -> task<> {
    open_options options = patient();
    options.attach = true;
    connection db = co_await open(file.path(), options);
    const raw_database other(attached.path());
    other.execute("PRAGMA journal_mode = wal; CREATE TABLE t(n INTEGER); INSERT INTO t VALUES (0)");
    co_await db.execute("ATTACH ? AS second", attached.path());
    for (std::int64_t i = 1; i <= 100; ++i) {
      co_await warm_up(db);
      other.execute(("UPDATE t SET n = " + std::to_string(i)).c_str());
      REQUIRE((co_await read(db)) == i);
    }
    co_await db.close();
  });
}

TEST_CASE("a change of the schema by others is followed between shared reads") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_number(file.path(), 1);
    const raw_database other(file.path());
    co_await warm_up(db);
    other.execute("DROP TABLE t; CREATE TABLE t(extra TEXT, n INTEGER); INSERT INTO t VALUES ('x', 2)");
    CHECK((co_await read(db)) == 2);
    co_await warm_up(db);
    other.execute("DROP TABLE t");
    const error e = co_await support::failure_of<error>(db.query("SELECT n FROM t"));
    CHECK(support::contains(e.what(), "no such table: t"));
    co_await db.close();
  });
}

TEST_CASE("any order of reads and writes by three parties gives the newest value") {
  const temp_database file;
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  on_loop([&]() -> task<> {
    connection a = co_await open_with_number(file.path(), 0);
    const open_options options = patient();
    connection b = co_await open(file.path(), options);
    const raw_database c(file.path());
    std::mt19937 random(seed);
    std::int64_t newest = 0;
    for (int i = 0; i < 5'000; ++i) {
      connection& one = random() % 2 == 0 ? a : b;
      switch (random() % 12) {
        case 0: co_await one.execute("UPDATE t SET n = ?", ++newest); break;
        case 1: c.execute(("UPDATE t SET n = " + std::to_string(++newest)).c_str()); break;
        case 2: {
          transaction tx = co_await one.begin();
          co_await tx.execute("UPDATE t SET n = ?", ++newest);
          co_await tx.commit();
          break;
        }
        case 3: {
          transaction tx = co_await one.begin(tx_mode::deferred);
          co_await tx.query("SELECT * FROM t");
          break;
        }
        case 4: c.try_to("PRAGMA wal_checkpoint(PASSIVE)"); break;
        default: REQUIRE((co_await read(one)) == newest);
      }
    }
    co_await b.close();
    co_await a.close();
  });
}
