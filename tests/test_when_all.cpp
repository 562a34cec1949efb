#include "support/catch.hpp"
#include "support/foreign.hpp"
#include <cosqlite/error.hpp>
#include <cosqlite/run.hpp>
#include <cosqlite/sleep.hpp>
#include <cosqlite/task.hpp>
#include <cosqlite/when_all.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

using cosqlite::run;
using cosqlite::sleep_for;
using cosqlite::task;
using cosqlite::when_all;
using foreign::event;
using foreign::event_reference;
using foreign::guard;
using foreign::stack_gauge;
using namespace std::chrono_literals;

namespace {

task<int> number(int i, stack_gauge* gauge = nullptr) {
  if (gauge != nullptr) gauge->here();
  co_return i;
}

task<std::string> word_after(std::chrono::milliseconds delay, std::string word) {
  std::string result = std::move(word);
  co_await sleep_for(delay);
  co_return result;
}

task<> append(std::string* log, char mark) {
  *log += mark;
  co_await sleep_for(1ms);
  *log += mark;
}

task<int> fail_after(std::chrono::milliseconds delay, const char* message, int* finished = nullptr) {
  const std::string text(message);
  co_await sleep_for(delay);
  if (finished != nullptr) ++*finished;
  throw std::runtime_error(text);
}

task<> finish_after(std::chrono::milliseconds delay, int* finished) {
  int& count = *finished;
  co_await sleep_for(delay);
  ++count;
}

task<> hold(event* e, int* living) {
  guard local(*living);
  co_await *e;
}

foreign::coroutine outside(task<> body) { co_await std::move(body); }

/// Awaitable through a free operator; ready at once.
class ready_value {
 public:
  explicit ready_value(int value) : value_(value) {}
  int value() const { return value_; }

 private:
  int value_;
};

class ready_awaiter {
 public:
  explicit ready_awaiter(int value) : value_(value) {}
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return value_; }

 private:
  int value_;
};

ready_awaiter operator co_await(const ready_value& v) { return ready_awaiter(v.value()); }

/// Awaited as it is; move-only.
class boxed_awaiter {
 public:
  explicit boxed_awaiter(int value) : value_(std::make_unique<int>(value)) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
  std::unique_ptr<int> await_resume() { return std::move(value_); }

 private:
  std::unique_ptr<int> value_;
};

}  // namespace

TEST_CASE("when_all gives all results in the order of its arguments") {
  const auto body = []() -> task<std::string> {
    auto [slow, nothing, quick, direct] =
        co_await when_all(word_after(10ms, "slow"), sleep_for(1ms), word_after(1ms, "quick"), number(7));
    static_assert(std::is_same_v<decltype(nothing), std::monostate>);
    co_return slow + " " + quick + " " + std::to_string(direct);
  };
  CHECK(run(body()) == "slow quick 7");
}

TEST_CASE("when_all itself is a task: it starts when awaited, can be run, and nests") {
  std::string log;
  auto both = when_all(append(&log, 'a'), when_all(append(&log, 'b'), number(3)));
  CHECK(log.empty());
  const auto [first, second] = run(std::move(both));
  CHECK(log == "abab");
  CHECK(std::get<1>(second) == 3);
  static_assert(std::is_same_v<decltype(run(when_all())), std::tuple<>>);
  run(when_all());
}

TEST_CASE("when_all takes whatever can be awaited") {
  int target = 0;
  const auto refer = [](int* to) -> task<int&> {
    int& alias = *to;
    co_return alias;
  };
  const ready_value copied(5);
  auto named = number(6);
  auto [free_operator, awaiter, reference, task_result] =
      run(when_all(copied, boxed_awaiter(4), refer(&target), std::move(named)));
  CHECK(free_operator == 5);
  CHECK(*awaiter == 4);
  static_assert(std::is_same_v<decltype(reference), int&>);
  reference = 9;
  CHECK(target == 9);
  CHECK(task_result == 6);
}

TEST_CASE("when_all of a vector gives a vector in its order") {
  std::vector<task<std::string>> words;
  for (int i = 0; i < 20; ++i) words.push_back(word_after(std::chrono::milliseconds(20 - i), std::to_string(i)));
  const auto results = run(when_all(std::move(words)));
  REQUIRE(results.size() == 20);
  for (int i = 0; i < 20; ++i) CHECK(results[static_cast<std::size_t>(i)] == std::to_string(i));
}

