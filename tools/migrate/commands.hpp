#pragma once

#include "migrate/arguments.hpp"
#include <cosqlite/task.hpp>

namespace migrate {

// Each prints what it did and gives whether the database fits the steps. What fails is thrown.
[[nodiscard]] cosqlite::task<bool> show_status(arguments a);
[[nodiscard]] cosqlite::task<bool> go_up(arguments a);
[[nodiscard]] cosqlite::task<bool> go_down(arguments a);

}  // namespace migrate
