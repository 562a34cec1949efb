#include "engine/due_batch.hpp"
#include <cosqlite/detail/read_ahead.hpp>

namespace cosqlite::detail {

batch_source::~batch_source() = default;

read_ahead::read_ahead(ref<executor> where, std::unique_ptr<batch_source> from) noexcept
    : where_(std::move(where)), from_(std::move(from)) {}

read_ahead::read_ahead(read_ahead&& other) noexcept = default;

read_ahead& read_ahead::operator=(read_ahead&& other) noexcept {
  if (this == &other) return *this;
  close();
  where_ = std::move(other.where_);
  from_ = std::move(other.from_);
  current_ = std::move(other.current_);
  first_ = std::move(other.first_);
  second_ = std::move(other.second_);
  ended_ = other.ended_;
  return *this;
}

read_ahead::~read_ahead() { close(); }

operation_ref read_ahead::fetch(std::coroutine_handle<> waiter, bool& suspended, const lineage* of_waiter) {
  operation_ref op = from_->fetch();
  suspended = start(*op, waiter, of_waiter);
  return op;
}

bool read_ahead::ready() noexcept { return ended_ || !from_ || is_at_hand(first_, where_); }

bool read_ahead::wait(std::coroutine_handle<> waiter, const lineage* of_waiter) noexcept {
  if (first_) return wait_for(*first_, where_, waiter);
  bool suspended = true;
  first_ = fetch(waiter, suspended, of_waiter);
  return suspended;
}

bool read_ahead::take() {
  if (ended_ || !from_) return false;
  current_ = std::move(first_);
  first_ = std::move(second_);
  try {
    check(*current_);
  } catch (...) {
    close();
    throw;
  }
  if (current_->last) {
    close();
  } else {
    bool ignored = false;
    if (!first_) first_ = fetch({}, ignored);
    second_ = fetch({}, ignored);
  }
  return true;
}

void read_ahead::close() noexcept {
  for (operation_ref* op : {&first_, &second_}) {
    if (*op) abandon(std::move(*op));
    *op = {};
  }
  if (from_ && !std::exchange(ended_, true)) from_->end();
}

}  // namespace cosqlite::detail
