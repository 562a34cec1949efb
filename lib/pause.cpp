#include <cosqlite/detail/pause.hpp>
#include <cosqlite/sleep.hpp>

#include <algorithm>

namespace cosqlite::detail {

namespace {

/// So often a sleeper looks whether it is to stop: another thread could wake it only through a handle of its own.
constexpr std::chrono::nanoseconds between_looks = std::chrono::milliseconds(2);

}  // namespace

task<> pause_for(std::chrono::nanoseconds duration, std::stop_token stop) {
  if (!stop.stop_possible()) {
    co_await sleep_for(duration);
    co_return;
  }
  const auto end = std::chrono::steady_clock::now() + duration;
  do {
    const auto left = end - std::chrono::steady_clock::now();
    co_await sleep_for(std::min<std::chrono::nanoseconds>(left, between_looks));
  } while (!stop.stop_requested() && std::chrono::steady_clock::now() < end);
}

}  // namespace cosqlite::detail
