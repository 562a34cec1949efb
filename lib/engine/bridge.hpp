#pragma once

#include "engine/channel.hpp"
#include "engine/polling.hpp"
#include <cosqlite/detail/operation.hpp>

#include <uv.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace cosqlite::detail {

class worker;

/// Whether this process was forked while connections were open: nothing may be used any more.
bool is_forked_child() noexcept;
/// How many connections a fork would leave without their threads: one more, or one less. Any thread.
void count_open_connections(int by) noexcept;

/// Something that looks after what waits in it, when the loop says so.
class overseer {
 public:
  /// \p at_once: something has happened; else a while has passed. On the loop's thread.
  virtual void look_after(bool at_once) noexcept = 0;

 protected:
  ~overseer() = default;
};

/// Brings completed operations to one loop: the only code that touches libuv for the engine. One a loop, shared by its
/// connections, closed when the last of them has gone. post() is for any thread; all else for the loop's.
class bridge {
 public:
  /// The bridge of \p loop, made when there is none. On the loop's thread.
  static ref<bridge> of(uv_loop_t* loop);

  bridge(const bridge&) = delete;
  bridge& operator=(const bridge&) = delete;
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  /// A connection comes or goes; with the last one, and the last call, the handles close.
  /// True: it may hand over its results by its own channel; else by post().
  bool attach(worker& w) noexcept;
  void detach(worker& w) noexcept;

  /// \p op has been queued: keeps the loop alive for it and watches its deadline. \p poll: longest polling hand-over,
  /// ns.
  void submitted(operation& op, std::int64_t poll) noexcept;
  /// \p op needs no delivery any more.
  void settled(operation& op) noexcept;
  /// Delivers \p op, which is complete, once the loop has turned to its other handles.
  void deliver_next_turn(operation& op) noexcept;
  /// Hands over a chain of completed operations, newest first, linked by next_done.
  void post(operation* newest, operation* oldest) noexcept;
  /// After results have been put into a channel: wakes the loop if it sleeps.
  void notify_if_parked() noexcept;
  /// Those that are called when it is time to look after them.
  void add(overseer& o) { overseers_.push_back(&o); }
  void remove(overseer& o) noexcept { std::erase(overseers_, &o); }
  /// Has them called within a few milliseconds.
  void look_after_soon() noexcept;
  /// Any thread: has them called at once.
  void look_after_now() noexcept {
    look_after_wanted_.store(true, std::memory_order_seq_cst);
    notify_if_parked();
  }
  /// Whether results are looked for anyway, so that handing one over needs no system call.
  [[nodiscard]] bool is_polling() const noexcept { return state_.load(std::memory_order_relaxed) == state::active; }
  /// Wakes \p w when the coroutines at hand have run, once for all they submit. False: wake it now.
  bool wake_later(worker& w) noexcept;

  [[nodiscard]] bool on_loop_thread() const noexcept {
    return thread_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }
  [[nodiscard]] uv_loop_t* loop() const noexcept { return loop_; }
  /// Whether coroutines have been run for so long that the loop should turn before more are.
  [[nodiscard]] bool turn_is_over() const noexcept;

 private:
  enum class state : int { parked, notified, active, closed };
  struct due {
    std::int64_t deadline;
    operation* op;
  };

  explicit bridge(uv_loop_t* loop);
  ~bridge();

  void turn() noexcept;
  void drain() noexcept;
  void deliver(operation& op) noexcept;
  void poll() noexcept;
  bool park() noexcept;
  void notify() noexcept;
  void keep_turning() noexcept;
  void start_polling() noexcept;
  void take_outbox() noexcept;
  void take_lanes() noexcept;
  void add_ready(operation& op) noexcept;
  [[nodiscard]] bool has_results() noexcept;
  void wake_workers() noexcept;
  void watch_deadline(operation& op) noexcept;
  void forget_deadline(operation& op) noexcept;
  void set_due(std::size_t i, due d) noexcept;
  void sift_up(std::size_t i) noexcept;
  void sift_down(std::size_t i) noexcept;
  void arm_timer() noexcept;
  void expire_due() noexcept;
  void look_after(bool at_once) noexcept;
  void close_when_unused() noexcept;
  void close_handles() noexcept;

  uv_loop_t* loop_;
  uv_async_t async_;
  uv_idle_t idle_;
  uv_timer_t timer_;
  uv_timer_t look_after_timer_;
  std::atomic<std::uint32_t> references_{1};
  std::atomic<std::thread::id> thread_;  // other threads ask, to be refused
  int attached_ = 0;
  int open_handles_ = 0;
  std::int64_t pending_ = 0;
  bool in_turn_ = false;
  bool idle_running_ = false;
  bool closing_ = false;
  bool turn_now_ = false;
  bool look_after_armed_ = false;
  std::vector<overseer*> overseers_;
  std::int64_t poll_ns_ = 0;
  poller poller_;
  std::int64_t turn_began_ = 0;
  std::int64_t timer_for_ = 0;
  operation* ready_ = nullptr;
  operation* ready_last_ = nullptr;
  std::vector<due> deadlines_;
  std::vector<ref<worker>> to_wake_;
  // The first connections of a loop have a channel each that is looked at in every turn; those beyond share the outbox.
  std::array<channel<operation>*, 8> lanes_{};
  std::size_t lane_count_ = 0;

  // The loop polls the first while workers look at the second: apart, so that neither slows the other.
  alignas(64) std::atomic<operation*> outbox_{nullptr};
  alignas(64) std::atomic<state> state_{state::parked};
  std::atomic<int> senders_{0};
  std::atomic<bool> look_after_wanted_{false};
};

}  // namespace cosqlite::detail
