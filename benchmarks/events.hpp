/// The table that inserts are measured on: narrow rows without an index, so that what is measured is the way to them.
#pragma once

#include "harness.hpp"
#include "raw.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bench::events {

inline constexpr const char* create = "CREATE TABLE event(id INTEGER PRIMARY KEY, kind INTEGER, message TEXT)";
inline constexpr const char* insert = "INSERT INTO event(kind, message) VALUES (?, ?)";
inline constexpr const char* message = "something happened";

struct event {
  std::int64_t kind;
  std::string message;
};

/// A new file with the empty table.
inline std::string file(suite& s) {
  std::string path = s.fresh_file();
  raw::database(path).run(create);
  return path;
}

inline void check_count(const std::string& path, std::size_t expected) {
  raw::database db(path);
  raw::statement count(db, "SELECT count(*) FROM event");
  count.step();
  if (count.integer(0) != static_cast<sqlite3_int64>(expected)) throw std::runtime_error("rows are missing");
}

}  // namespace bench::events
