#pragma once

#include "engine/relax.hpp"

#include <sched.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace cosqlite::detail {

/// Steady clock in nanoseconds.
std::int64_t now_ns() noexcept;
/// How many CPUs this process may use.
std::size_t usable_cpus() noexcept;
/// Whether more than one CPU may be used by this process: otherwise polling only delays the other side.
bool may_poll() noexcept;

/// How one side of the hand-over waits for the other before it sleeps: looking for a short time, then yielding between
/// looks. It learns from how its waits end. Where yields come back at once nobody else wants the CPU, and looking is
/// quicker; where they do not, the other side may need this very CPU. Waits that find nothing are made more and more
/// seldom.
class poller {
 public:
  /// Waits until \p found() or for \p poll_ns, whichever is first; gives the former.
  template <class F>
  bool wait(F found, std::int64_t poll_ns) noexcept {
    if (together_ >= most_together) {
      together_ = 0;
      return false;
    }
    for (int i = 0; i < looks_; ++i) {
      if (found()) return succeeded();
      relax_cpu();
    }
    return yield_until(found, poll_ns);
  }
  /// Whether the following wait is to be left out, since the last ones found nothing. Counts as one.
  [[nodiscard]] bool skips() noexcept {
    if (skips_ == 0) return false;
    --skips_;
    return true;
  }

 private:
  static constexpr int first_looks = 24;
  static constexpr int fewest_looks = 2;
  static constexpr int most_looks = 400;
  static constexpr int most_skips = 64;
  /// After so many waits in which this CPU had others to run, the thread sleeps once: whoever wakes it finds it another
  /// CPU if one is idle, which threads that only yield to each other are seldom given.
  static constexpr int most_together = 500;
  /// A yield that comes back sooner has found nobody else to run; one that takes the longer, many.
  static constexpr std::int64_t idle_yield_ns = 1'500;
  static constexpr std::int64_t slow_yield_ns = 200'000;

  template <class F>
  bool yield_until(F found, std::int64_t poll_ns) noexcept {
    std::int64_t before = now_ns();
    const std::int64_t until = before + poll_ns;
    bool alone = true;
    for (;;) {
      sched_yield();
      const std::int64_t now = now_ns();
      alone = alone && now - before < idle_yield_ns;
      const bool crowded = now - before > slow_yield_ns;
      if (found()) {
        looks_ = alone ? std::min(most_looks, 2 * looks_) : fewest_looks;
        together_ = alone ? 0 : together_ + 1;
        return crowded ? found_late() : succeeded();
      }
      if (crowded) backoff_ = most_skips;
      if (now >= until) return failed();
      before = now;
    }
  }
  bool succeeded() noexcept {
    backoff_ = 0;
    return true;
  }
  /// So many want the CPU that sleeping is much the quicker: whoever wakes a thread has it run soon.
  bool found_late() noexcept {
    sleep_more();
    return true;
  }
  bool failed() noexcept {
    looks_ = first_looks;
    sleep_more();
    return false;
  }

  void sleep_more() noexcept {
    backoff_ = std::min(most_skips, backoff_ == 0 ? 1 : 2 * backoff_);
    skips_ = backoff_;
  }

  int looks_ = first_looks;
  int skips_ = 0;
  int backoff_ = 0;
  int together_ = 0;
};

}  // namespace cosqlite::detail
