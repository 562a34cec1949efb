/// \file
/// The coroutine type.
#pragma once

#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/lineage.hpp>

#include <atomic>
#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#include <variant>

namespace cosqlite {

template <class T = void>
class task;

namespace detail {

class join;
struct task_access;

/// What the promises of all tasks share: how a task is started by the coroutine that awaits it, and how that one
/// continues when the task has finished.
class COSQLITE_API task_promise_base : public lineage {
 public:
  struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      static_cast<task_promise_base&>(self.promise()).finish(self);
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  final_awaiter final_suspend() const noexcept { return {}; }

  /// Starts this task, `self`, for `parent`, which has suspended. False: the task has finished already and `parent`
  /// is to go on at once.
  [[nodiscard]] bool start(std::coroutine_handle<> self, std::coroutine_handle<> parent) noexcept;

 private:
  friend join;
  enum class progress : unsigned char { parent_waits, starting, finished };

  void finish(std::coroutine_handle<> self) noexcept;

  std::coroutine_handle<> parent_;
  join* join_ = nullptr;  // set: the parent waits for several tasks, and only the last resumes it
  std::atomic<progress> progress_{progress::parent_waits};
};

template <class T>
class task_promise final : public task_promise_base {
 public:
  task<T> get_return_object() noexcept;

  template <class U = T>
    requires std::constructible_from<T, U>
  void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U>) {
    result_.template emplace<1>(std::forward<U>(value));
  }
  void unhandled_exception() noexcept { result_.template emplace<2>(std::current_exception()); }

  T take() {
    if (result_.index() == 2) std::rethrow_exception(std::move(std::get<2>(result_)));
    return std::move(std::get<1>(result_));
  }

 private:
  std::variant<std::monostate, T, std::exception_ptr> result_;
};

template <class T>
class task_promise<T&> final : public task_promise_base {
 public:
  task<T&> get_return_object() noexcept;

  void return_value(T& value) noexcept { result_ = std::addressof(value); }
  void unhandled_exception() noexcept { error_ = std::current_exception(); }

  T& take() {
    if (error_) std::rethrow_exception(std::move(error_));
    return *result_;
  }

 private:
  T* result_ = nullptr;
  std::exception_ptr error_;
};

template <>
class task_promise<void> final : public task_promise_base {
 public:
  task<void> get_return_object() noexcept;

  void return_void() const noexcept {}
  void unhandled_exception() noexcept { error_ = std::current_exception(); }

  void take() {
    if (error_) std::rethrow_exception(std::move(error_));
  }

 private:
  std::exception_ptr error_;
};

/// The frame of a task, destroyed with its owner.
template <class T>
class task_frame {
 public:
  using handle = std::coroutine_handle<task_promise<T>>;

  task_frame() noexcept = default;
  explicit task_frame(handle h) noexcept : handle_(h) {}
  task_frame(task_frame&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  task_frame& operator=(task_frame&& other) noexcept {
    task_frame old(std::exchange(handle_, std::exchange(other.handle_, {})));
    return *this;
  }
  ~task_frame() {
    if (handle_) handle_.destroy();
  }

  handle get() const noexcept { return handle_; }

 private:
  handle handle_;
};

[[noreturn]] COSQLITE_API void throw_empty_task();

/// Awaits a task and owns its frame meanwhile, so that the task's arguments are gone when the await is over.
template <class T>
class task_awaiter {
 public:
  explicit task_awaiter(task_frame<T>&& frame) noexcept : frame_(std::move(frame)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    const auto child = frame_.get();
    child.promise().awaited_by = lineage_of(parent);
    return child.promise().start(child, parent);
  }
  T await_resume() { return frame_.get().promise().take(); }

 private:
  task_frame<T> frame_;
};

}  // namespace detail

/// A coroutine that gives a `T` (a value, an lvalue reference, or nothing) to the one coroutine that awaits it.
///
/// Lazy: it starts when it is awaited, `co_await std::move(t)` or `co_await f()`, and its exception is rethrown there.
/// A task that nobody awaits never runs; spawn() and run() start one from ordinary code. Awaiting it twice is an
/// error (misuse_error).
///
/// It runs on the thread of whoever awaits it, in calls from that coroutine's loop; it may itself await, or be awaited
/// by, any other coroutine type. However many tasks await one another, or one after another, the stack stays flat.
///
/// Destroying a task that has not finished destroys its frame, and with it everything that it is waiting for: a
/// call that is under way is cancelled. (A chain of unfinished tasks is destroyed from the outside in, by recursion:
/// its depth is bounded by the stack.) A task must not be destroyed by code that it is running itself.
///
/// A task's arguments are copied or moved into it, except references, which must outlive it; therefore rvalue-reference
/// parameters are refused. The same holds for the closure of a lambda: what it captures is not part of the task.
template <class T>
class [[nodiscard]] task {
  static_assert(!std::is_rvalue_reference_v<T>, "a task gives a value or an lvalue reference");

 public:
  using value_type = T;

  /// A task without a coroutine; awaiting it is an error.
  task() noexcept = default;
  task(task&&) noexcept = default;
  task& operator=(task&&) noexcept = default;
  ~task() = default;

  /// Whether there is a coroutine here that has not been awaited yet.
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(frame_.get()); }

  /// Starts the task; the await gives its result or rethrows its exception.
  detail::task_awaiter<T> operator co_await() && {
    if (!frame_.get()) detail::throw_empty_task();
    return detail::task_awaiter<T>(std::move(frame_));
  }

 private:
  friend detail::task_promise<T>;
  friend detail::task_access;
  explicit task(detail::task_frame<T>&& frame) noexcept : frame_(std::move(frame)) {}

  detail::task_frame<T> frame_;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
  return task<T>(task_frame<T>(std::coroutine_handle<task_promise<T>>::from_promise(*this)));
}

template <class T>
task<T&> task_promise<T&>::get_return_object() noexcept {
  return task<T&>(task_frame<T&>(std::coroutine_handle<task_promise<T&>>::from_promise(*this)));
}

inline task<void> task_promise<void>::get_return_object() noexcept {
  return task<void>(task_frame<void>(std::coroutine_handle<task_promise<void>>::from_promise(*this)));
}

}  // namespace detail

}  // namespace cosqlite

/// Finds the promise of a coroutine that returns a task, and refuses parameters that would dangle.
template <class T, class... Args>
struct std::coroutine_traits<cosqlite::task<T>, Args...> {
  static_assert((!std::is_rvalue_reference_v<Args> && ...),
                "a task starts when it is awaited, when an rvalue-reference argument may be gone: take it by value");
  using promise_type = cosqlite::detail::task_promise<T>;
};
