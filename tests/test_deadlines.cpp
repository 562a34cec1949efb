// Deadlines of many calls at once, and of calls inside one another.
#include "support/abandonable.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include "support/plug.hpp"
#include <cosqlite/cosqlite.hpp>

#include <uv.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::limited_connection;
using cosqlite::task;
using cosqlite::timeout_error;
using cosqlite::transaction;
using support::abandonable;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::open_with_table;
using support::rows_of;
using support::start;
using support::temp_database;
using support::until;

constexpr auto soon = std::chrono::milliseconds(20);
constexpr auto far_off = std::chrono::hours(1);

task<> insert(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute("INSERT INTO t(v) VALUES (1)");
}
task<> hold(connection& db, support::plug& by) {
  [[maybe_unused]] const bool local = true;
  co_await by.hold(db);
}

}  // namespace

TEST_CASE("of many calls in a queue each ends at its own deadline, in whatever order they come and go") {
  constexpr std::size_t calls = 200;
  for (unsigned seed = 0; seed < 12; ++seed) {
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const temp_database file;
    on_loop([&]() -> task<> {
      connection db = co_await open_with_table(file.path());
      support::plug plug;
      std::optional<std::string> let_go;
      const abandonable held = start(hold(db, plug), let_go);
      co_await plug.held();
      std::array<std::optional<std::string>, calls> outcomes;
      std::vector<std::size_t> patient;
      std::vector<std::size_t> impatient;
      std::vector<abandonable> all;
      for (std::size_t i = 0; i < calls; ++i) {
        const bool waits = random() % 2 == 0;
        const std::chrono::nanoseconds limit =
            waits ? std::chrono::nanoseconds(far_off + std::chrono::seconds(random() % 1000))
                  : std::chrono::milliseconds(1 + random() % 30);
        all.push_back(start(insert(db.with(limit)), outcomes[i]));
        (waits ? patient : impatient).push_back(i);
      }
      // Some go away: their deadlines are taken out from between the others.
      for (std::size_t n = 0; n < calls / 3; ++n) all[random() % calls].destroy();
      const auto is_over = [&](std::size_t i) { return outcomes[i].has_value() || all[i].is_destroyed(); };
      co_await until([&] { return std::ranges::all_of(impatient, is_over); });
      for (const std::size_t i : impatient) CHECK((all[i].is_destroyed() || outcomes[i] == "timeout"));
      for (const std::size_t i : patient) CHECK_FALSE(outcomes[i].has_value());
      plug.release();
      co_await until([&] { return std::ranges::all_of(patient, is_over); });
      int finished = 0;
      for (const std::size_t i : patient) finished += outcomes[i] == "finished" ? 1 : 0;
      CHECK(co_await rows_of(db) == finished);
    });
  }
}

TEST_CASE("inside a transaction that has a deadline the earlier one counts, the call's or the transaction's") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    {
      transaction tx = co_await db.with(far_off).begin();
      co_await failure_of<timeout_error>(tx.with(soon).query(endless_read));
      co_await tx.execute("INSERT INTO t(v) VALUES (1)");
      co_await tx.commit();
    }
    // A slow machine may use the time up before the transaction has begun.
    std::optional<transaction> tx;
    for (auto limit = soon; !tx; limit *= 4) {
      try {
        tx.emplace(co_await db.with(limit).begin());
      } catch (const timeout_error&) {
      }
    }
    co_await failure_of<timeout_error>(tx->with(far_off).query(endless_read));
    // The time is up for all of it, but not for undoing it.
    co_await failure_of<timeout_error>(tx->execute("INSERT INTO t(v) VALUES (2)"));
    co_await failure_of<timeout_error>(tx->commit());
    co_await tx->rollback();
    CHECK_FALSE(tx->is_open());
    CHECK(co_await rows_of(db) == 1);
  });
}

TEST_CASE("a savepoint can be undone when its transaction's deadline has passed") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::optional<transaction> tx;
    std::optional<cosqlite::savepoint> point;
    for (auto limit = soon; !point; limit *= 4) {
      tx.reset();
      try {
        tx.emplace(co_await db.with(limit).begin());
        point.emplace(co_await tx->savepoint());
      } catch (const timeout_error&) {
      }
    }
    co_await failure_of<timeout_error>(point->query(endless_read));
    co_await failure_of<timeout_error>(point->release());
    co_await point->rollback();
    CHECK_FALSE(point->is_open());
    co_await tx->rollback();
  });
}

TEST_CASE("the deadline of a call that is over keeps no loop alive") {
  const temp_database file;
  support::test_loop loop;
  std::optional<connection> db(loop.run(open_with_table(file.path())));
  loop.run(insert(db->with(far_off)));
  CHECK(uv_run(loop.get(), UV_RUN_DEFAULT) == 0);
  {
    std::optional<std::string> outcome;
    abandonable given_up = start(insert(db->with(far_off)), outcome);
    given_up.destroy();
    CHECK(uv_run(loop.get(), UV_RUN_DEFAULT) == 0);
  }
  loop.run(insert(db->with(far_off)));
  db.reset();
  CHECK(loop.close() == 0);
}
