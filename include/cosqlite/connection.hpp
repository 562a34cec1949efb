/// \file
/// A connection to a database file, and how to open one.
#pragma once

#include <cosqlite/aggregate_function.hpp>
#include <cosqlite/backup.hpp>
#include <cosqlite/blob.hpp>
#include <cosqlite/call.hpp>
#include <cosqlite/changes.hpp>
#include <cosqlite/checkpoint.hpp>
#include <cosqlite/collation.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/diagnostics.hpp>
#include <cosqlite/dump.hpp>
#include <cosqlite/explain.hpp>
#include <cosqlite/extension_loading.hpp>
#include <cosqlite/function.hpp>
#include <cosqlite/hooks.hpp>
#include <cosqlite/observe.hpp>
#include <cosqlite/options.hpp>
#include <cosqlite/queries.hpp>
#include <cosqlite/serialize.hpp>
#include <cosqlite/session.hpp>
#include <cosqlite/settings.hpp>
#include <cosqlite/statement.hpp>
#include <cosqlite/statistics.hpp>
#include <cosqlite/table_function.hpp>
#include <cosqlite/transaction.hpp>

#include <chrono>
#include <cstdint>
#include <source_location>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

struct sqlite3;

namespace cosqlite {

namespace detail {

COSQLITE_API call<statement> prepare(const call_site& site, const sql_text& sql);

}  // namespace detail

/// The calls that need a whole connection, shared by `connection` and what its `with` gives.
template <class Self>
class connection_calls : public queries<Self>,
                         public transaction_calls<Self>,
                         public blob_calls<Self>,
                         public backup_calls<Self>,
                         public serialize_calls<Self>,
                         public dump_calls<Self>,
                         public function_calls<Self>,
                         public aggregate_function_calls<Self>,
                         public collation_calls<Self>,
                         public table_function_calls<Self>,
                         public hook_calls<Self>,
                         public change_calls<Self>,
                         public observe_calls<Self>,
                         public session_calls<Self>,
                         public settings_calls<Self>,
                         public checkpoint_calls<Self>,
                         public extension_calls<Self>,
                         public statistics_calls<Self>,
                         public explain_calls<Self>,
                         public diagnostics_calls<Self> {
 public:
  /// Prepares a statement to run it many times.
  [[nodiscard]] call<statement> prepare(sql_text sql) { return detail::prepare(here(), sql); }

  /// Runs `fn(sqlite3*)` on the worker thread; its result is the call's, what it throws too. One hop for many calls. fn
  /// must leave no statement un-reset and must not close the handle. Never coalesced.
  template <class F>
  [[nodiscard]] auto run(F&& fn, std::source_location where = std::source_location::current()) {
    detail::check_callable<F>();
    auto job = [fn = detail::callable_t<F>(detail::unwrap_callable(std::forward<F>(fn)))](
                   detail::worker& at, detail::operation&) mutable { return fn(detail::native_handle(at)); };
    return detail::make_callable(here(), std::move(job), where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

/// A connection whose calls are under a deadline or a stop token; made by `connection::with`. Keeps the connection's
/// worker alive, not the connection open.
class limited_connection : public connection_calls<limited_connection> {
 public:
  explicit limited_connection(detail::call_site site) noexcept : site_(std::move(site)), where_(site_.where) {}
  [[nodiscard]] detail::call_site site() const noexcept { return site_; }

 private:
  detail::call_site site_;
  detail::ref<detail::executor> where_;
};

/// An open database. All its calls run one after another, in the order in which they were awaited, on a worker thread
/// of its own; their coroutines resume on its loop. Move-only; use it from the loop's thread. Dropping it open cancels
/// what is under way, rolls back, and closes the file in the background; `close()` lets what is queued finish.
class COSQLITE_API connection : public connection_calls<connection> {
 public:
  /// An unopened connection: every call throws `closed_error`.
  connection() noexcept;
  explicit connection(detail::ref<detail::worker> worker) noexcept;
  connection(connection&&) noexcept;
  connection& operator=(connection&&) noexcept;
  ~connection();

  /// The same calls, each with \p timeout from the moment it is awaited: it covers queue, locks and running.
  /// `timeout_error` when it passes.
  [[nodiscard]] limited_connection with(std::chrono::nanoseconds timeout) const;
  /// The same calls, stopped (`cancelled_error`) when \p stop is requested, from any thread.
  [[nodiscard]] limited_connection with(std::stop_token stop) const;
  /// The same calls under both.
  [[nodiscard]] limited_connection with(std::stop_token stop, std::chrono::nanoseconds timeout) const;

  /// Stops the call that is running now, if any: it throws `cancelled_error`. What is queued stays.
  void interrupt() noexcept;
  /// Whether calls are taken: false before `open`, once `close` has been called, and after a move.
  [[nodiscard]] bool is_open() const noexcept;
  /// Lets what was queued finish, then closes; a transaction that is still open then is rolled back. Later calls throw
  /// `closed_error`. Closing twice is no error.
  [[nodiscard]] call<> close(std::source_location where = std::source_location::current());

  [[nodiscard]] detail::call_site site() const noexcept;

 private:
  void drop() noexcept;

  detail::ref<detail::worker> worker_;
};

/// Opens the database at \p path on a worker thread of its own. ":memory:" and "" mean what they mean to SQLite: a
/// database in memory, a temporary one on disk. Any other path is a file name, also one that begins with "file:"
/// (unless `options.uri`). Errors: `io_error` (cannot be opened), `corrupt_error` (not a database), `busy_error`,
/// `misuse_error` (a NUL in the path), and those of the options.
[[nodiscard]] COSQLITE_API call<connection> open(std::string path, open_options options = {},
                                                 std::source_location where = std::source_location::current());

}  // namespace cosqlite
