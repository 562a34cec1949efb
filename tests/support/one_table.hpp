#pragma once

#include <cosqlite/connection.hpp>
#include <cosqlite/pool.hpp>
#include <cosqlite/task.hpp>

#include <cstddef>
#include <string>
#include <utility>

namespace support {

inline constexpr const char* one_table = "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)";

/// Opens a database that has one table, t(id, v): an empty one in a new file.
inline cosqlite::task<cosqlite::connection> open_with_table(std::string path) {
  cosqlite::connection db = co_await cosqlite::open(std::move(path));
  co_await db.execute_script(one_table);
  co_return db;
}

/// The same, as a pool.
inline cosqlite::task<cosqlite::pool> open_pool_with_table(std::string path, cosqlite::pool_options options = {}) {
  cosqlite::pool db = co_await cosqlite::pool::open(std::move(path), options);
  co_await db.execute_script(one_table);
  co_return db;
}

/// The same, as a pool that has at most so many readers.
inline cosqlite::task<cosqlite::pool> open_with_readers(std::string path, std::size_t readers) {
  cosqlite::pool_options options;
  options.readers = readers;
  cosqlite::pool db = co_await open_pool_with_table(std::move(path), options);
  co_return db;
}

/// How many rows t has.
inline cosqlite::task<int> rows_of(cosqlite::connection& db) {
  const int n = co_await db.query_one<int>("SELECT count(*) FROM t");
  co_return n;
}

}  // namespace support
