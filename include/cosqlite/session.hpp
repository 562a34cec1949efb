/// \file
/// SQLite's session extension: record what changes, and apply it elsewhere.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/hooks.hpp>
#include <cosqlite/value.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cosqlite {

/// One row of a changeset or patchset. By column; nothing where the set does not say (a column that an update left
/// alone, the old values in a patchset).
struct changeset_row {
  row_operation operation{};                     ///< what happened to the row
  std::string table;                             ///< the row's table
  bool indirect = false;                         ///< made by a trigger or a foreign key action
  std::vector<bool> primary_key;                 ///< which columns are the table's key
  std::vector<std::optional<value>> old_values;  ///< before an update or delete
  std::vector<std::optional<value>> new_values;  ///< after an insert or update
};

/// Recorded changes as bytes: store them, send them, build one from bytes that came. The functions work on memory
/// alone, in the calling thread, and need no connection; bytes that are no changeset are a corrupt_error. All throw
/// `unsupported_error` where SQLite was compiled without SQLITE_ENABLE_SESSION.
class COSQLITE_API changeset {
 public:
  changeset() = default;
  /// A changeset from bytes that were stored or sent.
  explicit changeset(bytes data) noexcept : data_(std::move(data)) {}

  /// The bytes, to store or to send.
  [[nodiscard]] const bytes& data() const noexcept { return data_; }
  /// Their number.
  [[nodiscard]] std::size_t size() const noexcept { return data_.size(); }
  /// Whether nothing was recorded.
  [[nodiscard]] bool empty() const noexcept { return data_.empty(); }
  /// The changes that undo these. A patchset cannot be inverted: corrupt_error.
  [[nodiscard]] changeset inverted() const;
  /// These changes and then \p next, as one. A changeset and a patchset do not mix.
  [[nodiscard]] changeset concat(const changeset& next) const;
  /// All rows.
  [[nodiscard]] std::vector<changeset_row> rows() const;

 private:
  bytes data_;
};

/// Why a change does not fit the database.
enum class conflict_kind : std::uint8_t {
  data = 1,     ///< the row is there, with other values than the change expects
  not_found,    ///< the row to update or delete is missing
  conflict,     ///< a row with the key to insert is there
  constraint,   ///< another constraint is violated
  foreign_key,  ///< foreign keys are violated at the end; only omit and abort are possible
};

/// What to do then: leave the change out, overwrite the row (data and conflict only), or undo the whole application.
enum class conflict_answer : std::uint8_t { omit, replace, abort };

/// A change that does not fit. Valid during the call.
struct conflict {
  conflict_kind kind{};                       ///< why it does not fit
  changeset_row change;                       ///< empty for foreign_key
  std::vector<std::optional<value>> current;  ///< the row in the database, for data and conflict
  int violations = 0;                         ///< for foreign_key: how many
};

namespace detail {

class session_state;
using conflict_callback = callback<conflict_answer(const conflict&)>;

COSQLITE_API call<> apply_changeset(const call_site& site, const changeset& changes,
                                    std::shared_ptr<conflict_callback> handler, std::vector<std::string> tables,
                                    std::source_location where);

}  // namespace detail

/// Records the changes that its connection makes to tables with a PRIMARY KEY, from its creation on: net of each row,
/// whatever the number of statements; rolled-back ones leave nothing. Move-only; use it from the connection's loop;
/// dropping it ends the recording. While one is open, on_preupdate and changes() (but for row_source::update_hook) are
/// refused on this connection: SQLite has one hook for both.
class COSQLITE_API session {
 public:
  session(const detail::call_site& site, std::shared_ptr<detail::session_state> state) noexcept;
  session(session&&) noexcept;
  session& operator=(session&&) noexcept;
  ~session();

  /// What has changed since the session began, with old values.
  [[nodiscard]] call<cosqlite::changeset> changeset(std::source_location where = std::source_location::current());
  /// The same without old values but the keys: smaller, but it cannot be inverted and finds fewer conflicts.
  [[nodiscard]] call<cosqlite::changeset> patchset(std::source_location where = std::source_location::current());
  /// Whether nothing was recorded. Changes that were undone or cancel each other may count: then the set is empty.
  [[nodiscard]] call<bool> is_empty(std::source_location where = std::source_location::current());
  /// Stops or resumes the recording.
  [[nodiscard]] call<> enable(bool on, std::source_location where = std::source_location::current());
  /// Marks what follows as indirect, as changes by triggers are.
  [[nodiscard]] call<> mark_indirect(bool on, std::source_location where = std::source_location::current());
  /// Adds what makes \p table of the schema \p from equal to this connection's: the difference of two databases.
  [[nodiscard]] call<> diff(std::string from, std::string table,
                            std::source_location where = std::source_location::current());
  /// Ends the recording.
  void close() noexcept;

 private:
  detail::call_site site_;
  detail::ref<detail::executor> where_;
  std::shared_ptr<detail::session_state> state_;
};

namespace detail {

COSQLITE_API call<session> open_session(const call_site& site, std::string schema, std::vector<std::string> tables,
                                        std::source_location where);

}  // namespace detail

/// Sessions of a connection. `unsupported_error` where SQLite was compiled without SQLITE_ENABLE_SESSION.
template <class Self>
class session_calls {
 public:
  /// Starts a session on \p tables of the schema "main"; none: all tables, also later ones. misuse_error while
  /// on_preupdate or changes() is in use on this connection.
  template <std::convertible_to<std::string_view>... T>
  [[nodiscard]] call<session> create_session(const T&... tables) {
    std::vector<std::string> names;
    (names.emplace_back(std::string_view(tables)), ...);
    return detail::open_session(here(), "main", std::move(names), {});
  }
  /// The same in an attached database.
  template <std::convertible_to<std::string_view>... T>
  [[nodiscard]] call<session> create_session_in(std::string_view schema, const T&... tables) {
    std::vector<std::string> names;
    (names.emplace_back(std::string_view(tables)), ...);
    return detail::open_session(here(), std::string(schema), std::move(names), {});
  }

  /// Applies \p changes to the schema "main", all or nothing. \p handler, `conflict_answer(const conflict&)`, is asked
  /// on the worker thread about every change that does not fit; what it throws undoes everything and reaches the
  /// caller. An `abort` is an error: SQLITE_ABORT, for foreign keys SQLITE_CONSTRAINT. \p tables: only these; none:
  /// all.
  template <class F, std::convertible_to<std::string_view>... T>
  [[nodiscard]] call<> apply(const changeset& changes, F&& handler, const T&... tables) {
    std::vector<std::string> names;
    (names.emplace_back(std::string_view(tables)), ...);
    return detail::apply_changeset(here(), changes,
                                   detail::make_callback<conflict_answer(const conflict&)>(std::forward<F>(handler)),
                                   std::move(names), {});
  }
  /// The same; any conflict is an error that undoes everything.
  [[nodiscard]] call<> apply(const changeset& changes, std::source_location where = std::source_location::current()) {
    return detail::apply_changeset(here(), changes, nullptr, {}, where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
