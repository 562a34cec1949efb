#pragma once

#include "engine/relax.hpp"

#include <mutex>

namespace cosqlite::detail {

/// A mutex that is held for a moment only: whoever finds it taken looks again for a while, since to sleep, and to be woken,
/// costs both sides fifty times as much.
class short_mutex {
 public:
  void lock() noexcept {
    for (int i = 0; i < looks; ++i) {
      if (mutex_.try_lock()) return;
      relax_cpu();
    }
    mutex_.lock();
  }
  void unlock() noexcept { mutex_.unlock(); }

 private:
  static constexpr int looks = 50;
  std::mutex mutex_;
};

}  // namespace cosqlite::detail
