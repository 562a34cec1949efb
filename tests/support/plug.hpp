#pragma once

#include <cosqlite/connection.hpp>
#include <cosqlite/sleep.hpp>
#include <cosqlite/task.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

namespace support {

/// Holds the worker in a call until it is let go, so that what is queued behind it stays there. The call may outlive
/// the plug and the coroutine that awaited it.
class plug {
 public:
  /// \p db: whatever has run().
  template <class Connection>
  auto hold(Connection& db) {
    const auto body = [at = state_](sqlite3*) {
      at->held.store(true);
      while (!at->released.load()) std::this_thread::yield();
    };
    return db.run(body);
  }
  /// Not by blocking: workers are woken when the loop's coroutines have run.
  cosqlite::task<> held() const {
    while (!state_->held.load()) co_await cosqlite::sleep_for(std::chrono::milliseconds(0));
  }
  void release() { state_->released.store(true); }

 private:
  struct state {
    std::atomic<bool> held{false};
    std::atomic<bool> released{false};
  };
  std::shared_ptr<state> state_ = std::make_shared<state>();
};

}  // namespace support
