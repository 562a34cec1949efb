#pragma once

#include "engine/abilities.hpp"
#include <cosqlite/value.hpp>

#include <cstddef>
#include <vector>

namespace cosqlite::detail {

value value_of(sqlite3_value* v);

/// What the preupdate hook leaves out about a table. Some versions of SQLite (3.40 is one) count only the columns that
/// are stored, so that whatever follows a VIRTUAL generated column seems to stand in the column before; all but the
/// INTEGER PRIMARY KEY, whose value they give in the place of the column that is stored at its number: that one cannot
/// be had. And they give the integer that stands for a whole number in the file where the column is REAL.
class row_shape {
 public:
  /// A table without any such column.
  row_shape() = default;
  /// Asks SQLite. Inside the preupdate hook too, as SQLite's session extension does.
  row_shape(sqlite3* db, const char* schema, const char* table);

  /// All values of the row at hand, inside the preupdate hook; NULL for columns that are not stored.
  [[nodiscard]] std::vector<value> old_row(sqlite3* db) const;
  [[nodiscard]] std::vector<value> new_row(sqlite3* db) const;
  /// One of them; SQLite's code when there is no such column.
  int old_value(sqlite3* db, int column, value& to) const;
  int new_value(sqlite3* db, int column, value& to) const;

 private:
  using getter = int (*)(sqlite3*, int, sqlite3_value**);
  enum class kind : unsigned char { ordinary, real, not_stored };

  [[nodiscard]] kind kind_of(int column) const noexcept;
  [[nodiscard]] bool counts_stored_only(sqlite3* db, getter get) const noexcept;
  [[nodiscard]] int place_of(int column) const noexcept;
  [[nodiscard]] bool key_is_rowid(sqlite3* db, getter get) const noexcept;
  int read(sqlite3* db, getter get, int column, int index, value& to) const;
  int read_stored(sqlite3* db, getter get, int column, bool by_rowid, value& to) const;
  [[nodiscard]] std::vector<value> row(sqlite3* db, getter get) const;
  int one(sqlite3* db, getter get, int column, value& to) const;

  std::vector<kind> columns_;
  int key_ = -1;         // the column that may be another name for the rowid
  int last_moved_ = -1;  // the last column that follows one that is not stored
};

}  // namespace cosqlite::detail
