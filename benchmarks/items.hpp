/// The table that reads are measured on: 100,000 rows, each with a text of 100 bytes.
#pragma once

#include "harness.hpp"
#include "raw.hpp"

#include <cstddef>
#include <string>

namespace bench::items {

inline constexpr std::size_t count = 100'000;
inline constexpr const char* read_one = "SELECT name FROM item WHERE id = ?";

inline void fill(const std::string& path, std::size_t rows = count) {
  raw::database db(path);
  db.run("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT; BEGIN");
  raw::statement insert(db, "INSERT INTO item VALUES (?, ?)");
  for (std::size_t id = 1; id <= rows; ++id) {
    std::string name = "item " + std::to_string(id) + " ";
    name.resize(100, 'x');
    insert.bind(1, static_cast<sqlite3_int64>(id));
    insert.bind(2, name);
    insert.run();
  }
  db.run("COMMIT; PRAGMA wal_checkpoint(truncate)");
}

/// Reads \p reads rows, one after another, and gives the sum of their lengths.
inline std::size_t read_all(raw::statement& select, sequence& ids, std::size_t reads) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < reads; ++i) {
    select.bind(1, static_cast<sqlite3_int64>(ids.next(count)));
    if (!select.step()) throw std::runtime_error("an item is missing");
    const std::string name(select.text(0));
    total += name.size();
    select.reset();
  }
  return total;
}

}  // namespace bench::items
