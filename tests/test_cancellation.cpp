#include "support/abandonable.hpp"
#include "support/ask.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include "support/randomised.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <chrono>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::limited_connection;
using cosqlite::task;
using cosqlite::timeout_error;
using cosqlite::transaction;
using support::abandonable;
using support::ask;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::open_with_table;
using support::raw_database;
using support::start;
using support::temp_database;
using support::until;

constexpr const char* endless_write =
    "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c) SELECT 'x' || i FROM c";

/// Calls that would last for ever.
struct kind {
  const char* name;
  task<> (*endless)(limited_connection db);
};

task<> quick_execute(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute("INSERT INTO t(v) VALUES ('x')");
}
task<> endless_execute(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute(endless_write);
}
task<> endless_query(limited_connection db) { static_cast<void>(co_await db.query(endless_read)); }
task<> endless_many(limited_connection db) {
  const std::vector<int> rows(2, 1);
  co_await db.execute_many(
      "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(?) UNION ALL SELECT i + 1 FROM c) SELECT i FROM c", rows);
}
task<> endless_script(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute_script(std::string("INSERT INTO t(v) VALUES ('x'); ") + endless_write);
}
task<> endless_run(limited_connection db) {
  const int rc = co_await db.run([](sqlite3* raw) { return ask(raw, endless_read); });
  static_cast<void>(rc);
}
task<> endless_stream(limited_connection db) {
  auto rows = db.stream<int>(endless_read);
  while (auto row = co_await rows.next()) static_cast<void>(row);
}
task<> endless_prepare(limited_connection db) {
  cosqlite::statement s = co_await db.prepare(endless_read);
  static_cast<void>(co_await s.query_one<int>());
}
task<> endless_prepared_stream(limited_connection db) {
  cosqlite::statement s = co_await db.prepare(endless_read);
  auto rows = s.stream<int>();
  static_cast<void>(co_await rows.next());
}
task<> endless_prepared_write(limited_connection db) {
  cosqlite::statement s = co_await db.prepare(endless_write);
  co_await s.execute();
}
task<> quick_transaction(limited_connection db) {
  transaction tx = co_await db.begin();
  co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
  co_await tx.commit();
}
task<> endless_transaction(limited_connection db) {
  transaction tx = co_await db.begin();
  co_await tx.execute(endless_write);
  co_await tx.commit();
}
task<> endless_savepoint(limited_connection db) {
  transaction tx = co_await db.begin();
  cosqlite::savepoint point = co_await tx.savepoint();
  co_await point.execute(endless_write);
  co_await point.release();
  co_await tx.commit();
}

constexpr kind kinds[] = {
    {"execute", &endless_execute},
    {"query", &endless_query},
    {"execute_many", &endless_many},
    {"execute_script", &endless_script},
    {"run", &endless_run},
    {"stream", &endless_stream},
    {"statement", &endless_prepare},
    {"statement's stream", &endless_prepared_stream},
    {"statement's execute", &endless_prepared_write},
    {"transaction", &endless_transaction},
    {"savepoint", &endless_savepoint},
};

enum class way { destroy, stop, timeout, drop };  // close waits for what runs
constexpr way ways[] = {way::destroy, way::stop, way::timeout, way::drop};
constexpr const char* way_names[] = {"destroy", "stop", "timeout", "drop"};

void end_by(way how, std::optional<connection>& db, abandonable& subject, std::stop_source& stop) {
  switch (how) {
    case way::destroy: subject.destroy(); break;
    case way::stop: stop.request_stop(); break;
    case way::timeout: break;
    case way::drop: db.reset(); break;
  }
}

constexpr std::chrono::nanoseconds no_time{0};

task<> close(connection& db) {
  [[maybe_unused]] const bool local = true;
  co_await db.close();
}

}  // namespace

TEST_CASE("a call of every kind that runs ends in every way, and the next one is not harmed") {
  for (const kind& k : kinds) {
    for (const way how : ways) {
      INFO(k.name << " running, ended by " << way_names[static_cast<int>(how)]);
      const temp_database file;
      on_loop([&]() -> task<> {
        std::optional<connection> db(co_await open_with_table(file.path()));
        std::optional<std::string> outcome;
        std::stop_source stop;
        const auto limit = how == way::timeout ? std::chrono::nanoseconds(std::chrono::milliseconds(10)) : no_time;
        abandonable subject = start(k.endless(db->with(stop.get_token(), limit)), outcome);
        if (how != way::timeout) co_await cosqlite::sleep_for(std::chrono::milliseconds(5));
        end_by(how, db, subject, stop);
        if (how != way::destroy) {
          co_await until([&] { return outcome.has_value(); });
          CHECK(outcome != "finished");
        }
        if (!db) co_return;
        // It did not take the connection along, nothing of it stayed, and no transaction is open.
        CHECK(co_await db->query_one<int>("SELECT 1") == 1);
        const int left = co_await db->query_one<int>("SELECT count(*) FROM t");
        CHECK(left <= (std::string_view(k.name) == "execute_script" ? 1 : 0));
        transaction tx = co_await db->begin();
        co_await tx.rollback();
      });
    }
  }
}

