#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace support {

/// The seed of a randomised test, COSQLITE_SEED where that is set; printed, so that a run can be repeated.
inline std::uint64_t seed_for(const char* test) {
  const char* const given = std::getenv("COSQLITE_SEED");
  const std::uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("%s: COSQLITE_SEED=%llu\n", test, static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

/// For how long it is to go on beyond what it does anyway: COSQLITE_SOAK_SECONDS.
inline std::chrono::seconds soak_time() {
  const char* const given = std::getenv("COSQLITE_SOAK_SECONDS");
  return std::chrono::seconds(given ? std::atoll(given) : 0);
}

}  // namespace support
