#pragma once

#include "support/database.hpp"
#include <cosqlite/migration.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace support {

/// Three steps as a program has them: users, their emails, their orders.
inline cosqlite::migrator three_steps() {
  cosqlite::migrator steps;
  steps.add(1, "users", "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;", "DROP TABLE users;");
  steps.add(2, "emails", "ALTER TABLE users ADD COLUMN email TEXT; CREATE UNIQUE INDEX emails ON users(email);",
            "DROP INDEX emails; ALTER TABLE users DROP COLUMN email;");
  steps.add(
      3, "orders",
      "CREATE TABLE orders(id INTEGER PRIMARY KEY, owner INTEGER NOT NULL REFERENCES users ON DELETE CASCADE) STRICT",
      "DROP TABLE orders");
  return steps;
}

inline std::vector<std::int64_t> versions(const std::vector<cosqlite::migration_status>& list) {
  std::vector<std::int64_t> all;
  for (const cosqlite::migration_status& s : list) all.push_back(s.version);
  return all;
}

/// The names of what stands in the file's schema, in order.
inline std::string schema_of(const temp_database& file) {
  return raw_database(file.path())
      .text(
          "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE name NOT LIKE "
          "'sqlite_%' ORDER BY name)");
}

}  // namespace support
