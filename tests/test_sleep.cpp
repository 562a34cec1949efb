#include "support/catch.hpp"
#include "support/foreign.hpp"
#include <cosqlite/run.hpp>
#include <cosqlite/sleep.hpp>
#include <cosqlite/task.hpp>

#include <uv.h>

#include <chrono>
#include <limits>
#include <optional>
#include <string>

using cosqlite::run;
using cosqlite::sleep_for;
using cosqlite::spawn;
using cosqlite::task;
using cosqlite::this_loop;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

namespace {

task<nanoseconds> time_slept(nanoseconds duration) {
  const auto start = steady_clock::now();
  co_await sleep_for(duration);
  co_return steady_clock::now() - start;
}

foreign::coroutine sleep_outside(nanoseconds duration, int* living) {
  foreign::guard local(*living);
  co_await sleep_for(duration);
}

}  // namespace

TEST_CASE("a sleep is never shorter than asked for") {
  for (const nanoseconds duration : {1ns, 999'999ns, 1'000'000ns, 1'000'001ns, 3'700'000ns}) {
    for (int i = 0; i < 5; ++i) CHECK(run(time_slept(duration)) >= duration);
  }
}

TEST_CASE("a sleep counts from its await, not from the loop's last look at the clock") {
  const auto busy_first = []() -> task<nanoseconds> {
    const auto until = steady_clock::now() + 5ms;
    while (steady_clock::now() < until) {
    }
    const auto slept = co_await time_slept(4ms);
    co_return slept;
  };
  CHECK(run(busy_first()) >= 4ms);
}

TEST_CASE("sleepers wake in the order of their times") {
  const auto sleeper = [](std::chrono::milliseconds d, char name, std::string* log) -> task<> {
    const char mark = name;
    co_await sleep_for(d);
    *log += mark;
  };
  const auto body = [&sleeper](std::string* log) -> task<> {
    spawn(sleeper(30ms, 'c', log));
    spawn(sleeper(1ms, 'a', log));
    spawn(sleeper(15ms, 'b', log));
    co_return;
  };
  std::string log;
  run(body(&log));
  CHECK(log == "abc");
}

TEST_CASE("sleeping for no time at all lets the loop serve its other handles") {
  uv_loop_t loop;
  REQUIRE(uv_loop_init(&loop) == 0);
  uv_async_t async;
  static bool served = false;
  REQUIRE(uv_async_init(&loop, &async, [](uv_async_t* handle) {
            served = true;
            uv_close(reinterpret_cast<uv_handle_t*>(handle), nullptr);
          }) == 0);
  const auto spin = [](uv_async_t* wakes) -> task<int> {
    int turns = 0;
    uv_async_send(wakes);
    for (; !served && turns < 1'000'000; ++turns) {
      co_await sleep_for(0ns);
      co_await sleep_for(-1s);
    }
    co_return turns;
  };
  served = false;
  CHECK(run(spin(&async), &loop) < 1'000'000);
  CHECK(served);
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&loop) == 0);
}

TEST_CASE("busy coroutines that sleep between do not keep the loop among its timers") {
  static bool served = false;
  served = false;
  const auto busy = [](int* unserved) -> task<> {
    for (int i = 0; i < 100 && !served; ++i) {
      const auto until = steady_clock::now() + 2ms;
      while (steady_clock::now() < until) {
      }
      co_await sleep_for(1ms);
    }
    if (!served) ++*unserved;
  };
  const auto body = [&busy](uv_async_t* async, int* unserved) -> task<> {
    const int count = 3;
    uv_async_init(this_loop(), async, [](uv_async_t* handle) {
      served = true;
      uv_close(reinterpret_cast<uv_handle_t*>(handle), nullptr);
    });
    for (int i = 0; i < count; ++i) spawn(busy(unserved));
    co_await sleep_for(1ms);
    uv_async_send(async);
  };
  uv_async_t async;
  int unserved = 0;
  run(body(&async, &unserved));
  CHECK(served);
  CHECK(unserved == 0);
}

TEST_CASE("destroying a sleeper closes its timer, and the loop can be closed") {
  uv_loop_t* const loop = uv_default_loop();
  int living = 0;
  for (const nanoseconds duration : {nanoseconds(1h), 0ns, nanoseconds::max()}) {
    {
      const auto sleeper = sleep_outside(duration, &living);
      CHECK(living == 1);
      CHECK(uv_loop_alive(loop) != 0);
      if (duration > 0ns) uv_run(loop, UV_RUN_NOWAIT);
      CHECK_FALSE(sleeper.done());
    }
    CHECK(living == 0);
    CHECK(uv_run(loop, UV_RUN_DEFAULT) == 0);
  }
  CHECK(uv_loop_close(loop) == 0);
}

TEST_CASE("a sleeper may end another one as it wakes") {
  int living = 0;
  std::optional<foreign::coroutine> other;
  const auto ends_other = [](std::optional<foreign::coroutine>* victim) -> task<> {
    const auto d = 2ms;
    co_await sleep_for(d);
    victim->reset();
  };
  const auto body = [&ends_other](std::optional<foreign::coroutine>* victim, int* alive) -> task<> {
    const auto d = 2ms;
    spawn(ends_other(victim));
    victim->emplace(sleep_outside(d, alive));
    co_return;
  };
  run(body(&other, &living));
  CHECK(living == 0);
  CHECK_FALSE(other.has_value());
}
