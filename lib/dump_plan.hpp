#pragma once

#include "engine/worker.hpp"

#include <string>
#include <vector>

namespace cosqlite::detail {

/// A part of a dump: a statement as it stands, or the rows of a query behind the beginning of an INSERT.
struct dump_step {
  std::string text;
  std::string query;
};

/// Decides on all that a dump of \p schema has to say, in its order. On the worker, in the dump's read transaction.
[[nodiscard]] std::vector<dump_step> plan_dump(worker& at, operation& op, const std::string& like,
                                               const std::string& schema);

}  // namespace cosqlite::detail
