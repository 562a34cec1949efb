// A pool whose callers pause: its readers, its writer and the loop go to sleep and wake in every phase, and no call is
// lost. The seed is printed, and COSQLITE_SEED sets it, but threads do not repeat themselves; COSQLITE_SOAK_SECONDS goes
// on for so long.
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include "support/randomised.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using cosqlite::pool;
using cosqlite::task;
using support::temp_database;

constexpr int calls_in_ci = support::sanitized ? 300 : 1'500;  // of each caller

struct world {
  pool& db;
  std::mt19937_64 random;
  std::chrono::steady_clock::time_point until;
  int written = 0;

  int below(int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); }
};

/// Nothing, a turn of the loop, less than threads look for work before they sleep, or more than that.
task<> pause(world& w) {
  constexpr std::chrono::microseconds lengths[] = {std::chrono::microseconds(0), std::chrono::microseconds(30),
                                                   std::chrono::microseconds(200), std::chrono::milliseconds(2)};
  if (w.below(2) == 0) co_return;
  co_await cosqlite::sleep_for(lengths[w.below(w.below(10) == 0 ? 4 : 2)]);
}

task<> read(world& w) { static_cast<void>(co_await w.db.query_one<int>("SELECT count(*) FROM t")); }

/// Some tenths of a millisecond in a few steps of SQLite's machine.
task<> read_slowly(world& w) {
  static_cast<void>(co_await w.db.query_one<int>("SELECT length(hex(zeroblob(40000))) FROM t LIMIT 1"));
}

task<> write(world& w) {
  co_await w.db.execute("INSERT INTO t(v) VALUES (1)");
  ++w.written;
}

task<> write_in_transaction(world& w) {
  cosqlite::transaction tx = co_await w.db.begin();
  co_await tx.execute("INSERT INTO t(v) VALUES (2)");
  const bool dropped = w.below(3) == 0;
  co_await pause(w);
  if (dropped) co_return;
  co_await tx.commit();
  ++w.written;
}

task<> stream(world& w) {
  auto rows = w.db.stream<int>("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000) SELECT n FROM c");
  const int wanted = w.below(3000);
  for (int i = 0; i < wanted; ++i) {
    const std::optional<int> row = co_await rows.next();
    if (row != i + 1) throw std::logic_error("a stream gave another row");
  }
  co_await pause(w);
}

task<> lease(world& w) {
  cosqlite::leased_connection reader = co_await w.db.acquire_reader();
  co_await pause(w);
  static_cast<void>(co_await reader.query_one<int>("SELECT count(*) FROM t"));
}

/// Most calls are short reads, which share their transactions.
task<> call(world& w) {
  constexpr task<> (*seldom[])(world&) = {&read_slowly, &write, &write_in_transaction, &stream, &lease};
  const int kind = w.below(40);
  return kind < 5 ? seldom[kind](w) : read(w);
}

task<> keep_calling(world& w) {
  for (int i = 0; i < calls_in_ci || std::chrono::steady_clock::now() < w.until; ++i) {
    co_await call(w);
    co_await pause(w);
  }
}

task<> use(const std::string& path, cosqlite::pool_options options, int callers, std::uint64_t seed,
           std::chrono::seconds soak) {
  pool db = co_await support::open_pool_with_table(path, options);
  co_await db.execute("INSERT INTO t(v) VALUES (0)");
  world w{db, std::mt19937_64(seed), std::chrono::steady_clock::now() + soak};
  std::vector<task<>> all;
  for (int i = 0; i < callers; ++i) all.push_back(keep_calling(w));
  co_await cosqlite::when_all(std::move(all));
  CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == w.written + 1);
  co_await db.close();
}

}  // namespace

TEST_CASE("no call is lost in a pool whose threads sleep and wake between the calls") {
  const std::uint64_t seed = support::seed_for("pool pauses");
  const std::chrono::seconds soak = support::soak_time() / 6;  // for each pool
  for (const std::size_t readers : {std::size_t{1}, std::size_t{2}, std::size_t{4}}) {
    for (const int poll_us : {0, 50}) {
      const temp_database file;
      support::test_loop loop(std::chrono::minutes(4) + soak);
      cosqlite::pool_options options;
      options.readers = readers;
      options.checkpoint_pages = 20;
      options.connection.poll = std::chrono::microseconds(poll_us);
      options.connection.synchronous = cosqlite::sync::off;
      loop.run(use(file.path(), options, readers == 1 ? 2 : 6, seed + readers, soak));
    }
  }
}
