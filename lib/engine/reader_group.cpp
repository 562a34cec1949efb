#include "engine/reader_group.hpp"

#include "engine/errors.hpp"

#include <algorithm>
#include <mutex>
#include <new>

namespace cosqlite::detail {

namespace {

/// So many calls a reader takes at once at most: enough to share a transaction, not so many that others stand idle.
constexpr std::size_t most_taken = 32;
/// Calls that usually run for less keep a processor busy all the while: more readers than processors do not help.
constexpr std::int64_t short_run_ns = 200'000;
/// When those that serve have not come for the next calls for so long they are held up, by the disk perhaps.
constexpr std::int64_t longest_wait_ns = 500'000;
/// Where one could not be opened, for want of descriptors perhaps, it is not tried again for so long.
constexpr std::int64_t open_again_after_ns = 20'000'000;
/// Waking another reader pays when those that serve would be busy for longer with what waits.
constexpr std::int64_t worth_waking_ns = 10'000;

/// More readers at work on short calls do not help.
std::size_t useful_readers() noexcept {
  static const std::size_t useful = 2 * std::max<std::size_t>(2, usable_cpus());
  return useful;
}

}  // namespace

reader_group::reader_group(ref<bridge> to, std::int64_t poll_ns, std::size_t most, opener open_reader)
    : bridge_(std::move(to)), poll_ns_(poll_ns), most_(most), open_(std::move(open_reader)) {
  readers_.reserve(most);
  free_.reserve(most);
  serving_.reserve(most);
  bridge_->add(*this);
}

std::exception_ptr reader_group::refusal(const operation& op) noexcept {
  if (std::exception_ptr e = wrong_thread(op, *bridge_)) return e;
  if (!accepting_) return closed_call_error(op);
  const bool for_ever = op.timeout == 0 && op.deadline == 0 && !op.stop_token.stop_possible();
  if (!for_ever || !all_are_held_by(op.of_waiter)) return nullptr;
  return std::make_exception_ptr(misuse_error(
      "this call would wait for ever, for a reader of the pool: its own coroutine has leased them all, or is the task of a "
      "function that they wait for; make it through a lease, give one back first, or use another connection",
      {SQLITE_MISUSE, std::string(sql_of(op)), op.location}));
}

/// Whether all the readers there can be are kept by \p who, and those that wait for it: leased by those that wait for
/// nothing else, or standing still until a task of a function has ended.
bool reader_group::all_are_held_by(const lineage* who) const noexcept {
  std::size_t held = 0;
  for (bool alone = true; who; who = who->awaited_by) {
    for (const possession* p = alone ? who->has : nullptr; p; p = p->next()) {
      if (p->group() == this && !p->of().is_gone()) ++held;
    }
    if (who->waited_for_by && std::ranges::find(readers_, who->waited_for_by, &ref<worker>::get) != readers_.end())
      ++held;
    alone = alone && !who->beside_others;
  }
  return held >= most_;
}

bool reader_group::wants_another() const noexcept {
  if (serving_.empty()) return true;
  const std::int64_t usual = usual_run_.load(std::memory_order_relaxed);
  if (usual < short_run_ns && serving_.size() >= useful_readers()) return false;
  return static_cast<std::int64_t>(queued_ + 1) * usual > worth_waking_ns * static_cast<std::int64_t>(serving_.size());
}

/// The reader that became free last, which is set to work. With the lock held.
worker* reader_group::free_reader() noexcept {
  if (free_.empty()) return nullptr;
  worker* w = free_.back();
  free_.pop_back();
  serving_.push_back(w);
  return w;
}

/// Whether it should run although those that serve have little to do.
bool reader_group::is_pressing(const operation& op) const noexcept {
  return !op.type->plain_statement || (queued_ != 0 && op.submitted_at - last_take_ > longest_wait_ns);
}

/// Where the call goes: to a reader, or into the queue.
reader_group::placement reader_group::place(operation& op) noexcept {
  const std::lock_guard lock(mutex_);
  if (wants_another() || is_pressing(op)) {
    worker* const w = free_reader();
    if (w && queued_ == 0) {
      w->expect_call();
      return {.to = w};
    }
    if (w) w->look_again();  // those that have waited come first
  }
  queue_.push(op);
  ++queued_;
  // Until all are open one stands by for when those that serve are busy for long.
  const bool may_open = staying_ < most_;
  return {.opens = free_.empty() && may_open, .watched = !free_.empty() || may_open};
}

void reader_group::open_another() noexcept {
  std::erase_if(readers_, [](const ref<worker>& r) { return r->is_gone(); });
  {
    const std::lock_guard lock(mutex_);
    // Those that are just closing, because they could not be opened, take the place of others no longer, in bounds.
    if (staying_ >= most_ || (staying_ != 0 && readers_.size() >= 2 * most_)) return;
    ++staying_;
  }
  try {
    readers_.reserve(readers_.size() + 1);
    readers_.push_back(open_(*this));
    if (readers_.back()->accepts_calls()) return;
  } catch (...) {
  }
  // It has got no thread that could leave.
  const std::lock_guard lock(mutex_);
  --staying_;
}

void reader_group::submit(operation& op) noexcept {
  op.submitted_at = now_ns();
  op.serial = ++serials_;
  const placement where = place(op);
  if (where.to) return where.to->submit(op);
  // A new one looks into the queue first.
  if (where.opens) {
    open_another();
    refuse_when_none_stays();
  }
  if (where.watched) bridge_->look_after_soon();
}

/// Where all readers there can be are at work, those that come back come by themselves.
void reader_group::look_after_soon() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (queued_ == 0 || (free_.empty() && staying_ >= most_)) return;
  }
  bridge_->look_after_soon();
}

