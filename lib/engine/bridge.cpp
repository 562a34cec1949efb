#include "engine/bridge.hpp"

#include "engine/errors.hpp"
#include "engine/relax.hpp"
#include "engine/worker.hpp"
#include <cosqlite/detail/prefetch.hpp>
#include <cosqlite/detail/trampoline.hpp>
#include <cosqlite/error.hpp>

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <unordered_map>

namespace cosqlite::detail {

namespace {

/// How long coroutines run, and results are polled for, before the loop turns to its other handles.
constexpr std::int64_t turn_ns = 400'000;

struct registry {
  std::mutex mutex;
  std::unordered_map<uv_loop_t*, bridge*> bridges;
};

// Never destroyed: workers may outlive the static objects of the program.
registry& all_bridges() {
  static registry* all = new registry;
  return *all;
}

std::atomic<int> open_connections{0};
std::atomic<bool> forked{false};

/// A fork leaves the workers behind, and SQLite forbids a child to touch an inherited connection. Nor may it open
/// another one: SQLite would take the locks of those it inherited, which it does not have, for its own. Where none was
/// open it starts afresh.
void after_fork_in_child() {
  if (open_connections.load(std::memory_order_relaxed) != 0) forked.store(true, std::memory_order_relaxed);
  all_bridges().bridges.clear();
  all_bridges().mutex.unlock();
}

const int watch_forks =
    pthread_atfork([] { all_bridges().mutex.lock(); }, [] { all_bridges().mutex.unlock(); }, &after_fork_in_child);

}  // namespace

bool is_forked_child() noexcept {
  static_cast<void>(watch_forks);
  return forked.load(std::memory_order_relaxed);
}

void count_open_connections(int by) noexcept { open_connections.fetch_add(by, std::memory_order_relaxed); }

ref<bridge> bridge::of(uv_loop_t* loop) {
  registry& all = all_bridges();
  const std::lock_guard lock(all.mutex);
  bridge*& known = all.bridges[loop];
  if (known) return ref<bridge>(known);
  try {
    known = new bridge(loop);
  } catch (...) {
    all.bridges.erase(loop);
    throw;
  }
  return ref<bridge>(known);
}

bridge::bridge(uv_loop_t* loop) : loop_(loop), thread_(std::this_thread::get_id()) {
  const int rc = uv_async_init(loop, &async_, [](uv_async_t* h) { static_cast<bridge*>(h->data)->turn(); });
  if (rc != 0) {
    throw io_error(std::string("cannot watch for results on this event loop: ") + uv_strerror(rc), {10});
  }
  uv_idle_init(loop, &idle_);
  uv_timer_init(loop, &timer_);
  uv_timer_init(loop, &look_after_timer_);
  open_handles_ = 4;
  async_.data = idle_.data = timer_.data = look_after_timer_.data = this;
  uv_unref(reinterpret_cast<uv_handle_t*>(&async_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&idle_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&timer_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&look_after_timer_));
  deadlines_.push_back({});  // slot 0 means "not watched"
}

bridge::~bridge() {
  operation* op = outbox_.exchange(nullptr);
  while (op) std::exchange(op, op->next_done)->release();
}

bool bridge::attach(worker& w) noexcept {
  ++attached_;
  if (lane_count_ == lanes_.size()) return false;
  lanes_[lane_count_++] = &w.results();
  return true;
}

void bridge::detach(worker& w) noexcept {
  --attached_;
  const auto end = lanes_.begin() + static_cast<std::ptrdiff_t>(lane_count_);
  const auto lane = std::find(lanes_.begin(), end, &w.results());
  if (lane != end) {
    // Its last word may have come by the outbox, for lack of memory, and before them.
    while (operation* op = w.results().pop()) add_ready(*op);
    *lane = lanes_[--lane_count_];
  }
  close_when_unused();
}

/// Calls that another thread has stopped may still be on their way when the last connection has gone.
void bridge::close_when_unused() noexcept {
  if (attached_ == 0 && pending_ == 0 && !closing_) close_handles();
}

void bridge::close_handles() noexcept {
  closing_ = true;
  {
    registry& all = all_bridges();
    const std::lock_guard lock(all.mutex);
    all.bridges.erase(loop_);
  }
  // The last worker has handed over its last word, but may still be inside uv_async_send, or on its way there.
  state_.store(state::closed, std::memory_order_seq_cst);
  while (senders_.load(std::memory_order_seq_cst) != 0) sched_yield();
  const auto closed = [](uv_handle_t* h) {
    auto* self = static_cast<bridge*>(h->data);
    if (--self->open_handles_ == 0) self->release();
  };
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&idle_), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&look_after_timer_), closed);
}

void bridge::submitted(operation& op, std::int64_t poll) noexcept {
  op.counted = true;
  poll_ns_ = poll;
  if (pending_++ == 0) uv_ref(reinterpret_cast<uv_handle_t*>(&async_));
  if (op.deadline != 0) watch_deadline(op);
  if (!in_turn_ && !idle_running_) start_polling();
}

