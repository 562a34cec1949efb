#pragma once

#include <cosqlite/value.hpp>

#include <source_location>

namespace cosqlite::detail {

/// Throws corrupt_error where \p data is no whole changeset or patchset. SQLite reads on past the end of one that is
/// cut short, and may never come back.
void check_changeset(const bytes& data, const std::source_location& where = {});

}  // namespace cosqlite::detail
