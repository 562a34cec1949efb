#pragma once

#include <sqlite3.h>

namespace cosqlite::detail {

/// The kind of pointer that `array` binds and `carray(?)` takes.
inline constexpr const char* carray_pointer = "cosqlite_array";

/// Gives \p db the table `carray(?)`. Gives SQLite's code.
int register_carray(sqlite3* db) noexcept;

}  // namespace cosqlite::detail
