#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/foreign.hpp"
#include "support/foreign_calls.hpp"
#include "support/on_loop.hpp"
#include "support/plug.hpp"
#include <cosqlite/cosqlite.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>

using namespace cosqlite;
using namespace std::chrono_literals;
using foreign::hold;
using foreign::insert;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::plug;
using support::raw_database;
using support::temp_database;

namespace {

foreign::coroutine begin_only(connection& db, int* resumed) {
  const transaction tx = co_await db.begin();
  ++*resumed;
}

foreign::coroutine never_ending(connection& db) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  co_await db.query(endless_read);
}

template <class T>
void drop(T gone) {
  static_cast<void>(gone);
}

}  // namespace

TEST_CASE("a coroutine destroyed while its call is queued: the call never runs") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    plug p;
    int resumed = 0;
    foreign::coroutine held = hold(p, db);
    co_await p.held();
    foreign::coroutine before = insert(db, 1, &resumed);
    foreign::coroutine queued = insert(db, 2, &resumed);
    foreign::coroutine after = insert(db, 3, &resumed);
    drop(std::move(queued));
    p.release();
    CHECK(co_await db.query_one<std::string>("SELECT group_concat(a) FROM t") == "1,3");
    CHECK(resumed == 2);
    co_await db.close();
  });
}

TEST_CASE("a coroutine destroyed while its call runs: the call is stopped and never resumes it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    {
      foreign::coroutine endless = never_ending(db);
      co_await sleep_for(10ms);
    }
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    co_await db.close();
  });
}

TEST_CASE("a coroutine destroyed when its call is done but not delivered is not resumed") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    int resumed = 0;
    std::atomic<bool> ran = false;
    co_await sleep_for(1ms);  // on from a timer, so that the worker is woken at once
    {
      foreign::coroutine done = insert(db, 1, &resumed);
      auto mark = [&]() -> foreign::coroutine {
        [[maybe_unused]] const bool gcc_needs_a_local = true;
        co_await db.run([&ran](sqlite3*) { ran.store(true); });
      };
      foreign::coroutine marked = mark();
      while (!ran.load()) std::this_thread::yield();
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
    CHECK(resumed == 0);
    co_await db.close();
  });
}

TEST_CASE("the results of calls that nobody takes are destroyed") {
  temp_database file;
  int living = 0;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    auto make = [&living](sqlite3*) { return foreign::guard(living); };
    for (int round = 0; round < 50; ++round) {
      auto take = [&]() -> foreign::coroutine { const auto g = co_await db.run(make); };
      foreign::coroutine dropped = take();
      if (round % 3 == 1) co_await sleep_for(0ms);
      if (round % 3 == 2) co_await db.execute("SELECT 1");
    }
    co_await db.close();
  });
  CHECK(living == 0);
}

TEST_CASE("a coroutine destroyed while its open runs: the connection closes by itself") {
  temp_database file;
  on_loop([&]() -> task<> {
    auto opening = [&]() -> foreign::coroutine { const connection db = co_await open(file.path()); };
    for (int i = 0; i < 20; ++i) {
      foreign::coroutine one = opening();
      if (i % 2 == 1) co_await sleep_for(0ms);
    }
    connection db = co_await open(file.path());
    co_await db.close();
  });
}

TEST_CASE("a coroutine destroyed while its open waits for a lock gives up the wait") {
  temp_database file;
  raw_database other(file.path());
  other.execute("CREATE TABLE t(a); BEGIN EXCLUSIVE");
  on_loop([&]() -> task<> {
    auto opening = [&]() -> foreign::coroutine {
      open_options o;
      o.busy_timeout = 1h;
      const connection db = co_await open(file.path(), o);
    };
    foreign::coroutine one = opening();
    co_await sleep_for(20ms);
    drop(std::move(one));
  });
}

