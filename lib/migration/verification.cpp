#include "migration/verification.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

namespace cosqlite::detail {

namespace {

std::string hexadecimal(std::int64_t n) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%08x", static_cast<unsigned>(n));
  return text;
}

migration_state judge(const migration_plan& plan, const history_entry& applied) {
  const auto known = plan.steps.find(applied.version);
  if (known == plan.steps.end())
    return applied.version > plan.newest() ? migration_state::newer : migration_state::missing;
  const migration_step& step = known->second;
  return step.name == applied.name && step.checksum == applied.checksum ? migration_state::applied
                                                                        : migration_state::changed;
}

std::string short_checksum(const std::string& sum) {
  return sum.empty() ? "none, it was C++" : sum.substr(0, 12) + "…";
}

std::string what_changed(const migration_plan& plan, const migration_history& h, const migration_status& s) {
  const migration_step& now = plan.steps.at(s.version);
  const auto then = std::ranges::find(h.entries, s.version, &history_entry::version);
  const std::string which = migration_title(s.version, s.name);
  if (now.name != then->name) {
    return which + " is called \"" + now.name + "\" now: give it the name back that it was applied under";
  }
  return which + " was changed after it had been applied (checksum then: " + short_checksum(then->checksum) +
         ", now: " + (now.checksum.empty() ? "none, it is C++" : short_checksum(now.checksum)) +
         "): restore its text, and make the change in a new step";
}

/// Why nothing may be done while a step stands so; empty: it may.
std::string objection(const migration_plan& plan, const migration_history& h, const migration_status& s) {
  const std::string which = migration_title(s.version, s.name);
  switch (s.state) {
    case migration_state::changed: return what_changed(plan, h, s);
    case migration_state::missing: return which + " was applied, but is not among the steps any more: put it back";
    case migration_state::newer:
      return "the database is newer than this program: " + which + " is applied, and the latest known here is " +
             std::to_string(plan.newest()) + ": use a program of that version or later";
    case migration_state::out_of_order:
      return which + " is not applied, but version " + std::to_string(h.version()) + " is: give it a number above " +
             std::to_string(h.version());
    case migration_state::pending:
    case migration_state::applied: break;
  }
  return {};
}

void check_ways_back(const migration_plan& plan, std::int64_t now, std::int64_t to, const std::source_location& where) {
  for (const auto& [version, step] : plan.steps) {
    if (version > to && version <= now && !step.down.exists()) {
      refuse_migration(migration_title(version, step.name) + " has no way down: nothing was taken back", version,
                       where);
    }
  }
}

}  // namespace

migration_statuses compare(const migration_plan& plan, const migration_history& h) {
  std::map<std::int64_t, migration_status> all;
  for (const auto& [version, step] : plan.steps) {
    migration_status& s = all[version];
    s.version = version;
    s.name = step.name;
    s.reversible = step.down.exists();
    s.state = version < h.version() ? migration_state::out_of_order : migration_state::pending;
  }
  for (const history_entry& e : h.entries) {
    migration_status& s = all[e.version];
    s.version = e.version;
    s.name = e.name;
    s.state = judge(plan, e);
    s.applied_at = e.applied_at;
    s.duration = e.duration;
  }
  migration_statuses list;
  for (auto& [version, s] : all) list.push_back(std::move(s));
  return list;
}

void check_fit(const migration_plan& plan, const migration_history& h, const std::source_location& where) {
  if (plan.application_id != 0 && h.application_id != 0 && h.application_id != plan.application_id) {
    refuse_migration("this is the database of another application: its application_id is " +
                         hexadecimal(h.application_id) + ", not " + hexadecimal(plan.application_id) +
                         "; is the path right?",
                     0, where);
  }
  for (const migration_status& s : compare(plan, h)) {
    if (const std::string why = objection(plan, h, s); !why.empty()) refuse_migration(why, s.version, where);
  }
}

void check_target(const migration_plan& plan, const migration_history& h, migration_target target,
                  const std::source_location& where) {
  if (!target.to) return;
  const std::int64_t to = *target.to;
  const std::int64_t now = h.version();
  const std::string at = "the database is at version " + std::to_string(now);
  if (to != 0 && to != now && !plan.steps.contains(to)) {
    refuse_migration("there is no migration of version " + std::to_string(to), to, where);
  }
  if (target.way == migration_direction::up) {
    if (now > to) refuse_migration(at + ", past " + std::to_string(to) + ": `down` leads back", to, where);
    return;
  }
  if (now < to) refuse_migration(at + ", before " + std::to_string(to) + ": `up` leads there", to, where);
  check_ways_back(plan, now, to, where);
}

const migration_step* next_step(const migration_plan& plan, const migration_history& h, migration_target target) {
  const std::int64_t now = h.version();
  if (target.way == migration_direction::down) return now > target.to.value_or(0) ? &plan.steps.at(now) : nullptr;
  const auto next = plan.steps.upper_bound(now);
  return next == plan.steps.end() || (target.to && next->first > *target.to) ? nullptr : &next->second;
}

}  // namespace cosqlite::detail
