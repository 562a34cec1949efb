#include "support/catch.hpp"
#include "support/foreign.hpp"
#include <cosqlite/error.hpp>
#include <cosqlite/run.hpp>
#include <cosqlite/task.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

using cosqlite::run;
using cosqlite::task;
using foreign::event;
using foreign::guard;
using foreign::stack_gauge;

namespace {

constexpr std::uintptr_t flat = 64 * 1024;

static_assert(!std::is_copy_constructible_v<task<>> && !std::is_copy_assignable_v<task<>>);
static_assert(std::is_nothrow_move_constructible_v<task<int>> && std::is_nothrow_move_assignable_v<task<int>>);

task<int> number(int i, stack_gauge* gauge = nullptr) {
  if (gauge != nullptr) gauge->here();
  co_return i;
}

task<long> sum_of_numbers(int count, stack_gauge* gauge) {
  long sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await number(i & 1, gauge);
  co_return sum;
}

task<int> nested(int depth, stack_gauge* gauge) {
  gauge->here();
  int below = 0;
  if (depth > 1) below = co_await nested(depth - 1, gauge);
  gauge->here();
  co_return below + 1;
}

task<int> nested_over(int depth, event* bottom, stack_gauge* gauge) {
  int below = 0;
  if (depth > 1) {
    below = co_await nested_over(depth - 1, bottom, gauge);
  } else {
    co_await *bottom;
  }
  gauge->here();
  co_return below + 1;
}

task<int> failing(const char* message, [[maybe_unused]] guard g) {
  std::string text(message);
  if (!text.empty()) throw std::runtime_error(text);
  co_return 0;
}

task<int> failing_through(int levels, int* living) {
  guard local(*living);
  guard argument(*living);
  int value = 0;
  if (levels > 0) {
    value = co_await failing_through(levels - 1, living);
  } else {
    value = co_await failing("the bottom gave way", std::move(argument));
  }
  co_return value;
}

task<> wait_for(event* e, [[maybe_unused]] guard g) {
  guard local = std::move(g);
  co_await *e;
}

task<> wait_through(int levels, event* e, int* living) {
  guard local(*living);
  if (levels > 0) {
    co_await wait_through(levels - 1, e, living);
  } else {
    guard inner(*living);
    co_await wait_for(e, std::move(inner));
  }
}

task<> set_to(bool* flag) {
  *flag = true;
  co_return;
}

}  // namespace

TEST_CASE("a task does not start before it is awaited") {
  bool started = false;
  auto t = set_to(&started);
  CHECK(t);
  CHECK_FALSE(started);
  run(std::move(t));
  CHECK(started);
}

TEST_CASE("a task that is dropped unstarted destroys its arguments") {
  int living = 0;
  event e;
  {
    auto t = wait_for(&e, guard(living));
    CHECK(living == 1);
  }
  CHECK(living == 0);
  CHECK_FALSE(e.awaited());
}

TEST_CASE("assigning to a task destroys the one that was there") {
  int living = 0;
  event e;
  auto t = wait_for(&e, guard(living));
  t = wait_for(&e, guard(living));
  CHECK(living == 1);
  t = task<>();
  CHECK(living == 0);
  CHECK_FALSE(t);
}

TEST_CASE("a task gives values, move-only values, references and nothing") {
  CHECK(run(number(7)) == 7);

  auto make_pointer = []() -> task<std::unique_ptr<std::string>> {
    auto made = std::make_unique<std::string>("moved, not copied");
    co_return made;
  };
  CHECK(*run(make_pointer()) == "moved, not copied");

  static int target = 1;
  auto refer = []() -> task<int&> {
    int& alias = target;
    co_return alias;
  };
  run(refer()) = 5;
  CHECK(target == 5);
  auto pass_on = [](task<int&> inner) -> task<const int*> {
    const int& alias = co_await std::move(inner);
    co_return &alias;
  };
  CHECK(run(pass_on(refer())) == &target);

  auto convert = []() -> task<std::string> {
    const char* text = "from a literal";
    co_return text;
  };
  CHECK(run(convert()) == "from a literal");

  auto from_braces = []() -> task<std::pair<int, std::string>> { co_return {1, "one"}; };
  CHECK(run(from_braces()).second == "one");
}

TEST_CASE("members and lambdas are tasks too") {
  struct counter {
    int value = 0;
    task<int> add(int by) {
      value += by;
      const int now = value;
      co_return now;
    }
    task<int> twice() const {
      const int doubled = 2 * value;
      co_return doubled;
    }
  };
  counter c;
  CHECK(run(c.add(3)) == 3);
  CHECK(run(c.twice()) == 6);

  int offset = 10;
  const auto shifted = [&offset](int by, std::string text) -> task<std::string> {
    std::string result = text + std::to_string(by + offset);
    co_return result;
  };
  CHECK(run(shifted(2, "twelve: ")) == "twelve: 12");
}

TEST_CASE("an exception arrives at the await, and the frames it passes are destroyed") {
  int living = 0;
  CHECK_THROWS_WITH(run(failing_through(100, &living)), "the bottom gave way");
  CHECK(living == 0);
}

TEST_CASE("a caught exception leaves the awaiting task running") {
  const auto recover = [](int* living) -> task<int> {
    int caught = 0;
    for (int i = 0; i < 1000; ++i) {
      try {
        co_await failing_through(3, living);
      } catch (const std::runtime_error&) {
        ++caught;
      }
    }
    co_return caught;
  };
  int living = 0;
  CHECK(run(recover(&living)) == 1000);
  CHECK(living == 0);
}

