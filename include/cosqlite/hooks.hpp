/// \file
/// Callbacks from SQLite: authorizer, trace, progress, and the hooks on rows, commits, rollbacks and the WAL.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/value.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

struct sqlite3;

namespace cosqlite {

/// What an authorizer says: refuse the statement, or read NULL in place of the column (`ignore`).
enum class authorizer_answer : std::uint8_t { allow, deny, ignore };

/// What a statement is about to be allowed; SQLite's action codes.
enum class authorizer_action : std::uint8_t {
  create_index = 1,
  create_table,
  create_temp_index,
  create_temp_table,
  create_temp_trigger,
  create_temp_view,
  create_trigger,
  create_view,
  delete_row,
  drop_index,
  drop_table,
  drop_temp_index,
  drop_temp_table,
  drop_temp_trigger,
  drop_temp_view,
  drop_trigger,
  drop_view,
  insert,
  pragma,
  read,
  select,
  transaction,
  update,
  attach,
  detach,
  alter_table,
  reindex,
  analyze,
  create_vtable,
  drop_vtable,
  function,
  savepoint,
  recursive
};

/// One question to the authorizer. Views are valid during the call.
struct authorization {
  authorizer_action action;  ///< what it is about
  std::string_view first;    ///< table, index, pragma, operation …; see sqlite.org/c3ref/c_alter_table.html
  std::string_view second;   ///< column, pragma argument, function name, savepoint name …
  std::string_view schema;   ///< "main", "temp", …; may be empty
  std::string_view source;   ///< the innermost trigger or view that asks; empty for the statement itself
};

/// What a trace reports.
enum class trace_kind : std::uint8_t { statement, profile, row };

/// What to trace. Expanded text has the bound values in it: secrets too.
struct trace_options {
  bool statements = true;  ///< a statement, or a trigger in it, begins
  bool profile = false;    ///< a statement has ended
  bool rows = false;       ///< a statement gives a row
  bool expanded = false;   ///< fill in trace_event::expanded
};

/// One event of a trace. Views are valid during the call.
struct trace_event {
  trace_kind kind;                   ///< what has happened
  std::string_view sql;              ///< the text, parameters unfilled; a trigger and what runs in it come as comments
  std::string_view expanded;         ///< the text with values in place of parameters; only with trace_options::expanded
  std::chrono::nanoseconds elapsed;  ///< run time, for `profile`; SQLite measures it in milliseconds
};

/// What happened to a row.
enum class row_operation : std::uint8_t { insert, update, remove };
/// "insert", "update" or "remove".
[[nodiscard]] COSQLITE_API std::string_view to_string(row_operation operation) noexcept;

/// A row as the update hook reports it: rowid tables only. Views are valid during the call.
struct row_update {
  row_operation operation;  ///< what has happened
  std::string_view schema;  ///< "main", "temp", or the name of an attached database
  std::string_view table;   ///< the row's table
  std::int64_t rowid;       ///< the row, after the change
};

/// A row that is about to change. Valid during the call.
class COSQLITE_API preupdate {
 public:
  preupdate(sqlite3* db, row_operation what, std::string_view in_schema, std::string_view in_table, std::int64_t before,
            std::int64_t after) noexcept
      : operation(what), schema(in_schema), table(in_table), old_rowid(before), new_rowid(after), db_(db) {}

  row_operation operation;  ///< what is about to happen
  std::string_view schema;  ///< "main", "temp", or the name of an attached database
  std::string_view table;   ///< the row's table
  std::int64_t old_rowid;   ///< before the change; 0 in a WITHOUT ROWID table
  std::int64_t new_rowid;   ///< after the change

  /// The number of columns.
  [[nodiscard]] int size() const noexcept;
  /// Column \p i (from 0) before the change; not for insert: misuse_error. NULL for a VIRTUAL generated column, which is
  /// not stored, and in SQLite 3.40 for a column that ALTER TABLE has added since the row was written.
  [[nodiscard]] value old_value(int i) const;
  /// Column \p i after the change; not for remove: misuse_error. A whole number in a REAL column may come as the
  /// integer that is stored for it.
  [[nodiscard]] value new_value(int i) const;
  /// 0: changed by the statement itself; 1: by a trigger or a foreign key action; 2: by a trigger of that; …
  [[nodiscard]] int depth() const noexcept;
  /// The column that is being written through an open blob, or -1. Such a change is an update without new values.
  [[nodiscard]] int blob_column() const noexcept;