TEST_CASE("a coroutine destroyed while its BEGIN is queued, runs or is done leaves no transaction open") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    int resumed = 0;
    for (int round = 0; round < 60; ++round) {
      {
        foreign::coroutine begins = begin_only(db, &resumed);
        for (int spin = 0; spin < round * 40; ++spin) std::atomic_signal_fence(std::memory_order_seq_cst);
      }
      CHECK((co_await db.run([](sqlite3* raw) { return sqlite3_get_autocommit(raw); })) == 1);
    }
    co_await db.close();
  });
}

TEST_CASE("a coroutine destroyed while close runs: the connection closes all the same") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    auto closing = [&]() -> foreign::coroutine {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_await db.close();
    };
    drop(closing());
    CHECK(!db.is_open());
    co_await db.close();
  });
  CHECK(!std::filesystem::exists(file.path() + "-wal"));
}

TEST_CASE("destroying execute_many waits for the worker, which reads the caller's rows") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    for (int round = 0; round < 20; ++round) {
      auto many = [&]() -> foreign::coroutine {
        const std::vector<std::string> rows(20000, std::string(40, 'x'));
        co_await db.execute_many("INSERT INTO t VALUES(?)", rows);
      };
      foreign::coroutine one = many();
      if (round % 2 == 1) co_await sleep_for(1ms);
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") % 20000 == 0);
    co_await db.close();
  });
}

TEST_CASE("many coroutines on one connection all get their own answer") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)");
    auto one = [&](int n) -> task<bool> {
      const std::string text = "text " + std::to_string(n);
      co_await db.execute("INSERT INTO t VALUES(?, ?)", n, text);
      const auto read = co_await db.query_one<std::string>("SELECT b FROM t WHERE a = ?", n);
      co_return read == text;
    };
    std::vector<task<bool>> all;
    for (int n = 0; n < 1000; ++n) all.push_back(one(n));
    const auto right = co_await when_all(std::move(all));
    CHECK(std::count(right.begin(), right.end(), true) == 1000);
    co_await db.close();
  });
}

TEST_CASE("calls take effect in the order in which they were awaited, dropped ones between them or not") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    std::vector<foreign::coroutine> kept;
    for (int i = 0; i < 300; ++i) {
      foreign::coroutine one = insert(db, i);
      if (i % 3 != 0) kept.push_back(std::move(one));
    }
    const auto order = co_await db.query<int>("SELECT a FROM t ORDER BY rowid");
    CHECK(std::is_sorted(order.begin(), order.end()));
    CHECK(order.size() >= 200);
    for (auto& one : kept) one.rethrow();
    co_await db.close();
  });
}

TEST_CASE("no other coroutine is resumed inside the submitting call") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    bool submitting = false;
    bool violated = false;
    auto loop = [&]() -> foreign::coroutine {
      for (int i = 0; i < 200; ++i) {
        auto call = db.query_one<int>("SELECT 1");
        co_await std::move(call);
        if (submitting) violated = true;
      }
    };
    std::vector<foreign::coroutine> all;
    for (int i = 0; i < 8; ++i) {
      submitting = true;
      all.push_back(loop());
      submitting = false;
    }
    for (auto& one : all) {
      while (!one.done()) co_await sleep_for(1ms);
      one.rethrow();
    }
    CHECK(!violated);
    co_await db.close();
  });
}

TEST_CASE("a result does not wait for a long call behind it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    for (int round = 0; round < 5; ++round) {
      plug gate_before;
      std::atomic<bool> first_done = false;
      std::atomic<bool> waited_in_vain = false;
      foreign::coroutine start = hold(gate_before, db);
      auto quick = [&]() -> foreign::coroutine {
        co_await db.query_one<int>("SELECT 1");
        first_done.store(true);
      };
      auto slow = [&]() -> foreign::coroutine {
        [[maybe_unused]] const bool gcc_needs_a_local = true;
        co_await db.run([&](sqlite3*) {
          const auto until = std::chrono::steady_clock::now() + 20s;
          while (!first_done.load()) {
            if (std::chrono::steady_clock::now() > until) {
              waited_in_vain.store(true);
              return;
            }
            std::this_thread::yield();
          }
        });
      };
      foreign::coroutine a = quick();
      foreign::coroutine b = slow();
      gate_before.release();
      while (!b.done()) co_await sleep_for(1ms);
      CHECK(!waited_in_vain);
    }
    co_await db.close();
  });
}

