// What a connection of a pool does between calls: it ends reads that are too old, and moves the write-ahead log into
// the file.

#include "engine/worker.hpp"

#include <utility>

namespace cosqlite::detail {

std::int64_t worker::oldest_read() const noexcept {
  std::int64_t oldest = owner_ != 0 && !owner_lost_ ? owner_since_ : 0;
  for (const cursor* c = cursors_; c; c = c->next) {
    if (oldest == 0 || c->since() < oldest) oldest = c->since();
  }
  return oldest;
}

/// True: a stream has been ended.
bool worker::end_old_reads() noexcept {
  if (!reader_ || max_read_age_ == 0) return false;
  const std::int64_t limit = now_ns() - max_read_age_;
  bool ended = false;
  for (cursor* c = cursors_; c;) {
    cursor* next = c->next;
    if (c->since() < limit) {
      c->expire(*this);
      ended = true;
    }
    c = next;
  }
  if (owner_ != 0 && owner_since_ < limit && !in_autocommit()) {
    roll_back();
    owner_lost_ = true;
  }
  return ended;
}

/// Moves the write-ahead log into the file, and starts it anew when readers let it grow: while nothing waits, or after the
/// commit that makes it too long.
void worker::checkpoint_when_due() noexcept {
  if (reader_ || !db_) return;
  const int pages = counted.wal_pages.load(std::memory_order_relaxed);
  if (pages < checkpoint_pages_ || pages < checkpoint_again_at_) return;
  snapshot_.close();
  if (!in_autocommit()) return;
  int log = 0;
  int moved = 0;
  const int how = pages >= 4 * checkpoint_pages_ ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE;
  checkpoint_patience_ = std::chrono::milliseconds(20);
  const int rc = sqlite3_wal_checkpoint_v2(db_, nullptr, how, &log, &moved);
  checkpoint_patience_.reset();
  count_up(counted.checkpoints);
  // Readers that hold the log back are not asked again before it has grown by as much.
  checkpoint_again_at_ = rc == SQLITE_OK && moved == log ? 0 : pages + checkpoint_pages_;
  if (rc == SQLITE_OK && moved == log) counted.wal_pages.store(0, std::memory_order_relaxed);
}

}  // namespace cosqlite::detail