/// Sees to it that nobody waits for those that are held up while there are others, or could be.
void reader_group::look_after(bool at_once) noexcept {
  bool unmet = false;
  {
    const std::lock_guard lock(mutex_);
    if (queued_ == 0) return;
    if (at_once || now_ns() - last_take_ > longest_wait_ns) {
      std::size_t woken = 0;
      for (worker* w = nullptr; woken < queued_ && (w = free_reader()); ++woken) w->look_again();
      unmet = woken < queued_ && now_ns() - left_at_ > open_again_after_ns;
    }
  }
  if (unmet) open_another();
  refuse_when_none_stays();
  look_after_soon();
}

/// All of them are just closing, because they cannot be opened: one says why.
void reader_group::refuse_when_none_stays() noexcept {
  operation_queue rest;
  {
    const std::lock_guard lock(mutex_);
    if (staying_ != 0) return;
    rest = std::exchange(queue_, {});
    queued_ = 0;
  }
  while (operation* op = rest.pop()) readers_.empty() ? refuse_for_lack_of_memory(*op) : readers_.back()->submit(*op);
}

void reader_group::refuse_for_lack_of_memory(operation& op) noexcept {
  op_state queued = op_state::queued;
  if (!op.state.compare_exchange_strong(queued, op_state::running, std::memory_order_acq_rel)) return op.release();
  op.error = std::make_exception_ptr(std::bad_alloc());
  op.state.store(op_state::done, std::memory_order_release);
  bridge_->post(&op, &op);
}

operation* reader_group::take(worker& w) noexcept {
  const std::lock_guard lock(mutex_);
  w.has_looked();
  // It would be given a second call that may keep it to itself, such as a lease beside a stream.
  if (w.expects_call()) return nullptr;
  if (queued_ == 0) {
    std::erase(serving_, &w);
    if (std::ranges::find(free_, &w) == free_.end()) free_.push_back(&w);
    return nullptr;
  }
  if (std::ranges::find(serving_, &w) == serving_.end()) {
    std::erase(free_, &w);
    serving_.push_back(&w);
  }
  last_take_ = now_ns();
  const std::size_t takers = serving_.size();
  std::size_t share = std::clamp<std::size_t>(queued_ / takers, 1, most_taken);
  operation* first = queue_.pop();
  --queued_;
  // A stream or a lease keeps the reader to itself: nobody else's call may stand in its own queue.
  while (--share > 0 && first->type->plain_statement && queue_.front()->type->plain_statement) {
    operation* op = queue_.pop();
    --queued_;
    w.sort_in(*op);
  }
  return first;
}

/// With the lock held.
void reader_group::wake_another() noexcept {
  if (queued_ == 0) return;
  if (worker* w = free_reader()) w->look_again();
}

void reader_group::entrust_to_others(worker& w) noexcept {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;  // nobody else comes for it
  std::erase(serving_, &w);
  std::erase(free_, &w);  // it may have been awake for something of its own
  queued_ += w.give_back(queue_);
  wake_another();
  if (queued_ != 0) bridge_->look_after_now();
}

void reader_group::ran_for(std::int64_t ns) noexcept {
  // Two of three calls are shorter: the few that were kept from their processor count as no more than longer ones.
  const std::int64_t usual = usual_run_.load(std::memory_order_relaxed);
  usual_run_.store(ns > usual ? usual + usual / 8 + 64 : usual - usual / 16, std::memory_order_relaxed);
}

void reader_group::leave(worker& w) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase(free_, &w);
  std::erase(serving_, &w);
  w.leaves_source();
  left_at_ = now_ns();
  if (--staying_ != 0) {
    wake_another();
    // The others may be held for long: another is opened in its place.
    if (queued_ != 0) bridge_->look_after_now();
    return;
  }
  // Nobody is left to run them: they are told why.
  while (operation* op = queue_.pop()) w.sort_in(*op);
  queued_ = 0;
}

/// One that will come for calls, soon if there is such a one; null: none stays.
ref<worker> reader_group::one_that_stays() noexcept {
  if (!free_.empty()) return ref<worker>(free_.back());
  if (!serving_.empty()) return ref<worker>(serving_.front());
  for (const ref<worker>& r : readers_) {
    if (r->accepts_calls() && !r->has_left_source()) return r;
  }
  return {};
}

std::vector<ref<worker>> reader_group::stop() noexcept {
  accepting_ = false;
  bridge_->remove(*this);
  operation_queue rest;
  ref<worker> heir;
  {
    const std::lock_guard lock(mutex_);
    rest = std::exchange(queue_, {});
    queued_ = 0;
    heir = one_that_stays();
    free_.clear();
    serving_.clear();
    stopped_ = true;
  }
  while (operation* op = rest.pop()) heir ? heir->submit(*op) : refuse_for_lack_of_memory(*op);
  return std::exchange(readers_, {});
}

std::vector<ref<worker>> reader_group::readers() const { return readers_; }

std::size_t reader_group::waiting() const noexcept {
  const std::lock_guard lock(mutex_);
  return queued_;
}

}  // namespace cosqlite::detail
