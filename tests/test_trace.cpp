// What is being done: traces, and callbacks while a statement runs.

#include "support/catch.hpp"
#include "support/endless.hpp"
#include "support/hooks.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <string>

using cosqlite::connection;
using cosqlite::subscription;
using cosqlite::task;
using support::endless_read;
using support::failure_of;
using support::journal;
using support::lines;
using support::refusal;
using support::with_database;

TEST_CASE("a trace shows statements, their ends and their rows, and bound values only on request") {
  with_database([](connection& db) -> task<> {
    journal plain;
    journal full;
    const auto note = [&plain](const cosqlite::trace_event& e) {
      const char* kinds[] = {"statement", "profile", "row"};
      plain.add(std::string(kinds[static_cast<int>(e.kind)]) + " " + std::string(e.sql) + std::string(e.expanded));
    };
    const auto note_values = [&full](const cosqlite::trace_event& e) { full.add(std::string(e.expanded)); };
    cosqlite::trace_options all;
    all.profile = all.rows = true;
    cosqlite::trace_options expanded;
    expanded.expanded = true;
    const subscription one = co_await db.trace(note, all);
    const subscription two = co_await db.trace(note_values, expanded);
    co_await db.execute("INSERT INTO t VALUES (?, ?)", 1, "secret");
    CHECK(plain.take() == lines{"statement INSERT INTO t VALUES (?, ?)", "profile INSERT INTO t VALUES (?, ?)"});
    CHECK(full.take() == lines{"INSERT INTO t VALUES (1, 'secret')"});
    co_await db.query("SELECT id FROM t");
    CHECK(plain.take() == lines{"statement SELECT id FROM t", "row SELECT id FROM t", "profile SELECT id FROM t"});
  });
}

TEST_CASE("a progress callback can stop the call that runs, and only it") {
  with_database([](connection& db) -> task<> {
    std::atomic<bool> stop{true};
    const auto check = [&stop] { return stop.load(); };
    const subscription s = co_await db.on_progress(100, check);
    co_await failure_of<cosqlite::cancelled_error>(db.query(endless_read));
    stop = false;
    CHECK((co_await db.query_one<int>("SELECT 1")) == 1);
  });
}

TEST_CASE("what a progress callback throws reaches the caller, and a deadline still works beside it") {
  with_database([](connection& db) -> task<> {
    {
      std::atomic<int> calls{0};
      const auto counts = [&calls] { ++calls; };
      const subscription s = co_await db.on_progress(10'000, counts);
      co_await failure_of<cosqlite::timeout_error>(db.with(std::chrono::milliseconds(500)).query(endless_read));
      CHECK(calls > 0);
    }
    const auto throws = []() -> bool { throw refusal("enough"); };
    const subscription s = co_await db.on_progress(10, throws);
    co_await failure_of<refusal>(db.query(endless_read));
  });
}

TEST_CASE("a progress callback needs at least one step") {
  with_database([](connection& db) -> task<> {
    const auto nothing = [] {};
    CHECK_THROWS_AS(db.on_progress(0, nothing), cosqlite::misuse_error);
    co_return;
  });
}

TEST_CASE("of several progress callbacks each is called at its own pace, and any of them can stop the call") {
  with_database([](connection& db) -> task<> {
    const char* long_one =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT max(i) FROM n";
    std::atomic<int> often{0};
    std::atomic<int> seldom{0};
    std::atomic<bool> stop{false};
    const auto counts_often = [&often] { ++often; };
    const auto counts_seldom = [&seldom, &stop] {
      ++seldom;
      return stop.load();
    };
    const subscription one = co_await db.on_progress(100, counts_often);
    const subscription two = co_await db.on_progress(5'000, counts_seldom);
    CHECK((co_await db.query_one<int>(long_one)) == 100'000);
    CHECK(seldom > 0);
    CHECK(often >= 40 * seldom);
    stop = true;
    co_await failure_of<cosqlite::cancelled_error>(db.query(long_one));
  });
}

TEST_CASE("a trace of reads that follow one another shows them and nothing of the library's own") {
  with_database([](connection& db) -> task<> {
    journal seen;
    const auto note = [&seen](const cosqlite::trace_event& e) { seen.add(std::string(e.sql)); };
    co_await db.query("SELECT 1");
    co_await db.query("SELECT 2");
    const subscription s = co_await db.trace(note);
    for (int i = 0; i < 3; ++i) co_await db.query("SELECT a FROM t");
    const lines expected(3, "SELECT a FROM t");
    CHECK(seen.take() == expected);
  });
}

TEST_CASE("a trace names the triggers that run, and expands nothing for those who did not ask") {
  with_database(
      [](connection& db) -> task<> {
        journal seen;
        const auto note = [&seen](const cosqlite::trace_event& e) {
          seen.add(std::string(e.sql) + (e.expanded.empty() ? "" : " (expanded)"));
        };
        const subscription s = co_await db.trace(note);
        co_await db.execute("INSERT INTO t VALUES (?)", 5);
        const lines expected{"INSERT INTO t VALUES (?)", "-- TRIGGER g", "-- INSERT INTO log VALUES (1)"};
        CHECK(seen.take() == expected);
      },
      "CREATE TABLE t(a); CREATE TABLE log(t); CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); END");
}

TEST_CASE("a progress callback that wants to stop everything does not stop what undoes a transaction") {
  with_database([](connection& db) -> task<> {
    const auto before = co_await db.query_one<int>("SELECT count(*) FROM t");
    std::atomic<bool> stop{false};
    const auto stops = [&stop] { return stop.load(); };
    const subscription s = co_await db.on_progress(1, stops);
    for (const bool dropped : {false, true}) {
      {
        cosqlite::transaction tx = co_await db.begin();
        co_await tx.execute("INSERT INTO t(a) VALUES (7)");
        stop = true;
        if (!dropped) co_await tx.rollback();
      }
      const auto is_idle = [](sqlite3* handle) { return sqlite3_get_autocommit(handle) != 0; };
      const bool idle = co_await db.run(is_idle);
      CHECK(idle);
      stop = false;
      CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == before);
    }
  });
}
