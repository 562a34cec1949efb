#pragma once

#include "engine/worker.hpp"

#include <string_view>

namespace cosqlite::detail {

/// On a connection whose statements have used json_each, carray or another table that stands in no schema. SQLite keeps
/// such tables, and they keep a reference to the schema of "main", which is gone once an image has taken its place.
class eponymous_use final : public extension {
 public:
  explicit eponymous_use(worker&) {}
};

/// Whether that is the name of such a table of SQLite's or of ours; those of functions in C++ are in addition.
[[nodiscard]] bool is_eponymous(std::string_view table) noexcept;

}  // namespace cosqlite::detail
