#include "support/catch.hpp"
#include "support/foreign.hpp"
#include "support/own_loop.hpp"
#include <cosqlite/error.hpp>
#include <cosqlite/run.hpp>
#include <cosqlite/sleep.hpp>
#include <cosqlite/task.hpp>

#include <unistd.h>
#include <uv.h>

#include <chrono>
#include <csignal>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/wait.h>

using cosqlite::run;
using cosqlite::sleep_for;
using cosqlite::spawn;
using cosqlite::task;
using cosqlite::this_loop;
using support::own_loop;
using namespace std::chrono_literals;

namespace {

task<> ticks(int count, std::string* log, char name) {
  for (int i = 0; i < count; ++i) {
    co_await sleep_for(1ms);
    *log += name;
  }
}

task<uv_loop_t*> loop_after_sleeping() {
  uv_loop_t* const before = this_loop();
  co_await sleep_for(1ms);
  co_return before == this_loop() ? before : nullptr;
}

task<> throw_later(const char* message) {
  const std::string text(message);
  co_await sleep_for(1ms);
  throw std::runtime_error(text);
}

task<> throw_at_once(const char* message) {
  const std::string text(message);
  if (!text.empty()) throw std::runtime_error(text);
  co_return;
}

task<int> nothing() {
  const int none = 0;
  co_return none;
}

task<> measure(foreign::stack_gauge* gauge) {
  gauge->here();
  co_await nothing();
  gauge->here();
}

task<> spawn_failing() {
  const auto message = "nobody handles this";
  spawn(throw_at_once(message));
  co_return;
}

task<> never(foreign::event* e, int* living) {
  foreign::guard local(*living);
  co_await *e;
}

}  // namespace

TEST_CASE("run gives the result or rethrows, with a private loop and with the caller's") {
  const auto give = [](int value) -> task<int> {
    co_await sleep_for(1ms);
    co_return value;
  };
  own_loop mine;
  CHECK(run(give(3)) == 3);
  CHECK(run(give(4), mine.get()) == 4);
  CHECK_THROWS_WITH(run(throw_later("late")), "late");
  CHECK_THROWS_WITH(run(throw_later("late"), mine.get()), "late");
}

TEST_CASE("this_loop is the loop of the run, and libuv's default loop outside") {
  own_loop mine;
  CHECK(this_loop() == uv_default_loop());
  CHECK(run(loop_after_sleeping(), mine.get()) == mine.get());
  uv_loop_t* const private_loop = run(loop_after_sleeping());
  CHECK(private_loop != nullptr);
  CHECK(private_loop != uv_default_loop());
  CHECK(this_loop() == uv_default_loop());
}

TEST_CASE("run on the caller's loop returns when its task is done and leaves the rest alone") {
  own_loop mine;
  std::string log;
  run(
      [](std::string* l) -> task<> {
        spawn(ticks(20, l, 's'));
        co_await sleep_for(1ms);
      }(&log),
      mine.get());
  CHECK(log.size() < 20);
  mine.run();
  CHECK(log == std::string(20, 's'));
}

TEST_CASE("run on a private loop lets spawned coroutines finish") {
  std::string log;
  run([](std::string* l) -> task<> {
    spawn(ticks(20, l, 's'));
    co_await sleep_for(1ms);
  }(&log));
  CHECK(log == std::string(20, 's'));
}

TEST_CASE("a task that waits for what cannot happen is reported and destroyed") {
  foreign::event e;
  int living = 0;
  own_loop mine;
  CHECK_THROWS_WITH(run(never(&e, &living)), Catch::Contains("has not finished"));
  CHECK(living == 0);
  CHECK_THROWS_WITH(run(never(&e, &living), mine.get()), Catch::Contains("has not finished"));
  CHECK(living == 0);
}

TEST_CASE("run inside a coroutine or callback of its own loop is refused") {
  const auto reenter = [](uv_loop_t* loop) -> task<> {
    CHECK_THROWS_WITH(run(nothing(), loop), Catch::Contains("from within its own loop"));
    co_await sleep_for(1ms);
    CHECK_THROWS_WITH(run(nothing(), loop), Catch::Contains("from within its own loop"));
  };
  own_loop mine;
  run(reenter(mine.get()), mine.get());
}

