/// \file
/// The record of one call, from the coroutine that builds it to the worker and back.
#pragma once

#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/lineage.hpp>
#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/row.hpp>
#include <cosqlite/sql.hpp>
#include <cosqlite/value.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

namespace cosqlite::detail {

struct operation;
struct prepared;
class bridge;
class cursor;
class worker;

/// What runs operations: a connection's worker, or a pool that picks one. Reference counted.
class COSQLITE_API executor {
 public:
  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  /// Takes over a reference to \p op and sees to it that it is completed. On the loop thread.
  virtual void submit(operation& op) noexcept = 0;
  /// Why \p op is refused now (closed, wrong thread), or null; asked before submit.
  virtual std::exception_ptr refusal(const operation& op) noexcept = 0;
  /// Whether a call that nobody waits for is still of use.
  virtual bool accepts(const operation& op) noexcept = 0;
  /// Whether it has closed for good.
  [[nodiscard]] virtual bool is_gone() const noexcept = 0;
  virtual bridge& loop_bridge() noexcept = 0;
  /// The longest polling hand-over, in nanoseconds.
  [[nodiscard]] virtual std::int64_t poll_ns() const noexcept = 0;
  /// What coroutines have of it that keeps others waiting. On the loop's thread.
  possession* possessions = nullptr;

 protected:
  executor() = default;
  virtual ~executor();
  virtual void destroy() noexcept { delete this; }

 private:
  std::atomic<std::uint32_t> references_{1};
};

/// An owning pointer to something with retain() and release().
template <class T>
class ref {
 public:
  ref() noexcept = default;
  /// Shares \p p.
  explicit ref(T* p) noexcept : p_(p) {
    if (p_) p_->retain();
  }
  /// Takes over a reference that the caller has.
  static ref adopt(T* p) noexcept {
    ref r;
    r.p_ = p;
    return r;
  }
  ref(const ref& o) noexcept : ref(o.p_) {}
  ref(ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  template <class U>
    requires(std::is_convertible_v<U*, T*>)
  ref(const ref<U>& o) noexcept : ref(o.get()) {}
  ref& operator=(ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~ref() {
    if (p_) p_->release();
  }
  [[nodiscard]] T* get() const noexcept { return p_; }
  [[nodiscard]] T* leak() noexcept { return std::exchange(p_, nullptr); }
  T& operator*() const noexcept { return *p_; }
  T* operator->() const noexcept { return p_; }
  explicit operator bool() const noexcept { return p_ != nullptr; }

 private:
  T* p_ = nullptr;
};

/// Where, for whom and how long a call may run: what connection, transaction and pool put under the calls they share.
struct call_site {
  call_site() noexcept {}  // no aggregate: GCC 12 would destroy temporaries of it twice in a co_await
  executor* where = nullptr;
  std::uint64_t owner = 0;              ///< the transaction that makes the call; 0: the connection itself
  std::chrono::nanoseconds timeout{0};  ///< from the moment of awaiting; 0: none
  std::int64_t deadline = 0;            ///< steady clock, ns; 0: none (a transaction under a deadline)
  std::stop_token stop;
};

enum class op_state : std::uint8_t {
  built,    ///< not yet awaited
  queued,   ///< in an inbox
  running,  ///< the worker has it
  done,     ///< result or error is there
  dropped,  ///< taken out of the queue by a stop, a deadline or its owner; never ran
};

enum class stop_reason : std::uint8_t { none, requested, timed_out, abandoned, closed };

/// What a kind of call does; one static object each.
struct operation_type {
  /// On the worker. May throw: the exception becomes the call's.
  void (*run)(worker&, operation&) = nullptr;
  /// For statements: takes one row; false: no more are wanted.
  bool (*row)(operation&, cell*, int) = nullptr;
  /// For statements: before the first row.
  void (*begin)(operation&) = nullptr;
  /// For statements: after the last row; may throw.
  void (*end)(operation&) = nullptr;
  /// For execute_many: binds the next row; false: there is none.
  bool (*next)(operation&, sink&) = nullptr;
  void (*destroy_result)(operation&) noexcept = nullptr;
  bool plain_statement = false;  ///< a single statement: may be coalesced
  bool wants_names = false;      ///< the rows carry column names
  bool urgent = false;           ///< runs before whatever waits (rollback of a dropped transaction, end of a stream)
  bool begins = false;           ///< opens a transaction
  bool opens = false;            ///< opens the connection: never taken out of the queue
  bool closes = false;           ///< closes the connection: never taken out of the queue
  bool ends = false;             ///< commit or rollback: allowed after SQLite has ended the transaction
};

/// Something of any type, held for an operation.
struct COSQLITE_API holder {
  holder() = default;
  holder(const holder&) = delete;
  holder& operator=(const holder&) = delete;
  virtual ~holder();
};

struct stop_request {
  operation* op;
  COSQLITE_API void operator()() const noexcept;
};

/// The record itself. Reference counted: one for the awaiter, one for whoever has it queued. `waiter` and the timer
/// fields belong to the loop thread; between `queued` and `done` the rest belongs to the worker.
struct COSQLITE_API operation {
  static constexpr std::size_t inline_result = 64;

  alignas(64) operation* next_queued = nullptr;  // neighbours in memory are used by different threads
  operation* next_done = nullptr;
  std::atomic<std::uint32_t> references{1};
  std::atomic<op_state> state{op_state::built};
  std::atomic<stop_reason> stop{stop_reason::none};
  const operation_type* type = nullptr;
  std::coroutine_handle<> waiter;
  const lineage* of_waiter = nullptr;  ///< as long as `waiter`, if it is known
  possession* gives = nullptr;         ///< in the result: what its waiter has then
  ref<executor> where;
  worker* at = nullptr;  ///< the worker that runs, or ran, it
  std::uint64_t owner = 0;
  std::int64_t timeout = 0;       ///< ns; 0: none
  std::int64_t deadline = 0;      ///< steady clock, ns; 0: none
  std::int64_t submitted_at = 0;  ///< in a pool; steady clock, ns
  std::uint32_t timer_slot = 0;
  std::uint32_t expected_rows = 0;  ///< for streams: the most that a batch will have
  std::uint64_t serial = 0;         ///< names the call for `interrupt`
  bool counted = false;             ///< counted as pending by the bridge
  bool borrows = false;             ///< the worker reads or writes memory of the caller
  bool in_lock = false;             ///< the busy handler was waiting when the call was stopped
  bool in_body = false;             ///< opens a transaction that belongs to a `transact` body
  bool detaches = false;            ///< the worker's last word: it lets go of the bridge
  bool last = false;                ///< for streams: nothing follows this batch
  bool looked_up = false;           ///< its statement has been looked for, and counted
  bool awaited_again = false;       ///< a second awaiter is to be refused; the first still has the call
  std::source_location location{};
  std::string sql;
  parameters args;
  std::shared_ptr<prepared> statement;
  ref<cursor> from;
  std::unique_ptr<holder> closure;
  std::shared_ptr<const column_names> names;
  std::int64_t changes = 0;
  std::int64_t last_insert_rowid = 0;
  std::exception_ptr error;
  void* result = nullptr;
  void* box = nullptr;  ///< what holds the result where it stands elsewhere
  alignas(std::max_align_t) std::array<std::byte, inline_result> storage;
  std::stop_token stop_token;
  std::optional<std::stop_callback<stop_request>> stop_callback;

  operation();
  ~operation();
  void retain() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) recycle();
  }
  void clear_result() noexcept {
    if (result) type->destroy_result(*this);
    result = nullptr;
  }

