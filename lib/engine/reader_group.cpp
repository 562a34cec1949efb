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
  return accepting_ ? nullptr : closed_call_error(op);
}

worker* reader_group::free_reader() noexcept {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return nullptr;
  worker* w = free_.back();
  free_.pop_back();
  return w;
}

worker* reader_group::open_another() noexcept {
  std::erase_if(readers_, [](const ref<worker>& r) { return r->is_gone(); });
  if (readers_.size() >= most_) return nullptr;
  try {
    readers_.push_back(open_(*this));
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
    return w->submit(op);
  }
  queue_.push(op);
  ++queued_;
}

operation* reader_group::take(worker& w) noexcept {
  const std::lock_guard lock(mutex_);
  if (queued_ == 0) {
    if (std::ranges::find(free_, &w) == free_.end()) free_.push_back(&w);
    return nullptr;
  }
  std::size_t share = std::clamp<std::size_t>(queued_ / most_, 1, most_taken);
  operation* first = queue_.pop();
  first->at = &w;
  --queued_;
  while (--share > 0) {
    operation* op = queue_.pop();
    op->at = &w;
    --queued_;
    w.sort_in(*op);
  }
  return first;
}

void reader_group::leave(worker& w) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase(free_, &w);
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
