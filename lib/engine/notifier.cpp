#include "engine/notifier.hpp"

#include "engine/bridge.hpp"

namespace cosqlite::detail {

const operation_type wait_operation{};

notifier::~notifier() {
  if (waiting_) waiting_->release();
}

void notifier::close() noexcept {
  operation* op = nullptr;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    op = take_waiter();
  }
  complete(op);
}

bool notifier::is_ready() noexcept {
  const std::lock_guard lock(mutex_);
  return closed_ || has_something();
}

std::exception_ptr notifier::refusal(const operation& op) noexcept {
  // A connection that is closing still ends its streams in order.
  return worker_->accepts_calls() ? worker_->refusal(op) : nullptr;
}

void notifier::submit(operation& op) noexcept {
  op.at = worker_.get();
  operation* before = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!closed_ && !has_something()) {
      before = std::exchange(waiting_, &op);
    } else {
      before = &op;
    }
  }
  if (before == &op) return complete(&op);
  // One that nobody waits for any more; a second reader's takes the place of the first.
  complete(before);
}

void notifier::complete(operation* op) noexcept {
  if (!op) return;
  op_state queued = op_state::queued;
  if (!op->state.compare_exchange_strong(queued, op_state::running, std::memory_order_acq_rel)) {
    op->release();
    return;
  }
  op->state.store(op_state::done, std::memory_order_release);
  worker_->loop_bridge().post(op, op);
}

}  // namespace cosqlite::detail
