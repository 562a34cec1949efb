// Calls that wait together share a transaction: how many, for how long, and what each of them keeps for itself.
#include "support/abandonable.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include "support/plug.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using cosqlite::connection;
using cosqlite::limited_connection;
using cosqlite::task;
using cosqlite::timeout_error;
using support::abandonable;
using support::endless_read;
using support::on_loop;
using support::raw_database;
using support::rows_of;
using support::start;
using support::temp_database;
using support::until;

using outcome = std::optional<std::string>;

constexpr const char* endless_write =
    "INSERT INTO t(v) WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c";
/// Takes far longer than a group may, where that is a millisecond.
constexpr const char* slow_read =
    "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300000) SELECT count(*) FROM c";
constexpr const char* slow_write =
    "INSERT INTO t(v) WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 30000) SELECT n FROM c";

struct bounds {
  bool coalesce = true;
  std::size_t calls = 1024;
  std::chrono::microseconds time = std::chrono::hours(1);
  std::chrono::milliseconds patience = std::chrono::hours(1);
};

task<connection> open_bounded(std::string path, bounds b) {
  cosqlite::open_options o;
  o.coalesce = b.coalesce;
  o.coalesce_calls = b.calls;
  o.coalesce_time = b.time;
  o.busy_timeout = b.patience;
  connection db = co_await cosqlite::open(std::move(path), o);
  co_await db.execute_script(support::one_table);
  co_return db;
}

task<> execute(limited_connection db, const char* sql) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute(sql);
}
task<> insert(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute("INSERT INTO t(v) VALUES (1)");
}
task<> read(limited_connection db) { static_cast<void>(co_await db.query("SELECT count(*) FROM t")); }
task<> read_slowly(limited_connection db, int& counted) { counted = co_await db.query_one<int>(slow_read); }
task<> write_slowly(limited_connection db, std::int64_t& changed) {
  const cosqlite::execute_result r = co_await db.execute(slow_write);
  changed = r.changes;
}
task<> fail_in(limited_connection db, const char* sql, std::optional<timeout_error::stage>& where) {
  try {
    co_await db.execute(sql);
  } catch (const timeout_error& e) {
    where = e.spent_in();
  }
}

/// Calls that are all there before the first of them runs.
class crowd {
 public:
  explicit crowd(connection& db) : holding_(start(hold(db, plug_), held_)) {}
  outcome& add(task<> call) {
    outcome& one = outcomes_.emplace_back();
    calls_.push_back(start(std::move(call), one));
    return one;
  }
  task<> hold_worker() const {
    [[maybe_unused]] const bool local = true;
    co_await plug_.held();
  }
  void let_run() { plug_.release(); }
  task<> run() {
    let_run();
    co_await until([this] { return std::ranges::all_of(outcomes_, [](const outcome& o) { return o.has_value(); }); });
  }

 private:
  static task<> hold(connection& db, support::plug& by) {
    [[maybe_unused]] const bool local = true;
    co_await by.hold(db);
  }

  support::plug plug_;
  outcome held_;
  std::deque<outcome> outcomes_;
  std::vector<abandonable> calls_;
  abandonable holding_;
};

task<int> commits_of_twenty(std::string path, bounds b) {
  connection db = co_await open_bounded(std::move(path), b);
  std::atomic<int> commits = 0;
  const auto count = [&commits] { ++commits; };
  const cosqlite::subscription counting = co_await db.on_commit(count);
  crowd all(db);
  co_await all.hold_worker();
  for (int i = 0; i < 20; ++i) all.add(insert(db.with(std::stop_token())));
  co_await all.run();
  CHECK(co_await rows_of(db) == 20);
  co_return commits.load();
}

}  // namespace

TEST_CASE("a group has no more calls than coalesce_calls") {
  for (const bool writes : {false, true}) {
    const temp_database file;
    on_loop([&]() -> task<> {
      connection db = co_await open_bounded(file.path(), {.calls = 4});
      crowd all(db);
      co_await all.hold_worker();
      for (int i = 0; i < 20; ++i) {
        all.add(writes ? insert(db.with(std::stop_token())) : read(db.with(std::stop_token())));
      }
      co_await all.run();
      const cosqlite::connection_stats s = co_await db.stats();
      CHECK(s.groups == 5);
      CHECK(s.grouped_calls == 20);
    });
  }
}

TEST_CASE("writes share a commit until coalesce_time is over, or have one each where coalescing is off") {
  const auto commits = [](const bounds& b) {
    const temp_database file;
    int n = 0;
    on_loop([&]() -> task<> { n = co_await commits_of_twenty(file.path(), b); });
    return n;
  };
  CHECK(commits({}) == 1);
  CHECK(commits({.time = std::chrono::microseconds(0)}) == 20);
  CHECK(commits({.coalesce = false}) == 20);
}

TEST_CASE("reads share a transaction until coalesce_time is over") {
  for (const bool bounded : {false, true}) {
    const temp_database file;
    on_loop([&]() -> task<> {
      connection db =
          co_await open_bounded(file.path(), {.time = bounded ? std::chrono::microseconds(0) : std::chrono::hours(1)});
      std::atomic<int> begins = 0;
      const auto count = [&begins](const cosqlite::trace_event& e) { begins += e.sql == "BEGIN" ? 1 : 0; };
      const cosqlite::subscription counting = co_await db.trace(count);
      crowd all(db);
      co_await all.hold_worker();
      for (int i = 0; i < 200; ++i) all.add(read(db.with(std::stop_token())));
      co_await all.run();
      CHECK((begins > 1) == bounded);
    });
  }
}

