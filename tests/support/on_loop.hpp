#pragma once

#include "support/catch.hpp"
#include <cosqlite/error.hpp>
#include <cosqlite/run.hpp>
#include <cosqlite/task.hpp>

#include <uv.h>

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace support {

/// Ends the program with a clear message when a test hangs, instead of hanging with it. It lives on the loop and does
/// not keep it alive.
class watchdog {
 public:
  watchdog(uv_loop_t* loop, std::chrono::milliseconds patience) : timer_(new uv_timer_t) {
    uv_timer_init(loop, timer_);
    uv_unref(reinterpret_cast<uv_handle_t*>(timer_));
    uv_timer_start(timer_, &bark, static_cast<std::uint64_t>(patience.count()), 0);
  }
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog() {
    uv_close(reinterpret_cast<uv_handle_t*>(timer_), [](uv_handle_t* h) { delete reinterpret_cast<uv_timer_t*>(h); });
  }

 private:
  static void bark(uv_timer_t* timer) {
    std::fprintf(stderr,
                 "\nThe test \"%s\" hangs: its loop waits for something that does not come. Handles on the loop:\n",
                 Catch::getResultCapture().getCurrentTestName().c_str());
    uv_print_all_handles(timer->loop, stderr);
    std::fflush(stderr);
    std::abort();
  }

  uv_timer_t* timer_;
};

/// A loop under a watchdog. Closing it checks that nothing has been left on it.
class test_loop {
 public:
  explicit test_loop(std::chrono::milliseconds patience = std::chrono::seconds(60)) {
    REQUIRE(uv_loop_init(&loop_) == 0);
    watchdog_.emplace(&loop_, patience);
  }
  test_loop(const test_loop&) = delete;
  test_loop& operator=(const test_loop&) = delete;
  ~test_loop() {
    if (!closed_) CHECK(close() == 0);
  }

  uv_loop_t* get() { return &loop_; }
  template <class T>
  T run(cosqlite::task<T> body) {
    return cosqlite::run(std::move(body), &loop_);
  }
  /// Lets what still goes on come to its end, and closes the loop. Gives what uv_loop_close gives.
  int close() {
    closed_ = true;
    uv_run(&loop_, UV_RUN_DEFAULT);
    watchdog_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    const int rc = uv_loop_close(&loop_);
    if (rc != 0) uv_print_all_handles(&loop_, stderr);
    return rc;
  }

 private:
  uv_loop_t loop_{};
  std::optional<watchdog> watchdog_;
  bool closed_ = false;
};

/// Runs `body()`, a coroutine, on a loop of its own that must be empty in the end.
template <class F>
void on_loop(F&& body) {
  test_loop loop;
  loop.run(body());
}

/// The error that the awaitable throws; it must be exactly an \p E.
template <class E, class A>
cosqlite::task<E> failure_of(A awaitable) {
  std::optional<E> caught;
  std::string other;
  try {
    static_cast<void>(co_await std::move(awaitable));
    other = "nothing was thrown";
  } catch (const E& e) {
    if (typeid(e) == typeid(E)) caught.emplace(e);
    other = std::string("something more special was thrown: ") + e.what();
  } catch (const std::exception& e) {
    other = std::string("something else was thrown: ") + typeid(e).name() + ": " + e.what();
  }
  if (!caught) {
    INFO(other);
    REQUIRE(caught.has_value());
  }
  co_return std::move(*caught);
}

/// Whether \p needle stands in \p text.
inline bool contains(std::string_view text, std::string_view needle) {
  return text.find(needle) != std::string_view::npos;
}

/// Suspends until somebody on the same loop sets it.
class gate {
 public:
  gate() = default;
  gate(const gate&) = delete;
  gate& operator=(const gate&) = delete;
  void open() {
    open_ = true;
    for (std::coroutine_handle<> h : std::exchange(waiting_, {})) h.resume();
  }
  bool await_ready() const noexcept { return open_; }
  void await_suspend(std::coroutine_handle<> waiter) { waiting_.push_back(waiter); }
  void await_resume() const noexcept {}

 private:
  std::vector<std::coroutine_handle<>> waiting_;
  bool open_ = false;
};

}  // namespace support
