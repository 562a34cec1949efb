// Which reader of a pool runs a call: nobody waits behind what takes long while another reader is free.
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace {

using cosqlite::pool;
using cosqlite::task;
using support::endless_read;
using support::on_loop;
using support::open_with_readers;
using support::temp_database;

constexpr const char* short_read = "SELECT count(*) FROM t";

task<> read(pool& db, std::size_t& done) {
  static_cast<void>(co_await db.query_one<int>(short_read));
  ++done;
}

task<> read_many(pool& db, std::size_t count, std::size_t& done) {
  std::vector<task<>> all;
  for (std::size_t i = 0; i < count; ++i) all.push_back(read(db, done));
  co_await cosqlite::when_all(std::move(all));
}

/// Until calls are known to be short, and all readers are open.
task<> warm_up(pool& db) {
  std::size_t done = 0;
  for (int round = 0; round < 50; ++round) co_await read_many(db, 20, done);
}

task<> run_until_stopped(pool& db, std::stop_token stop, bool& stopped) {
  try {
    co_await db.with(std::move(stop)).query(endless_read);
  } catch (const cosqlite::cancelled_error&) {
    stopped = true;
  }
}

/// So many short reads, stopping \p stop when all of them are done.
task<> read_then_stop(pool& db, std::size_t count, std::stop_source stop, std::size_t& done) {
  co_await read_many(db, count, done);
  stop.request_stop();
}

}  // namespace

TEST_CASE("short reads do not wait behind a long one while a reader is free, whatever their number and place") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 2);
    for (const std::size_t before : {std::size_t{0}, std::size_t{1}, std::size_t{40}}) {
      for (const std::size_t behind : {std::size_t{1}, std::size_t{3}, std::size_t{100}}) {
        co_await warm_up(db);
        std::stop_source stop;
        bool stopped = false;
        std::size_t early = 0;
        std::size_t late = 0;
        std::vector<task<>> all;
        if (before != 0) all.push_back(read_many(db, before, early));
        all.push_back(run_until_stopped(db, stop.get_token(), stopped));
        all.push_back(read_then_stop(db, behind, stop, late));
        co_await cosqlite::when_all(std::move(all));
        CHECK(stopped);
        CHECK(early == before);
        CHECK(late == behind);
      }
    }
  });
}

TEST_CASE("as many long reads run at once as there are readers") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 4);
    co_await warm_up(db);
    std::vector<std::stop_source> stops(3);
    std::vector<int> flags(3);
    std::vector<task<>> all;
    const auto run = [](pool& on, std::stop_token stop, int& flag) -> task<> {
      bool stopped = false;
      co_await run_until_stopped(on, std::move(stop), stopped);
      flag = stopped ? 1 : 0;
    };
    for (std::size_t i = 0; i < 3; ++i) all.push_back(run(db, stops[i].get_token(), flags[i]));
    const auto end = [](pool& on, std::vector<std::stop_source>& of) -> task<> {
      // The three are in nobody's way: the fourth reader serves.
      std::size_t done = 0;
      co_await read_many(on, 50, done);
      CHECK(done == 50);
      for (std::stop_source& s : of) s.request_stop();
    };
    all.push_back(end(db, stops));
    co_await cosqlite::when_all(std::move(all));
    CHECK(flags == std::vector<int>{1, 1, 1});
  });
}

TEST_CASE("streams and leases leave short reads to the others") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 3);
    co_await warm_up(db);
    auto rows =
        db.stream<int>("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000) SELECT n FROM c");
    CHECK(co_await rows.next() == 1);
    std::optional<cosqlite::leased_connection> lease = co_await db.acquire_reader();
    std::size_t done = 0;
    co_await read_many(db, 100, done);
    CHECK(done == 100);
    CHECK(co_await lease->query_one<int>(short_read) == 0);
  });
}

TEST_CASE("a short read that long ones have given back gets a reader that is not open yet") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 4);
    // Two readers come to be open, and reads known to be short.
    std::size_t warm = 0;
    for (int i = 0; i < 200; ++i) co_await read_many(db, 2, warm);
    std::stop_source stop;
    bool first = false;
    bool second = false;
    std::size_t done = 0;
    co_await cosqlite::when_all(run_until_stopped(db, stop.get_token(), first),
                                run_until_stopped(db, stop.get_token(), second), read_then_stop(db, 1, stop, done));
    CHECK(first);
    CHECK(second);
    CHECK(done == 1);
  });
}

