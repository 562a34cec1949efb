#include "migration/dry_run.hpp"

#include "migration/foreign_keys.hpp"

#include <sqlite3.h>
#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cosqlite::detail {

namespace {

/// A folder for nobody else's eyes; gone with the object.
class temporary_folder {
 public:
  temporary_folder() {
    std::error_code failure;
    const std::filesystem::path parent = std::filesystem::temp_directory_path(failure);
    if (failure) {
      throw io_error("there is no folder for temporary files (is TMPDIR right?): " + failure.message(),
                     {SQLITE_CANTOPEN});
    }
    std::string name = (parent / "cosqlite-dry-run-XXXXXX").string();
    if (!mkdtemp(name.data())) {
      throw io_error("cannot make the temporary folder " + name + ": " + std::generic_category().message(errno),
                     {SQLITE_CANTOPEN});
    }
    path_ = name;
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file() const { return (path_ / "copy.db").string(); }

 private:
  std::filesystem::path path_;
};

[[noreturn]] void throw_copy_failed(int rc, const std::string& why) {
  const std::string message = "cannot copy the database for a dry run: " + why;
  if ((rc & 0xff) == SQLITE_BUSY) throw busy_error(message, {rc});
  if ((rc & 0xff) == SQLITE_FULL) throw full_error(message, {rc});
  throw io_error(message, {rc});
}

/// Copies the whole database, page by page, to a new file.
void copy_database(sqlite3* from, const std::string& path) {
  sqlite3* to = nullptr;
  int rc =
      sqlite3_open_v2(path.c_str(), &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (rc == SQLITE_OK) {
    if (sqlite3_backup* copy = sqlite3_backup_init(to, "main", from, "main")) {
      const int stepped = sqlite3_backup_step(copy, -1);
      rc = sqlite3_backup_finish(copy);
      if (rc == SQLITE_OK && stepped != SQLITE_DONE) rc = stepped;
    } else {
      rc = sqlite3_extended_errcode(to);
    }
  }
  const std::string why = rc == SQLITE_OK ? "" : sqlite3_errmsg(to);
  sqlite3_close(to);
  if (rc != SQLITE_OK) throw_copy_failed(rc, why);
}

task<> check_copy(connection& copy, std::string_view when, std::source_location where) {
  const std::vector<std::string> damage = co_await copy.query<std::string>("PRAGMA integrity_check(10)");
  const std::string failed = "the copy of the database fails PRAGMA ";
  if (damage.empty() || damage.front() != "ok") {
    refuse_migration(
        failed + "integrity_check " + std::string(when) + ": " + (damage.empty() ? "no answer" : damage.front()), 0,
        where);
  }
  const std::vector<orphan> orphans = co_await find_orphans(copy);
  if (!orphans.empty()) {
    refuse_migration(failed + "foreign_key_check " + std::string(when) + ": " + describe(orphans), 0, where);
  }
}

task<connection> open_copy(const migration_plan& plan, std::string path, bool foreign_keys) {
  open_options options;
  options.journal_mode = journal::memory;
  options.synchronous = sync::off;
  options.foreign_keys = foreign_keys;
  connection copy = co_await open(std::move(path), options);
  if (plan.prepare_copy) co_await plan.prepare_copy(copy);
  co_return copy;
}

}  // namespace

task<migration_statuses> try_out(migration_plan_ref original, connection& db, migration_target target,
                                 std::source_location where) {
  const temporary_folder folder;
  const auto plan = std::make_shared<migration_plan>(*original);
  plan->on_step = {};
  const std::string path = folder.file();
  const auto keys = co_await db.query_one<bool>("PRAGMA foreign_keys");
  auto make_copy = [path](sqlite3* from) { copy_database(from, path); };
  co_await db.run(make_copy);
  connection copy = co_await open_copy(*plan, path, keys);
  co_await check_copy(copy, "before any step", where);
  migration_statuses done = co_await migrate(plan, copy, target, where);
  co_await copy.close();
  // A step may have left settings behind that would blind the checks.
  connection fresh = co_await open_copy(*plan, path, keys);
  co_await check_copy(fresh, "after the steps", where);
  co_await fresh.close();
  co_return done;
}

}  // namespace cosqlite::detail
