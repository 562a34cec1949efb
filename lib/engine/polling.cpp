#include "engine/polling.hpp"

#include <sched.h>

#include <chrono>

namespace cosqlite::detail {

std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::size_t usable_cpus() noexcept {
  static const std::size_t count = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    const bool known = sched_getaffinity(0, sizeof set, &set) == 0;
    return known ? static_cast<std::size_t>(CPU_COUNT(&set)) : std::size_t{1};
  }();
  return count;
}

bool may_poll() noexcept { return usable_cpus() > 1; }

}  // namespace cosqlite::detail
