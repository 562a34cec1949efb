#include "engine/row_shape.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace cosqlite::detail {

namespace {

struct finalized {
  void operator()(sqlite3_stmt* s) const noexcept { sqlite3_finalize(s); }
};
struct freed {
  void operator()(char* s) const noexcept { sqlite3_free(s); }
};

bool has(std::string_view type, std::string_view part) noexcept {
  const auto same = [](char a, char b) { return (a | 0x20) == b; };
  return std::search(type.begin(), type.end(), part.begin(), part.end(), same) != type.end();
}

/// By the rules of sqlite.org/datatype3.html, section 3.1.
bool has_real_affinity(std::string_view type) noexcept {
  for (const char* other : {"int", "char", "clob", "text", "blob"}) {
    if (has(type, other)) return false;
  }
  return has(type, "real") || has(type, "floa") || has(type, "doub");
}

}  // namespace

value value_of(sqlite3_value* v) {
  switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER: return value(std::int64_t{sqlite3_value_int64(v)});
    case SQLITE_FLOAT: return value(sqlite3_value_double(v));
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(v));
      return value(std::string(text, static_cast<std::size_t>(sqlite3_value_bytes(v))));
    }
    case SQLITE_BLOB: {
      const auto* data = static_cast<const std::byte*>(sqlite3_value_blob(v));
      return value(bytes(data, data + sqlite3_value_bytes(v)));
    }
    default: return value();
  }
}

row_shape::row_shape(sqlite3* db, const char* schema, const char* table) {
  constexpr int type_column = 2;
  constexpr int key_column = 5;
  constexpr int hidden_column = 6;
  constexpr int virtual_column = 2;
  const std::unique_ptr<char, freed> sql(sqlite3_mprintf("PRAGMA %Q.table_xinfo(%Q)", schema, table));
  sqlite3_stmt* prepared = nullptr;
  if (!sql || sqlite3_prepare_v2(db, sql.get(), -1, &prepared, nullptr) != SQLITE_OK) return;
  const std::unique_ptr<sqlite3_stmt, finalized> stmt(prepared);
  bool moved = false;
  int keys = 0;
  while (sqlite3_step(prepared) == SQLITE_ROW) {
    const auto* type = reinterpret_cast<const char*>(sqlite3_column_text(prepared, type_column));
    const bool is_virtual = sqlite3_column_int(prepared, hidden_column) == virtual_column;
    columns_.push_back(is_virtual ? kind::not_stored : type && has_real_affinity(type) ? kind::real : kind::ordinary);
    const int column = static_cast<int>(columns_.size()) - 1;
    if (is_virtual) moved = true;
    if (moved && !is_virtual) last_moved_ = column;
    if (sqlite3_column_int(prepared, key_column) == 0) continue;
    key_ = ++keys == 1 && type && sqlite3_stricmp(type, "INTEGER") == 0 ? column : -1;
  }
}

row_shape::kind row_shape::kind_of(int column) const noexcept {
  const auto i = static_cast<std::size_t>(column);
  return i < columns_.size() ? columns_[i] : kind::ordinary;
}

/// Then the last one has no place of its own. It differs between old and new values, and between kinds of tables.
bool row_shape::counts_stored_only(sqlite3* db, getter get) const noexcept {
  sqlite3_value* v = nullptr;
  return last_moved_ >= 0 && get(db, last_moved_, &v) == SQLITE_RANGE;
}

int row_shape::place_of(int column) const noexcept {
  const auto before = columns_.begin() + std::min<std::ptrdiff_t>(column, std::ssize(columns_));
  return column - static_cast<int>(std::count(columns_.begin(), before, kind::not_stored));
}

/// What is stored for the rowid is NULL.
bool row_shape::key_is_rowid(sqlite3* db, getter get) const noexcept {
  sqlite3_value* v = nullptr;
  return key_ >= 0 && place_of(key_) != key_ && get(db, place_of(key_), &v) == SQLITE_OK && v &&
         sqlite3_value_type(v) == SQLITE_NULL;
}

int row_shape::read(sqlite3* db, getter get, int column, int index, value& to) const {
  to = value();
  if (kind_of(column) == kind::not_stored) return SQLITE_OK;
  sqlite3_value* v = nullptr;
  const int rc = get(db, index, &v);
  if (rc != SQLITE_OK || !v) return rc;
  if (kind_of(column) == kind::real && sqlite3_value_type(v) == SQLITE_INTEGER) {
    to = value(sqlite3_value_double(v));
  } else {
    to = value_of(v);
  }
  return rc;
}

int row_shape::read_stored(sqlite3* db, getter get, int column, bool by_rowid, value& to) const {
  const int place = place_of(column);
  if (!by_rowid || (column != key_ && place != key_)) return read(db, get, column, place, to);
  if (column == key_) return read(db, get, column, key_, to);
  to = value();
  return SQLITE_OK;
}

std::vector<value> row_shape::row(sqlite3* db, getter get) const {
  const int count = sqlite3_preupdate_count(db);
  const bool stored_only = counts_stored_only(db, get);
  const bool by_rowid = stored_only && key_is_rowid(db, get);
  std::vector<value> all(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    value& to = all[static_cast<std::size_t>(i)];
    if (stored_only) {
      read_stored(db, get, i, by_rowid, to);
    } else {
      read(db, get, i, i, to);
    }
  }
  return all;
}

int row_shape::one(sqlite3* db, getter get, int column, value& to) const {
  if (column < 0 || column >= sqlite3_preupdate_count(db)) return SQLITE_RANGE;
  if (!counts_stored_only(db, get)) return read(db, get, column, column, to);
  return read_stored(db, get, column, key_is_rowid(db, get), to);
}

std::vector<value> row_shape::old_row(sqlite3* db) const { return row(db, &sqlite3_preupdate_old); }
std::vector<value> row_shape::new_row(sqlite3* db) const { return row(db, &sqlite3_preupdate_new); }
int row_shape::old_value(sqlite3* db, int column, value& to) const {
  return one(db, &sqlite3_preupdate_old, column, to);
}
int row_shape::new_value(sqlite3* db, int column, value& to) const {
  return one(db, &sqlite3_preupdate_new, column, to);
}

}  // namespace cosqlite::detail
