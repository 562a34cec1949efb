// What a pool says of itself.
#include "support/abandonable.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

namespace {

using cosqlite::leased_connection;
using cosqlite::pool;
using cosqlite::task;
using cosqlite::transaction;
using support::abandonable;
using support::on_loop;
using support::open_with_readers;
using support::start;
using support::temp_database;
using support::until;

/// Whatever has query and execute.
template <class Connection>
task<> read(Connection db) {
  static_cast<void>(co_await db.query("SELECT * FROM t"));
}
template <class Connection>
task<> write(Connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute("INSERT INTO t(v) VALUES (1)");
}

/// Whatever was given back before has been cleaned when it returns.
task<> come_to_rest(pool& db) {
  const auto nothing = [](sqlite3*) {};
  {
    leased_connection reader = co_await db.acquire_reader();
    co_await reader.run(nothing);
    co_await db.writer().run(nothing);
  }
  while (db.stats().in_use != 0) co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
}

}  // namespace

TEST_CASE("stats tell who has a connection, and who waits for one") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    std::array<std::optional<std::string>, 6> outcomes;
    std::stop_source stop;
    const auto stoppable = db.with(stop.get_token());
    const auto patient = db.with(std::stop_token());
    {
      std::optional<leased_connection> reader(co_await db.acquire_reader());
      CHECK(db.stats().leased == 1);
      std::optional<leased_connection> writer(co_await db.acquire_writer());
      CHECK(db.stats().leased == 2);
      CHECK(db.stats().in_use == 2);
      CHECK(db.stats().waiting == 0);
      const abandonable a = start(read(patient), outcomes[0]);
      const abandonable b = start(read(stoppable), outcomes[1]);
      CHECK(db.stats().waiting == 2);
      const abandonable c = start(write(patient), outcomes[2]);
      const abandonable d = start(write(stoppable), outcomes[3]);
      CHECK(db.stats().waiting == 4);
      // A lease's own calls wait for its transaction.
      std::optional<transaction> tx(co_await reader->begin(cosqlite::tx_mode::deferred));
      const abandonable e = start(read(reader->with(std::stop_token())), outcomes[4]);
      const abandonable f = start(read(reader->with(stop.get_token())), outcomes[5]);
      CHECK(db.stats().waiting == 6);
      stop.request_stop();
      co_await until([&] { return outcomes[1] && outcomes[3] && outcomes[5]; });
      CHECK_FALSE((outcomes[0] || outcomes[2] || outcomes[4]));
      tx.reset();
      co_await until([&] { return outcomes[4].has_value(); });
      reader.reset();
      writer.reset();
      co_await until([&] { return outcomes[0] && outcomes[2]; });
    }
    for (const int i : {0, 2, 4}) CHECK(outcomes[static_cast<std::size_t>(i)] == "finished");
    for (const int i : {1, 3, 5}) CHECK(outcomes[static_cast<std::size_t>(i)] == "cancelled");
    co_await come_to_rest(db);
    CHECK(db.stats().waiting == 0);
    CHECK(db.stats().leased == 0);
    CHECK(db.stats().in_use == 0);
  });
}

TEST_CASE("stats add up how long calls have waited, and how long they have run") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    co_await come_to_rest(db);
    const cosqlite::pool_stats before = db.stats();
    const auto pause = std::chrono::milliseconds(3);
    std::optional<leased_connection> writer(co_await db.acquire_writer());
    std::optional<std::string> outcome;
    const abandonable waiting = start(write(db.with(std::stop_token())), outcome);
    co_await cosqlite::sleep_for(pause);
    CHECK_FALSE(outcome.has_value());
    writer.reset();
    co_await until([&] { return outcome.has_value(); });
    co_await come_to_rest(db);
    const cosqlite::pool_stats waited = db.stats();
    CHECK(waited.wait - before.wait >= pause);
    const auto take_time = [pause](sqlite3*) { sqlite3_sleep(static_cast<int>(pause.count())); };
    leased_connection reader = co_await db.acquire_reader();
    co_await reader.run(take_time);
    reader.release();
    co_await come_to_rest(db);
    CHECK(db.stats().run - waited.run >= pause);
    CHECK(db.stats().reads > before.reads);
    CHECK(db.stats().writes > before.writes);
  });
}