TEST_CASE("a reader that was awake for a stream's end and is leased then keeps nobody waiting") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 3);
    co_await warm_up(db);
    for (int round = 0; round < 500; ++round) {
      {
        auto rows = db.stream<int>("SELECT 1 UNION ALL SELECT 2");
        static_cast<void>(co_await rows.next());
      }
      cosqlite::leased_connection lease = co_await db.acquire_reader();
      std::size_t done = 0;
      co_await read(db, done);
      CHECK(done == 1);
    }
  });
}

TEST_CASE("reads that are queued when a pool is closed finish, also where only one reader could be opened") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 4);
    std::size_t done = 0;
    co_await read(db, done);
    std::filesystem::rename(file.path(), file.path() + ".away");
    std::vector<task<>> all;
    all.push_back(read_many(db, 200, done));
    const auto close = [](pool& of) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await of.close();
    };
    all.push_back(close(db));
    co_await cosqlite::when_all(std::move(all));
    std::filesystem::rename(file.path() + ".away", file.path());
    CHECK(done == 201);
  });
}

TEST_CASE("calls that were taken and given back again can be cancelled, and end with the pool") {
  const temp_database file;
  on_loop([&]() -> task<> {
    for (int round = 0; round < 20; ++round) {
      pool db = co_await open_with_readers(file.path(), 2);
      co_await warm_up(db);
      std::stop_source stop;
      std::vector<task<>> all;
      std::vector<int> outcome(60);
      const auto one = [](pool& on, std::stop_token token, bool is_long, int& is) -> task<> {
        try {
          co_await on.with(std::move(token)).query(is_long ? endless_read : short_read);
          is = 1;
        } catch (const cosqlite::cancelled_error&) {
          is = 2;
        }
      };
      for (std::size_t i = 0; i < outcome.size(); ++i)
        all.push_back(one(db, stop.get_token(), i % 20 == 7, outcome[i]));
      const auto end = [](std::stop_source s, int turns) -> task<> {
        for (int n = 0; n < turns; ++n) co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
        s.request_stop();
      };
      all.push_back(end(stop, round * 20));
      co_await cosqlite::when_all(std::move(all));
      for (std::size_t i = 0; i < outcome.size(); ++i) {
        CHECK(outcome[i] != 0);
        if (i % 20 == 7) CHECK(outcome[i] == 2);
      }
      CHECK(co_await db.query_one<int>(short_read) == 0);
      CHECK(db.stats().waiting == 0);
      co_await db.close();
    }
  });
}

TEST_CASE("a reader that ends its read transaction when it has nothing to do serves on") {
  const temp_database file;
  on_loop([&]() -> task<> {
    cosqlite::pool_options options;
    options.readers = 1;
    options.connection.poll = std::chrono::microseconds(0);  // it has nothing to do after each call
    pool db = co_await support::open_pool_with_table(file.path(), options);
    // Two share a transaction. Ending it takes a few steps, and after a thousand of them the progress handler is called
    // meanwhile, when the calls themselves, which have taken long, are over.
    const auto long_read = [](pool& on) -> task<int> {
      constexpr const char* sql = "SELECT length(hex(zeroblob(100000))) + count(*) FROM t";
      const int length = co_await on.with(std::chrono::seconds(20)).query_one<int>(sql);
      co_return length;
    };
    for (int i = 0; i < 1'200; ++i) {
      const auto [first, second] = co_await cosqlite::when_all(long_read(db), long_read(db));
      REQUIRE(first + second == 400'000);
    }
  });
}

TEST_CASE("a read that waits while the open readers are held gets another once that can be opened again") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 2);
    const cosqlite::leased_connection held = co_await db.acquire_reader();
    std::filesystem::rename(file.path(), file.path() + ".away");
    const auto read_soon = [](pool& on, int& rows) -> task<> {
      rows = co_await on.with(std::chrono::seconds(20)).query_one<int>(short_read);
    };
    int rows = -1;
    const auto bring_back = [](std::string path) -> task<> {
      // So long that opening has failed a few times.
      co_await cosqlite::sleep_for(std::chrono::milliseconds(100));
      std::filesystem::rename(path + ".away", path);
    };
    co_await cosqlite::when_all(read_soon(db, rows), bring_back(file.path()));
    CHECK(rows == 0);
  });
}
