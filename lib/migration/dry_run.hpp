#pragma once

#include "migration/plan.hpp"
#include "migration/runner.hpp"

#include <source_location>

namespace cosqlite::detail {

/// Runs the steps on a copy of the database, and checks the copy before and after.
[[nodiscard]] task<migration_statuses> try_out(migration_plan_ref plan, connection& db, migration_target target,
                                               std::source_location where);

}  // namespace cosqlite::detail