 private:
  sqlite3* db_;
};

/// What a commit hook says.
enum class commit_vote : std::uint8_t { commit, roll_back };

/// A commit to a database in WAL mode. Views are valid during the call.
struct wal_commit {
  std::string_view schema;  ///< the database that has committed
  int pages;                ///< pages in the write-ahead log now
};

namespace detail {

template <class Signature>
class callback;

/// A callback of any type behind one call.
template <class R, class... A>
class callback<R(A...)> {
 public:
  callback() = default;
  callback(const callback&) = delete;
  callback& operator=(const callback&) = delete;
  virtual ~callback() = default;
  virtual R operator()(A... a) = 0;
};

template <class F, class R, class... A>
class callback_of final : public callback<R(A...)> {
 public:
  template <class G>
  explicit callback_of(G&& g) : fn_(std::forward<G>(g)) {}
  R operator()(A... a) override {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, A...>> && !std::is_void_v<R>) {
      fn_(a...);
      return R{};
    } else {
      return static_cast<R>(fn_(a...));
    }
  }

 private:
  F fn_;
};

template <class Signature, class F>
struct make_callback_of;
template <class R, class... A, class F>
struct make_callback_of<R(A...), F> {
  static_assert(std::is_invocable_v<F&, A...>, "the callback cannot be called with what this hook reports");
  using type = callback_of<F, R, A...>;
};

template <class Signature, class F>
std::shared_ptr<callback<Signature>> make_callback(F&& fn) {
  check_callable<F>();
  using held = callable_t<F>;
  return std::make_shared<typename make_callback_of<Signature, held>::type>(unwrap_callable(std::forward<F>(fn)));
}

using authorize_callback = callback<authorizer_answer(const authorization&)>;
using trace_callback = callback<void(const trace_event&)>;
using progress_callback = callback<bool()>;
using update_callback = callback<void(const row_update&)>;
using preupdate_callback = callback<void(const preupdate&)>;
using commit_callback = callback<commit_vote()>;
using rollback_callback = callback<void()>;
using wal_callback = callback<void(const wal_commit&)>;

class hook_entry;

}  // namespace detail

/// A callback that is installed; dropping it, or remove(), takes the callback away without waiting: from then on it is
/// not called again (a call that is running ends first), and its function object is destroyed on the worker thread. A
/// callback of the same connection may do so too, with itself or another, while nobody else uses the subscription.
/// Keep it as long as the callback is wanted. It does not keep the connection open; closing that ends it too.
class COSQLITE_API subscription {
 public:
  subscription() noexcept;
  subscription(detail::ref<detail::executor> where, std::shared_ptr<detail::hook_entry> entry) noexcept;
  subscription(subscription&& other) noexcept;
  subscription& operator=(subscription&& other) noexcept;
  ~subscription();

  /// Takes the callback away now.
  void remove() noexcept;
  /// Leaves the callback installed until the connection closes.
  void detach() noexcept;
  /// Whether it is still installed.
  [[nodiscard]] bool is_active() const noexcept;
  /// The first exception that a callback threw where SQLite lets nothing fail (trace, update, preupdate, rollback and
  /// WAL hooks); null when there was none. The callback stays installed.
  [[nodiscard]] std::exception_ptr failure() const;

 private:
  detail::ref<detail::executor> where_;
  std::shared_ptr<detail::hook_entry> entry_;
};

namespace detail {

COSQLITE_API call<subscription> add_authorizer(const call_site& site, std::shared_ptr<authorize_callback> fn,
                                               std::source_location where);
COSQLITE_API call<subscription> add_trace(const call_site& site, std::shared_ptr<trace_callback> fn,
                                          trace_options options, std::source_location where);
COSQLITE_API call<subscription> add_progress(const call_site& site, std::shared_ptr<progress_callback> fn, int steps,
                                             std::source_location where);
COSQLITE_API call<subscription> add_update_hook(const call_site& site, std::shared_ptr<update_callback> fn,
                                                std::source_location where);
COSQLITE_API call<subscription> add_preupdate_hook(const call_site& site, std::shared_ptr<preupdate_callback> fn,
                                                   std::source_location where);
COSQLITE_API call<subscription> add_commit_hook(const call_site& site, std::shared_ptr<commit_callback> fn,
                                                std::source_location where);
COSQLITE_API call<subscription> add_rollback_hook(const call_site& site, std::shared_ptr<rollback_callback> fn,
                                                  std::source_location where);
COSQLITE_API call<subscription> add_wal_hook(const call_site& site, std::shared_ptr<wal_callback> fn,
                                             std::source_location where);

}  // namespace detail

