// What ends a call before its time: a stop token, a deadline, interrupt() or the end of the connection, seen while
// SQLite runs and while it waits for a lock.

#include "engine/worker.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

namespace cosqlite::detail {

namespace {

constexpr std::int64_t starving_after_ns = 300'000'000;

}  // namespace

void worker::interrupt() noexcept {
  const std::uint64_t running = running_.load(std::memory_order_acquire);
  if (running != 0) interrupted_.store(running, std::memory_order_release);
}

bool worker::stop_requested() noexcept {
  operation* op = current_;
  if (!op) return is_aborted();
  if (op->type->urgent || op->type->closes) return false;
  if (op->stop.load(std::memory_order_relaxed) != stop_reason::none) return true;
  stop_reason reason = stop_reason::none;
  if (is_aborted()) {
    reason = stop_reason::closed;
  } else if (interrupted_.load(std::memory_order_relaxed) == op->serial) {
    reason = stop_reason::requested;
  } else if (op->deadline != 0 && now_ns() >= op->deadline) {
    reason = stop_reason::timed_out;
  } else {
    return false;
  }
  stop_reason none = stop_reason::none;
  op->stop.compare_exchange_strong(none, reason, std::memory_order_relaxed);
  return true;
}

int worker::on_progress(void* self) noexcept {
  auto* w = static_cast<worker*>(self);
  w->publish_when_due();
  w->entrust_work_when_long();
  // SQLite asks once more on leaving a statement that has done its work, a commit even; stopping it now would be a lie.
  if (w->stepping_ && sqlite3_stmt_busy(w->stepping_) == 0) return 0;
  if (w->goes_on_) return 0;
  if (w->spoilt_ || w->stop_requested()) return 1;
  if (w->run_until_ != 0 && now_ns() > w->run_until_) {
    w->overran_ = true;
    return 1;
  }
  return w->progress && w->progress->should_stop() ? 1 : 0;
}

int worker::on_busy(void* self, int tries) noexcept {
  auto* w = static_cast<worker*>(self);
  const std::int64_t now = now_ns();
  if (tries == 0) {
    w->publish();
    if (w->current_) w->entrust_work();
    w->busy_since_ = now;
    count_up(w->counted.busy_waits);
  }
  const auto stopped = [w] {
    const bool stop = w->stop_requested();
    if (stop && w->current_) w->current_->in_lock = true;
    return stop;
  };
  // A checkpoint has a patience of its own.
  if (stopped() || (w->impatient_ && !w->checkpoint_patience_)) return 0;
  const std::int64_t waited = now - w->busy_since_;
  const std::chrono::nanoseconds patience = w->checkpoint_patience_.value_or(w->busy_timeout());
  const std::int64_t left = patience.count() - waited;
  if (left <= 0) return 0;
  // Whoever has waited for long asks more often: those that come back for the lock at once would starve it.
  const std::int64_t longest = waited > starving_after_ns ? 100'000 : 1'000'000;
  const std::int64_t pause = std::min<std::int64_t>({left, longest, std::int64_t{50'000} << std::min(tries, 5)});
  timespec t{.tv_sec = 0, .tv_nsec = pause};
  nanosleep(&t, nullptr);
  return stopped() ? 0 : 1;
}

void worker::fail(operation& op, int rc) { fail(op, rc, sql_of(op)); }

void worker::fail(const operation& op, int rc, std::string_view sql) {
  const bool stopped = op.stop.load(std::memory_order_relaxed) != stop_reason::none;
  // Whatever callbacks throw while SQLite tidies up after it.
  if (stopped && (rc & 0xff) == SQLITE_INTERRUPT) std::rethrow_exception(stopped_error(op, timeout_error::stage::run));
  if (std::exception_ptr thrown = take_callback_error()) std::rethrow_exception(std::move(thrown));
  if (stopped && op.in_lock && (rc & 0xff) == SQLITE_BUSY) {
    std::rethrow_exception(stopped_error(op, timeout_error::stage::lock));
  }
  throw_sqlite_error(db_, rc, sql, op.location);
}

bool worker::limit_run(std::int64_t until) noexcept {
  run_until_ = until;
  return std::exchange(overran_, false);
}

void worker::restore_busy_handler() noexcept {
  const int ms = std::exchange(new_busy_timeout_, -1);
  if (ms >= 0) busy_timeout_ = std::chrono::milliseconds(ms);
  if (db_) sqlite3_busy_handler(db_, &worker::on_busy, this);
}

}  // namespace cosqlite::detail