namespace {

/// Awaits a call without moving it. (GCC 12 would copy what is awaited by its name.)
struct same_call {
  cosqlite::call<int>* shared;
  [[nodiscard]] bool await_ready() const noexcept { return shared->await_ready(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) const noexcept {
    return shared->await_suspend(waiter);
  }
  int await_resume() const { return shared->await_resume(); }
};

}  // namespace

TEST_CASE("a call that is awaited again is a misuse, also while it is under way") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    auto twice = db.query_one<int>("SELECT 1");
    CHECK(co_await twice == 1);
    bool refused = false;
    try {
      co_await twice;
    } catch (const misuse_error&) {
      refused = true;
    }
    CHECK(refused);

    plug p;
    foreign::coroutine held = hold(p, db);
    auto shared = db.query_one<int>("SELECT 2");
    int answer = 0;
    bool second_refused = false;
    auto first = [&]() -> foreign::coroutine {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      answer = co_await same_call{&shared};
    };
    auto second = [&]() -> foreign::coroutine {
      try {
        co_await same_call{&shared};
      } catch (const misuse_error&) {
        second_refused = true;
      }
    };
    foreign::coroutine a = first();
    foreign::coroutine b = second();
    p.release();
    while (!a.done()) co_await sleep_for(1ms);
    CHECK(answer == 2);
    CHECK(second_refused);

    auto moved = db.query_one<int>("SELECT 3");
    auto there = std::move(moved);
    refused = false;
    try {
      co_await moved;
    } catch (const misuse_error&) {
      refused = true;
    }
    CHECK(refused);
    CHECK(co_await there == 3);
    co_await db.close();
  });
}

TEST_CASE("a call that is built and never awaited does nothing") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    drop(db.execute("INSERT INTO t VALUES(1)"));
    drop(db.begin());
    drop(db.close());
    drop(db.stream("SELECT * FROM t"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("temporaries as SQL and arguments live as long as the call") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a, b)");
    auto call =
        db.execute(std::string("INSERT INTO t VALUES(?, ?)"), std::string(1000, 'a'), std::string("bb").c_str());
    std::string noise(4000, 'z');
    co_await std::move(call);
    CHECK(co_await db.query_one<int>("SELECT length(a) + length(b) FROM t") == 1002);
    co_await db.close();
  });
}

TEST_CASE("stop tokens requested from another thread end queued and running calls, once") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    for (int round = 0; round < 30; ++round) {
      std::stop_source stop;
      std::atomic<int> outcomes = 0;
      auto one = [&]() -> foreign::coroutine {
        try {
          co_await db.with(stop.get_token()).query(endless_read);
        } catch (const cancelled_error&) {
          ++outcomes;
        }
      };
      std::vector<foreign::coroutine> all;
      for (int i = 0; i < 4; ++i) all.push_back(one());
      std::thread first([&] { stop.request_stop(); });
      std::thread second([&] { stop.request_stop(); });
      if (round % 2 == 0) all.pop_back();
      const int expected = static_cast<int>(all.size());
      for (auto& c : all) {
        while (!c.done()) co_await sleep_for(0ms);
        c.rethrow();
      }
      first.join();
      second.join();
      CHECK(outcomes == expected);
    }
    co_await db.close();
  });
}

