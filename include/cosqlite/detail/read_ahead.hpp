#pragma once

#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>

#include <coroutine>
#include <memory>

namespace cosqlite::detail {

/// Where a stream that is no statement gets its batches from.
class COSQLITE_API batch_source {
 public:
  batch_source() = default;
  batch_source(const batch_source&) = delete;
  batch_source& operator=(const batch_source&) = delete;
  virtual ~batch_source();
  /// A call for the following batch, not yet queued. It marks the last one (`operation::last`).
  virtual operation_ref fetch() = 0;
  /// Nothing more is wanted, or everything has been taken. Once.
  virtual void end() noexcept = 0;
};

/// Two fetches under way at most, in order. On the loop's thread.
class COSQLITE_API read_ahead {
 public:
  read_ahead(ref<executor> where, std::unique_ptr<batch_source> from) noexcept;
  read_ahead(read_ahead&& other) noexcept;
  read_ahead& operator=(read_ahead&& other) noexcept;
  ~read_ahead();

  /// Whether the following batch is there, so that nobody needs to wait.
  [[nodiscard]] bool ready() noexcept;
  /// Sees to it that \p waiter resumes when the batch has come. False: it has.
  bool wait(std::coroutine_handle<> waiter, const lineage* of_waiter = nullptr) noexcept;
  /// Makes the batch that has come the current one. False: there is none any more. Throws what the fetch met.
  bool take();
  /// Null before the first.
  [[nodiscard]] operation* current() noexcept { return current_.get(); }
  /// The call that wait() waits for.
  [[nodiscard]] const operation_ref& awaited() const noexcept { return first_; }
  [[nodiscard]] batch_source& source() noexcept { return *from_; }
  /// Ends it now; what is under way is stopped.
  void close() noexcept;

 private:
  operation_ref fetch(std::coroutine_handle<> waiter, bool& suspended, const lineage* of_waiter = nullptr);

  ref<executor> where_;
  std::unique_ptr<batch_source> from_;
  operation_ref current_;
  operation_ref first_;
  operation_ref second_;
  bool ended_ = false;
};

}  // namespace cosqlite::detail
