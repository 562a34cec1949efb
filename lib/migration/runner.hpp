#pragma once

#include "migration/plan.hpp"

#include <source_location>

namespace cosqlite::detail {

/// Runs the steps that lead there, each in a transaction of its own. Gives those that it has run.
[[nodiscard]] task<migration_statuses> migrate(migration_plan_ref plan, connection& db, migration_target target,
                                               std::source_location where);

}  // namespace cosqlite::detail
