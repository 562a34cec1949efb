#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <utility>

namespace foreign {

/// A coroutine type that knows nothing of the library: starts at once, and whoever resumes it runs it directly.
class coroutine {
 public:
  class promise_type {
   public:
    coroutine get_return_object() { return coroutine(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { error = std::current_exception(); }

    std::exception_ptr error;
  };

  coroutine(coroutine&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  coroutine& operator=(coroutine&&) = delete;
  ~coroutine() {
    if (handle_) handle_.destroy();
  }

  bool done() const { return handle_.done(); }
  void rethrow() const {
    if (handle_.promise().error) std::rethrow_exception(handle_.promise().error);
  }

 private:
  explicit coroutine(std::coroutine_handle<promise_type> handle) : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

/// Suspends one coroutine until fire() resumes it, directly, as callbacks of other libraries do.
class event {
 public:
  event() = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }
  void await_resume() const noexcept {}

  bool awaited() const { return static_cast<bool>(waiter_); }
  void fire() { std::exchange(waiter_, {}).resume(); }

 private:
  std::coroutine_handle<> waiter_;
};

/// The event by reference, for functions that take awaitables by value.
class event_reference {
 public:
  explicit event_reference(event& target) : target_(&target) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) const noexcept { target_->await_suspend(waiter); }
  void await_resume() const noexcept {}

 private:
  event* target_;
};

/// How far the stack has grown between the calls of here().
class stack_gauge {
 public:
  __attribute__((noinline)) void here() {
    const auto at = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    lowest_ = at < lowest_ ? at : lowest_;
    highest_ = at > highest_ ? at : highest_;
  }
  std::uintptr_t growth() const { return highest_ - lowest_; }

 private:
  std::uintptr_t lowest_ = UINTPTR_MAX;
  std::uintptr_t highest_ = 0;
};

/// Counts the living, on any thread: in a coroutine's frame it shows whether the frame has been destroyed.
class guard {
 public:
  explicit guard(int& living) : living_(&living) { std::atomic_ref(*living_).fetch_add(1); }
  guard(guard&& other) noexcept : living_(std::exchange(other.living_, nullptr)) {}
  guard& operator=(guard&&) = delete;
  ~guard() {
    if (living_ != nullptr) std::atomic_ref(*living_).fetch_sub(1);
  }

 private:
  int* living_;
};

}  // namespace foreign
