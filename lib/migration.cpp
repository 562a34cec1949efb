#include "migration/directory.hpp"
#include "migration/dry_run.hpp"
#include "migration/history.hpp"
#include "migration/plan.hpp"
#include "migration/runner.hpp"
#include "migration/verification.hpp"
#include <cosqlite/migration.hpp>

#include <utility>

namespace cosqlite {

namespace {

using detail::migration_direction;
using detail::migration_plan;
using detail::migration_target;

detail::migration_plan_ref shared(const std::shared_ptr<migration_plan>& plan) {
  return plan ? plan : std::make_shared<migration_plan>();
}

task<detail::migration_statuses> read_status(detail::migration_plan_ref plan, connection& db) {
  const detail::migration_history h = co_await detail::read_history(db);
  co_return detail::compare(*plan, h);
}

}  // namespace

migration_error::~migration_error() = default;

std::string_view to_string(migration_state state) noexcept {
  switch (state) {
    case migration_state::applied: return "applied";
    case migration_state::changed: return "changed";
    case migration_state::missing: return "missing";
    case migration_state::newer: return "newer";
    case migration_state::out_of_order: return "out of order";
    case migration_state::pending: break;
  }
  return "pending";
}

migrator::migrator() : plan_(std::make_shared<migration_plan>()) {}
migrator::migrator(const migrator&) = default;
migrator::migrator(migrator&&) noexcept = default;
migrator& migrator::operator=(const migrator&) = default;
migrator& migrator::operator=(migrator&&) noexcept = default;
migrator::~migrator() = default;

/// Tasks under way and copies of this keep the steps that they have.
migration_plan& migrator::plan() {
  if (!plan_) {
    plan_ = std::make_shared<migration_plan>();
  } else if (plan_.use_count() > 1) {
    plan_ = std::make_shared<migration_plan>(*plan_);
  }
  return *plan_;
}

void migrator::add(std::int64_t version, std::string name, std::string up_sql, std::string down_sql,
                   foreign_key_use keys) {
  detail::insert_migration(
      plan(), detail::sql_migration(version, std::move(name), std::move(up_sql), std::move(down_sql), keys));
}

void migrator::add(std::int64_t version, std::string name, const char* up_sql, const char* down_sql,
                   foreign_key_use keys) {
  add(version, std::move(name), std::string(up_sql), std::string(down_sql), keys);
}

void migrator::add(std::int64_t version, std::string name, step up, step down, foreign_key_use keys) {
  detail::insert_migration(plan(),
                           detail::code_migration(version, std::move(name), std::move(up), std::move(down), keys));
}

migrator migrator::from_directory(const std::filesystem::path& folder) { return detail::read_migrations(folder); }

void migrator::application_id(std::int32_t id) { plan().application_id = id; }
void migrator::lock_timeout(std::chrono::milliseconds most) { plan().lock_timeout = most; }
void migrator::on_step(std::function<void(const migration_status&)> observer) { plan().on_step = std::move(observer); }
void migrator::prepare_copy(std::function<task<>(connection&)> prepare) { plan().prepare_copy = std::move(prepare); }

task<std::vector<migration_status>> migrator::up(connection& db, std::source_location where) const {
  return detail::migrate(shared(plan_), db, migration_target(), where);
}

task<std::vector<migration_status>> migrator::up(connection& db, std::int64_t to, std::source_location where) const {
  return detail::migrate(shared(plan_), db, migration_target{migration_direction::up, to}, where);
}

task<std::vector<migration_status>> migrator::down(connection& db, std::int64_t to, std::source_location where) const {
  return detail::migrate(shared(plan_), db, migration_target{migration_direction::down, to}, where);
}

task<std::vector<migration_status>> migrator::status(connection& db, std::source_location) const {
  return read_status(shared(plan_), db);
}

task<std::vector<migration_status>> migrator::dry_run(connection& db, std::source_location where) const {
  return detail::try_out(shared(plan_), db, migration_target(), where);
}

task<std::vector<migration_status>> migrator::dry_run(connection& db, std::int64_t to,
                                                      std::source_location where) const {
  return detail::try_out(shared(plan_), db, migration_target{migration_direction::up, to}, where);
}

task<std::vector<migration_status>> migrator::dry_run_down(connection& db, std::int64_t to,
                                                           std::source_location where) const {
  return detail::try_out(shared(plan_), db, migration_target{migration_direction::down, to}, where);
}

}  // namespace cosqlite
