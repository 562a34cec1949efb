#pragma once

#include "engine/worker.hpp"
#include <cosqlite/call.hpp>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <source_location>
#include <utility>

namespace cosqlite::detail {

/// Completes one call when it is opened, from any thread: how a coroutine waits for a worker to have come to a point. It
/// is refused where a call to that worker would be.
class gate final : public executor {
 public:
  gate(ref<bridge> b, std::int64_t poll, ref<worker> opened_by) noexcept
      : bridge_(std::move(b)), poll_(poll), opened_by_(std::move(opened_by)) {}

  void submit(operation& op) noexcept override {
    const std::lock_guard lock(mutex_);
    if (open_) return complete(op);
    waiting_ = &op;
  }
  std::exception_ptr refusal(const operation& op) noexcept override;
  bool accepts(const operation&) noexcept override { return true; }
  [[nodiscard]] bool is_gone() const noexcept override { return false; }
  bridge& loop_bridge() noexcept override { return *bridge_; }
  [[nodiscard]] std::int64_t poll_ns() const noexcept override { return poll_; }

  void open() noexcept {
    const std::lock_guard lock(mutex_);
    if (std::exchange(open_, true)) return;
    if (waiting_) complete(*std::exchange(waiting_, nullptr));
  }

 private:
  void complete(operation& op) noexcept {
    op_state queued = op_state::queued;
    if (!op.state.compare_exchange_strong(queued, op_state::running, std::memory_order_acq_rel)) return op.release();
    op.state.store(op_state::done, std::memory_order_release);
    bridge_->post(&op, &op);
  }

  ref<bridge> bridge_;
  std::int64_t poll_;
  ref<worker> opened_by_;
  std::mutex mutex_;
  operation* waiting_ = nullptr;
  bool open_ = false;
};

/// The destination's connection while its own worker holds still and the source's works on it.
class loan {
 public:
  explicit loan(ref<gate> g) noexcept : lent(std::move(g)) {}

  /// Opened when the connection has been lent, or never will be.
  const ref<gate> lent;
  /// The destination wants its connection back: it was dropped.
  std::atomic<bool> wanted{false};
  /// The copy is complete.
  std::atomic<bool> replaced{false};

  /// On the destination's worker: lends it until it is given back.
  void lend(worker& at) noexcept {
    std::unique_lock lock(mutex_);
    if (over_) return;
    db_ = at.db();
    lent->open();
    // A wait by the steady clock is one that thread sanitizers of today do not see.
    while (!over_) {
      returned_.wait_until(lock, std::chrono::system_clock::now() + std::chrono::milliseconds(20));
      if (at.is_aborted()) wanted = true;
    }
    db_ = nullptr;
  }
  /// Any thread: the connection is its own again.
  void give_back() noexcept {
    const std::lock_guard lock(mutex_);
    over_ = true;
    returned_.notify_all();
  }
  /// Null: it is not lent.
  [[nodiscard]] sqlite3* db() noexcept {
    const std::lock_guard lock(mutex_);
    return db_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  sqlite3* db_ = nullptr;
  bool over_ = false;
};

/// Queues the call that lends the destination. Throws when it is refused.
void ask_for_loan(const call_site& to, const std::shared_ptr<loan>& l, const std::source_location& where);

/// Completes when the destination has been lent, or never will be.
[[nodiscard]] call<> wait_for_loan(const call_site& site, const std::shared_ptr<loan>& l,
                                   const std::source_location& where);

}  // namespace cosqlite::detail