 private:
  void recycle() noexcept;
};

using operation_ref = ref<operation>;

/// A cleared record from this thread's store.
[[nodiscard]] COSQLITE_API operation_ref make_operation(const call_site& site, const operation_type& type);
/// The same with SQL copied into it. Throws misuse_error on a NUL in the text.
[[nodiscard]] COSQLITE_API operation_ref make_operation(const call_site& site, const operation_type& type,
                                                        const sql_text& sql);
/// Queues it. False: it is complete already (refused, or finished while polling), do not suspend.
COSQLITE_API bool start(operation& op, std::coroutine_handle<> waiter, const lineage* of_waiter = nullptr) noexcept;
/// The awaiter goes away, whatever state the call is in.
COSQLITE_API void abandon(operation_ref op) noexcept;
/// The awaiter goes away, the call goes on.
COSQLITE_API void stop_waiting(operation& op) noexcept;
/// Queues it without an awaiter.
COSQLITE_API void start_detached(operation_ref op) noexcept;
[[noreturn]] COSQLITE_API void throw_no_call();
/// Throws the call's error, if it has one.
COSQLITE_API void check(operation& op);
/// True once the result may be taken without waiting.
inline bool is_done(const operation& op) noexcept { return op.state.load(std::memory_order_acquire) == op_state::done; }

template <class T>
inline constexpr bool fits_inline = sizeof(T) <= operation::inline_result;

/// A result that does not fit: on cache lines of its own, since while the loop reads one batch of a stream the worker fills
/// the next, which may stand beside it in memory.
template <class T>
struct alignas(64) boxed_result {
  template <class... A>
  explicit boxed_result(A&&... a) : value(std::forward<A>(a)...) {}
  T value;
};

template <class T>
void destroy_result(operation& op) noexcept {
  if constexpr (fits_inline<T>) {
    static_cast<T*>(op.result)->~T();
  } else {
    delete static_cast<boxed_result<T>*>(op.box);
  }
}

/// Builds the result in the record, in place where it fits.
template <class T, class... A>
T& emplace_result(operation& op, A&&... a) {
  static_assert(alignof(T) <= alignof(std::max_align_t));
  op.clear_result();
  if constexpr (fits_inline<T>) {
    op.result = ::new (static_cast<void*>(op.storage.data())) T(std::forward<A>(a)...);
  } else {
    auto* box = new boxed_result<T>(std::forward<A>(a)...);
    op.box = box;
    op.result = &box->value;
  }
  return *static_cast<T*>(op.result);
}

template <class T>
T& result_of(operation& op) noexcept {
  return *static_cast<T*>(op.result);
}

template <class T>
T take_result(operation& op) {
  T v = std::move(*static_cast<T*>(op.result));
  op.clear_result();
  return v;
}

}  // namespace cosqlite::detail
