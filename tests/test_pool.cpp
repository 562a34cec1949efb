#include "support/abandonable.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/drain.hpp"
#include "support/endless.hpp"
#include "support/foreign.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include "support/plug.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using cosqlite::leased_connection;
using cosqlite::pool;
using cosqlite::task;
using cosqlite::transaction;
using support::drain;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::open_pool_with_table;
using support::open_with_readers;
using support::temp_database;

task<> insert(pool& db, int i) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute("INSERT INTO t(v) VALUES (?)", i);
  CHECK(co_await db.query_one<int>("SELECT count(*) FROM t WHERE v = ?", i) == 1);
}

task<> close(pool& db) {
  [[maybe_unused]] const bool local = true;
  co_await db.close();
}

constexpr std::size_t short_log = 50;  // pages

/// The writer moves the log into the file from so many pages on, and waits for no disk.
task<pool> open_with_short_log(std::string path) {
  cosqlite::pool_options o;
  o.checkpoint_pages = short_log;
  o.connection.synchronous = cosqlite::sync::off;
  pool db = co_await open_pool_with_table(std::move(path), o);
  co_return db;
}

/// The log's file, while it has been cut again and again.
bool has_short_log(const std::string& path) { return std::filesystem::file_size(path + "-wal") < 400 * 4200; }

}  // namespace

TEST_CASE("reads go to readers, opened as they are needed, and see every write that was answered") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    CHECK(db.stats().readers == 0);
    std::vector<task<>> all;
    for (int i = 0; i < 200; ++i) all.push_back(insert(db, i));
    co_await cosqlite::when_all(std::move(all));
    const cosqlite::pool_stats s = db.stats();
    CHECK(s.readers >= 1);
    CHECK(s.readers <= 4);
    CHECK(s.reads >= 200);
    CHECK(s.writes >= 200);
    CHECK(s.cache_hits > 0);
    CHECK(s.wait.count() >= 0);
    CHECK(s.run.count() > 0);
    CHECK(s.waiting == 0);
    CHECK(s.in_use == 0);
    co_await db.close();
    CHECK_FALSE(db.is_open());
  });
}

TEST_CASE("a write through a reader names the right call") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    const auto e = co_await failure_of<cosqlite::readonly_error>(db.query("INSERT INTO t(v) VALUES (1) RETURNING id"));
    CHECK(support::contains(e.what(), "execute()"));
    transaction tx = co_await db.begin();
    const int id = co_await tx.query_one<int>("INSERT INTO t(v) VALUES (1) RETURNING id");
    CHECK(id == 1);
    co_await tx.commit();
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

namespace {

task<> acquire_and_hold(pool& db, std::stop_token stop, int& got, int& gave_up) {
  bool stopped = false;
  try {
    leased_connection lease = co_await db.with(std::move(stop)).acquire_reader();
    ++got;
    static_cast<void>(co_await lease.query_one<int>("SELECT 1"));
  } catch (const cosqlite::cancelled_error&) {
    stopped = true;
  }
  if (stopped) ++gave_up;
}

}  // namespace

TEST_CASE("a waiter that is cancelled, at whatever moment, never loses the slot") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 2);
    int got = 0;
    int gave_up = 0;
    for (int round = 0; round < 100; ++round) {
      std::stop_source stop;
      std::vector<task<>> all;
      for (int i = 0; i < 8; ++i) {
        all.push_back(acquire_and_hold(db, i % 2 == 0 ? stop.get_token() : std::stop_token(), got, gave_up));
      }
      const auto stopping = [](std::stop_source s, int turns) -> task<> {
        for (int n = 0; n < turns; ++n) co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
        s.request_stop();
      };
      all.push_back(stopping(stop, round % 7));
      co_await cosqlite::when_all(std::move(all));
    }
    CHECK(got + gave_up == 100 * 8);
    CHECK(got >= 100 * 4);
    // The workers clean the last ones yet.
    while (db.stats().leased != 0) co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
    leased_connection one = co_await db.acquire_reader();
    leased_connection another = co_await db.acquire_reader();
    CHECK(db.stats().leased == 2);
    CHECK(co_await one.query_one<int>("SELECT 1") == 1);
    CHECK(co_await another.query_one<int>("SELECT 2") == 2);
  });
}

