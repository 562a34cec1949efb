#pragma once

#include "engine/worker.hpp"

#include <mutex>

namespace cosqlite::detail {

/// Something that the worker fills and one coroutine on the loop waits for. A wait is an operation like any other
/// (deadline, stop token, abandonment), queued here instead of in a worker's inbox until there is something.
class notifier : public executor {
 public:
  explicit notifier(worker& at) noexcept : worker_(&at) {}

  /// Nothing comes any more; who waits goes on. Any thread.
  void close() noexcept;

  // --- loop thread
  /// Whether a wait would be over at once.
  [[nodiscard]] bool is_ready() noexcept;
  void submit(operation& op) noexcept override;
  std::exception_ptr refusal(const operation& op) noexcept override;
  bool accepts(const operation&) noexcept override { return true; }
  [[nodiscard]] bool is_gone() const noexcept override { return worker_->is_gone(); }
  bridge& loop_bridge() noexcept override { return worker_->loop_bridge(); }
  [[nodiscard]] std::int64_t poll_ns() const noexcept override { return 0; }
  [[nodiscard]] worker& at() const noexcept { return *worker_; }

 protected:
  ~notifier() override;
  /// With the mutex held.
  [[nodiscard]] virtual bool has_something() const noexcept = 0;
  /// There is something: with the mutex held, gives the operation that waited, to be completed after unlocking.
  [[nodiscard]] operation* take_waiter() noexcept { return std::exchange(waiting_, nullptr); }
  void complete(operation* op) noexcept;

  std::mutex mutex_;
  bool closed_ = false;

 private:
  ref<worker> worker_;
  operation* waiting_ = nullptr;
};

extern const operation_type wait_operation;

}  // namespace cosqlite::detail
