#pragma once

#include <cosqlite/error.hpp>
#include <cosqlite/sleep.hpp>
#include <cosqlite/task.hpp>

#include <chrono>
#include <coroutine>
#include <exception>
#include <optional>
#include <string>
#include <utility>

namespace support {

/// Starts a task at once and lets it be destroyed half-way, as an abandoned request is.
class abandonable {
 public:
  struct promise_type {
    abandonable get_return_object() { return abandonable(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  abandonable(abandonable&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  abandonable& operator=(abandonable&&) = delete;
  ~abandonable() { destroy(); }
  void destroy() {
    if (handle_) std::exchange(handle_, {}).destroy();
  }
  [[nodiscard]] bool is_destroyed() const { return !handle_; }

 private:
  explicit abandonable(std::coroutine_handle<promise_type> h) : handle_(h) {}
  std::coroutine_handle<promise_type> handle_;
};

/// An outcome in one word, where it is one that a test expects.
inline std::string outcome_of(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const cosqlite::timeout_error&) {
    return "timeout";
  } catch (const cosqlite::cancelled_error&) {
    return "cancelled";
  } catch (const cosqlite::closed_error&) {
    return "closed";
  } catch (const std::exception& other) {
    return other.what();
  }
}

/// Runs \p body; how it came out stands in \p outcome afterwards.
inline abandonable start(cosqlite::task<> body, std::optional<std::string>& outcome) {
  std::exception_ptr failure;
  try {
    co_await std::move(body);
    outcome = "finished";
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) outcome = outcome_of(failure);
}

/// Lets the loop turn until \p done says so.
template <class F>
cosqlite::task<> until(F done) {
  while (!done()) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace support
