/// \file
/// What every asynchronous function returns: a call that is made when it is awaited.
#pragma once

#include <cosqlite/detail/operation.hpp>

#include <coroutine>
#include <type_traits>
#include <utility>

namespace cosqlite {

/// A call that has been built (SQL and arguments are copied into it) and is queued when it is awaited, from any
/// coroutine type, on the thread of its connection's loop. The coroutine resumes on that loop, never inside the
/// awaiting expression of another. Awaited once. Destroying it, or the coroutine that waits on it, cancels the call:
/// queued, it never runs; running, it is stopped; its result is dropped.
template <class T = void>
class [[nodiscard]] call {
 public:
  explicit call(detail::operation_ref op) noexcept : op_(std::move(op)) {}
  call(call&&) noexcept = default;
  call& operator=(call&& other) noexcept {
    if (op_) detail::abandon(std::move(op_));
    op_ = std::move(other.op_);
    return *this;
  }
  ~call() {
    if (op_) detail::abandon(std::move(op_));
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) noexcept {
    return op_ && detail::start(*op_, waiter, detail::lineage_of(waiter));
  }
  T await_resume() {
    if (!op_) [[unlikely]]
      detail::throw_no_call();
    detail::check(*op_);
    if constexpr (!std::is_void_v<T>) return detail::take_result<T>(*op_);
  }

 private:
  detail::operation_ref op_;
};

}  // namespace cosqlite