TEST_CASE("waiting for a connection is under the deadline") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    leased_connection reader = co_await db.acquire_reader();
    leased_connection writer = co_await db.acquire_writer();
    const auto soon = std::chrono::milliseconds(15);
    for (int i = 0; i < 2; ++i) {
      const auto e = co_await failure_of<cosqlite::timeout_error>(db.with(soon).query("SELECT 1"));
      CHECK(e.spent_in() == cosqlite::timeout_error::stage::queue);
      co_await failure_of<cosqlite::timeout_error>(db.with(soon).execute("INSERT INTO t(v) VALUES (1)"));
      co_await failure_of<cosqlite::timeout_error>(db.with(soon).begin());
    }
  });
}

TEST_CASE("a pool in memory has one connection that does everything") {
  on_loop([]() -> task<> {
    pool db = co_await open_pool_with_table(":memory:");
    std::vector<task<>> all;
    for (int i = 0; i < 50; ++i) all.push_back(insert(db, i));
    co_await cosqlite::when_all(std::move(all));
    CHECK(db.stats().readers == 0);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 50);
    transaction tx = co_await db.begin();
    co_await tx.execute("DELETE FROM t");
    co_await tx.rollback();
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 50);
  });
}

TEST_CASE("a stream keeps a reader to itself: others see fresh data meanwhile") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 2);
    co_await db.execute(
        "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i < 5000) "
        "SELECT i FROM c");
    auto rows = db.stream<int>("SELECT v FROM t");
    auto first = co_await rows.next();
    CHECK(first == 1);
    for (int i = 0; i < 20; ++i) {
      co_await db.execute("INSERT INTO t(v) VALUES (-1)");
      CHECK(co_await db.query_one<int>("SELECT count(*) FROM t WHERE v = -1") == i + 1);
    }
    int n = 1;
    while (auto v = co_await rows.next()) ++n;
    CHECK(n == 5000);
  });
}

TEST_CASE("a read transaction older than max_read_age is ended") {
  const temp_database file;
  on_loop([&]() -> task<> {
    cosqlite::pool_options o;
    o.readers = 2;
    o.max_read_age = std::chrono::milliseconds(30);
    pool db = co_await open_pool_with_table(file.path(), o);
    co_await db.execute(
        "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i < 90000) "
        "SELECT i FROM c");
    auto rows = db.stream<int>("SELECT v FROM t");
    auto first = co_await rows.next();
    CHECK(first == 1);
    leased_connection lease = co_await db.acquire_reader();
    transaction tx = co_await lease.begin(cosqlite::tx_mode::deferred);
    CHECK(co_await tx.query_one<int>("SELECT count(*) FROM t") == 90000);
    co_await cosqlite::sleep_for(std::chrono::milliseconds(120));
    co_await failure_of<cosqlite::transaction_error>(drain(rows));
    co_await failure_of<cosqlite::transaction_error>(tx.query_one<int>("SELECT count(*) FROM t"));
    co_await tx.rollback();
    CHECK(co_await lease.query_one<int>("SELECT count(*) FROM t") == 90000);
  });
}

TEST_CASE("the writer keeps the write-ahead log short, between transactions") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_short_log(file.path());
    for (int i = 0; i < 1500; ++i) co_await db.execute("INSERT INTO t(v) VALUES (zeroblob(4000))");
    const cosqlite::pool_stats s = db.stats();
    CHECK(s.checkpoints > 0);
    CHECK(s.wal_pages <= 400);
    CHECK(has_short_log(file.path()));
  });
}

