#pragma once

#include "backup_loan.hpp"
#include "engine/worker.hpp"
#include <cosqlite/backup.hpp>

#include <sqlite3.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cosqlite::detail {

/// A backup that is under way; its handle belongs to the source's worker.
struct backup_job {
  std::shared_ptr<loan> destination;
  std::string from;
  std::string to;
  sqlite3* db = nullptr;
  sqlite3_backup* handle = nullptr;
  int done = 0;
  backup_progress progress;

  backup_job() = default;
  backup_job(const backup_job&) = delete;
  backup_job& operator=(const backup_job&) = delete;
  // While there is a handle the source's worker has a share in the job: here there is none any more.
  ~backup_job() {
    if (destination) destination->give_back();
  }

  int finish() noexcept {
    const int rc = sqlite3_backup_finish(std::exchange(handle, nullptr));
    db = nullptr;
    if (destination) destination->give_back();
    return rc;
  }
};

using shared_job = std::shared_ptr<backup_job>;

/// All on the source's worker.
void start_job(worker& at, operation& op, const shared_job& job);
/// Copies \p pages, or the rest where that is 0 or less. Gives whether the copy is complete, nothing where somebody was
/// in the way.
[[nodiscard]] std::optional<bool> step_job(worker& at, operation& op, const shared_job& job, int pages);
void end_job(worker& at, const shared_job& job) noexcept;

}  // namespace cosqlite::detail
