#pragma once

#include <sqlite3.h>

#include <string>
#include <string_view>

namespace cosqlite::detail {

/// Writes reals so that SQLite, whose reader of decimals does not always round right, reads the very same number.
class real_writer {
 public:
  explicit real_writer(sqlite3* db) { sqlite3_prepare_v2(db, "SELECT CAST(?1 AS REAL)", -1, &stmt_, nullptr); }
  real_writer(const real_writer&) = delete;
  real_writer& operator=(const real_writer&) = delete;
  ~real_writer() { sqlite3_finalize(stmt_); }

  void append(std::string& to, double v);

 private:
  bool reads_back(const std::string& text, double v);

  sqlite3_stmt* stmt_ = nullptr;
};

/// Appends \p text as an expression of SQL that gives it, whatever is in it.
void append_text(std::string& to, std::string_view text);
/// Appends column \p i of a row as an expression of SQL that gives the very same value.
void append_value(std::string& to, sqlite3_stmt* stmt, int i, real_writer& reals);

}  // namespace cosqlite::detail