TEST_CASE("the writer keeps the write-ahead log short while transactions of many follow one another") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_short_log(file.path());
    const auto write = [](pool& on) -> task<> {
      for (int i = 0; i < 200; ++i) {
        transaction tx = co_await on.begin();
        co_await tx.execute("INSERT INTO t(v) VALUES (zeroblob(4000))");
        co_await tx.commit();
      }
    };
    std::vector<task<>> all;
    for (int i = 0; i < 8; ++i) all.push_back(write(db));
    co_await cosqlite::when_all(std::move(all));
    CHECK(db.stats().checkpoints > 0);
    CHECK(has_short_log(file.path()));
  });
}

TEST_CASE("the writer keeps the write-ahead log short while writes that share transactions follow one another") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_short_log(file.path());
    std::size_t writing = 64;
    const auto write = [](pool& on, std::size_t& left) -> task<> {
      for (int i = 0; i < (support::sanitized ? 40 : 200); ++i) {
        co_await on.execute("INSERT INTO t(v) VALUES (zeroblob(4000))");
      }
      --left;
    };
    const auto read = [](pool& on, const std::size_t& left) -> task<> {
      while (left != 0) static_cast<void>(co_await on.query<int>("SELECT id FROM t LIMIT 3"));
    };
    std::vector<task<>> all;
    for (int i = 0; i < 64; ++i) all.push_back(write(db, writing));
    for (int i = 0; i < 4; ++i) all.push_back(read(db, writing));
    co_await cosqlite::when_all(std::move(all));
    CHECK(db.stats().groups > 0);
    // Without checkpoints it comes to twice that; under sanitizers too little is written to tell.
    CHECK(std::filesystem::file_size(file.path() + "-wal") < 6000 * 4200);
  });
}

TEST_CASE("while a reader of old data holds the log back, the writer tries to move it no more often than it grows") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_short_log(file.path());
    co_await db.execute("INSERT INTO t(v) VALUES (1)");
    leased_connection reader = co_await db.acquire_reader();
    transaction old = co_await reader.begin(cosqlite::tx_mode::deferred);
    CHECK(co_await old.query_one<int>("SELECT count(*) FROM t") == 1);
    for (int i = 0; i < 150; ++i) co_await db.execute("INSERT INTO t(v) VALUES (zeroblob(4000))");
    const cosqlite::pool_stats s = db.stats();
    CHECK(s.wal_pages >= 150);
    CHECK(s.checkpoints >= 1);
    CHECK(s.checkpoints <= s.wal_pages / short_log + 1);
    CHECK(co_await old.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

TEST_CASE("a pool whose file cannot be opened says so at once") {
  const temp_database file;
  on_loop([&]() -> task<> {
    co_await failure_of<cosqlite::io_error>(pool::open(file.path() + "/missing/folder.db"));
    file.write("this is no database at all, but long enough to be looked at as one ...............................");
    co_await failure_of<cosqlite::corrupt_error>(pool::open(file.path()));
  });
}

TEST_CASE("close lets queued calls finish, refuses later ones, ends leases, and may be called twice") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    leased_connection lease = co_await db.acquire_reader();
    leased_connection writer = co_await db.acquire_writer();
    std::vector<task<>> all;
    const auto write = [](pool& p) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await p.execute("INSERT INTO t(v) VALUES (1)");
    };
    for (int i = 0; i < 10; ++i) all.push_back(write(db));
    all.push_back(close(db));
    all.push_back(close(db));
    co_await cosqlite::when_all(std::move(all));
    co_await db.close();
    co_await failure_of<cosqlite::closed_error>(db.query("SELECT 1"));
    co_await failure_of<cosqlite::closed_error>(db.execute("SELECT 1"));
    co_await failure_of<cosqlite::closed_error>(lease.query("SELECT 1"));
    co_await failure_of<cosqlite::closed_error>(writer.execute("SELECT 1"));
  });
  const support::raw_database after(file.path());
  CHECK(after.number("SELECT count(*) FROM t") == 10);
}

