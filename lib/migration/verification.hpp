#pragma once

#include "migration/history.hpp"
#include "migration/plan.hpp"

#include <source_location>

namespace cosqlite::detail {

/// Steps and history side by side, by version.
[[nodiscard]] migration_statuses compare(const migration_plan& plan, const migration_history& h);

/// Throws migration_error when the database is not one that these steps have made.
void check_fit(const migration_plan& plan, const migration_history& h, const std::source_location& where);

/// Throws migration_error when no steps lead there from where the database is.
void check_target(const migration_plan& plan, const migration_history& h, migration_target target,
                  const std::source_location& where);

/// The step to run next, or null.
[[nodiscard]] const migration_step* next_step(const migration_plan& plan, const migration_history& h,
                                              migration_target target);

}  // namespace cosqlite::detail
