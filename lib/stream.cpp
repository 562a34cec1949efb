#include "engine/cursor.hpp"
#include "engine/due_batch.hpp"
#include "engine/worker.hpp"
#include <cosqlite/stream.hpp>

namespace cosqlite::detail {

namespace {

struct end_cursor final : holder {
  ref<cursor> ended;
};

void run_end(worker& at, operation& op) { static_cast<end_cursor&>(*op.closure).ended->end(at); }

constexpr operation_type end_operation{.run = &run_end, .urgent = true};

}  // namespace

stream_source::stream_source(const call_site& site, operation_ref origin, const operation_type& fetch)
    : site_(site), where_(site.where), cursor_(ref<cursor>::adopt(new cursor(std::move(origin)))), type_(&fetch) {}

stream_source::stream_source(stream_source&& other) noexcept
    : site_(std::move(other.site_)),
      where_(std::move(other.where_)),
      cursor_(std::move(other.cursor_)),
      type_(other.type_),
      current_(std::move(other.current_)),
      first_(std::move(other.first_)),
      second_(std::move(other.second_)),
      ended_(std::exchange(other.ended_, true)) {}

stream_source& stream_source::operator=(stream_source&& other) noexcept {
  if (this == &other) return *this;
  close();
  site_ = std::move(other.site_);
  where_ = std::move(other.where_);
  cursor_ = std::move(other.cursor_);
  type_ = other.type_;
  current_ = std::move(other.current_);
  first_ = std::move(other.first_);
  second_ = std::move(other.second_);
  ended_ = std::exchange(other.ended_, true);
  return *this;
}

stream_source::~stream_source() { close(); }

operation_ref stream_source::fetch(std::coroutine_handle<> waiter, bool& suspended, const lineage* of_waiter) {
  operation_ref op = make_operation(site_, *type_);
  op->from = cursor_;
  op->location = cursor_->origin().location;
  suspended = start(*op, waiter, of_waiter);
  return op;
}

bool stream_source::ready() noexcept { return ended_ || is_at_hand(first_, where_); }

bool stream_source::wait(std::coroutine_handle<> waiter, const lineage* of_waiter) noexcept {
  if (first_) return wait_for(*first_, where_, waiter);
  bool suspended = true;
  first_ = fetch(waiter, suspended, of_waiter);
  return suspended;
}

bool stream_source::take() {
  if (ended_) return false;
  current_ = std::move(first_);
  first_ = std::move(second_);
  if (cursor_->at() && where_.get() != cursor_->at()) {
    // A pool has chosen: the stream stays with that connection.
    where_ = ref<executor>(cursor_->at());
    site_.where = where_.get();
  }
  try {
    check(*current_);
  } catch (...) {
    // The batch may never have reached the worker: the statement must be reset all the same.
    close();
    throw;
  }
  if (current_->last) {
    ended_ = true;
    close();
  } else {
    bool ignored = false;
    if (!first_) first_ = fetch({}, ignored);
    second_ = fetch({}, ignored);
  }
  return true;
}

/// Who has the statement: the call that begins it may just be running somewhere in a pool. Null: it has not begun.
ref<executor> stream_source::home() const noexcept {
  if (first_ && !current_ && first_->state.load(std::memory_order_acquire) == op_state::running)
    return ref<executor>(first_->at);
  const bool known = current_ || (first_ && is_done(*first_));
  return ref<executor>(known ? cursor_->at() : nullptr);
}

void stream_source::close() noexcept {
  const operation_ref first = first_;
  if (first) abandon(first);
  if (second_) abandon(std::move(second_));
  second_ = {};
  const ref<executor> at = cursor_ && !std::exchange(ended_, true) ? home() : ref<executor>();
  first_ = {};
  if (!at) return;
  call_site site;
  site.where = at.get();
  operation_ref op = make_operation(site, end_operation);
  auto job = std::make_unique<end_cursor>();
  job->ended = cursor_;
  op->closure = std::move(job);
  start_detached(std::move(op));
}

}  // namespace cosqlite::detail
