#include "engine/read_snapshot.hpp"

#include "engine/worker.hpp"

#include <atomic>
#include <chrono>
#include <string_view>

namespace cosqlite::detail {

namespace {

// The WAL index is a documented format (sqlite.org/walformat.html): its first region of 32 KiB begins with two copies
// of a header of 48 bytes, which a commit writes last.
constexpr int index_region = 32 * 1024;

/// The answer of a PRAGMA that has one.
bool pragma_says(sqlite3* db, const char* pragma, std::string_view expected) noexcept {
  sqlite3_stmt* stmt = nullptr;
  bool equal = false;
  if (sqlite3_prepare_v2(db, pragma, -1, &stmt, nullptr) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0));
    equal = text && text == expected;
  }
  sqlite3_finalize(stmt);
  return equal;
}

}  // namespace

bool read_snapshot::enter(std::size_t reads) noexcept {
  if (open_) {
    reads_ += reads;
    if (is_current() && !is_old()) {
      count_up(at_.counted.followed_reads, reads);
      return true;
    }
    end();
  } else if (reads == 1 && !uses_shared_wal()) {
    return false;  // it would be closed again at once
  }
  if (at_.run_text("BEGIN") != SQLITE_OK) return false;
  open_ = true;
  reads_ = reads;
  began_ = now_ns();
  checkable_ = index_ && uses_shared_wal();
  if (checkable_) read_index(seen_);
  return true;
}

void read_snapshot::leave() noexcept {
  expected_ = true;
  if (!open_) return;
  if (at_.in_autocommit()) {
    open_ = false;  // an error has ended it
  } else if (!checkable_) {
    if (!index_ && uses_shared_wal()) find_index();
    end();
  }
}

void read_snapshot::end() noexcept {
  open_ = false;
  if (!at_.in_autocommit() && at_.run_text("COMMIT") != SQLITE_OK) at_.roll_back();
}

bool read_snapshot::is_old() const noexcept {
  const open_options& options = at_.options();
  return reads_ > options.coalesce_calls || now_ns() - began_ > std::chrono::nanoseconds(options.coalesce_time).count();
}

bool read_snapshot::is_current() const noexcept {
  if (!checkable_) return false;
  header now;
  read_index(now);
  return now == seen_;
}

void read_snapshot::read_index(header& to) const noexcept {
  std::atomic_thread_fence(std::memory_order_acquire);
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = index_[i];
  std::atomic_thread_fence(std::memory_order_acquire);
}

/// Whether others can see, in memory that is shared with them, what this connection reads from. An attached database
/// has an index of its own, which is not watched.
bool read_snapshot::uses_shared_wal() noexcept {
  if (at_.authorizer || sqlite3_db_name(at_.db(), 2)) return false;
  if (mode_ == mode::unknown) {
    const bool shared = pragma_says(at_.db(), "PRAGMA main.journal_mode", "wal") &&
                        pragma_says(at_.db(), "PRAGMA main.locking_mode", "normal");
    mode_ = shared ? mode::shared_wal : mode::other;
  }
  return mode_ == mode::shared_wal;
}

/// Only while the connection reads from the log: else SQLite has not mapped the index, would be made to do so here, and
/// would never let go of it. Once it is mapped it stays where it is until the journal mode changes.
void read_snapshot::find_index() noexcept {
  if (sqlite3_txn_state(at_.db(), "main") != SQLITE_TXN_READ) return;
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(at_.db(), "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)) != SQLITE_OK ||
      !file) {
    return;
  }
  const sqlite3_io_methods* methods = file->pMethods;
  if (!methods || methods->iVersion < 2 || !methods->xShmMap) return;
  void volatile* region = nullptr;
  if (methods->xShmMap(file, 0, index_region, 0, &region) != SQLITE_OK) return;
  index_ = static_cast<const volatile std::uint64_t*>(region);
}

}  // namespace cosqlite::detail