/// Hooks of a connection. For all: the call installs the callback and gives a `subscription` that must be kept; any
/// number of callbacks may be installed, they are called in the order in which they came. **Callbacks run on the
/// connection's worker thread**, while your coroutines run on the loop's: what they share needs a lock or an atomic.
/// They must not use the connection (a call from there is refused with misuse_error, as is awaiting anything). Where
/// SQLite lets a callback fail the call (authorizer, progress, commit), what it throws becomes that call's error
/// unchanged; elsewhere it is kept in `subscription::failure()`.
template <class Self>
class hook_calls {
 public:
  /// Asks `fn(const authorization&)` for an authorizer_answer (void: allow) about everything that a statement does,
  /// when the statement is prepared. Statements prepared before are asked about anew at their next run. The strictest
  /// answer of several authorizers counts. `deny` makes the call fail with SQLITE_AUTH. Nobody is asked when a
  /// transaction or savepoint is rolled back, other than by a ROLLBACK in your own SQL.
  template <class F>
  [[nodiscard]] call<subscription> authorize(F&& fn, std::source_location where = std::source_location::current()) {
    return detail::add_authorizer(
        here(), detail::make_callback<authorizer_answer(const authorization&)>(std::forward<F>(fn)), where);
  }

  /// Calls `fn(const trace_event&)` for the events that \p options name.
  template <class F>
  [[nodiscard]] call<subscription> trace(F&& fn, trace_options options = {},
                                         std::source_location where = std::source_location::current()) {
    return detail::add_trace(here(), detail::make_callback<void(const trace_event&)>(std::forward<F>(fn)), options,
                             where);
  }

  /// Calls `fn()` about every \p steps instructions of SQLite's virtual machine. True stops the statement: its call
  /// throws cancelled_error. void never stops it.
  template <class F>
  [[nodiscard]] call<subscription> on_progress(int steps, F&& fn,
                                               std::source_location where = std::source_location::current()) {
    return detail::add_progress(here(), detail::make_callback<bool()>(std::forward<F>(fn)), steps, where);
  }

  /// Calls `fn(const row_update&)` after a row of a rowid table was inserted, updated or deleted, before its commit.
  /// Like SQLite's update hook it does not see deletes that SQLite optimises away (DELETE without WHERE), rows that
  /// REPLACE pushes out, nor WITHOUT ROWID tables; `changes()` sees them.
  template <class F>
  [[nodiscard]] call<subscription> on_update(F&& fn, std::source_location where = std::source_location::current()) {
    return detail::add_update_hook(here(), detail::make_callback<void(const row_update&)>(std::forward<F>(fn)), where);
  }

  /// Calls `fn(const preupdate&)` before any row changes, with old and new values. `unsupported_error` where SQLite was
  /// compiled without SQLITE_ENABLE_PREUPDATE_HOOK; misuse_error while a `session` is open on this connection (both
  /// need the same hook).
  template <class F>
  [[nodiscard]] call<subscription> on_preupdate(F&& fn, std::source_location where = std::source_location::current()) {
    return detail::add_preupdate_hook(here(), detail::make_callback<void(const preupdate&)>(std::forward<F>(fn)),
                                      where);
  }

  /// Calls `fn()` when a transaction that wrote is about to commit; commit_vote::roll_back, or an exception, turns the
  /// commit into a rollback (SQLITE_CONSTRAINT_COMMITHOOK, or the exception). Calls that were grouped are then tried
  /// one by one.
  template <class F>
  [[nodiscard]] call<subscription> on_commit(F&& fn, std::source_location where = std::source_location::current()) {
    return detail::add_commit_hook(here(), detail::make_callback<commit_vote()>(std::forward<F>(fn)), where);
  }

  /// Calls `fn()` after a transaction was rolled back, by whomever, the end of the connection included.
  template <class F>
  [[nodiscard]] call<subscription> on_rollback(F&& fn, std::source_location where = std::source_location::current()) {
    return detail::add_rollback_hook(here(), detail::make_callback<void()>(std::forward<F>(fn)), where);
  }

  /// Calls `fn(const wal_commit&)` after a commit in WAL mode. Automatic checkpoints go on as before (SQLite would drop
  /// them); set PRAGMA wal_autocheckpoint before subscribing, since that PRAGMA takes the hook away.
  template <class F>
  [[nodiscard]] call<subscription> on_wal_commit(F&& fn, std::source_location where = std::source_location::current()) {
    return detail::add_wal_hook(here(), detail::make_callback<void(const wal_commit&)>(std::forward<F>(fn)), where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
