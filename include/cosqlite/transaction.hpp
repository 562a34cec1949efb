/// \file
/// Transactions that own their connection, and savepoints inside them.
#pragma once

#include <cosqlite/blob.hpp>
#include <cosqlite/call.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/detail/pause.hpp>
#include <cosqlite/queries.hpp>
#include <cosqlite/task.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace cosqlite {

/// How BEGIN takes its locks. `immediate` takes the write lock at once, under the busy timeout; a `deferred` one that
/// reads and then writes fails without waiting when somebody else has written meanwhile.
enum class tx_mode : std::uint8_t { deferred, immediate, exclusive };

/// How `transact` runs its body.
struct transact_options {
  tx_mode mode = tx_mode::immediate;  ///< how BEGIN takes its locks
  /// Runs of the body at most. Above 1 the body is run again after SQLITE_BUSY at BEGIN and after SQLITE_BUSY_SNAPSHOT,
  /// so it must be repeatable.
  int attempts = 1;
  std::chrono::milliseconds backoff{5};  ///< pause before the second run; doubles each time, with jitter
};

class savepoint;
class transaction;

namespace detail {

class transaction_state;

COSQLITE_API call<transaction> begin_transaction(const call_site& site, tx_mode mode, std::source_location where,
                                                 bool in_body = false);

}  // namespace detail

/// A transaction. While it lives, calls made through its connection wait, in order, until it ends; make yours through
/// the transaction. It ends with `commit` or `rollback`; dropping it unfinished rolls it back before any other call
/// runs, without blocking or throwing. When SQLite itself has ended it (disk full, ON CONFLICT ROLLBACK, a COMMIT you
/// typed …) every further call throws `transaction_error`; `rollback` still works. Move-only; use it from the loop's
/// thread.
class COSQLITE_API transaction : public queries<transaction>, public blob_calls<transaction> {
 public:
  explicit transaction(std::unique_ptr<detail::transaction_state> state) noexcept;
  transaction(transaction&&) noexcept;
  transaction& operator=(transaction&&) noexcept;
  ~transaction();

  /// Makes the changes durable and ends the transaction. On `busy_error` the transaction stays open and commit can be
  /// tried again; any other failure leaves it to `rollback`.
  [[nodiscard]] call<> commit(std::source_location where = std::source_location::current());
  /// Undoes everything and ends the transaction. Works also when SQLite has ended it already.
  [[nodiscard]] call<> rollback(std::source_location where = std::source_location::current());
  /// Opens a savepoint. Savepoints nest; end them in reverse order.
  [[nodiscard]] call<cosqlite::savepoint> savepoint(std::source_location where = std::source_location::current());

  /// `fn(sqlite3*)` on the worker, inside the transaction; its result is the call's. fn must not end the transaction.
  template <class F>
  [[nodiscard]] auto run(F&& fn, std::source_location where = std::source_location::current()) {
    detail::check_callable<F>();
    auto job = [fn = detail::callable_t<F>(detail::unwrap_callable(std::forward<F>(fn)))](
                   detail::worker& at, detail::operation&) mutable { return fn(detail::native_handle(at)); };
    return detail::make_callable(site(), std::move(job), where);
  }

  /// The same calls under a deadline, each from its own await.
  [[nodiscard]] auto with(std::chrono::nanoseconds timeout);
  /// The same calls under a stop token.
  [[nodiscard]] auto with(std::stop_token stop);
  /// The same calls under both.
  [[nodiscard]] auto with(std::stop_token stop, std::chrono::nanoseconds timeout);

  /// False once commit or rollback has succeeded, or after a move.
  [[nodiscard]] bool is_open() const noexcept;
  [[nodiscard]] detail::call_site site() const noexcept;

 private:
  friend class cosqlite::savepoint;
  std::unique_ptr<detail::transaction_state> state_;
};

/// A savepoint: a part of a transaction that can be undone by itself. Calls may go through it or through the
/// transaction, it is the same. Dropping it unfinished undoes what came after it and releases it.
class COSQLITE_API savepoint : public queries<savepoint>, public blob_calls<savepoint> {
 public:
  savepoint(detail::call_site site, std::uint64_t number, std::shared_ptr<std::atomic<bool>> ended,
            detail::operation_ref undo) noexcept;
  savepoint(savepoint&&) noexcept;
  savepoint& operator=(savepoint&&) noexcept;
  ~savepoint();

  /// Keeps its changes (they still depend on the transaction) and ends it.
  [[nodiscard]] call<> release(std::source_location where = std::source_location::current());
  /// Undoes its changes and ends it (ROLLBACK TO, then RELEASE). Works also when the time is up.
  [[nodiscard]] call<> rollback(std::source_location where = std::source_location::current());
  /// Opens a savepoint inside this one.
  [[nodiscard]] call<savepoint> nested(std::source_location where = std::source_location::current());

  /// False once release or rollback has succeeded, or after a move.
  [[nodiscard]] bool is_open() const noexcept { return ended_ && !ended_->load(); }
  [[nodiscard]] detail::call_site site() const noexcept { return site_; }

 private:
  void drop() noexcept;

  detail::call_site site_;
  detail::ref<detail::executor> where_;
  std::uint64_t number_ = 0;
  std::shared_ptr<std::atomic<bool>> ended_;  // shared with the calls that end it
  detail::operation_ref undo_;                // for when it is dropped, where there may be no memory for a new call
};

