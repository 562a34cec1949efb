/// \file
/// The pause before another attempt.
#pragma once

#include <cosqlite/detail/export.hpp>
#include <cosqlite/task.hpp>

#include <chrono>
#include <stop_token>

namespace cosqlite::detail {

/// Sleeps for \p duration, or until \p stop is requested, from whichever thread.
[[nodiscard]] COSQLITE_API task<> pause_for(std::chrono::nanoseconds duration, std::stop_token stop);

}  // namespace cosqlite::detail
