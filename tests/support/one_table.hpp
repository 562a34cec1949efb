#pragma once

#include <cosqlite/connection.hpp>
#include <cosqlite/task.hpp>

#include <string>
#include <utility>

namespace support {

/// Opens a database that has one table, t(id, v): an empty one in a new file.
inline cosqlite::task<cosqlite::connection> open_with_table(std::string path) {
  cosqlite::connection db = co_await cosqlite::open(std::move(path));
  co_await db.execute_script("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)");
  co_return db;
}

/// How many rows t has.
inline cosqlite::task<int> rows_of(cosqlite::connection& db) {
  const int n = co_await db.query_one<int>("SELECT count(*) FROM t");
  co_return n;
}

}  // namespace support