TEST_CASE("run inside a plain callback of a loop that a run is driving is refused") {
  static bool refused = false;
  const auto body = [](uv_timer_t* timer) -> task<> {
    uv_timer_init(this_loop(), timer);
    uv_timer_start(
        timer,
        [](uv_timer_t* fired) {
          try {
            run(nothing(), fired->loop);
          } catch (const cosqlite::misuse_error&) {
            refused = true;
          }
          uv_close(reinterpret_cast<uv_handle_t*>(fired), nullptr);
        },
        1, 0);
    co_await sleep_for(5ms);
  };
  uv_timer_t timer;
  run(body(&timer));
  CHECK(refused);
}

TEST_CASE("run on another loop may be called inside a coroutine") {
  const auto outer = []() -> task<int> {
    const int inner = run(nothing());
    co_await sleep_for(1ms);
    const int again = run(nothing());
    co_return inner + again + 1;
  };
  CHECK(run(outer()) == 1);
}

TEST_CASE("uv_stop does not end a run") {
  const auto stops = []() -> task<int> {
    int turns = 0;
    for (; turns < 3; ++turns) {
      uv_stop(this_loop());
      co_await sleep_for(1ms);
    }
    uv_stop(this_loop());
    co_return turns;
  };
  CHECK(run(stops()) == 3);
}

TEST_CASE("something that outlives run's private loop is reported, not freed under its feet") {
  static uv_async_t left_over;
  const auto leave = []() -> task<> {
    uv_async_init(this_loop(), &left_over, nullptr);
    uv_unref(reinterpret_cast<uv_handle_t*>(&left_over));
    co_return;
  };
  CHECK_THROWS_WITH(run(leave()), Catch::Contains("outlives"));
  uv_loop_t* const loop = left_over.loop;
  uv_close(reinterpret_cast<uv_handle_t*>(&left_over), nullptr);
  uv_run(loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(loop) == 0);
  delete loop;
}

TEST_CASE("every thread runs its own loop") {
  std::vector<std::thread> threads;
  std::vector<std::string> logs(4);
  for (auto& log : logs) {
    threads.emplace_back([&log] { run(ticks(10, &log, 't')); });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& log : logs) CHECK(log == std::string(10, 't'));
}

TEST_CASE("a loop driven with UV_RUN_NOWAIT makes coroutines progress") {
  own_loop mine;
  std::string log;
  run(
      [](std::string* l) -> task<> {
        spawn(ticks(5, l, 'n'));
        co_return;
      }(&log),
      mine.get());
  while (uv_run(mine.get(), UV_RUN_NOWAIT) != 0) std::this_thread::yield();
  CHECK(log == "nnnnn");
}

TEST_CASE("spawn starts its task at once and gives its exception to the handler") {
  own_loop mine;
  std::string log;
  const auto body = [](std::string* l) -> task<> {
    std::string& out = *l;
    const auto note = [l](std::exception_ptr error) {
      try {
        std::rethrow_exception(std::move(error));
      } catch (const std::exception& e) {
        *l += e.what();
      }
    };
    spawn(ticks(1, l, 'x'), note);
    spawn(throw_later(" late"), note);
    spawn(throw_at_once(" now"), note);
    out += ',';
    co_return;
  };
  run(body(&log), mine.get());
  CHECK(log == " now,");
  mine.run();
  CHECK(log == " now,x late");
}

TEST_CASE("an exception in a spawned task without a handler ends the program") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    std::set_terminate([] { _exit(42); });
    run(spawn_failing());
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE("ten thousand spawned tasks that finish at once keep the stack flat") {
  foreign::stack_gauge gauge;
  const auto body = [](foreign::stack_gauge* g) -> task<> {
    for (int i = 0; i < 10'000; ++i) spawn(measure(g));
    co_return;
  };
  run(body(&gauge));
  CHECK(gauge.growth() < 64 * 1024);
}