TEST_CASE("a call that is done but not delivered is reported as done, whatever asks it to stop") {
  const temp_database file;
  support::test_loop loop;
  connection db = loop.run(open_with_table(file.path()));
  std::optional<std::string> outcome;
  std::stop_source stop;
  // The loop stands still until the row can be seen from outside: the call is done, its outcome waits.
  abandonable subject = start(quick_execute(db.with(stop.get_token())), outcome);
  const raw_database other(file.path());
  while (other.number("SELECT count(*) FROM t") == 0) std::this_thread::yield();
  CHECK_FALSE(outcome.has_value());
  stop.request_stop();
  loop.run(until([&] { return outcome.has_value(); }));
  CHECK(outcome == "finished");
  loop.run(close(db));
}

TEST_CASE("a COMMIT that has happened stays, although its coroutine is destroyed before it hears of it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    {
      std::optional<std::string> outcome;
      abandonable subject = start(quick_transaction(db.with(std::stop_token())), outcome);
      const raw_database other(file.path());
      // BEGIN and INSERT need the loop; COMMIT is seen from outside at the latest when it has been delivered.
      while (other.number("SELECT count(*) FROM t") == 0) co_await cosqlite::sleep_for(std::chrono::microseconds(50));
      subject.destroy();
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

TEST_CASE("a deadline says where the time went") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto soon = std::chrono::milliseconds(20);
    const auto running = co_await failure_of<timeout_error>(db.with(soon).query(endless_read));
    CHECK(running.spent_in() == timeout_error::stage::run);
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    const auto locked = co_await failure_of<timeout_error>(db.with(soon).execute("INSERT INTO t(v) VALUES ('x')"));
    CHECK(locked.spent_in() == timeout_error::stage::lock);
    other.execute("ROLLBACK");
    std::stop_source stop;
    std::optional<std::string> outcome;
    abandonable blocker = start(endless_query(db.with(stop.get_token())), outcome);
    const auto queued = co_await failure_of<timeout_error>(db.with(soon).query("SELECT 1"));
    CHECK(queued.spent_in() == timeout_error::stage::queue);
    stop.request_stop();
    co_await until([&] { return outcome.has_value(); });
  });
}

TEST_CASE("a token that was stopped before the call refuses it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::stop_source stop;
    stop.request_stop();
    co_await failure_of<cosqlite::cancelled_error>(db.with(stop.get_token()).execute("INSERT INTO t(v) VALUES ('x')"));
    co_await failure_of<cosqlite::cancelled_error>(db.with(stop.get_token()).begin());
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
  });
}

TEST_CASE("transactions, savepoints and statements obey deadlines and stop tokens") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto soon = std::chrono::milliseconds(15);
    {
      transaction tx = co_await db.begin();
      co_await failure_of<timeout_error>(tx.with(soon).query(endless_read));
      std::stop_source stop;
      stop.request_stop();
      co_await failure_of<cosqlite::cancelled_error>(tx.with(stop.get_token()).query("SELECT 1"));
      // A read that was stopped leaves the transaction as it is.
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      co_await tx.commit();
    }
    cosqlite::statement s = co_await db.prepare(endless_read);
    co_await failure_of<timeout_error>(s.with(soon).query());
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

namespace {

task<> read_one(limited_connection db, int i, int& finished, int& cancelled) {
  bool stopped = false;
  try {
    if (co_await db.query_one<int>("SELECT ?", i) != i) throw std::logic_error("somebody else's answer");
  } catch (const cosqlite::cancelled_error&) {
    stopped = true;
  }
  ++(stopped ? cancelled : finished);
}

constexpr int many_cancels = support::sanitized ? 5'000 : 100'000;

}  // namespace

TEST_CASE("random cancels from two threads never stop the wrong call") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::mt19937 random(static_cast<unsigned>(support::seed_for("random cancels")));
    int finished = 0;
    int cancelled = 0;
    for (int i = 0; i < many_cancels; i += 2) {
      std::stop_source stop;
      std::optional<std::jthread> elsewhere;
      std::vector<task<>> pair;
      pair.push_back(read_one(db.with(stop.get_token()), i, finished, cancelled));
      pair.push_back(read_one(db.with(std::stop_token()), i + 1, finished, cancelled));
      if (i % 64 == 0) {
        elsewhere.emplace([&stop] { stop.request_stop(); });
      } else if (random() % 4 == 0) {
        stop.request_stop();
      }
      const auto stopping = [](std::stop_source s, unsigned turns) -> task<> {
        for (unsigned n = 0; n < turns; ++n) co_await cosqlite::sleep_for(no_time);
        s.request_stop();
      };
      pair.push_back(stopping(stop, random() % 2));
      const int before = cancelled;
      co_await cosqlite::when_all(std::move(pair));
      // Only the one whose stop was requested may have been.
      if (cancelled > before + 1) throw std::logic_error("the wrong call was stopped");
    }
    CHECK(finished + cancelled == many_cancels);
    CHECK(finished >= many_cancels / 2);
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
  });
}
