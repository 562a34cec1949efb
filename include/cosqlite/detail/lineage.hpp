/// \file
/// Which coroutine awaits which: enough to see that a call can never be answered.
#pragma once

#include <concepts>
#include <coroutine>

namespace cosqlite::detail {

class worker;

/// What the promises of the library's coroutines have in common. On the thread that runs the coroutine.
struct lineage {
  const lineage* awaited_by = nullptr;    ///< the coroutine that waits for this one, if it is known
  const worker* waited_for_by = nullptr;  ///< the worker that stands still until this coroutine ends

  /// Whether \p w stands still until \p of, or a coroutine that waits for it, has ended.
  [[nodiscard]] static bool holds_up(const lineage* of, const worker& w) noexcept {
    for (; of; of = of->awaited_by) {
      if (of->waited_for_by == &w) return true;
    }
    return false;
  }
};

/// The lineage of a coroutine that is about to wait; null for coroutines of other libraries.
template <class Promise>
[[nodiscard]] const lineage* lineage_of(std::coroutine_handle<Promise> h) noexcept {
  if constexpr (std::derived_from<Promise, lineage>) {
    return &h.promise();
  } else {
    return nullptr;
  }
}
inline const lineage* lineage_of(std::coroutine_handle<>) noexcept { return nullptr; }

}  // namespace cosqlite::detail
