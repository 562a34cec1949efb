#pragma once

#include <cosqlite/row.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cosqlite::detail {

/// What SQLite's authorizer said about a statement while it was prepared.
struct statement_traits {
  bool read_only = false;     ///< sqlite3_stmt_readonly
  bool changes_rows = false;  ///< INSERT, UPDATE or DELETE on a table of the user's
  bool special = false;       ///< transaction control, PRAGMA, ATTACH, DDL, VACUUM, EXPLAIN: never shares a transaction
  int busy_timeout = -1;      ///< what a PRAGMA busy_timeout sets, in milliseconds
  bool impure = false;        ///< calls a function whose answer depends on what ran before: never in a group of writes
};

/// A statement and what is known of it. Worker thread only, but for `sql` and the reference count.
struct prepared {
  sqlite3_stmt* stmt = nullptr;
  std::string sql;
  statement_traits traits;
  int parameters = 0;
  int reprepares = 0;
  bool in_use = false;  ///< stepped and not yet reset
  bool cached = false;  ///< stands in the cache
  int long_runs = 0;    ///< one after another, as a pool sees it; up to 2
  std::shared_ptr<const column_names> names;

  /// The columns' names, taken anew after SQLite has compiled the statement anew.
  const std::shared_ptr<const column_names>& column_names_now();
};

/// Prepared statements by their text; the least recently used go first, by count and by bytes of text. Those that a
/// `statement` holds or that are running stay.
class statement_cache {
 public:
  void limit(std::size_t statements, std::size_t bytes) noexcept;
  /// The idle statement of that text, or null.
  [[nodiscard]] std::shared_ptr<prepared> find(std::string_view sql);
  void insert(std::shared_ptr<prepared> p);
  /// Keeps a statement that is not found by its text; finalized when nobody uses it.
  void adopt(std::shared_ptr<prepared> p);
  /// Drops \p p from the cache (what is known of it has changed); finalized when nobody uses it.
  void forget(prepared& p);
  /// Finalizes adopted and forgotten statements that nobody uses any more.
  void sweep() noexcept;
  /// Finalizes all that is idle, and finds none of the others again.
  void expire() noexcept;
  /// Finalizes everything.
  void clear() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }

 private:
  using position = std::list<std::shared_ptr<prepared>>::iterator;
  void shrink();

  std::size_t most_statements_ = 128;
  std::size_t most_bytes_ = 1 << 20;
  std::size_t bytes_ = 0;
  std::vector<std::shared_ptr<prepared>> strays_;
  std::list<std::shared_ptr<prepared>> order_;  // most recently used first
  std::unordered_map<std::string_view, position> by_text_;
};

}  // namespace cosqlite::detail
