/// \file
/// A stream of the rows that a connection has committed.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/hooks.hpp>
#include <cosqlite/value.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cosqlite {

/// A committed change of one row, or a gap.
struct change {
  row_operation operation{};   ///< what happened to the row
  std::string schema;          ///< "main", "temp", or the name of an attached database
  std::string table;           ///< empty in a gap
  std::int64_t rowid = 0;      ///< after the change; 0 in a WITHOUT ROWID table
  std::int64_t old_rowid = 0;  ///< before an update that moved the row; otherwise the same
  std::uint64_t commit = 0;    ///< the same for all changes of one transaction; grows
  /// Update and remove, with changes_options::values; by column. NULL stands for a VIRTUAL generated column, which is
  /// not stored, and in SQLite 3.40 for a column that ALTER TABLE has added since the row was written.
  std::vector<value> old_values;
  std::vector<value> new_values;  ///< insert and update, with changes_options::values; empty for a write through a blob
  /// More than 0: this is a gap. So many changes (whole transactions) were dropped here, since nobody had read those
  /// before them and the buffer was full. Read anew what you keep a copy of. Where a backup or `deserialize` has put
  /// another database in the place of the one that is watched, that is a gap of 1.
  std::uint64_t missed = 0;
};

/// Which of SQLite's hooks tells of rows.
enum class row_source : std::uint8_t {
  automatic,       ///< the preupdate hook where it is compiled in, otherwise the update hook
  preupdate_hook,  ///< every row of every table; unsupported_error where it is missing; not beside a session
  update_hook,     ///< rowid tables only, and not the rows that REPLACE pushes out; also beside a session
};

/// What `changes` reports, and how much it keeps.
struct changes_options {
  /// Changes kept for the reader; a transaction that does not fit is dropped whole, as a gap.
  std::size_t buffer = 65'536;
  bool values = false;                        ///< also the old and new values of the row; needs the preupdate hook
  row_source source = row_source::automatic;  ///< which of SQLite's hooks tells of the rows
};

class change_stream;

namespace detail {

COSQLITE_API call<change_stream> watch_changes(const call_site& site, const changes_options& options,
                                               std::vector<std::string> tables, std::source_location where);

/// Waits until a notifier has something.
class COSQLITE_API wait_for_notifier {
 public:
  explicit wait_for_notifier(const call_site& site) noexcept : site_(site) {}
  wait_for_notifier(wait_for_notifier&&) noexcept = default;
  wait_for_notifier& operator=(wait_for_notifier&&) = delete;
  ~wait_for_notifier() {
    if (op_) abandon(std::move(op_));
  }
  [[nodiscard]] bool ready() const noexcept;
  bool suspend(std::coroutine_handle<> waiter);
  void finish();

 private:
  call_site site_;
  operation_ref op_;
};

}  // namespace detail

/// The committed changes of one connection, in the order in which they happened. Use it from the connection's loop:
/// \code
/// auto changes = co_await db.changes("orders");
/// while (auto c = co_await changes.next()) refresh(c->table, c->rowid);
/// \endcode
/// Nothing of a transaction, savepoint or statement that was rolled back is reported, and nothing before its commit has
/// succeeded. A change may reach its reader just before or just after the call that committed it has resumed. Changes
/// that other connections and processes make are not seen. Move-only; dropping it ends the watching without waiting.
class COSQLITE_API change_stream {
 public:
  explicit change_stream(const detail::call_site& site) noexcept;
  change_stream(change_stream&&) noexcept;
  change_stream& operator=(change_stream&&) noexcept;
  ~change_stream();

  class awaiter {
   public:
    awaiter(change_stream& stream, const detail::call_site& site) noexcept : stream_(&stream), wait_(site) {}
    [[nodiscard]] bool await_ready() const noexcept { return stream_->has_batch() || wait_.ready(); }
    bool await_suspend(std::coroutine_handle<> waiter) { return wait_.suspend(waiter); }
    std::optional<change> await_resume() {
      wait_.finish();
      return stream_->take();
    }

   private:
    change_stream* stream_;
    detail::wait_for_notifier wait_;
  };

  /// The next change; waits for one. Nothing once the connection has closed and all is read. One `next()` at a time.
  /// Under the deadline and stop token of the `with()` that the stream was made through: each `next()` has the whole
  /// timeout.
  [[nodiscard]] awaiter next() noexcept { return {*this, site_}; }
  /// What is there now, without waiting.
  [[nodiscard]] std::optional<change> try_next() { return take(); }
  /// Stops watching.
  void close() noexcept;

 private:
  friend awaiter;
  [[nodiscard]] bool has_batch() const noexcept;
  std::optional<change> take();

  detail::call_site site_;
  detail::ref<detail::executor> queue_;
};

/// The change stream of a connection.
template <class Self>
class change_calls {
 public:
  /// Starts to watch: the stream has every change that is committed by calls awaited after this one. \p tables: only
  /// these, as "table" (in any schema) or "schema.table"; none: all. While rows are watched, `DELETE` without `WHERE`
  /// deletes row by row. Errors: `misuse_error` beside an open session, or for values from the update hook;
  /// `unsupported_error` where the preupdate hook is asked for and not compiled in.
  template <std::convertible_to<std::string_view>... T>
  [[nodiscard]] call<change_stream> changes(changes_options options, const T&... tables) {
    std::vector<std::string> names;
    (names.emplace_back(std::string_view(tables)), ...);
    return detail::watch_changes(here(), options, std::move(names), {});
  }
  /// The same, with the options as they are by themselves.
  template <std::convertible_to<std::string_view>... T>
  [[nodiscard]] call<change_stream> changes(const T&... tables) {
    return changes(changes_options(), tables...);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
