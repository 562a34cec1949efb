#include <cosqlite/detail/trampoline.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/task.hpp>
#include <cosqlite/when_all.hpp>

#include <sqlite3.h>

namespace cosqlite::detail {

bool task_promise_base::start(std::coroutine_handle<> self, std::coroutine_handle<> parent) noexcept {
  parent_ = parent;
  if (hand_over(parent, self)) return true;

  // Somebody else drives the parent. To keep its stack flat too, a task that finishes at once does not resume it: the
  // parent finds out here. The exchange decides, since the task may be going on in another thread by now.
  progress_.store(progress::starting, std::memory_order_relaxed);
  resume(self);
  auto expected = progress::starting;
  return progress_.compare_exchange_strong(expected, progress::parent_waits, std::memory_order_acq_rel);
}

void task_promise_base::finish(std::coroutine_handle<> self) noexcept {
  auto expected = progress::starting;
  if (progress_.load(std::memory_order_acquire) == progress::starting &&
      progress_.compare_exchange_strong(expected, progress::finished, std::memory_order_acq_rel)) {
    return;
  }
  if (join_ != nullptr && !join_->leave()) return;
  const auto parent = parent_;
  if (!hand_over(self, parent)) resume(parent);
}

void throw_empty_task() {
  error::details details;
  details.code = SQLITE_MISUSE;
  throw misuse_error("co_await on an empty task: it was moved from, or has been awaited before", std::move(details));
}

}  // namespace cosqlite::detail
