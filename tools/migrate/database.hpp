#pragma once

#include "migrate/arguments.hpp"
#include <cosqlite/connection.hpp>
#include <cosqlite/task.hpp>

namespace migrate {

/// Finds out which database is meant: \p a.database becomes a path, and a URL's mode may ask for a new file.
void find_database(arguments& a);

/// A dry run on a database that is not there yet makes none.
[[nodiscard]] cosqlite::task<cosqlite::connection> open_database(arguments a);

}  // namespace migrate
