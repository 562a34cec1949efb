#include "backup_job.hpp"

#include "engine/new_file.hpp"
#include "sql_quoting.hpp"
#include <cosqlite/error.hpp>

#include <vector>

namespace cosqlite::detail {

namespace {

/// What is copied between two looks at deadline and stop token, where a call copies everything.
constexpr int pages_unasked = 256;

/// The backups of a source.
class open_backups final : public extension {
 public:
  explicit open_backups(worker&) {}
  ~open_backups() override {
    for (const shared_job& job : all_) job->finish();
  }
  void add(shared_job job) { all_.push_back(std::move(job)); }
  void remove(const shared_job& job) noexcept { std::erase(all_, job); }

 private:
  std::vector<shared_job> all_;
};

[[noreturn]] void throw_backup_error(const backup_job& job, sqlite3* db, int rc, const std::source_location& where) {
  const std::string doing = "back up \"" + job.from + "\"";
  if ((rc & 0xff) == SQLITE_READONLY && sqlite3_db_readonly(db, job.to.c_str()) == 0) {
    throw readonly_error(
        "cannot " + doing +
            ": the destination is in WAL mode or in memory and has another page size; set its journal mode "
            "to DELETE, use a fresh one, or back up to a path",
        {rc, {}, where});
  }
  throw_sqlite_error(db, rc, {}, where, doing);
}

void begin_backup(worker& at, operation& op, const shared_job& job, sqlite3* to) {
  if (to == at.db() ||
      is_same_file(sqlite3_db_filename(at.db(), job->from.c_str()), sqlite3_db_filename(to, job->to.c_str()))) {
    throw misuse_error("a database cannot be backed up onto itself", {SQLITE_MISUSE, {}, op.location});
  }
  job->handle = sqlite3_backup_init(to, job->to.c_str(), at.db(), job->from.c_str());
  if (!job->handle) throw_backup_error(*job, to, sqlite3_extended_errcode(to), op.location);
  job->db = to;
  job->done = 0;
}

bool is_busy(int rc) noexcept { return (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED; }

/// One sqlite3_backup_step, with what it says of restarts.
int step_once(backup_job& job, int pages) noexcept {
  const int before = job.done;
  const int rc = sqlite3_backup_step(job.handle, pages);
  job.progress.total = sqlite3_backup_pagecount(job.handle);
  job.progress.remaining = sqlite3_backup_remaining(job.handle);
  job.done = job.progress.total - job.progress.remaining;
  if (rc == SQLITE_OK && before > 0 && job.done <= before) ++job.progress.restarts;
  return rc;
}

/// A read transaction on the source, so that nobody can make the copy begin anew.
class snapshot {
 public:
  snapshot(worker& at, const std::string& schema) : at_(at), own_(at.in_autocommit()) {
    if (!own_) return;
    if (at_.run_text("BEGIN") == SQLITE_OK) {
      const std::string touch = "SELECT 1 FROM " + quoted_name(schema) + ".sqlite_master LIMIT 1";
      rc_ = at_.run_text(touch.c_str());
    }
  }
  snapshot(const snapshot&) = delete;
  snapshot& operator=(const snapshot&) = delete;
  ~snapshot() {
    if (own_) at_.roll_back();
  }
  [[nodiscard]] int code() const noexcept { return rc_; }

 private:
  worker& at_;
  bool own_;
  int rc_ = SQLITE_OK;
};

int step_to_the_end(worker& at, operation& op, backup_job& job) {
  const snapshot all(at, job.from);
  if (all.code() != SQLITE_OK) return all.code();
  int rc = SQLITE_OK;
  while (rc == SQLITE_OK) {
    if (at.stop_requested()) at.fail(op, SQLITE_INTERRUPT, {});
    rc = step_once(job, pages_unasked);
  }
  return rc;
}

}  // namespace

void start_job(worker& at, operation& op, const shared_job& job) {
  sqlite3* const to = job->destination->db();
  if (!to)
    throw closed_error("the destination of the backup was closed before it began", {SQLITE_MISUSE, {}, op.location});
  if (sqlite3_get_autocommit(to) == 0) {
    throw misuse_error("the destination of the backup is inside a transaction", {SQLITE_MISUSE, {}, op.location});
  }
  begin_backup(at, op, job, to);
  try {
    at.extend<open_backups>().add(job);
  } catch (...) {
    job->finish();
    throw;
  }
}

void end_job(worker& at, const shared_job& job) noexcept {
  job->finish();
  if (auto* all = at.extended<open_backups>()) all->remove(job);
}

std::optional<bool> step_job(worker& at, operation& op, const shared_job& job, int pages) {
  if (!job->handle) throw closed_error("the backup has ended", {SQLITE_MISUSE, {}, op.location});
  if (job->destination->wanted) {
    throw closed_error("the destination of the backup was dropped", {SQLITE_MISUSE, {}, op.location});
  }
  const int rc = pages > 0 ? step_once(*job, pages) : step_to_the_end(at, op, *job);
  if (rc == SQLITE_OK) return false;
  if (is_busy(rc)) {
    if (op.stop.load(std::memory_order_relaxed) != stop_reason::none) at.fail(op, rc, {});
    if (rc == (rc & 0xff)) return std::nullopt;
    // SQLite takes the extended codes for the end of the backup.
    sqlite3* const to = job->db;
    sqlite3_backup_finish(std::exchange(job->handle, nullptr));
    begin_backup(at, op, job, to);
    ++job->progress.restarts;
    return std::nullopt;
  }
  if (rc != SQLITE_DONE) throw_backup_error(*job, job->db, rc, op.location);
  sqlite3* const to = job->db;
  const int finished = sqlite3_backup_finish(std::exchange(job->handle, nullptr));
  if (finished != SQLITE_OK) throw_backup_error(*job, to, finished, op.location);
  job->destination->replaced = true;
  end_job(at, job);
  return true;
}

}  // namespace cosqlite::detail
