#include "engine/reader_group.hpp"

#include "engine/errors.hpp"

#include <algorithm>

namespace cosqlite::detail {

namespace {

/// So many calls a reader takes at once at most: enough to share a transaction, not so many that others stand idle.
constexpr std::size_t most_taken = 32;

}  // namespace

reader_group::reader_group(ref<bridge> to, std::int64_t poll_ns, std::size_t most, opener open_reader)
    : bridge_(std::move(to)), poll_ns_(poll_ns), most_(most), open_(std::move(open_reader)) {
  readers_.reserve(most);
  free_.reserve(most);
}

std::exception_ptr reader_group::refusal(const operation& op) noexcept {
  if (std::exception_ptr e = wrong_thread(op, *bridge_)) return e;
  if (!accepting_) return closed_call_error(op);
  const bool for_ever = op.timeout == 0 && op.deadline == 0 && !op.stop_token.stop_possible();
  if (!for_ever || !all_are_held_by(op.of_waiter)) return nullptr;
  return std::make_exception_ptr(misuse_error(
      "this call would wait for ever, for a reader of the pool: its own coroutine has leased them all; make it through a lease, "
      "or give one back first",
      {SQLITE_MISUSE, std::string(sql_of(op)), op.location}));
}

/// Whether \p who, and those that wait for nothing else, have all the readers there can be.
bool reader_group::all_are_held_by(const lineage* who) const noexcept {
  std::size_t held = 0;
  for (bool alone = true; who && alone; who = who->awaited_by) {
    for (const possession* p = who->has; p; p = p->next()) {
      if (p->group() == this && !p->of().is_gone()) ++held;
    }
    alone = !who->beside_others;
  }
  return held >= most_;
}

worker* reader_group::free_reader() noexcept {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return nullptr;
  worker* w = free_.back();
  free_.pop_back();
  w->expect_call();
  return w;
}

worker* reader_group::open_another() noexcept {
  std::erase_if(readers_, [](const ref<worker>& r) { return r->is_gone(); });
  if (readers_.size() >= most_) return nullptr;
  try {
    readers_.push_back(open_(*this));
    const std::lock_guard lock(mutex_);
    ++serving_;
    return readers_.back().get();
  } catch (...) {
    return nullptr;
  }
}

void reader_group::submit(operation& op) noexcept {
  op.submitted_at = now_ns();
  op.serial = ++serials_;
  worker* w = free_reader();
  if (!w) w = open_another();
  if (w) return w->submit(op);
  const std::lock_guard lock(mutex_);
  // One may have become free meanwhile.
  if (!free_.empty()) {
    w = free_.back();
    free_.pop_back();
    w->expect_call();
    return w->submit(op);
  }
  // All of them are just closing, because they cannot be opened: one says why.
  if (serving_ == 0 && !readers_.empty()) return readers_.front()->submit(op);
  queue_.push(op);
  ++queued_;
}

operation* reader_group::take(worker& w) noexcept {
  const std::lock_guard lock(mutex_);
  // It would be given a second call that may keep it to itself, such as a lease beside a stream.
  if (w.expects_call()) return nullptr;
  if (queued_ == 0) {
    if (std::ranges::find(free_, &w) == free_.end()) free_.push_back(&w);
    return nullptr;
  }
  std::size_t share = std::clamp<std::size_t>(queued_ / most_, 1, most_taken);
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

void reader_group::leave(worker& w) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase(free_, &w);
  if (--serving_ != 0) return;
  // Nobody is left to run them: they are told why.
  while (operation* op = queue_.pop()) w.sort_in(*op);
  queued_ = 0;
}

std::vector<ref<worker>> reader_group::stop() noexcept {
  accepting_ = false;
  operation_queue rest;
  {
    const std::lock_guard lock(mutex_);
    rest = std::exchange(queue_, {});
    queued_ = 0;
    free_.clear();
  }
  // Only when all readers are busy does anything stand in the queue: there is one to give it to.
  while (operation* op = rest.pop()) readers_.front()->submit(*op);
  return std::exchange(readers_, {});
}

std::vector<ref<worker>> reader_group::readers() const { return readers_; }

std::size_t reader_group::waiting() const noexcept {
  const std::lock_guard lock(mutex_);
  return queued_;
}

}  // namespace cosqlite::detail