/// A transaction under a deadline or a stop token.
class limited_transaction : public queries<limited_transaction>, public blob_calls<limited_transaction> {
 public:
  explicit limited_transaction(detail::call_site site) noexcept : site_(std::move(site)), where_(site_.where) {}
  [[nodiscard]] detail::call_site site() const noexcept { return site_; }

 private:
  detail::call_site site_;
  detail::ref<detail::executor> where_;
};

inline auto transaction::with(std::chrono::nanoseconds timeout) {
  detail::call_site s = site();
  s.timeout = timeout;
  return limited_transaction(std::move(s));
}
inline auto transaction::with(std::stop_token stop) {
  detail::call_site s = site();
  s.stop = std::move(stop);
  return limited_transaction(std::move(s));
}
inline auto transaction::with(std::stop_token stop, std::chrono::nanoseconds timeout) {
  detail::call_site s = site();
  s.stop = std::move(stop);
  s.timeout = timeout;
  return limited_transaction(std::move(s));
}

namespace detail {

/// Rolls back after \p failure and rethrows it; a rollback that fails too is attached to it.
[[nodiscard]] COSQLITE_API task<> roll_back_and_rethrow(transaction& tx, std::exception_ptr failure);
/// Whether a transaction that failed like this is worth running again, and how long to wait before.
[[nodiscard]] COSQLITE_API bool worth_repeating(const std::exception_ptr& failure, const call_site& site) noexcept;
[[nodiscard]] COSQLITE_API std::chrono::nanoseconds jittered(std::chrono::nanoseconds pause, const call_site& site);
/// The site with its timeout turned into a deadline for everything that follows.
[[nodiscard]] COSQLITE_API call_site with_deadline_from_now(call_site site) noexcept;

template <class F>
using body_result = typename std::invoke_result_t<F&, transaction&>::value_type;

template <class F>
task<body_result<F>> transact_once(call_site site, F* body, tx_mode mode, std::source_location where) {
  transaction tx = co_await begin_transaction(site, mode, where, true);
  std::exception_ptr failure;
  if constexpr (std::is_void_v<body_result<F>>) {
    try {
      co_await (*body)(tx);
      if (tx.is_open()) co_await tx.commit(where);
      co_return;
    } catch (...) {
      failure = std::current_exception();
    }
    co_await roll_back_and_rethrow(tx, std::move(failure));
  } else {
    std::optional<body_result<F>> result;
    try {
      result.emplace(co_await (*body)(tx));
      if (tx.is_open()) co_await tx.commit(where);
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) co_await roll_back_and_rethrow(tx, std::move(failure));
    co_return std::move(*result);
  }
}

template <class F>
task<body_result<F>> transact(call_site site, [[maybe_unused]] ref<executor> keep_alive, F body,
                              transact_options options, std::source_location where) {
  site = with_deadline_from_now(std::move(site));
  std::chrono::nanoseconds pause = options.backoff;
  for (int attempt = 1;; ++attempt) {
    std::exception_ptr failure;
    try {
      co_return co_await transact_once(site, &body, options.mode, where);
    } catch (...) {
      failure = std::current_exception();
    }
    if (attempt >= options.attempts || !worth_repeating(failure, site)) std::rethrow_exception(std::move(failure));
    co_await pause_for(jittered(pause, site), site.stop);
    pause *= 2;
  }
}

}  // namespace detail

/// What a connection offers for transactions.
template <class Self>
class transaction_calls {
 public:
  /// Opens a transaction. Waits for the one that is open on this connection, then (unless deferred) for the write lock.
  /// A coroutine that has one open and then waits without a limit for another call of the same connection gets a
  /// `misuse_error`.
  [[nodiscard]] call<transaction> begin(tx_mode mode = tx_mode::immediate,
                                        std::source_location where = std::source_location::current()) {
    return detail::begin_transaction(static_cast<Self&>(*this).site(), mode, where);
  }

  /// Runs `body(transaction&)`, which returns a `task<R>`, in a transaction: commits when it returns, rolls back and
  /// rethrows when it throws. Gives the body's result. Under `with(…)`, one deadline covers BEGIN, the body's calls and
  /// COMMIT. A call that the body waits for (itself, or through tasks and `when_all`) and that goes through the
  /// connection instead of the transaction would wait for ever: it is a `misuse_error`. What the body only spawns waits
  /// for the transaction. Starts when awaited.
  template <class F>
  [[nodiscard]] auto transact(F&& body, tx_mode mode = tx_mode::immediate,
                              std::source_location where = std::source_location::current()) {
    return transact(std::forward<F>(body), transact_options{mode, 1, std::chrono::milliseconds(5)}, where);
  }
  /// The same, with the options of \p options: above all, to run the body again where that can help.
  template <class F>
  [[nodiscard]] auto transact(F&& body, transact_options options,
                              std::source_location where = std::source_location::current()) {
    detail::check_callable<F>();
    detail::call_site site = static_cast<Self&>(*this).site();
    detail::ref<detail::executor> keep(site.where);
    return detail::transact<detail::callable_t<F>>(std::move(site), std::move(keep),
                                                   detail::unwrap_callable(std::forward<F>(body)), options, where);
  }
};

}  // namespace cosqlite