TEST_CASE("a stop that races with the end of the connection is answered") {
  temp_database file;
  for (int round = 0; round < 40; ++round) {
    on_loop([&]() -> task<> {
      std::optional<connection> db = co_await open(file.path());
      std::stop_source stop;
      int outcomes = 0;
      auto one = [&]() -> foreign::coroutine {
        try {
          co_await db->with(stop.get_token()).execute("SELECT 1");
        } catch (const error&) {
        }
        ++outcomes;
      };
      plug p;
      foreign::coroutine held = hold(p, *db);
      std::vector<foreign::coroutine> all;
      for (int i = 0; i < 10; ++i) all.push_back(one());
      std::atomic<bool> go = false;
      std::thread other([&] {
        while (!go.load()) std::this_thread::yield();
        stop.request_stop();
      });
      go.store(true);
      db.reset();
      p.release();
      for (auto& c : all) {
        while (!c.done()) co_await sleep_for(0ms);
      }
      other.join();
      CHECK(outcomes == 10);
    });
  }
}

TEST_CASE("coroutines in a storm of destruction touch nothing that is gone") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    std::uint32_t random = 12345;
    const auto roll = [&random](std::uint32_t n) { return (random = random * 1664525u + 1013904223u) / 65536u % n; };
    auto mixed = [&](int kind) -> foreign::coroutine {
      try {
        if (kind == 0) co_await db.execute("INSERT INTO t VALUES(1)");
        if (kind == 1) co_await db.query<int>("SELECT a FROM t LIMIT 100");
        if (kind == 2) {
          transaction tx = co_await db.begin();
          co_await tx.execute("INSERT INTO t VALUES(2)");
          if (kind == 2) co_await tx.commit();
        }
        if (kind == 3) {
          auto rows = db.stream<int>("SELECT a FROM t");
          while (co_await rows.next()) {
          }
        }
        if (kind == 4) co_await db.with(1ms).query("SELECT count(*) FROM t a, t b LIMIT 100000");
        if (kind == 5) co_await db.run([](sqlite3* raw) { return std::string(sqlite3_db_filename(raw, "main")); });
      } catch (const error&) {
      }
    };
    std::vector<std::unique_ptr<foreign::coroutine>> living(24);
    for (int step = 0; step < 1500; ++step) {
      auto& at = living[roll(24)];
      at.reset();
      if (roll(3) != 0) at = std::make_unique<foreign::coroutine>(mixed(static_cast<int>(roll(6))));
      if (roll(8) == 0) co_await sleep_for(0ms);
      if (roll(100) == 0) co_await db.execute("DELETE FROM t");
    }
    living.clear();
    CHECK((co_await db.run([](sqlite3* raw) { return sqlite3_get_autocommit(raw); })) == 1);
    co_await db.close();
  });
}

TEST_CASE("however many results are there at once, the loop looks at its other handles between them") {
  temp_database file;
  support::test_loop loop;
  constexpr int calls = 50'000;
  int answered = 0;
  std::optional<connection> db;
  const auto prepare = [&]() -> task<> { db = co_await open(file.path()); };
  loop.run(prepare());
  const auto one = [](connection& c, int& n) -> foreign::coroutine {
    [[maybe_unused]] const bool gcc_needs_a_local = true;
    co_await c.execute("SELECT 1");
    ++n;
  };
  std::vector<foreign::coroutine> all;
  all.reserve(calls);
  for (int i = 0; i < calls; ++i) all.push_back(one(*db, answered));
  // The loop stands still until everything has been done.
  std::atomic<bool> done = false;
  const auto last = [](connection& c, std::atomic<bool>& set) -> foreign::coroutine {
    const auto mark = [&set](sqlite3*) { set = true; };
    co_await c.run(mark);
  };
  const foreign::coroutine end = last(*db, done);
  while (!done) std::this_thread::yield();
  CHECK(answered == 0);
  uv_run(loop.get(), UV_RUN_NOWAIT);
  CHECK(answered > 0);
  CHECK(answered < calls);
  while (!end.done()) uv_run(loop.get(), UV_RUN_ONCE);
  CHECK(answered == calls);
}
