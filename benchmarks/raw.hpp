/// The raw side: SQLite's C API as its documentation teaches it, with just enough around it to give back what it takes.
#pragma once

#include <sqlite3.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace bench::raw {

/// A connection with the settings that cosqlite::open gives one: no mutex, WAL, synchronous FULL, foreign keys.
class database {
 public:
  explicit database(const std::string& path) {
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    check(sqlite3_open_v2(path.c_str(), &db_, flags, nullptr));
    sqlite3_busy_timeout(db_, 5000);
    run("PRAGMA journal_mode=wal; PRAGMA synchronous=full; PRAGMA foreign_keys=on");
  }
  database(const database&) = delete;
  database& operator=(const database&) = delete;
  ~database() { sqlite3_close(db_); }

  void run(const char* sql) { check(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr)); }
  void check(int rc) const {
    if (rc != SQLITE_OK) throw std::runtime_error(std::string("raw SQLite: ") + sqlite3_errmsg(db_));
  }
  [[nodiscard]] sqlite3* get() const noexcept { return db_; }

 private:
  sqlite3* db_ = nullptr;
};

/// A prepared statement, to be used many times.
class statement {
 public:
  statement(database& db, std::string_view sql) : db_(&db) {
    db.check(sqlite3_prepare_v3(db.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &stmt_,
                                nullptr));
  }
  statement(const statement&) = delete;
  statement& operator=(const statement&) = delete;
  ~statement() { sqlite3_finalize(stmt_); }

  void bind(int at, sqlite3_int64 v) { db_->check(sqlite3_bind_int64(stmt_, at, v)); }
  void bind(int at, double v) { db_->check(sqlite3_bind_double(stmt_, at, v)); }
  /// \p v must stay where it is until the statement has run.
  void bind(int at, std::string_view v) {
    db_->check(sqlite3_bind_text(stmt_, at, v.data(), static_cast<int>(v.size()), SQLITE_STATIC));
  }
  /// True while there is a row.
  bool step() {
    const int rc = sqlite3_step(stmt_);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) db_->check(rc);
    return false;
  }
  void reset() { db_->check(sqlite3_reset(stmt_)); }
  /// For a statement without rows.
  void run() {
    step();
    reset();
  }

  [[nodiscard]] sqlite3_int64 integer(int i) const noexcept { return sqlite3_column_int64(stmt_, i); }
  [[nodiscard]] double real(int i) const noexcept { return sqlite3_column_double(stmt_, i); }
  [[nodiscard]] std::string_view text(int i) const noexcept {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, i));
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, i))};
  }

 private:
  database* db_;
  sqlite3_stmt* stmt_ = nullptr;
};

}  // namespace bench::raw
