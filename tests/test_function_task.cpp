// SQL functions that return a task: they run on the loop while the worker waits.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <coroutine>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::task;
using cosqlite::value;
using cosqlite::value_view;
using support::contains;
using support::failure_of;
using support::on_loop;
using namespace std::chrono_literals;

/// Waits for a gate. (GCC 12 copies an awaiter that a closure captured by reference.)
struct passing {
  support::gate& through;
  bool await_ready() const noexcept { return through.await_ready(); }
  void await_suspend(std::coroutine_handle<> waiter) const { through.await_suspend(waiter); }
  void await_resume() const noexcept {}
};

struct private_error {
  int number;
};

}  // namespace

TEST_CASE("a function that returns a task runs on the loop, and may wait there") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto other = co_await cosqlite::open(":memory:");
    const auto loop_thread = std::this_thread::get_id();
    std::vector<std::thread::id> threads;
    auto lookup = [&](int id, std::string_view name) -> task<std::string> {
      threads.push_back(std::this_thread::get_id());
      co_await cosqlite::sleep_for(1ms);
      threads.push_back(std::this_thread::get_id());
      const int doubled = co_await other.query_one<int>("SELECT 2 * ?", id);
      co_return std::string(name) + std::to_string(doubled);
    };
    co_await db.create_function("lookup", lookup);
    auto no_result = [](int) -> task<> { co_await cosqlite::sleep_for(0ms); };
    co_await db.create_function("no_result", no_result);
    auto by_reference = [](const std::string& a, std::span<const value_view> rest) -> task<std::string> {
      co_await cosqlite::sleep_for(0ms);
      co_return a + std::to_string(rest.size()) + rest.back().get<std::string>();
    };
    co_await db.create_function("by_reference", by_reference);

    const auto names = co_await db.query<std::string>("SELECT lookup(value, 'n') FROM json_each('[1,2,3]')");
    CHECK(names == std::vector<std::string>{"n2", "n4", "n6"});
    CHECK(threads == std::vector<std::thread::id>(6, loop_thread));
    CHECK(co_await db.query_one<bool>("SELECT no_result(1) IS NULL"));
    CHECK(co_await db.query_one<std::string>("SELECT by_reference('a', 1, 'b')") == "a2b");
    const auto e = co_await failure_of<cosqlite::conversion_error>(db.query("SELECT lookup('x', 'y')"));
    CHECK(contains(e.what(), "argument 1 of the SQL function lookup is TEXT"));
  });
}

TEST_CASE("what a task of a function throws reaches the coroutine as the same object") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto fail = [](int v) -> task<int> {
      co_await cosqlite::sleep_for(0ms);
      if (v >= 0) throw private_error{v};
      co_return v;
    };
    co_await db.create_function("fail", fail);
    int number = 0;
    try {
      co_await db.query("SELECT fail(11)");
    } catch (const private_error& e) {
      number = e.number;
    }
    CHECK(number == 11);
    CHECK(co_await db.query_one<int>("SELECT fail(-1)") == -1);
  });
}

TEST_CASE("awaiting its own connection from a function's task is an error, not a deadlock") {
  on_loop([]() -> task<> {
    support::temp_database file;
    auto db = co_await cosqlite::open(file.path());
    auto reader = co_await cosqlite::open(file.path());
    std::vector<std::string> messages;
    auto inner = [&](int how) -> task<> {
      co_await cosqlite::sleep_for(0ms);
      if (how == 0) co_await db.query("SELECT 1");
      if (how == 1) co_await db.with(1h).execute("CREATE TABLE t(v)");
      if (how == 2) {
        auto rows = db.stream<int>("SELECT 1");
        co_await rows.next();
      }
      if (how == 3) co_await cosqlite::when_all(reader.query("SELECT 1"), db.query("SELECT 1"));
      if (how == 4) co_await db.close();
      if (how == 5) {
        auto body = [](cosqlite::transaction& tx) -> task<> { co_await tx.execute("SELECT 1"); };
        co_await db.transact(body);
      }
    };
    auto ask = [&](int how) -> task<int> {
      try {
        co_await inner(how);
      } catch (const cosqlite::misuse_error& e) {
        messages.emplace_back(e.what());
      }
      co_return how;
    };
    co_await db.create_function("ask", ask);
    for (int how = 0; how < 6; ++how) {
      const int answer = co_await db.query_one<int>("SELECT ask(?)", how);
      CHECK(answer == how);
    }
    CHECK(messages.size() == 6);
    for (const std::string& m : messages) CHECK(contains(m, "use another connection"));
    CHECK(db.is_open());
  });
}

TEST_CASE("while a function's task runs, other coroutines' calls on the connection wait their turn") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    support::gate started;
    support::gate go_on;
    auto slow = [&]() -> task<int> {
      started.open();
      co_await passing{go_on};
      co_return 1;
    };
    co_await db.create_function("slow", slow);
    std::vector<int> order;
    auto first = [&]() -> task<> { order.push_back(co_await db.query_one<int>("SELECT slow()")); };
    auto second = [&]() -> task<> {
      co_await passing{started};
      auto call = db.query_one<int>("SELECT 2");
      auto finish = [&]() -> task<> {
        co_await cosqlite::sleep_for(1ms);
        go_on.open();
      };
      auto wait = [&]() -> task<> { order.push_back(co_await std::move(call)); };
      co_await cosqlite::when_all(wait(), finish());
    };
    co_await cosqlite::when_all(first(), second());
    CHECK(order == std::vector<int>{1, 2});
  });
}

