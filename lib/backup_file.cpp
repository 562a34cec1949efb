#include "backup_copy.hpp"
#include "engine/new_file.hpp"
#include "own_statement.hpp"
#include <cosqlite/connection.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/transaction.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace cosqlite::detail {

namespace {

/// Unlinks an unfinished copy when its connection goes.
struct unfinished_file final : extension {
  explicit unfinished_file(worker&) {}
  std::unique_ptr<new_file> file;
};

struct open_job final : holder {
  std::unique_ptr<new_file> file;
  std::string source;
};

/// Opens the copy's private connection.
void run_open_copy(worker& at, operation& op) {
  auto& job = static_cast<open_job&>(*op.closure);
  auto& unfinished = at.extend<unfinished_file>();
  unfinished.file = std::move(job.file);
  unfinished.file->check_place(job.source.c_str());
  at.open(op);
  unfinished.file->take_permissions_of(job.source.c_str());
  emplace_result<connection>(op, ref<worker>(&at));
}

constexpr operation_type open_copy_operation{
    .run = &run_open_copy, .destroy_result = &destroy_result<connection>, .opens = true};

call<connection> open_copy(const call_site& site, const worker& source, const std::string& path,
                           std::string source_file, const std::source_location& where) {
  open_options options;
  // Nobody but us reads it before it is complete and synced, by ourselves.
  options.journal_mode = journal::memory;
  options.synchronous = sync::off;
  options.busy_timeout = source.busy_timeout();
  options.coalesce = false;
  auto file = std::make_unique<new_file>(path, where);
  auto at = ref<worker>::adopt(new worker(ref<bridge>(&site.where->loop_bridge()), file->temporary(), options));
  call_site s;
  s.where = at.get();
  operation_ref op = make_operation(s, open_copy_operation);
  op->location = where;
  auto job = std::make_unique<open_job>();
  job->file = std::move(file);
  job->source = std::move(source_file);
  op->closure = std::move(job);
  return call<connection>(std::move(op));
}

void verify_copy(worker& at, operation& op) {
  own_statement check(at, op, "PRAGMA quick_check(1)");
  const std::string found = check.step() ? check.text(0) : std::string("ok");
  if (found != "ok")
    throw corrupt_error("the source is damaged, and so is its copy: " + found, {SQLITE_CORRUPT, {}, op.location});
}

/// The last step, on the copy's own worker: nobody waits for the disk but it.
call<> publish_copy(const connection& copy, const call_site& source, bool verify, const std::source_location& where) {
  call_site s = copy.site();
  s.stop = source.stop;
  s.deadline = source.deadline;
  return make_callable(
      s,
      [verify](worker& at, operation& op) {
        if (verify) verify_copy(at, op);
        sqlite3_file* file = nullptr;
        sqlite3_file_control(at.db(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
        if (file && file->pMethods) {
          const int rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
          if (rc != SQLITE_OK) throw_sqlite_error(nullptr, rc, {}, op.location, "sync the backup");
        }
        publish_file(at, op, *at.extended<unfinished_file>()->file);
      },
      where);
}

call<std::string> file_of(const call_site& site, std::string schema, const std::source_location& where) {
  return make_callable(
      site,
      [schema = std::move(schema)](worker& at, operation& op) {
        const char* name = sqlite3_db_filename(at.db(), schema.c_str());
        if (!name && sqlite3_db_readonly(at.db(), schema.c_str()) < 0) {
          throw misuse_error("there is no database \"" + schema + "\" on this connection to back up",
                             {SQLITE_ERROR, {}, op.location});
        }
        return std::string(name ? name : "");
      },
      where);
}

}  // namespace

void publish_file(worker& at, operation& op, new_file& file) {
  try {
    file.publish(at.busy_timeout(), [&at] { return at.stop_requested(); });
  } catch (const busy_error& e) {
    if (op.stop.load(std::memory_order_relaxed) == stop_reason::none) throw;
    op.in_lock = true;
    at.fail(op, e.code(), {});
  }
}

task<backup_progress> copy_to_path(call_site source, ref<executor> keep_source, std::string path, backup_plan plan,
                                   progress_function report) {
  source = with_deadline_from_now(std::move(source));
  plan.to = "main";
  auto* const from = dynamic_cast<worker*>(keep_source.get());
  if (!from) throw closed_error("the connection is closed", {SQLITE_MISUSE, {}, plan.where});
  std::string source_file = co_await file_of(source, plan.from, plan.where);
  connection copy = co_await open_copy(source, *from, path, std::move(source_file), plan.where);
  const bool verify = plan.verify;
  const std::source_location where = plan.where;
  std::exception_ptr failure;
  backup_progress last;
  try {
    last = co_await copy_between(source, keep_source, ref<worker>(static_cast<worker*>(copy.site().where)),
                                 std::move(plan), std::move(report));
    co_await publish_copy(copy, source, verify, where);
  } catch (...) {
    failure = std::current_exception();
  }
  // Also a failed one goes before its error is told: nothing of it is left then.
  co_await copy.close(where);
  if (failure) std::rethrow_exception(std::move(failure));
  co_return last;
}

}  // namespace cosqlite::detail
