/// The table that scans are measured on: four columns, one of each common type and the key.
#pragma once

#include "harness.hpp"
#include "raw.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace bench::orders {

inline constexpr const char* read_all = "SELECT id, customer, amount, status FROM purchase";

struct purchase {
  std::int64_t id;
  std::int64_t customer;
  double amount;
  std::string status;
};

inline void fill(const std::string& path, std::size_t rows) {
  raw::database db(path);
  db.run(
      "CREATE TABLE purchase(id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, amount REAL NOT NULL, "
      "status TEXT NOT NULL) STRICT; BEGIN");
  raw::statement insert(db, "INSERT INTO purchase VALUES (?, ?, ?, ?)");
  for (std::size_t id = 1; id <= rows; ++id) {
    insert.bind(1, static_cast<sqlite3_int64>(id));
    insert.bind(2, static_cast<sqlite3_int64>(id * 7919 % 10'007));
    insert.bind(3, static_cast<double>(id) * 0.25);
    insert.bind(4, id % 3 == 0 ? std::string_view("delivered") : std::string_view("on its way"));
    insert.run();
  }
  db.run("COMMIT; PRAGMA wal_checkpoint(truncate)");
}

/// What a reader that keeps nothing makes of a row, so that no column can be optimised away.
struct digest {
  std::int64_t integers = 0;
  double reals = 0;
  std::size_t bytes = 0;
  std::size_t rows = 0;

  void add(std::int64_t id, std::int64_t customer, double amount, std::string_view status) noexcept {
    integers += id ^ customer;
    reals += amount;
    bytes += status.size();
    ++rows;
  }
  bool operator==(const digest&) const = default;
};

}  // namespace bench::orders
