/// \file
/// Hints about memory that the other thread has written.
#pragma once

#include <cstddef>

namespace cosqlite::detail {

/// Begins to fetch the cache line of \p at, which need not be readable.
inline void fetch_line(const void* at) noexcept {
#if defined(__GNUC__)  // the standard library has no such hint
  __builtin_prefetch(at);
#else
  static_cast<void>(at);
#endif
}

/// Fetches all of \p record from the other side's cache at once, rather than line by line as its members are used.
template <class T>
void fetch_ahead(const T& record) noexcept {
  const auto* bytes = reinterpret_cast<const char*>(&record);
  for (std::size_t i = 0; i < sizeof(T); i += 64) fetch_line(bytes + i);
}

}  // namespace cosqlite::detail
