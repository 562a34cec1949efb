#include "engine/coalescer.hpp"

#include <algorithm>

namespace cosqlite::detail {

bool coalescer::may_lead(worker& at, const operation& op) noexcept {
  if (!op.type->plain_statement || op.owner != 0 || at.owner_ != 0 || at.lease_ != 0 || at.cursors_) return false;
  if (!at.options_.coalesce || !at.db_) return false;
  const operation* company = at.waiting_.front();
  if (!(company && company->type->plain_statement) && !at.snapshot_.is_expected()) return false;
  return at.snapshot_.is_open() || at.in_autocommit();
}

/// The call that the progress and busy handlers ask about.
class coalescer::asking {
 public:
  asking(worker& at, operation& op) noexcept : at_(at) {
    at_.current_ = &op;
    at_.collecting_ = true;
  }
  asking(const asking&) = delete;
  asking& operator=(const asking&) = delete;
  ~asking() {
    at_.current_ = nullptr;
    at_.collecting_ = false;
  }

 private:
  worker& at_;
};

coalescer::kind coalescer::classify(operation& op) noexcept {
  // Compiling it may wait for a lock: no longer than the call may.
  const asking scope(at_, op);
  try {
    const std::shared_ptr<prepared> p = at_.look_up(op);
    if (p->traits.special || p->in_use) return kind::alone;
    if (p->traits.read_only) return p->traits.impure ? kind::alone : kind::read;
    return p->traits.impure ? kind::alone : kind::write;
  } catch (...) {
    return kind::alone;  // it will meet the same error when it runs
  }
}

void coalescer::run(operation& first) noexcept {
  const kind lead = classify(first);
  if (lead != kind::read) at_.snapshot_.close();
  if (lead == kind::alone) return run_alone(first);
  try {
    members_.push_back(&first);
    // A group of reads ends at the first write; a group of writes takes the reads among them along.
    const std::size_t most = std::min(at_.waiting_count_ + 1, at_.options_.coalesce_calls);
    while (members_.size() < most) {
      operation* op = at_.waiting_.front();
      if (!op || !op->type->plain_statement) break;
      const kind k = classify(*op);
      if (k == kind::alone || (lead == kind::read && k == kind::write)) break;
      members_.push_back(op);
      at_.waiting_.pop();
      --at_.waiting_count_;
    }
    ran_.reserve(members_.size());
  } catch (...) {
    at_.snapshot_.close();
    while (next_ < members_.size()) run_alone(*members_[next_++]);
    return;
  }
  if (members_.size() == 1 && lead == kind::write) return run_alone(first);
  if (members_.size() > 1) {
    count_up(at_.counted.groups);
    count_up(at_.counted.grouped_calls, members_.size());
  }
  while (next_ < members_.size()) lead == kind::read ? run_reads() : run_writes();
}

void coalescer::run_alone(operation& op, bool claimed) noexcept {
  if (!claimed && !at_.claim(op)) return;
  at_.execute(op);
  at_.finish(op);
}

bool coalescer::is_late() const noexcept {
  return now_ns() - began_ > std::chrono::nanoseconds(at_.options_.coalesce_time).count();
}

void coalescer::run_reads() noexcept {
  began_ = now_ns();
  at_.snapshot_.enter(members_.size() - next_);
  at_.ended_ = now_ns();
  unsigned count = 0;
  while (next_ < members_.size()) {
    run_alone(*members_[next_++]);
    at_.publish_when_due();
    if (++count % 16 == 0 && is_late()) break;
  }
  at_.ended_ = 0;
  at_.snapshot_.leave();
}

void coalescer::run_writes() noexcept {
  ran_.clear();
  lost_ = false;
  if (!begin_writes()) return;
  run_members();
  end_writes();
  for (operation* op : ran_) at_.finish(*op);
  ran_.clear();
  if (operation* op = std::exchange(overran_, nullptr)) run_alone(*op, true);
  at_.publish();
}

/// Takes the write lock for the first member, under its deadline. When the lock is not to be had the member runs alone,
/// and has spent its patience.
bool coalescer::begin_writes() noexcept {
  while (next_ < members_.size() && !at_.claim(*members_[next_])) ++next_;
  if (next_ == members_.size()) return false;
  operation& op = *members_[next_];
  rowid_before_ = sqlite3_last_insert_rowid(at_.db_);
  const int rc = at_.begin_for(op);
  began_ = now_ns();
  if (rc == SQLITE_OK) return true;
  ++next_;
  if (op.error) {
    at_.finish(op);
  } else {
    at_.impatient_ = (rc & 0xff) == SQLITE_BUSY;
    run_alone(op, true);
    at_.impatient_ = false;
  }
  at_.publish_when_due();
  return false;
}

void coalescer::run_members() noexcept {
  bool first = true;
  while (next_ < members_.size()) {
    operation& op = *members_[next_];
    if (!first && is_late()) return;
    if (!first && !at_.claim(op)) {
      ++next_;
      continue;
    }
    ++next_;
    // Those that have run wait for this one: it may not keep them for longer than a group lasts.
    at_.limit_run(first ? 0 : now_ns() + std::chrono::nanoseconds(at_.options_.coalesce_time).count());
    at_.execute(op);
    const bool overran = at_.limit_run(0);
    first = false;
    if (overran && !at_.in_autocommit()) {
      op.error = nullptr;
      op.clear_result();
      overran_ = &op;
      return;
    }
    if (overran) op.error = nullptr;
    ran_.push_back(&op);
    if (is_lost(op)) {
      lost_ = true;
      return;
    }
  }
}

bool coalescer::is_lost(const operation& op) const noexcept {
  if (at_.in_autocommit()) return true;
  if (std::exchange(at_.undone_, false)) return true;
  int unresolved = 0;
  int high = 0;
  // Alone, it would have failed at its own commit.
  if (sqlite3_db_status(at_.db_, SQLITE_DBSTATUS_DEFERRED_FKS, &unresolved, &high, 0) == SQLITE_OK && unresolved != 0) {
    return true;
  }
  if (!op.error) return false;
  try {
    std::rethrow_exception(op.error);
  } catch (const error& e) {
    const int code = e.primary();
    return code == SQLITE_FULL || code == SQLITE_IOERR || code == SQLITE_NOMEM || code == SQLITE_BUSY ||
           code == SQLITE_CORRUPT;
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) {
    return false;
  }
}

void coalescer::end_writes() noexcept {
  if (!lost_) {
    // Where even that may have to wait for a lock, each member waits alone, no longer than it may.
    at_.impatient_ = true;
    lost_ = at_.run_text("COMMIT") != SQLITE_OK;
    at_.impatient_ = false;
  }
  if (!lost_) return;
  count_up(at_.counted.lost_groups);
  at_.roll_back();
  sqlite3_set_last_insert_rowid(at_.db_, rowid_before_);
  replay();
}

/// One by one, in their order, each in a transaction of its own.
void coalescer::replay() noexcept {
  for (operation* op : ran_) {
    // Its stop was the answer; it would be stopped again.
    if (op->error && op->stop.load(std::memory_order_relaxed) != stop_reason::none) continue;
    op->error = nullptr;
    op->clear_result();
    op->in_lock = false;
    at_.execute(*op);
  }
}

}  // namespace cosqlite::detail
