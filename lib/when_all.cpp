#include <cosqlite/detail/trampoline.hpp>
#include <cosqlite/when_all.hpp>

namespace cosqlite::detail {

void join::start(std::coroutine_handle<> self, task_promise_base& promise, std::coroutine_handle<> parent) noexcept {
  pending_.fetch_add(1, std::memory_order_relaxed);
  promise.parent_ = parent;
  promise.join_ = this;
  resume(self);
}

}  // namespace cosqlite::detail