TEST_CASE("whoever closes a pool waits until all of it is closed, also beside somebody else who does") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    leased_connection reader = co_await db.acquire_reader();
    support::plug plug;
    std::optional<std::string> held;
    const auto hold = [](leased_connection& on, support::plug& by) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await by.hold(on);
    };
    const support::abandonable holding = support::start(hold(reader, plug), held);
    co_await plug.held();
    std::array<std::optional<std::string>, 2> closed;
    const support::abandonable first = support::start(close(db), closed[0]);
    const support::abandonable second = support::start(close(db), closed[1]);
    // One of the readers is still at work, however long it is looked at.
    for (int turns = 0; turns < 20; ++turns) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
    CHECK_FALSE(closed[0].has_value());
    CHECK_FALSE(closed[1].has_value());
    plug.release();
    co_await support::until([&] { return closed[0].has_value() && closed[1].has_value(); });
    CHECK(closed[0] == "finished");
    CHECK(closed[1] == "finished");
  });
}

TEST_CASE("a pool may go while it is being closed") {
  const temp_database file;
  on_loop([&]() -> task<> {
    std::optional<pool> db(co_await open_pool_with_table(file.path()));
    CHECK(co_await db->query_one<int>("SELECT 1") == 1);
    std::optional<std::string> closed;
    const support::abandonable closing = support::start(close(*db), closed);
    db.reset();
    co_await support::until([&] { return closed.has_value(); });
    CHECK(closed == "finished");
  });
}

TEST_CASE("a pool that is dropped open stops what runs and closes in the background") {
  const temp_database file;
  on_loop([&]() -> task<> {
    std::optional<pool> db(co_await open_pool_with_table(file.path()));
    bool closed = false;
    const auto read = [](pool& p, bool& refused) -> task<> {
      try {
        static_cast<void>(co_await p.query(endless_read));
      } catch (const cosqlite::closed_error&) {
        refused = true;
      }
    };
    cosqlite::spawn(read(*db, closed));
    leased_connection lease = co_await db->acquire_writer();
    db.reset();
    while (!closed) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
    co_await failure_of<cosqlite::closed_error>(lease.execute("SELECT 1"));
  });
}

TEST_CASE("a moved pool goes on, an unopened one refuses") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool first = co_await open_pool_with_table(file.path());
    pool second = std::move(first);
    CHECK(co_await second.query_one<int>("SELECT 1") == 1);
    co_await failure_of<cosqlite::closed_error>(first.query("SELECT 1"));
    CHECK_FALSE(first.is_open());
  });
}

TEST_CASE("a coroutine that waits for a connection that it has itself is told so") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 2);
    {
      leased_connection writer = co_await db.acquire_writer();
      const auto e = co_await failure_of<cosqlite::misuse_error>(db.execute("INSERT INTO t(v) VALUES (1)"));
      CHECK(support::contains(e.what(), "through the lease"));
      co_await failure_of<cosqlite::misuse_error>(db.acquire_writer());
      co_await failure_of<cosqlite::misuse_error>(db.begin());
      // With a limit it does not wait for ever, and readers are free.
      co_await failure_of<cosqlite::timeout_error>(db.with(std::chrono::milliseconds(5)).acquire_writer());
      CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
      transaction tx = co_await writer.begin();
      co_await failure_of<cosqlite::misuse_error>(writer.execute("INSERT INTO t(v) VALUES (1)"));
      co_await tx.execute("INSERT INTO t(v) VALUES (1)");
      co_await tx.commit();
      co_await writer.execute("INSERT INTO t(v) VALUES (2)");
    }
    {
      transaction tx = co_await db.begin();
      co_await failure_of<cosqlite::misuse_error>(db.execute("INSERT INTO t(v) VALUES (3)"));
      co_await failure_of<cosqlite::misuse_error>(db.acquire_writer());
      CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 2);
      co_await tx.rollback();
    }
    const auto body = [&db](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES (4)");
      co_await db.execute("INSERT INTO t(v) VALUES (5)");
    };
    co_await failure_of<cosqlite::misuse_error>(db.transact(body));
    {
      leased_connection one = co_await db.acquire_reader();
      leased_connection another = co_await db.acquire_reader();
      const auto e = co_await failure_of<cosqlite::misuse_error>(db.acquire_reader());
      CHECK(support::contains(e.what(), "leased them all"));
      co_await failure_of<cosqlite::misuse_error>(db.query("SELECT 1"));
      another.release();
      CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 2);
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 2);
  });
}

