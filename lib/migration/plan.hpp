#pragma once

#include <cosqlite/migration.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace cosqlite::detail {

/// One way of a step: text or a function.
struct migration_way {
  std::string sql;
  migrator::step code;
  bool foreign_keys_off = false;
  [[nodiscard]] bool exists() const noexcept { return !sql.empty() || code; }
};

struct migration_step {
  std::int64_t version = 0;
  std::string name;
  std::string checksum;
  migration_way up;
  migration_way down;
};

/// What a migrator holds.
struct migration_plan {
  std::map<std::int64_t, migration_step> steps;
  std::int32_t application_id = 0;
  std::chrono::milliseconds lock_timeout{std::chrono::minutes(10)};
  std::function<void(const migration_status&)> on_step;
  std::function<task<>(connection&)> prepare_copy;

  [[nodiscard]] std::int64_t newest() const noexcept { return steps.empty() ? 0 : steps.rbegin()->first; }
};

using migration_plan_ref = std::shared_ptr<const migration_plan>;
using migration_statuses = std::vector<migration_status>;
enum class migration_direction : std::uint8_t { up, down };

struct migration_target {
  migration_direction way = migration_direction::up;
  std::optional<std::int64_t> to;  // nothing: as far as the steps lead
};

/// How messages call a step.
[[nodiscard]] std::string migration_title(std::int64_t version, std::string_view name);

/// Throws migration_error.
[[noreturn]] void refuse_migration(const std::string& message, std::int64_t version,
                                   const std::source_location& where = {});

[[nodiscard]] migration_step sql_migration(std::int64_t version, std::string name, std::string up_sql,
                                           std::string down_sql, foreign_key_use keys);
[[nodiscard]] migration_step code_migration(std::int64_t version, std::string name, migrator::step up,
                                            migrator::step down, foreign_key_use keys);

/// Checks the step itself, and that its version is free.
void insert_migration(migration_plan& plan, migration_step step);

}  // namespace cosqlite::detail
