/// \file
/// What a statement that changes rows reports.
#pragma once

#include <cstdint>

namespace cosqlite {

/// The outcome of a statement that was run for its effect.
struct execute_result {
  std::int64_t changes = 0;            ///< rows inserted, changed or deleted by this statement (not by its triggers)
  std::int64_t last_insert_rowid = 0;  ///< of the connection, right after this statement
};

}  // namespace cosqlite