void bridge::settled(operation& op) noexcept {
  if (!op.counted) return;
  op.counted = false;
  if (op.timer_slot != 0) forget_deadline(op);
  if (--pending_ != 0) return;
  uv_unref(reinterpret_cast<uv_handle_t*>(&async_));
  close_when_unused();
}

void bridge::start_polling() noexcept {
  if (poll_ns_ == 0 || !may_poll() || closing_) return;
  if (poller_.skips()) return;
  state_.store(state::active, std::memory_order_seq_cst);
  keep_turning();
}

void bridge::keep_turning() noexcept {
  if (idle_running_) return;
  idle_running_ = true;
  uv_idle_start(&idle_, [](uv_idle_t* h) { static_cast<bridge*>(h->data)->turn(); });
}

void bridge::deliver_next_turn(operation& op) noexcept {
  op.deadline = 0;
  op.retain();
  submitted(op, poll_ns_);
  turn_now_ = true;
  post(&op, &op);
}

void bridge::post(operation* newest, operation* oldest) noexcept {
  operation* head = nullptr;  // as it is when the loop waits for this one
  do {
    oldest->next_done = head;
  } while (!outbox_.compare_exchange_weak(head, newest, std::memory_order_seq_cst, std::memory_order_relaxed));
  if (state_.load(std::memory_order_seq_cst) == state::parked) notify();
}

void bridge::notify_if_parked() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (state_.load(std::memory_order_relaxed) == state::parked) notify();
}

void bridge::notify() noexcept {
  senders_.fetch_add(1, std::memory_order_seq_cst);
  state expected = state::parked;
  if (state_.compare_exchange_strong(expected, state::notified, std::memory_order_seq_cst)) {
    order_before_send();
    uv_async_send(&async_);
  }
  senders_.fetch_sub(1, std::memory_order_release);
}