TEST_CASE("a stream that is given up while it begins lets go of its reader") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    for (int i = 0; i < 200; ++i) {
      {
        auto rows = db.stream<int>(
            "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 5000) SELECT i FROM c");
        // Nothing resumes who waits in a stream that is given up: it goes with the stream.
        const auto begin = [](cosqlite::typed_stream<int>& s) -> foreign::coroutine {
          const auto first = co_await s.next();
          static_cast<void>(first);
        };
        std::optional<foreign::coroutine> waiting;
        if (i % 2 == 0) waiting.emplace(begin(rows));
        for (int n = 0; n < i % 5; ++n) co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
        rows.close();
        if (i % 2 != 0) CHECK_FALSE((co_await rows.next()).has_value());
      }
      CHECK(co_await db.query_one<int>("SELECT ?", i) == i);
    }
  });
}

TEST_CASE("a stream that began keeps the reader from those that waited behind it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    int rows_read = 0;
    bool had_lease = false;
    const auto read = [](pool& p, int& n) -> task<> {
      auto rows = p.stream<int>(
          "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 50000) SELECT i FROM c");
      while (auto row = co_await rows.next()) ++n;
    };
    const auto lease = [](pool& p, bool& had, const int& n) -> task<> {
      leased_connection reader = co_await p.acquire_reader();
      had = true;
      CHECK(n == 50000);
    };
    std::vector<task<>> all;
    {
      std::optional<leased_connection> blocker(co_await db.acquire_reader());
      const auto unblock = [](std::optional<leased_connection>& l) -> task<> {
        co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
        l.reset();
      };
      all.push_back(read(db, rows_read));
      all.push_back(lease(db, had_lease, rows_read));
      for (int i = 0; i < 4; ++i) all.push_back(insert(db, i));
      all.push_back(unblock(blocker));
      co_await cosqlite::when_all(std::move(all));
    }
    CHECK(rows_read == 50000);
    CHECK(had_lease);
  });
}

TEST_CASE("when no reader can be opened everybody is told why, and the writer goes on") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 2);
    std::filesystem::rename(file.path(), file.path() + ".away");
    int told = 0;
    const auto read = [](pool& p, int& n) -> task<> {
      try {
        static_cast<void>(co_await p.query("SELECT 1"));
      } catch (const cosqlite::io_error&) {
        ++n;
      }
    };
    std::vector<task<>> all;
    for (int i = 0; i < 20; ++i) all.push_back(read(db, told));
    co_await cosqlite::when_all(std::move(all));
    CHECK(told == 20);
    std::filesystem::rename(file.path() + ".away", file.path());
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.execute("INSERT INTO t(v) VALUES (1)");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

TEST_CASE("whoever comes when the readers have just failed to open is told why too") {
  const temp_database file;
  support::test_loop loop;
  std::optional<pool> db(loop.run(open_with_readers(file.path(), 1)));
  std::filesystem::rename(file.path(), file.path() + ".away");
  const auto threads = [] {
    const std::filesystem::directory_iterator all("/proc/self/task");
    return std::distance(begin(all), end(all));
  };
  const auto read = [](pool& p) -> task<> { static_cast<void>(co_await p.query("SELECT 1")); };
  const auto before = threads();
  std::array<std::optional<std::string>, 2> outcomes;
  const support::abandonable first = support::start(read(*db), outcomes[0]);
  // The loop stands still: that the reader's thread has ended is not known to the pool yet.
  while (threads() > before) std::this_thread::yield();
  const support::abandonable second = support::start(read(*db), outcomes[1]);
  loop.run(support::until([&] { return outcomes[0] && outcomes[1]; }));
  for (const auto& outcome : outcomes) CHECK(support::contains(*outcome, "unable to open database file"));
  std::filesystem::rename(file.path() + ".away", file.path());
  loop.run(read(*db));
}
