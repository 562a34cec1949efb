#include "migration/plan.hpp"

#include "migration/script.hpp"
#include "sha256.hpp"

#include <sqlite3.h>

#include <utility>

namespace cosqlite::detail {

namespace {

std::string with_plain_line_ends(const std::string& text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n') plain.push_back(text[i]);
  }
  return plain;
}

/// A way in SQL; one without statements is none.
migration_way sql_way(const std::string& which, std::string sql, foreign_key_use keys, std::int64_t version) {
  migration_way way;
  const script_facts facts = examine_script(sql);
  if (!facts.fault.empty()) refuse_migration(which + " cannot run: " + facts.fault, version);
  if (facts.statements == 0) return way;
  way.sql = std::move(sql);
  way.foreign_keys_off = facts.foreign_keys_off || keys == foreign_key_use::off;
  return way;
}

}  // namespace

std::string migration_title(std::int64_t version, std::string_view name) {
  return "migration " + std::to_string(version) + " (" + std::string(name) + ")";
}

void refuse_migration(const std::string& message, std::int64_t version, const std::source_location& where) {
  throw migration_error(message, error::details(SQLITE_ERROR, {}, where), version);
}

migration_step sql_migration(std::int64_t version, std::string name, std::string up_sql, std::string down_sql,
                             foreign_key_use keys) {
  const std::string which = migration_title(version, name);
  migration_step step;
  step.version = version;
  step.name = std::move(name);
  step.checksum = sha256(with_plain_line_ends(up_sql));
  step.up = sql_way(which, std::move(up_sql), keys, version);
  step.down = sql_way(which + ", its way down,", std::move(down_sql), keys, version);
  return step;
}

migration_step code_migration(std::int64_t version, std::string name, migrator::step up, migrator::step down,
                              foreign_key_use keys) {
  migration_step step;
  step.version = version;
  step.name = std::move(name);
  step.up.code = std::move(up);
  step.down.code = std::move(down);
  step.up.foreign_keys_off = step.down.foreign_keys_off = keys == foreign_key_use::off;
  return step;
}

void insert_migration(migration_plan& plan, migration_step step) {
  const std::string which = migration_title(step.version, step.name);
  if (step.version <= 0) refuse_migration(which + ": versions are positive numbers", step.version);
  if (step.name.empty()) refuse_migration("migration " + std::to_string(step.version) + " needs a name", step.version);
  if (!step.up.exists()) refuse_migration(which + " does nothing: it holds no statement", step.version);
  if (const auto taken = plan.steps.find(step.version); taken != plan.steps.end()) {
    refuse_migration(
        "two migrations have version " + std::to_string(step.version) + ": " + taken->second.name + " and " + step.name,
        step.version);
  }
  const std::int64_t version = step.version;
  plan.steps.emplace(version, std::move(step));
}

}  // namespace cosqlite::detail
