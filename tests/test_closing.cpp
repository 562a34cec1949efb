// Closing what is in use: by whom, how often and from what state.
#include "support/abandonable.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include "support/plug.hpp"
#include <cosqlite/cosqlite.hpp>

#include <uv.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::leased_connection;
using cosqlite::pool;
using cosqlite::task;
using cosqlite::transaction;
using support::abandonable;
using support::failure_of;
using support::on_loop;
using support::open_with_readers;
using support::open_with_table;
using support::start;
using support::temp_database;
using support::until;

/// A connection or a pool.
template <class T>
task<> close(T& what) {
  [[maybe_unused]] const bool local = true;
  co_await what.close();
}
template <class T>
task<> hold(T& on, support::plug& by) {
  [[maybe_unused]] const bool local = true;
  co_await by.hold(on);
}
template <class T>
task<> read(T& from) {
  static_cast<void>(co_await from.query("SELECT count(*) FROM t"));
}

/// Whoever closes it waits for what is under way, also the second one, and also the one who comes when all is done.
template <class T>
task<> close_again_and_again(T& what, connection& at_work) {
  support::plug plug;
  std::optional<std::string> held;
  const abandonable holding = start(hold(at_work, plug), held);
  co_await plug.held();
  std::array<std::optional<std::string>, 3> closed;
  const abandonable first = start(close(what), closed[0]);
  const abandonable second = start(close(what), closed[1]);
  co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
  const abandonable third = start(close(what), closed[2]);
  // However long it is looked at.
  for (int turns = 0; turns < 20; ++turns) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
  for (const auto& one : closed) CHECK_FALSE(one.has_value());
  plug.release();
  co_await until([&] { return closed[0] && closed[1] && closed[2]; });
  for (const auto& one : closed) CHECK(one == "finished");
  CHECK(held == "finished");
  CHECK_FALSE(what.is_open());
  co_await what.close();
}

}  // namespace

TEST_CASE("whoever closes a connection or a pool waits for the call that runs, however many do") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    co_await close_again_and_again(db, db);
    pool readers = co_await open_with_readers(file.path(), 2);
    co_await close_again_and_again(readers, readers.writer());
  });
}

TEST_CASE("closing a pool waits for whichever of its connections is at work") {
  for (std::size_t at_work = 0; at_work < 3; ++at_work) {
    const temp_database file;
    on_loop([&]() -> task<> {
      pool db = co_await open_with_readers(file.path(), 3);
      std::vector<leased_connection> readers;
      for (int i = 0; i < 3; ++i) readers.push_back(co_await db.acquire_reader());
      support::plug plug;
      std::optional<std::string> held;
      std::optional<std::string> closed;
      const abandonable holding = start(hold(readers[at_work], plug), held);
      co_await plug.held();
      const abandonable closing = start(close(db), closed);
      for (int turns = 0; turns < 20; ++turns) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
      CHECK_FALSE(closed.has_value());
      plug.release();
      co_await until([&] { return closed.has_value(); });
      CHECK(held == "finished");
    });
  }
}

TEST_CASE("what was closed long ago can be closed again, also when its loop has nothing left") {
  const temp_database file;
  support::test_loop loop;
  std::optional<connection> db(loop.run(open_with_table(file.path())));
  std::optional<pool> both(loop.run(open_with_readers(file.path(), 1)));
  loop.run(close(*db));
  loop.run(close(*both));
  CHECK(uv_run(loop.get(), UV_RUN_DEFAULT) == 0);
  loop.run(close(*db));
  loop.run(close(*both));
  // Another one on the same loop is none of its business.
  connection next = loop.run(open_with_table(file.path()));
  loop.run(close(*db));
  loop.run(read(next));
  loop.run(close(next));
  CHECK(uv_run(loop.get(), UV_RUN_DEFAULT) == 0);
  CHECK(loop.close() == 0);
}

TEST_CASE("closing a pool lets a lease's calls finish that wait for its transaction, and then ends both") {
  for (const bool writer : {false, true}) {
    const temp_database file;
    on_loop([&]() -> task<> {
      pool db = co_await open_with_readers(file.path(), 1);
      std::optional<leased_connection> lease;
      if (writer) {
        lease.emplace(co_await db.acquire_writer());
      } else {
        lease.emplace(co_await db.acquire_reader());
      }
      transaction tx = co_await lease->begin(cosqlite::tx_mode::deferred);
      static_cast<void>(co_await tx.query("SELECT * FROM t"));
      std::array<std::optional<std::string>, 3> outcomes;
      std::vector<abandonable> waiting;
      for (auto& outcome : outcomes) waiting.push_back(start(read(*lease), outcome));
      co_await db.close();
      co_await until([&] { return outcomes[0] && outcomes[1] && outcomes[2]; });
      for (const auto& outcome : outcomes) CHECK(outcome == "finished");
      co_await failure_of<cosqlite::closed_error>(tx.query("SELECT * FROM t"));
      co_await failure_of<cosqlite::closed_error>(lease->query("SELECT * FROM t"));
    });
  }
}

TEST_CASE("closing a pool lets the calls finish that wait for a connection") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    leased_connection reader = co_await db.acquire_reader();
    leased_connection writer = co_await db.acquire_writer();
    const auto write = [](pool& to) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await to.execute("INSERT INTO t(v) VALUES (1)");
    };
    const auto lease_reader = [](pool& of) -> task<> { const leased_connection lease = co_await of.acquire_reader(); };
    std::array<std::optional<std::string>, 9> outcomes;
    std::vector<abandonable> waiting;
    for (std::size_t i = 0; i < outcomes.size(); i += 3) {
      waiting.push_back(start(read(db), outcomes[i]));
      waiting.push_back(start(write(db), outcomes[i + 1]));
      waiting.push_back(start(lease_reader(db), outcomes[i + 2]));
    }
    co_await db.close();
    co_await until([&] { return std::ranges::all_of(outcomes, [](const auto& one) { return one.has_value(); }); });
    for (const auto& outcome : outcomes) CHECK(outcome == "finished");
    co_await failure_of<cosqlite::closed_error>(reader.query("SELECT 1"));
    co_await failure_of<cosqlite::closed_error>(writer.query("SELECT 1"));
  });
  CHECK(support::raw_database(file.path()).number("SELECT count(*) FROM t") == 3);
}

TEST_CASE("a call that another thread is just stopping is answered although its connection has gone meanwhile") {
  // Its error says what it was: with so much text that takes longer than closing the connection.
  const std::string text = "SELECT 1 -- " + std::string(std::size_t{64} << 20U, 'x');
  const auto query = [&text](cosqlite::limited_connection db) -> task<> { static_cast<void>(co_await db.query(text)); };
  for (int round = 0; round < 3; ++round) {
    const temp_database file;
    on_loop([&]() -> task<> {
      std::optional<connection> db(co_await open_with_table(file.path()));
      support::plug plug;
      std::optional<std::string> held;
      std::optional<std::string> outcome;
      std::stop_source stop;
      const abandonable holding = start(hold(*db, plug), held);
      co_await plug.held();
      const abandonable stopped = start(query(db->with(stop.get_token())), outcome);
      std::atomic<bool> is_stopping = false;
      const std::jthread other([&] {
        is_stopping = true;
        stop.request_stop();
      });
      while (!is_stopping) std::this_thread::yield();
      db.reset();
      plug.release();
      co_await until([&] { return outcome.has_value(); });
      CHECK((outcome == "cancelled" || outcome == "closed"));
    });
  }
}
