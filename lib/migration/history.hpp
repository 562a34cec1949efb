#pragma once

#include <cosqlite/migration.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace cosqlite::detail {

/// A row of the table cosqlite_migrations.
struct history_entry {
  std::int64_t version = 0;
  std::string name;
  std::string checksum;
  std::chrono::sys_time<std::chrono::milliseconds> applied_at;
  std::chrono::microseconds duration{0};
};

/// What a database says about itself.
struct migration_history {
  bool table_exists = false;
  std::int64_t application_id = 0;
  std::vector<history_entry> entries;  // by version
  [[nodiscard]] std::int64_t version() const noexcept { return entries.empty() ? 0 : entries.back().version; }
};

[[nodiscard]] task<migration_history> read_history(connection& at);
[[nodiscard]] task<migration_history> read_history(transaction& at);
[[nodiscard]] task<> create_history(transaction& tx);
/// Stamped with the present time.
[[nodiscard]] task<> add_to_history(transaction& tx, history_entry entry);
[[nodiscard]] task<> remove_from_history(transaction& tx, std::int64_t version);
[[nodiscard]] task<> set_application_id(transaction& tx, std::int32_t id);

}  // namespace cosqlite::detail
