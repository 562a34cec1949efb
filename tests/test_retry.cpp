// transact runs its body again: when, how often, and for how long.
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>

namespace {

using cosqlite::connection;
using cosqlite::task;
using cosqlite::transact_options;
using cosqlite::transaction;
using cosqlite::tx_mode;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

constexpr std::chrono::milliseconds at_once{0};

task<connection> open_with_table(std::string path) {
  cosqlite::open_options impatient;
  impatient.busy_timeout = std::chrono::milliseconds(0);
  connection db = co_await cosqlite::open(std::move(path), impatient);
  co_await db.execute_script("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE)");
  co_return db;
}

/// Another program writes after the transaction has read, so that the transaction cannot write any more.
task<> grow_stale(transaction& tx, const raw_database& other) {
  static_cast<void>(co_await tx.query("SELECT * FROM t"));
  other.execute("INSERT INTO t(v) VALUES (hex(randomblob(16)))");
  co_await tx.execute("INSERT INTO t(v) VALUES (hex(randomblob(16)))");
}

/// The error of a stale transaction, which its body has seen.
task<bool> has_grown_stale(transaction& tx, const raw_database& other, std::exception_ptr& why) {
  bool stale = false;
  try {
    co_await grow_stale(tx, other);
  } catch (const cosqlite::busy_error&) {
    why = std::current_exception();
    stale = true;
  }
  co_return stale;
}

}  // namespace

TEST_CASE("a body runs as often as it may, and then its last failure comes out") {
  for (const int attempts : {-1, 0, 1, 2, 7}) {
    const temp_database file;
    on_loop([&]() -> task<> {
      connection db = co_await open_with_table(file.path());
      const raw_database other(file.path());
      int runs = 0;
      const auto body = [&](transaction& tx) -> task<> {
        ++runs;
        co_await grow_stale(tx, other);
      };
      const transact_options options{tx_mode::deferred, attempts, at_once};
      const auto e = co_await failure_of<cosqlite::busy_error>(db.transact(body, options));
      CHECK(e.retryable() == cosqlite::retry::transaction);
      CHECK(runs == std::max(1, attempts));
    });
  }
}

TEST_CASE("a BEGIN that meets a lock is tried again") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    // The lock is let go of when it has been met.
    const auto release = [&other](connection& of) -> task<> {
      for (;;) {
        const cosqlite::connection_stats seen = co_await of.stats();
        if (seen.busy_waits > 0) break;
      }
      other.execute("ROLLBACK");
    };
    const auto insert = [](connection& in) -> task<> {
      const auto body = [](transaction& tx) -> task<> {
        [[maybe_unused]] const bool local = true;
        co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      };
      const transact_options options{tx_mode::immediate, 1'000'000'000, at_once};
      co_await in.transact(body, options);
    };
    co_await cosqlite::when_all(insert(db), release(db));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
    // Not when it was not asked for.
    other.execute("BEGIN IMMEDIATE");
    const auto nothing = [](transaction&) -> task<> { co_return; };
    co_await failure_of<cosqlite::busy_error>(db.transact(nothing));
    other.execute("ROLLBACK");
  });
}

TEST_CASE("what would fail again, or may have been half done, is not run again") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    co_await db.execute("INSERT INTO t(v) VALUES ('taken')");
    const raw_database other(file.path());
    int runs = 0;
    const auto constraint = [&](transaction& tx) -> task<> {
      ++runs;
      co_await tx.execute("INSERT INTO t(v) VALUES ('taken')");
    };
    const auto own = [&](transaction&) -> task<> {
      ++runs;
      throw std::domain_error("the body's own");
      co_return;
    };
    // The lock is another's, but the snapshot is not stale: waiting for it is the busy timeout's affair.
    const auto locked = [&](transaction& tx) -> task<> {
      if (++runs == 1) other.execute("BEGIN IMMEDIATE");
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
    };
    const transact_options options{tx_mode::deferred, 5, at_once};
    co_await failure_of<cosqlite::constraint_error>(db.transact(constraint, options));
    CHECK(std::exchange(runs, 0) == 1);
    co_await failure_of<std::domain_error>(db.transact(own, options));
    CHECK(std::exchange(runs, 0) == 1);
    const auto e = co_await failure_of<cosqlite::busy_error>(db.transact(locked, options));
    CHECK(e.retryable() == cosqlite::retry::statement);
    CHECK(runs == 1);
    other.execute("ROLLBACK");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

TEST_CASE("one deadline covers every run of the body") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const raw_database other(file.path());
    const auto half = std::chrono::milliseconds(40);
    int runs = 0;
    const auto body = [&](transaction& tx) -> task<> {
      ++runs;
      co_await cosqlite::sleep_for(half);
      co_await grow_stale(tx, other);
    };
    const transact_options options{tx_mode::deferred, 5, at_once};
    bool failed = false;
    try {
      co_await db.with(2 * half).transact(body, options);
    } catch (const cosqlite::error&) {
      failed = true;  // of what the time passed in is a matter of chance
    }
    CHECK(failed);
    // Two runs take all of the time.
    CHECK(runs >= 1);
    CHECK(runs <= 2);
  });
}

TEST_CASE("the pause between two runs ends with the time or the request to stop") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    const auto nothing = [](transaction&) -> task<> { co_return; };
    const transact_options in_hours{tx_mode::immediate, 5, std::chrono::hours(5)};
    bool failed = false;
    try {
      co_await db.with(std::chrono::milliseconds(20)).transact(nothing, in_hours);
    } catch (const cosqlite::error&) {
      failed = true;
    }
    CHECK(failed);
    std::stop_source stop;
    const auto request = [&stop](connection& of) -> task<> {
      for (const auto before = (co_await of.stats()).busy_waits;;) {
        const cosqlite::connection_stats seen = co_await of.stats();
        if (seen.busy_waits > before) break;
      }
      stop.request_stop();
    };
    failed = false;
    const auto wait = [&](connection& in) -> task<> {
      try {
        co_await in.with(stop.get_token()).transact(nothing, in_hours);
      } catch (const cosqlite::error&) {
        failed = true;
      }
    };
    co_await cosqlite::when_all(request(db), wait(db));
    CHECK(failed);
    other.execute("ROLLBACK");
  });
}

TEST_CASE("a body that has failed when the time is up, or a stop requested, is not run again: its failure comes out") {
  for (auto time = std::chrono::milliseconds(100);; time *= 4) {
    const temp_database file;
    bool stale = false;
    on_loop([&]() -> task<> {
      connection db = co_await open_with_table(file.path());
      const raw_database other(file.path());
      std::stop_source stop;
      bool late = false;
      const auto body = [&](transaction& tx) -> task<> {
        std::exception_ptr why;
        stale = co_await has_grown_stale(tx, other, why);
        if (late) co_await cosqlite::sleep_for(time);
        stop.request_stop();
        if (stale) std::rethrow_exception(why);
      };
      const transact_options options{tx_mode::deferred, 5, at_once};
      co_await failure_of<cosqlite::busy_error>(db.with(stop.get_token()).transact(body, options));
      late = true;
      std::string outcome;
      try {
        co_await db.with(time).transact(body, options);
      } catch (const cosqlite::busy_error&) {
        outcome = "busy";
      } catch (const cosqlite::timeout_error&) {
        outcome = "timeout";
      }
      // A machine that was too slow to get there gets more time.
      if (stale) CHECK(outcome == "busy");
    });
    if (stale) break;
  }
}
