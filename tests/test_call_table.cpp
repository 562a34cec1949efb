// Every kind of call x {queued, running, done} x every way in which it can end.
#include "support/abandonable.hpp"
#include "support/call_table.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/sanitized.hpp"
#include "support/trap.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace {

using cosqlite::connection;
using cosqlite::task;
using support::abandonable;
using support::raw_database;
using support::start;
using support::trap;
using support::until;
using namespace support::calls;

task<> lease_all(world& w) {
  w.leases.push_back(co_await w.pool->acquire_reader());
  w.leases.push_back(co_await w.pool->acquire_writer());
}

// --- queued

void try_queued(const case_of_call& what, way_out how) {
  INFO(what.name << " queued, ended by " << names_of_ways_out[static_cast<int>(how)]);
  std::atomic<bool> go = false;
  trial t(what, how, std::chrono::milliseconds(20));
  std::optional<std::string> let_go;
  std::optional<abandonable> blocker;
  if (what.on == made_on::pool) {
    t.loop.run(lease_all(t.w));
  } else {
    blocker.emplace(start(hold(t.w, go), let_go));
  }
  t.begin();
  CHECK_FALSE(t.outcome.has_value());
  t.end();
  // The worker is still held: the call ends all the same.
  const bool stopped = (how == way_out::stop || how == way_out::timeout) && what.stoppable;
  if (stopped) {
    t.turn_until(t.outcome);
    CHECK(t.outcome == (how == way_out::stop ? "cancelled" : "timeout"));
  }
  go = true;
  if (what.on == made_on::pool) t.w.leases.clear();
  if (how == way_out::stopped_loop) return;  // its loop closes without having turned
  if (!t.is_destroyed()) t.turn_until(t.outcome);
  if (!stopped && !t.is_gone() && !t.is_destroyed() && what.one_call && how != way_out::close)
    CHECK(t.outcome == "finished");
  if (how == way_out::close && what.one_call && what.on != made_on::pool) CHECK(t.outcome == "finished");
  if (how == way_out::drop) CHECK(t.outcome != "finished");
  if (how == way_out::close) t.turn_until(t.closed);
  if (!t.is_gone() && how != way_out::close) t.loop.run(check_usable(t.w));
  t.w.drop();
  if (blocker) t.turn_until(let_go);
  if (t.is_destroyed() || stopped || how == way_out::drop) CHECK(t.rows() == 1);
}

// --- running

constexpr std::chrono::milliseconds no_time{0};
constexpr int deepest = support::sanitized ? 2 : 5;