TEST_CASE("a task is awaited once only") {
  const auto await_twice = []() -> task<int> {
    auto t = number(1);
    int sum = co_await std::move(t);
    sum += co_await std::move(t);
    co_return sum;
  };
  CHECK_THROWS_AS(run(await_twice()), cosqlite::misuse_error);
  CHECK_THROWS_AS(run(task<int>()), cosqlite::misuse_error);
}

TEST_CASE("a task's arguments are gone when its await is over") {
  const auto look_after = [](task<> t, event* e, const int* living) -> task<bool> {
    static_cast<void>(e);
    co_await std::move(t);
    const bool gone = *living == 0;
    co_return gone;
  };
  int living = 0;
  event e;
  auto body = look_after(wait_for(&e, guard(living)), &e, &living);
  bool gone = false;
  const auto outside = [](task<bool> b, bool* result) -> foreign::coroutine { *result = co_await std::move(b); };
  auto running = outside(std::move(body), &gone);
  CHECK(living == 1);
  e.fire();
  CHECK(running.done());
  CHECK(gone);
}

TEST_CASE("a million awaits in a loop keep the stack flat") {
  stack_gauge gauge;
  CHECK(run(sum_of_numbers(1'000'000, &gauge)) == 500'000);
  CHECK(gauge.growth() < flat);
}

TEST_CASE("a hundred thousand nested tasks keep the stack flat, down and up") {
  stack_gauge gauge;
  CHECK(run(nested(100'000, &gauge)) == 100'000);
  CHECK(gauge.growth() < flat);
}

TEST_CASE("a deep chain that somebody else resumes at its bottom keeps the stack flat") {
  stack_gauge gauge;
  event bottom;
  int result = 0;
  const auto outside = [](event* e, stack_gauge* g, int* r) -> foreign::coroutine {
    *r = co_await nested_over(100'000, e, g);
  };
  auto running = outside(&bottom, &gauge, &result);
  CHECK_FALSE(running.done());
  bottom.fire();
  CHECK(running.done());
  CHECK(result == 100'000);
  CHECK(gauge.growth() < flat);
}

TEST_CASE("a million awaits in a foreign coroutine keep the stack flat") {
  stack_gauge gauge;
  long sum = 0;
  const auto outside = [](stack_gauge* g, long* s) -> foreign::coroutine {
    for (int i = 0; i < 1'000'000; ++i) *s += co_await number(i & 1, g);
  };
  const auto running = outside(&gauge, &sum);
  CHECK(running.done());
  CHECK(sum == 500'000);
  CHECK(gauge.growth() < flat);
}

TEST_CASE("a foreign coroutine awaits a task that suspends, and one that throws") {
  event e;
  int living = 0;
  const auto outside = [](event* waits, int* alive) -> foreign::coroutine {
    co_await wait_through(10, waits, alive);
    co_await failing_through(10, alive);
  };
  const auto running = outside(&e, &living);
  CHECK_FALSE(running.done());
  CHECK(living > 0);
  e.fire();
  CHECK(running.done());
  CHECK(living == 0);
  CHECK_THROWS_WITH(running.rethrow(), "the bottom gave way");
}

TEST_CASE("a task awaits a foreign awaitable that fires while another task runs") {
  event first;
  event second;
  std::string order;
  const auto waits = [](event* e, std::string* log, char name) -> task<> {
    co_await *e;
    *log += name;
    const int value = co_await number(1);
    *log += static_cast<char>('0' + value);
  };
  const auto outside = [](task<> t) -> foreign::coroutine { co_await std::move(t); };
  const auto fires = [](event* e, std::string* log) -> task<> {
    *log += '<';
    e->fire();
    *log += '>';
    const int value = co_await number(2);
    *log += static_cast<char>('0' + value);
  };
  const auto a = outside(waits(&first, &order, 'a'));
  const auto b = outside(waits(&second, &order, 'b'));
  run(fires(&first, &order));
  run(fires(&second, &order));
  CHECK(a.done());
  CHECK(b.done());
  CHECK(order == "<a1>2<b1>2");
}

TEST_CASE("destroying a suspended chain destroys every frame of it") {
  int living = 0;
  event e;
  {
    const auto outside = [](event* waits, int* alive) -> foreign::coroutine {
      co_await wait_through(50, waits, alive);
    };
    const auto running = outside(&e, &living);
    CHECK_FALSE(running.done());
    CHECK(living == 52);
  }
  CHECK(living == 0);
}

TEST_CASE("a task may move on to another thread and back to its parent there") {
  struct other_thread {
    std::thread* worker;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const {
      std::thread& started = *worker;  // the frame around this object may be gone before the assignment
      started = std::thread([h] { h.resume(); });
    }
    void await_resume() const noexcept {}
  };
  const auto hop = [](std::thread* worker) -> task<int> {
    const other_thread there{worker};
    co_await there;
    co_return 1;
  };
  for (int i = 0; i < 200; ++i) {
    std::thread worker;
    int sum = 0;
    const auto body = [&hop](std::thread* w, int* s) -> foreign::coroutine {
      *s += co_await hop(w);
      *s += co_await number(1);
    };
    const auto running = body(&worker, &sum);
    worker.join();
    REQUIRE(running.done());
    REQUIRE(sum == 2);
  }
}