bool bridge::wake_later(worker& w) noexcept {
  if (!in_turn_) return false;
  try {
    to_wake_.emplace_back(&w);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void bridge::wake_workers() noexcept {
  for (std::size_t i = 0; i < to_wake_.size(); ++i) to_wake_[i]->wake();
  to_wake_.clear();
}

bool bridge::turn_is_over() const noexcept { return now_ns() - turn_began_ > turn_ns; }

void bridge::turn() noexcept {
  const ref<bridge> keep(this);
  const loop_scope scope(loop_);
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  state_.store(state::active, std::memory_order_seq_cst);
  in_turn_ = true;
  turn_began_ = now_ns();
  turn_now_ = false;
  if (look_after_wanted_.load(std::memory_order_relaxed)) look_after(true);
  drain();
  poll();
  in_turn_ = false;
}

void bridge::look_after_soon() noexcept {
  if (look_after_armed_ || closing_) return;
  look_after_armed_ = true;
  // Twice: a timer counts from when the loop last looked at the clock.
  uv_timer_start(
      &look_after_timer_,
      [](uv_timer_t* h) {
        auto* self = static_cast<bridge*>(h->data);
        self->look_after_armed_ = false;
        self->look_after(false);
      },
      2, 0);
}

void bridge::look_after(bool at_once) noexcept {
  const ref<bridge> keep(this);
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  look_after_wanted_.store(false, std::memory_order_seq_cst);
  // One may leave, or come, meanwhile.
  for (std::size_t i = 0; i < overseers_.size(); ++i) overseers_[i]->look_after(at_once);
}

void bridge::add_ready(operation& op) noexcept {
  op.next_done = nullptr;
  (ready_ ? ready_last_->next_done : ready_) = &op;
  ready_last_ = &op;
}

void bridge::take_outbox() noexcept {
  if (!outbox_.load(std::memory_order_relaxed)) return;
  operation* newest_first = nullptr;
  for (operation* op = outbox_.exchange(nullptr, std::memory_order_acquire); op;) {
    operation* next = op->next_done;
    op->next_done = newest_first;
    newest_first = op;
    op = next;
  }
  while (newest_first) add_ready(*std::exchange(newest_first, newest_first->next_done));
}

void bridge::take_lanes() noexcept {
  std::array<operation*, 16> some;
  for (std::size_t lane = 0; lane < lane_count_; ++lane) {
    std::size_t n = 0;
    while (n < some.size() && (some[n] = lanes_[lane]->pop())) fetch_ahead(*some[n++]);
    for (std::size_t i = 0; i < n; ++i) add_ready(*some[i]);
  }
}

bool bridge::has_results() noexcept {
  if (outbox_.load(std::memory_order_relaxed)) return true;
  for (std::size_t lane = 0; lane < lane_count_; ++lane) {
    if (!lanes_[lane]->empty()) return true;
  }
  return false;
}

void bridge::drain() noexcept {
  int delivered = 0;
  for (;;) {
    if (!ready_) {
      take_outbox();
      take_lanes();
    }
    if (!ready_) return;
    operation* op = ready_;
    ready_ = op->next_done;
    deliver(*op);
    if (turn_now_ || (++delivered % 16 == 0 && turn_is_over())) return;
  }
}

void bridge::deliver(operation& op) noexcept {
  op.stop_callback.reset();
  settled(op);
  const bool detaches = op.detaches;
  const ref<worker> at(detaches ? op.at : nullptr);
  if (detaches) at->mark_gone();
  if (op.waiter) {
    const lineage* const who = std::exchange(op.of_waiter, nullptr);
    if (who && op.gives) op.gives->give_to(*who);
    resume(std::exchange(op.waiter, {}));
  }
  op.release();
  if (detaches) detach(*at);
}

void bridge::poll() noexcept {
  const bool skip = poller_.skips();
  for (;;) {
    wake_workers();
    if (closing_) {
      idle_running_ = false;
      return;
    }
    if (ready_ || turn_now_) return keep_turning();
    if (pending_ == 0 || poll_ns_ == 0 || skip || !may_poll()) break;
    if (turn_is_over()) return keep_turning();
    if (!poller_.wait([this] { return has_results(); }, poll_ns_)) break;
    drain();
  }
  if (!park()) return keep_turning();
  if (idle_running_) uv_idle_stop(&idle_);
  idle_running_ = false;
}

bool bridge::park() noexcept {
  state_.store(state::parked, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!has_results() && !look_after_wanted_.load(std::memory_order_relaxed)) return true;
  state_.store(state::active, std::memory_order_seq_cst);
  return false;
}

// Deadlines stand in a binary heap, so that the next one is known and any can be taken out.

void bridge::set_due(std::size_t i, due d) noexcept {
  deadlines_[i] = d;
  d.op->timer_slot = static_cast<std::uint32_t>(i);
}

void bridge::sift_up(std::size_t i) noexcept {
  const due d = deadlines_[i];
  while (i > 1 && d.deadline < deadlines_[i / 2].deadline) {
    set_due(i, deadlines_[i / 2]);
    i /= 2;
  }
  set_due(i, d);
}

void bridge::sift_down(std::size_t i) noexcept {
  const due d = deadlines_[i];
  for (;;) {
    std::size_t child = 2 * i;
    if (child >= deadlines_.size()) break;
    if (child + 1 < deadlines_.size() && deadlines_[child + 1].deadline < deadlines_[child].deadline) ++child;
    if (d.deadline <= deadlines_[child].deadline) break;
    set_due(i, deadlines_[child]);
    i = child;
  }
  set_due(i, d);
}

void bridge::watch_deadline(operation& op) noexcept {
  try {
    deadlines_.push_back({op.deadline, &op});
  } catch (const std::bad_alloc&) {
    return;  // the worker looks at it all the same
  }
  sift_up(deadlines_.size() - 1);
  arm_timer();
}

void bridge::forget_deadline(operation& op) noexcept {
  const std::size_t i = std::exchange(op.timer_slot, 0);
  const due last = deadlines_.back();
  deadlines_.pop_back();
  if (i == deadlines_.size()) return;
  set_due(i, last);
  sift_up(i);
  sift_down(last.op->timer_slot);
}

void bridge::arm_timer() noexcept {
  if (closing_ || deadlines_.size() < 2) return;
  const std::int64_t next = deadlines_[1].deadline;
  if (uv_is_active(reinterpret_cast<uv_handle_t*>(&timer_)) && timer_for_ <= next) return;
  timer_for_ = next;
  const std::int64_t wait = std::max<std::int64_t>(0, next - now_ns());
  // Timers count from the loop's own clock. Moving that here could keep libuv among its timers; its lag is added
  // instead.
  const std::uint64_t lag = uv_hrtime() / 1'000'000 - std::min(uv_now(loop_), uv_hrtime() / 1'000'000);
  uv_timer_start(
      &timer_, [](uv_timer_t* h) { static_cast<bridge*>(h->data)->expire_due(); },
      lag + static_cast<std::uint64_t>((wait + 999'999) / 1'000'000), 0);
}

void bridge::expire_due() noexcept {
  const ref<bridge> keep(this);
  const loop_scope scope(loop_);
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  while (deadlines_.size() > 1 && deadlines_[1].deadline <= now_ns()) {
    operation& op = *deadlines_[1].op;
    forget_deadline(op);
    op_state queued = op_state::queued;
    // A running call watches its own deadline on the worker.
    if (!op.state.compare_exchange_strong(queued, op_state::dropped, std::memory_order_acq_rel)) continue;
    op.stop.store(stop_reason::timed_out, std::memory_order_relaxed);
    op.error = stopped_error(op, timeout_error::stage::queue);
    op.state.store(op_state::done, std::memory_order_release);
    op.retain();
    deliver(op);
  }
  arm_timer();
}

}  // namespace cosqlite::detail