TEST_CASE("a member of a group that takes long does not keep the others, and has its answer all the same") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_bounded(file.path(), {.time = std::chrono::milliseconds(1)});
    for (int round = 0; round < 3; ++round) {
      const int before = co_await rows_of(db);
      int counted = 0;
      std::int64_t changed = 0;
      crowd all(db);
      co_await all.hold_worker();
      const auto patient = db.with(std::stop_token());
      all.add(insert(patient));
      outcome& slow = all.add(round == 1 ? write_slowly(patient, changed) : read_slowly(patient, counted));
      all.add(insert(patient));
      co_await all.run();
      CHECK(slow == "finished");
      CHECK(counted == (round == 1 ? 0 : 300'000));
      CHECK(changed == (round == 1 ? 30'000 : 0));
      CHECK(co_await rows_of(db) == before + 2 + static_cast<int>(changed));
    }
    // The first is answered while the second runs.
    std::stop_source stop;
    crowd all(db);
    co_await all.hold_worker();
    const outcome& quick = all.add(insert(db.with(std::stop_token())));
    const outcome& endless = all.add(execute(db.with(stop.get_token()), endless_read));
    all.let_run();
    co_await until([&] { return quick.has_value(); });
    CHECK(quick == "finished");
    CHECK_FALSE(endless.has_value());
    stop.request_stop();
    co_await all.run();
    CHECK(endless == "cancelled");
  });
}

TEST_CASE("a member's deadline or stop ends it, and nobody else in its group") {
  for (const char* const endless : {endless_read, endless_write}) {
    const temp_database file;
    on_loop([&]() -> task<> {
      connection db = co_await open_bounded(file.path(), {});
      const auto patient = db.with(std::stop_token());
      int others = 0;
      // A slow machine may not get as far as running it.
      std::optional<timeout_error::stage> where;
      for (auto limit = std::chrono::milliseconds(100); where != timeout_error::stage::run && limit < 30s; limit *= 8) {
        where.reset();
        crowd timed(db);
        co_await timed.hold_worker();
        const outcome& before = timed.add(insert(patient));
        timed.add(fail_in(db.with(limit), endless, where));
        const outcome& after = timed.add(insert(patient));
        co_await timed.run();
        CHECK(before == "finished");
        CHECK(after == "finished");
        others += 2;
      }
      CHECK(where == timeout_error::stage::run);
      std::stop_source stop;
      crowd stopped(db);
      co_await stopped.hold_worker();
      stopped.add(insert(patient));
      const outcome& told = stopped.add(execute(db.with(stop.get_token()), endless));
      stopped.add(insert(patient));
      stopped.let_run();
      for (int turns = 0; turns < 5; ++turns) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
      stop.request_stop();
      co_await stopped.run();
      CHECK(told == "cancelled");
      CHECK(co_await rows_of(db) == others + 2);
    });
  }
}

TEST_CASE("a group waits for a lock no longer than its members may") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_bounded(file.path(), {});
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    {
      crowd all(db);
      co_await all.hold_worker();
      std::vector<outcome*> told;
      for (int i = 0; i < 3; ++i) told.push_back(&all.add(insert(db.with(std::chrono::milliseconds(20)))));
      co_await all.run();
      for (const outcome* one : told) CHECK(*one == "timeout");
    }
    std::stop_source stop;
    crowd all(db);
    co_await all.hold_worker();
    const outcome& stopped = all.add(insert(db.with(stop.get_token())));
    const outcome& patient = all.add(insert(db.with(std::stop_token())));
    all.let_run();
    for (int turns = 0; turns < 5; ++turns) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
    stop.request_stop();
    co_await until([&] { return stopped.has_value(); });
    CHECK(stopped == "cancelled");
    CHECK_FALSE(patient.has_value());
    other.execute("ROLLBACK");
    co_await all.run();
    CHECK(patient == "finished");
    CHECK(co_await rows_of(db) == 1);
  });
}

TEST_CASE("what begins or ends transactions, or cannot run in one, never shares one") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_bounded(file.path(), {});
    const auto patient = db.with(std::stop_token());
    crowd all(db);
    co_await all.hold_worker();
    std::vector<outcome*> told;
    for (const char* const sql : {"INSERT INTO t(v) VALUES ('kept')", "BEGIN", "INSERT INTO t(v) VALUES ('undone')",
                                  "ROLLBACK", "INSERT INTO t(v) VALUES ('kept')", "VACUUM",
                                  "INSERT INTO t(v) VALUES ('kept')", "PRAGMA foreign_keys = off"}) {
      told.push_back(&all.add(execute(patient, sql)));
    }
    co_await all.run();
    for (const outcome* one : told) CHECK(*one == "finished");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t WHERE v = 'kept'") == 3);
    CHECK(co_await rows_of(db) == 3);
    CHECK(co_await db.query_one<int>("PRAGMA foreign_keys") == 0);
  });
}
