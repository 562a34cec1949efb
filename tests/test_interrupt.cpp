#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <atomic>
#include <thread>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

task<> interrupted(connection& db) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  co_await failure_of<cancelled_error>(db.query(endless_read));
}

task<> interrupt_until(connection& db, const bool& ended) {
  while (!ended) {
    db.interrupt();
    co_await sleep_for(1ms);
  }
}

}  // namespace

TEST_CASE("interrupt of an idle connection is forgotten") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    for (int i = 0; i < 10; ++i) {
      db.interrupt();
      CHECK(co_await db.query_one<int>("SELECT ?", i) == i);
    }
    co_await db.close();
    db.interrupt();
  });
}

TEST_CASE("interrupt ends the call that runs; what is queued stays") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    std::atomic<bool> running = false;
    co_await db.run([&running](sqlite3* raw) {
      sqlite3_create_function_v2(
          raw, "started", 0, SQLITE_UTF8, &running,
          [](sqlite3_context* context, int, sqlite3_value**) {
            static_cast<std::atomic<bool>*>(sqlite3_user_data(context))->store(true);
            sqlite3_result_int(context, 1);
          },
          nullptr, nullptr, nullptr);
    });
    auto run = [&]() -> task<> {
      const auto e = co_await failure_of<cancelled_error>(
          db.query("WITH c(n) AS (SELECT started() UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"));
      CHECK(e.name() == "SQLITE_INTERRUPT");
    };
    auto queued = [&]() -> task<int> {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_return co_await db.query_one<int>("SELECT 8");
    };
    auto stop = [&]() -> task<> {
      while (!running.load()) co_await sleep_for(0ms);
      db.interrupt();
    };
    const auto [a, b, c] = co_await when_all(run(), queued(), stop());
    CHECK(b == 8);
    co_await db.close();
  });
}

TEST_CASE("interrupt ends a wait for a lock") {
  temp_database file;
  raw_database other(file.path());
  other.execute("PRAGMA journal_mode=wal; CREATE TABLE t(a); BEGIN IMMEDIATE");
  on_loop([&]() -> task<> {
    open_options o;
    o.busy_timeout = 1h;
    connection db = co_await open(file.path(), o);
    bool ended = false;
    auto wait = [&]() -> task<> {
      co_await failure_of<cancelled_error>(db.execute("INSERT INTO t VALUES(1)"));
      ended = true;
    };
    co_await when_all(wait(), interrupt_until(db, ended));
    other.execute("ROLLBACK");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("an interrupted write in a transaction ends the transaction as SQLite does") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES(1)");
    bool ended = false;
    auto write = [&]() -> task<> {
      co_await failure_of<cancelled_error>(
          tx.execute("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) INSERT INTO t SELECT n FROM c"));
      ended = true;
    };
    co_await when_all(write(), interrupt_until(db, ended));
    co_await failure_of<transaction_error>(tx.execute("INSERT INTO t VALUES(2)"));
    co_await failure_of<transaction_error>(tx.commit());
    co_await tx.rollback();
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("an interrupted read leaves its transaction standing") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES(1)");
    bool ended = false;
    auto read = [&]() -> task<> {
      co_await failure_of<cancelled_error>(tx.query(endless_read));
      ended = true;
    };
    co_await when_all(read(), interrupt_until(db, ended));
    co_await tx.commit();
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
    co_await db.close();
  });
}

TEST_CASE("interrupting again and again never hits the call after") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    for (int i = 0; i < 20; ++i) {
      bool ended = false;
      auto run = [&]() -> task<> {
        co_await interrupted(db);
        ended = true;
      };
      co_await when_all(run(), interrupt_until(db, ended));
      CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    }
    co_await db.close();
  });
}
