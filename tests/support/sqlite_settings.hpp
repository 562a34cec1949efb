#pragma once

#include <cosqlite/connection.hpp>
#include <cosqlite/task.hpp>

#include <sqlite3.h>

namespace support {

/// A limit as SQLite itself has it; \p id: SQLITE_LIMIT_….
inline cosqlite::task<int> limit_by_sqlite(cosqlite::connection& db, int id) {
  co_return co_await db.run([id](sqlite3* raw) { return sqlite3_limit(raw, id, -1); });
}

/// A switch as SQLite itself has it; \p id: SQLITE_DBCONFIG_….
inline cosqlite::task<int> switch_by_sqlite(cosqlite::connection& db, int id) {
  co_return co_await db.run([id](sqlite3* raw) {
    int on = -1;
    sqlite3_db_config(raw, id, -1, &on);
    return on;
  });
}

}  // namespace support
