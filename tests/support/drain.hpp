#pragma once

#include <cosqlite/task.hpp>

namespace support {

/// Reads \p stream to its end.
template <class Stream>
cosqlite::task<> drain(Stream& stream) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  while (co_await stream.next()) {
  }
}

}  // namespace support
