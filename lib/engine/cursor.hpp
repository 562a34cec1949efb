#pragma once

#include <cosqlite/detail/operation.hpp>

#include <atomic>
#include <cstdint>
#include <memory>

namespace cosqlite::detail {

struct prepared;
class worker;

/// A stream's statement between its batches. Shared by the stream and the worker that steps it.
class cursor {
 public:
  explicit cursor(operation_ref origin) noexcept : origin_(std::move(origin)) {}
  cursor(const cursor&) = delete;
  cursor& operator=(const cursor&) = delete;
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  /// The worker that it is on, once a fetch has been answered; null: none has run it.
  [[nodiscard]] executor* at() const noexcept { return at_.get(); }
  /// Carries SQL and arguments; never queued itself.
  [[nodiscard]] operation& origin() noexcept { return *origin_; }

  // --- worker thread
  /// Steps on until a batch is full; gives it to the operation's type. Throws.
  void fetch(worker& at, operation& op);
  /// Resets the statement, if it runs.
  void end(worker& at) noexcept;

  /// Ends it because it is too old; its next fetch throws.
  void expire(worker& at) noexcept;
  /// When its statement began, steady clock.
  [[nodiscard]] std::int64_t since() const noexcept { return since_; }

  cursor* next = nullptr;
  cursor** previous_link = nullptr;

 private:
  ~cursor() = default;
  void start(worker& at);

  std::atomic<std::uint32_t> references_{1};
  operation_ref origin_;
  ref<executor> at_;
  std::shared_ptr<prepared> statement_;
  bool started_ = false;
  bool ended_ = false;
  bool expired_ = false;
  bool has_given_ = false;  // a row: what it writes is written
  std::int64_t since_ = 0;
  std::uint32_t batch_rows_ = 16;
};

}  // namespace cosqlite::detail