/// Gives a call more time where the machine was too slow for it to get anywhere.
template <class F>
bool in_time(F attempt) {
  for (const int ms : {20, 200, 2'000}) {
    if (attempt(std::chrono::milliseconds(ms))) return true;
  }
  return false;
}

/// Lets go of what is held, whatever happens.
class released_in_the_end {
 public:
  explicit released_in_the_end(trap& t) : trap_(t) {}
  released_in_the_end(const released_in_the_end&) = delete;
  released_in_the_end& operator=(const released_in_the_end&) = delete;
  ~released_in_the_end() { trap_.release(); }

 private:
  trap& trap_;
};

/// Nothing of what was done before is still at work when it returns, and the call under test has something to do.
task<> come_to_rest(world& w, std::string_view name) {
  const auto nothing = [](sqlite3*) {};
  if (w.db || !w.leases.empty()) co_await run_there(w, nothing);
  if (!w.pool || !w.leases.empty()) co_return;
  if (name != "acquire_reader") {
    cosqlite::leased_connection reader = co_await w.pool->acquire_reader();
    co_await reader.run(nothing);
  }
  cosqlite::leased_connection writer = co_await w.pool->acquire_writer();
  co_await writer.run(nothing);
}

void check_outcome_of_running(trial& t) {
  const std::string& outcome = *t.outcome;
  INFO("outcome: " << outcome);
  const char* const other = t.how == way_out::stop ? "cancelled" : t.how == way_out::timeout ? "timeout" : "closed";
  CHECK((outcome == "finished" || outcome == other));
  if (t.how == way_out::close && t.what.one_call) CHECK(outcome == "finished");
}

/// Meets the call where it comes by the \p nth time. False: it was over before.
bool try_running(trap& inside, const case_of_call& what, way_out how, int nth, std::chrono::milliseconds patience) {
  INFO(what.name << " running, met at " << nth << ", ended by " << names_of_ways_out[static_cast<int>(how)]);
  trial t(what, how, patience);
  t.loop.run(come_to_rest(t.w, what.name));
  const released_in_the_end in_the_end(inside);
  inside.set(nth);
  t.begin();
  t.loop.run(until([&] { return inside.has_caught() || t.outcome.has_value(); }));
  if (!inside.has_caught()) return false;
  {
    // Destroying a call that reads the caller's memory waits for it.
    std::optional<std::jthread> elsewhere;
    if (what.borrows && t.is_destroyed()) elsewhere.emplace([&inside] { inside.release(); });
    t.end();
  }
  inside.release();
  if (how == way_out::stopped_loop) return true;
  if (!t.is_destroyed()) {
    t.turn_until(t.outcome);
    check_outcome_of_running(t);
  }
  if (how == way_out::close) t.turn_until(t.closed);
  if (!t.is_gone() && how != way_out::close) t.loop.run(check_usable(t.w));
  t.w.drop();
  // What is reported is what has happened.
  const auto rows = t.rows();
  if (!t.is_destroyed()) CHECK((rows > 1) == (what.writes && t.outcome == "finished"));
  if (!what.writes) CHECK(rows == 1);
  return true;
}

// --- done

/// Waits, while the loop stands still, until the worker has done the call.
void wait_until_done(trial& t, std::optional<abandonable>& marker, std::optional<std::string>& marked,
                     std::atomic<bool>& done) {
  const std::string_view name = t.what.name;
  if (name == "begin" || name == "lease's begin") {
    const raw_database other(t.file.path());
    const auto end = std::chrono::steady_clock::now() + t.w.limit;
    while (other.try_to("BEGIN IMMEDIATE") == SQLITE_OK) {
      other.execute("ROLLBACK");
      if (t.how == way_out::timeout && std::chrono::steady_clock::now() > end) return;
    }
    return;
  }
  const auto set = [&done](sqlite3*) { done = true; };
  if (name == "commit" || name == "rollback") {
    // What follows the transaction tells that it has ended.
    const auto after = [](connection& db, std::atomic<bool>& ended) -> task<> {
      const auto set_it = [&ended](sqlite3*) { ended = true; };
      co_await db.run(set_it);
    };
    marker.emplace(start(after(*t.w.db, done), marked));
  } else {
    marker.emplace(start(run_there(t.w, set), marked));
  }
  while (!done) std::this_thread::yield();
}

/// False: the time was up before the call was done.
bool try_done(const case_of_call& what, way_out how, std::chrono::milliseconds patience) {
  INFO(what.name << " done but not delivered, ended by " << names_of_ways_out[static_cast<int>(how)]);
  std::atomic<bool> done = false;
  trial t(what, how, patience);
  std::optional<abandonable> marker;
  std::optional<std::string> marked;
  t.begin();
  wait_until_done(t, marker, marked, done);
  CHECK_FALSE(t.outcome.has_value());
  t.end();
  if (how == way_out::stopped_loop) return true;
  if (!t.is_destroyed()) {
    t.turn_until(t.outcome);
    if (how == way_out::timeout && t.outcome == "timeout") return false;
    CHECK(t.outcome == "finished");
  }
  if (how == way_out::close) t.turn_until(t.closed);
  if (!t.is_gone() && how != way_out::close) t.loop.run(check_usable(t.w));
  t.w.drop();
  // What was done is done, whether or not anybody has heard of it.
  CHECK(t.rows() >= (what.writes ? 2 : 1));
  return true;
}

}  // namespace

TEST_CASE("every call that is queued ends in every way without having run") {
  const trap never_set;
  for (const case_of_call& what : all) {
    for (const way_out how : ways_out) try_queued(what, how);
  }
}

TEST_CASE("every call that runs ends in every way, with the outcome that it is told") {
  trap inside;
  for (const case_of_call& what : all) {
    if (what.instant) continue;
    for (const way_out how : ways_out) {
      INFO(what.name << " was never met");
      CHECK(in_time([&](auto patience) { return try_running(inside, what, how, 1, patience); }));
      if (how == way_out::timeout) continue;
      for (int nth = 2; nth <= deepest && try_running(inside, what, how, nth, no_time); ++nth) continue;
    }
  }
}

TEST_CASE("every call that is done but not delivered stays done, whatever ends it") {
  const trap never_set;
  for (const case_of_call& what : all) {
    // What takes several calls is done only when the loop has turned; what a pool does is done by its connections.
    if (!what.one_call || what.on == made_on::pool) continue;
    for (const way_out how : ways_out) {
      INFO(what.name << " was never done in time");
      CHECK(in_time([&](auto patience) { return try_done(what, how, patience); }));
    }
  }
}
