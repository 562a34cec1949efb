#pragma once

// For the preprocessor: whether a sanitizer watches this program.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COSQLITE_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COSQLITE_TEST_SANITIZED 1
#endif
#endif
#ifndef COSQLITE_TEST_SANITIZED
#define COSQLITE_TEST_SANITIZED 0
#endif

namespace support {

/// Whether a sanitizer watches this program: its memory and its speed say nothing then.
inline constexpr bool sanitized = COSQLITE_TEST_SANITIZED != 0;

}  // namespace support