namespace {

/// A function whose task never ends by itself, and tells when and where it was destroyed.
struct endless {
  support::gate started;
  support::gate never;
  support::gate destroyed;
  std::thread::id destroyed_on;

  auto function() {
    return [this](std::string_view held) -> task<int> {
      struct on_exit {
        endless& of;
        std::string_view text;
        ~on_exit() {
          of.destroyed_on = std::this_thread::get_id();
          if (text == "still there") of.destroyed.open();
        }
      } const guard{*this, held};
      started.open();
      co_await passing{never};
      co_return 1;
    };
  }
};

}  // namespace

TEST_CASE("a deadline ends the wait for a function's task, which is destroyed on the loop") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    endless e;
    co_await db.create_function("endless", e.function());
    const auto late =
        co_await failure_of<cosqlite::timeout_error>(db.with(500ms).query("SELECT endless('still there')"));
    CHECK(late.spent_in() == cosqlite::timeout_error::stage::run);
    co_await passing{e.destroyed};
    CHECK(e.destroyed_on == std::this_thread::get_id());
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
  });
}

TEST_CASE("a stop token and interrupt end the wait for a function's task") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    for (const bool by_token : {true, false}) {
      endless e;
      co_await db.create_function("endless", e.function());
      std::stop_source stop;
      auto ask = [&]() -> task<> {
        co_await failure_of<cosqlite::cancelled_error>(
            db.with(stop.get_token()).query("SELECT endless('still there')"));
      };
      auto cancel = [&]() -> task<> {
        co_await passing{e.started};
        if (by_token) stop.request_stop();
        if (!by_token) db.interrupt();
        co_await passing{e.destroyed};
      };
      co_await cosqlite::when_all(ask(), cancel());
      CHECK(e.destroyed_on == std::this_thread::get_id());
    }
  });
}

TEST_CASE("dropping the coroutine, or the connection, ends the wait for a function's task") {
  for (const bool drop_connection : {false, true}) {
    endless e;
    on_loop([&]() -> task<> {
      auto db = std::make_unique<connection>(co_await cosqlite::open(":memory:"));
      co_await db->create_function("endless", e.function());
      auto ask = [](connection& c) -> task<> { co_await c.query("SELECT endless('still there')"); };
      std::string failure;
      if (drop_connection) {
        cosqlite::spawn(ask(*db), [&failure](std::exception_ptr p) {
          try {
            std::rethrow_exception(p);
          } catch (const cosqlite::closed_error& c) {
            failure = c.what();
          }
        });
        co_await passing{e.started};
        db.reset();
        co_await passing{e.destroyed};
        co_await cosqlite::sleep_for(0ms);
        while (failure.empty()) co_await cosqlite::sleep_for(1ms);
        CHECK(contains(failure, "dropped during the call"));
      } else {
        // The only owner of the coroutine that waits goes away.
        struct holder {
          std::coroutine_handle<> h;
        };
        {
          auto body = [&]() -> task<> { co_await db->query("SELECT endless('still there')"); };
          auto either = [&]() -> task<> {
            auto waiting = body();
            co_await cosqlite::when_all(std::move(waiting));
          };
          std::stop_source unused;
          struct root {
            struct promise_type {
              root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
              std::suspend_never initial_suspend() const noexcept { return {}; }
              std::suspend_always final_suspend() const noexcept { return {}; }
              void return_void() const noexcept {}
              void unhandled_exception() const noexcept { std::terminate(); }
            };
            std::coroutine_handle<promise_type> handle;
          };
          auto start = [&]() -> root {
            auto t = either();
            co_await std::move(t);
          };
          const root r = start();
          co_await passing{e.started};
          r.handle.destroy();
        }
        co_await passing{e.destroyed};
        CHECK(co_await db->query_one<int>("SELECT 1") == 1);
      }
      CHECK(e.destroyed_on == std::this_thread::get_id());
    });
  }
}

TEST_CASE("closing waits for a function's task; the loop ends when all is done") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto slow = []() -> task<int> {
      co_await cosqlite::sleep_for(2ms);
      co_return 9;
    };
    co_await db.create_function("slow", slow);
    int answer = 0;
    auto ask = [&]() -> task<> { answer = co_await db.query_one<int>("SELECT slow()"); };
    auto close = [&]() -> task<> { co_await db.close(); };
    co_await cosqlite::when_all(ask(), close());
    CHECK(answer == 9);
  });
}

TEST_CASE("a task may wait for an earlier call of the same connection that has finished") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    support::gate first_done;
    auto wait = [&]() -> task<int> {
      co_await passing{first_done};
      co_return 1;
    };
    co_await db.create_function("wait_for_first", wait);
    auto first = [&]() -> task<> {
      co_await db.query("SELECT 1");
      first_done.open();
    };
    auto second = [&]() -> task<> { CHECK(co_await db.query_one<int>("SELECT wait_for_first()") == 1); };
    co_await cosqlite::when_all(first(), second());
  });
}

TEST_CASE("a function's task that needs the only reader of its pool, which waits for the task, is refused") {
  const support::temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool_options options;
    options.readers = 1;
    cosqlite::pool db = co_await cosqlite::pool::open(file.path(), options);
    {
      cosqlite::leased_connection reader = co_await db.acquire_reader();
      auto reads = [on = &db](std::int64_t x) -> task<std::int64_t> {
        const auto twice = co_await on->query_one<std::int64_t>("SELECT 2 * ?", x);
        co_return twice;
      };
      co_await reader.create_function("twice", reads);
    }
    co_await support::failure_of<cosqlite::misuse_error>(db.query_one<std::int64_t>("SELECT twice(4)"));
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
  });
}
