/// \file
/// Waiting for time to pass.
#pragma once

#include <cosqlite/detail/export.hpp>

#include <chrono>
#include <coroutine>
#include <utility>

namespace cosqlite {

namespace detail {

struct sleep_timer;

class COSQLITE_API sleep_awaiter {
 public:
  explicit sleep_awaiter(std::chrono::nanoseconds duration) noexcept : duration_(duration) {}
  sleep_awaiter(sleep_awaiter&& other) noexcept
      : duration_(other.duration_), timer_(std::exchange(other.timer_, nullptr)) {}
  sleep_awaiter& operator=(sleep_awaiter&&) = delete;
  ~sleep_awaiter();

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> sleeper);
  void await_resume() const noexcept {}

 private:
  friend sleep_timer;

  std::chrono::nanoseconds duration_;
  sleep_timer* timer_ = nullptr;
};

}  // namespace detail

/// `co_await sleep_for(d)` suspends the coroutine for at least `d`, counted from the await, and resumes it on
/// this_loop(), which serves everything else meanwhile. The loop's clock ticks in milliseconds: `d` is rounded up.
/// With `d` of zero or less the coroutine goes on after the loop has looked at its other handles once.
///
/// A sleeping coroutine keeps the loop alive. Destroying it is safe: nothing fires afterwards.
[[nodiscard]] inline detail::sleep_awaiter sleep_for(std::chrono::nanoseconds duration) noexcept {
  return detail::sleep_awaiter(duration);
}

}  // namespace cosqlite
