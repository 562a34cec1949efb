#pragma once

#include "engine/bridge.hpp"

#include <coroutine>

namespace cosqlite::detail {

// How the reader of a stream meets the batch that is due. On the loop's thread.

/// Whether \p due, fetched from \p where, can be taken without waiting.
[[nodiscard]] inline bool is_at_hand(const operation_ref& due, const ref<executor>& where) noexcept {
  if (!due || !is_done(*due)) return false;
  // A reader that always finds its batch would never let the loop turn. A connection that has closed brings no more
  // turns.
  return !where || where->is_gone() || !where->loop_bridge().turn_is_over();
}

/// Sees to it that \p waiter resumes when \p due has come. False: it has.
[[nodiscard]] inline bool wait_for(operation& due, const ref<executor>& where,
                                   std::coroutine_handle<> waiter) noexcept {
  // It came while we looked, or the loop is due: its delivery resumes us. One that was delivered already is delivered
  // once more, when the loop has turned.
  if (is_done(due) && !due.counted) {
    if (!where || where->is_gone()) return false;
    where->loop_bridge().deliver_next_turn(due);
  }
  due.waiter = waiter;
  return true;
}

}  // namespace cosqlite::detail
