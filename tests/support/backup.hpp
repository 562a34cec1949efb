#pragma once

#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// About 1,100 pages of rows.
inline cosqlite::task<cosqlite::connection> sample(std::string path) {
  cosqlite::connection db = co_await cosqlite::open(path);
  co_await db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, pad)");
  co_await db.execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
      "INSERT INTO t SELECT i, zeroblob(4000) FROM n");
  co_return db;
}

inline std::vector<std::string> files_in(const temp_database& at) {
  std::vector<std::string> names;
  for (const auto& e : std::filesystem::directory_iterator(at.folder())) names.push_back(e.path().filename().string());
  std::ranges::sort(names);
  return names;
}

inline bool has_partial_file(const temp_database& at) {
  return std::ranges::any_of(files_in(at), [](const std::string& n) { return contains(n, ".partial"); });
}

}  // namespace support