TEST_CASE("when_all of an empty vector is done at once") {
  CHECK(run(when_all(std::vector<task<int>>())).empty());
  run(when_all(std::vector<task<>>()));
}

TEST_CASE("when_all of a vector of references gives references") {
  std::vector<int> targets(3);
  const auto refer = [](int* to) -> task<int&> {
    int& alias = *to;
    co_return alias;
  };
  std::vector<task<int&>> tasks;
  for (auto& target : targets) tasks.push_back(refer(&target));
  for (int& result : run(when_all(std::move(tasks)))) result = 8;
  CHECK(targets == std::vector<int>{8, 8, 8});
}

TEST_CASE("when_all waits for the others before it rethrows, and takes the first in order") {
  int finished = 0;
  CHECK_THROWS_WITH(run(when_all(finish_after(8ms, &finished), fail_after(5ms, "second argument", &finished),
                                 fail_after(1ms, "third argument", &finished))),
                    "second argument");
  CHECK(finished == 3);

  std::vector<task<int>> tasks;
  tasks.push_back(number(1));
  tasks.push_back(fail_after(3ms, "first in the vector"));
  tasks.push_back(fail_after(1ms, "last in the vector"));
  CHECK_THROWS_WITH(run(when_all(std::move(tasks))), "first in the vector");
}

TEST_CASE("when_all refuses an empty task before it starts any") {
  std::string log;
  std::vector<task<>> tasks;
  tasks.push_back(append(&log, 'a'));
  tasks.emplace_back();
  CHECK_THROWS_AS(run(when_all(std::move(tasks))), cosqlite::misuse_error);
  CHECK_THROWS_AS(run(when_all(append(&log, 'b'), task<int>())), cosqlite::misuse_error);
  CHECK(log.empty());
}

TEST_CASE("ten thousand tasks that finish at once keep the stack flat") {
  stack_gauge gauge;
  std::vector<task<int>> tasks;
  for (int i = 0; i < 10'000; ++i) tasks.push_back(number(i, &gauge));
  const auto results = run(when_all(std::move(tasks)));
  CHECK(results.back() == 9'999);
  CHECK(gauge.growth() < 64 * 1024);
}

TEST_CASE("ten thousand sleeping tasks all finish") {
  int finished = 0;
  std::vector<task<>> tasks;
  for (int i = 0; i < 10'000; ++i) tasks.push_back(finish_after(std::chrono::milliseconds(i % 7), &finished));
  run(when_all(std::move(tasks)));
  CHECK(finished == 10'000);
}

TEST_CASE("a loop of when_all that finishes at once keeps the stack flat") {
  const auto body = [](stack_gauge* gauge) -> task<long> {
    long sum = 0;
    for (int i = 0; i < 100'000; ++i) {
      const auto [a, b] = co_await when_all(number(1, gauge), number(2, gauge));
      sum += a + b;
    }
    co_return sum;
  };
  stack_gauge gauge;
  CHECK(run(body(&gauge)) == 300'000);
  CHECK(gauge.growth() < 64 * 1024);
}

TEST_CASE("destroying the coroutine that waits destroys all unfinished children") {
  event first;
  event second;
  int living = 0;
  const auto body = [](event* a, event* b, int* alive) -> task<> {
    guard local(*alive);
    std::vector<task<>> nested;
    nested.push_back(hold(b, alive));
    co_await when_all(hold(a, alive), number(1), when_all(std::move(nested)));
  };
  {
    const auto waiting = outside(body(&first, &second, &living));
    CHECK(living == 3);
    first.fire();
    CHECK(living == 2);
    CHECK_FALSE(waiting.done());
  }
  CHECK(living == 0);
}

TEST_CASE("the last child to finish resumes the waiting coroutine, whoever resumes that child") {
  event first;
  event second;
  int living = 0;
  bool after = false;
  const auto body = [](event* a, event* b, int* alive, bool* done) -> task<> {
    guard local(*alive);
    co_await when_all(hold(a, alive), event_reference(*b));
    *done = true;
  };
  const auto waiting = outside(body(&first, &second, &living, &after));
  second.fire();
  CHECK_FALSE(after);
  first.fire();
  CHECK(after);
  CHECK(waiting.done());
  CHECK(living == 0);
}
