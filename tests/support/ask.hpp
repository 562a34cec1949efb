#pragma once

#include <sqlite3.h>

#include <stdexcept>

namespace support {

/// Steps \p sql once, as a function given to run() may do it, and gives SQLite's code; throws when it is interrupted.
inline int ask(sqlite3* raw, const char* sql) {
  sqlite3_stmt* stmt = nullptr;
  sqlite3_prepare_v2(raw, sql, -1, &stmt, nullptr);
  const int rc = sqlite3_step(stmt);
  sqlite3_finalize(stmt);
  if (rc == SQLITE_INTERRUPT) throw std::runtime_error("interrupted");
  return rc;
}

}  // namespace support
