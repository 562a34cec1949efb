#pragma once

#include "migrate/arguments.hpp"

namespace migrate {

/// Makes the files of a step, and says so.
void make_step(const arguments& a);

}  // namespace migrate
