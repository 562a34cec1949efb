#include <cosqlite/detail/trampoline.hpp>
#include <cosqlite/run.hpp>
#include <cosqlite/sleep.hpp>

#include <uv.h>

#include <algorithm>
#include <cstdint>

namespace cosqlite::detail {

/// Lives until libuv has closed the handle, which is later than the sleeper may live.
struct sleep_timer {
  union {
    uv_handle_t any;
    uv_timer_t timer;
    uv_idle_t idle;
  } handle;
  sleep_awaiter* awaiter;
  std::coroutine_handle<> sleeper;

  void start(uv_loop_t* loop, std::chrono::nanoseconds duration) noexcept;
  void fire() noexcept;
  void close() noexcept;
};

namespace {

// In the loop's own milliseconds, never early. Not by uv_update_time: moving the loop's clock inside a timer callback
// makes further timers due at once, and short sleeps could then keep the loop among its timers for ever.
std::uint64_t milliseconds_until(const uv_loop_t* loop, std::chrono::nanoseconds duration) noexcept {
  constexpr std::uint64_t longest = std::uint64_t{1} << 62;
  constexpr std::uint64_t in_a_millisecond = 1'000'000;
  const std::uint64_t length = std::min(static_cast<std::uint64_t>(duration.count()), longest);
  const std::uint64_t due = (uv_hrtime() + length + in_a_millisecond - 1) / in_a_millisecond;
  const std::uint64_t now = uv_now(loop);
  return due > now ? due - now : 1;
}

}  // namespace

void sleep_timer::start(uv_loop_t* loop, std::chrono::nanoseconds duration) noexcept {
  if (duration <= std::chrono::nanoseconds::zero()) {
    // A timer of zero that is set again and again would starve the loop too; an idle handle runs once a turn.
    uv_idle_init(loop, &handle.idle);
    handle.any.data = this;
    uv_idle_start(&handle.idle, [](uv_idle_t* idle) { static_cast<sleep_timer*>(idle->data)->fire(); });
    return;
  }
  uv_timer_init(loop, &handle.timer);
  handle.any.data = this;
  uv_timer_start(
      &handle.timer, [](uv_timer_t* timer) { static_cast<sleep_timer*>(timer->data)->fire(); },
      milliseconds_until(loop, duration), 0);
}

void sleep_timer::fire() noexcept {
  awaiter->timer_ = nullptr;
  const loop_scope scope(handle.any.loop);
  const auto woken = sleeper;
  close();
  resume(woken);
}

void sleep_timer::close() noexcept {
  uv_close(&handle.any, [](uv_handle_t* closed) { delete static_cast<sleep_timer*>(closed->data); });
}

void sleep_awaiter::await_suspend(std::coroutine_handle<> sleeper) {
  timer_ = new sleep_timer{{}, this, sleeper};
  timer_->start(this_loop(), duration_);
}

sleep_awaiter::~sleep_awaiter() {
  if (timer_ != nullptr) timer_->close();
}

}  // namespace cosqlite::detail
