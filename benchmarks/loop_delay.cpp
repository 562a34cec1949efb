// A coroutine that awaits one short call after another, and how late a timer of 1 ms on the same loop fires beside it.
#include "items.hpp"
#include <cosqlite/cosqlite.hpp>

#include <uv.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

using namespace bench;
using namespace std::chrono_literals;

namespace {

/// A timer that notes by how much it is late, in ms, each time it fires.
class punctual_timer {
 public:
  explicit punctual_timer(uv_loop_t* loop) {
    uv_timer_init(loop, &timer_);
    timer_.data = this;
    arm();
  }
  void stop() { uv_close(reinterpret_cast<uv_handle_t*>(&timer_), nullptr); }
  [[nodiscard]] std::vector<double> lateness() && {
    std::ranges::sort(late_);
    return std::move(late_);
  }

 private:
  void arm() {
    uv_update_time(timer_.loop);
    due_ = uv_hrtime() + 1'000'000;
    uv_timer_start(&timer_, [](uv_timer_t* t) { static_cast<punctual_timer*>(t->data)->fired(); }, 1, 0);
  }
  void fired() {
    const double late = (static_cast<double>(uv_hrtime()) - static_cast<double>(due_)) * 1e-6;
    late_.push_back(std::max(late, 0.0));
    arm();
  }

  uv_timer_t timer_{};
  std::uint64_t due_ = 0;
  std::vector<double> late_;
};

struct outcome {
  std::vector<double> late;
  double calls = 0;
};

cosqlite::task<> read_until(cosqlite::connection& db, std::uint64_t end, std::size_t seed, double& calls) {
  sequence ids(seed);
  while (uv_hrtime() < end) {
    co_await db.query_one<std::string>(items::read_one, ids.next(items::count));
    ++calls;
  }
}

cosqlite::task<outcome> with_calls(std::string path, std::size_t readers, std::chrono::nanoseconds time) {
  cosqlite::connection db = co_await cosqlite::open(path);
  outcome seen;
  punctual_timer timer(cosqlite::this_loop());
  const std::uint64_t end = uv_hrtime() + static_cast<std::uint64_t>(time.count());
  std::vector<cosqlite::task<>> all;
  for (std::size_t r = 0; r < readers; ++r) all.push_back(read_until(db, end, r + 1, seen.calls));
  co_await when_all(std::move(all));
  timer.stop();
  co_await db.close();
  seen.late = std::move(timer).lateness();
  co_return seen;
}

cosqlite::task<outcome> idle(std::chrono::nanoseconds time) {
  outcome seen;
  punctual_timer timer(cosqlite::this_loop());
  co_await cosqlite::sleep_for(time);
  timer.stop();
  co_await cosqlite::sleep_for(1ms);
  seen.late = std::move(timer).lateness();
  co_return seen;
}

void report(suite& s, const std::string& beside, const outcome& seen, double limit) {
  const auto at = [&](double part) {
    return seen.late.empty() ? 0
                             : seen.late[static_cast<std::size_t>(part * static_cast<double>(seen.late.size() - 1))];
  };
  s.fact("1 ms timer, worst lateness, " + beside, at(1), "ms", limit);
  s.fact("1 ms timer, 99 % of the time within, " + beside, at(0.99), "ms");
  s.fact("1 ms timer, times it fired, " + beside, static_cast<double>(seen.late.size()), "");
  if (seen.calls > 0) s.fact("calls done meanwhile, " + beside, seen.calls, "calls");
}

}  // namespace

int main(int argc, char** argv) {
  return program("loop_delay", argc, argv, [](suite& s) {
    const auto time = s.quick() ? 1000ms : 5000ms;
    const std::string path = s.fresh_file();
    items::fill(path);
    report(s, "idle loop", cosqlite::run(idle(time)), 0);
    report(s, "one coroutine in a tight loop", cosqlite::run(with_calls(path, 1, time)), 2);
    report(s, "64 coroutines in tight loops", cosqlite::run(with_calls(path, 64, time)), 0);
    report(s, "1,024 coroutines in tight loops", cosqlite::run(with_calls(path, 1024, time)), 0);
  });
}
