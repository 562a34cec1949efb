#pragma once

#include "engine/worker.hpp"

#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace cosqlite::detail {

/// A statement of the library's own.
class own_statement {
 public:
  own_statement(worker& at, operation& op, const std::string& sql) : at_(at), op_(&op), sql_(sql) {
    const int rc = sqlite3_prepare_v2(at.db(), sql.c_str(), static_cast<int>(sql.size()), &stmt_, nullptr);
    if (rc != SQLITE_OK) at.fail(op, rc, sql_);
  }
  own_statement(const own_statement&) = delete;
  own_statement& operator=(const own_statement&) = delete;
  ~own_statement() { sqlite3_finalize(stmt_); }

  own_statement& with(std::string_view text) {
    sqlite3_bind_text(stmt_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return *this;
  }
  /// The call that it goes on for.
  void go_on_for(operation& op) noexcept { op_ = &op; }
  bool step() {
    const int rc = sqlite3_step(stmt_);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) at_.fail(*op_, rc, sql_);
    return false;
  }
  [[nodiscard]] sqlite3_stmt* get() const noexcept { return stmt_; }
  [[nodiscard]] std::string text(int i) const {
    const auto* t = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, i));
    return t ? std::string(t, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, i))) : std::string();
  }
  [[nodiscard]] std::int64_t integer(int i) const { return sqlite3_column_int64(stmt_, i); }

 private:
  worker& at_;
  operation* op_;
  std::string sql_;
  sqlite3_stmt* stmt_ = nullptr;
  int bound_ = 0;
};

}  // namespace cosqlite::detail
