#include "engine/new_file.hpp"
#include "engine/worker.hpp"
#include <cosqlite/backup.hpp>
#include <cosqlite/connection.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/sleep.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace cosqlite::detail {

namespace {

/// What is copied between two looks at deadline and stop token, where a call copies everything.
constexpr int pages_unasked = 256;

struct backup_plan {
  backup_plan(const backup_options& o, std::source_location at)
      : pages(o.pages), pause(o.pause), from(o.from), to(o.to), restarts(o.restarts), verify(o.verify), where(at) {}
  int pages;
  std::chrono::milliseconds pause;
  std::string from;
  std::string to;
  int restarts;
  bool verify;
  std::source_location where;
};

/// Completes one call when it is opened, from any thread: how a coroutine waits for a worker to have come to a point.
class gate final : public executor {
 public:
  gate(ref<bridge> b, std::int64_t poll) noexcept : bridge_(std::move(b)), poll_(poll) {}

  void submit(operation& op) noexcept override {
    const std::lock_guard lock(mutex_);
    if (open_) return complete(op);
    waiting_ = &op;
  }
  std::exception_ptr refusal(const operation&) noexcept override { return nullptr; }
  bool accepts(const operation&) noexcept override { return true; }
  [[nodiscard]] bool is_gone() const noexcept override { return false; }
  bridge& loop_bridge() noexcept override { return *bridge_; }
  [[nodiscard]] std::int64_t poll_ns() const noexcept override { return poll_; }

  void open() noexcept {
    const std::lock_guard lock(mutex_);
    if (std::exchange(open_, true)) return;
    if (waiting_) complete(*std::exchange(waiting_, nullptr));
  }

 private:
  void complete(operation& op) noexcept {
    op_state queued = op_state::queued;
    if (!op.state.compare_exchange_strong(queued, op_state::running, std::memory_order_acq_rel)) return op.release();
    op.state.store(op_state::done, std::memory_order_release);
    bridge_->post(&op, &op);
  }

  ref<bridge> bridge_;
  std::int64_t poll_;
  std::mutex mutex_;
  operation* waiting_ = nullptr;
  bool open_ = false;
};

/// The destination's connection while its own worker holds still and the source's works on it.
class loan {
 public:
  explicit loan(ref<gate> g) noexcept : lent(std::move(g)) {}

  /// Opened when the connection has been lent, or never will be.
  const ref<gate> lent;
  /// The destination wants its connection back: it was dropped.
  std::atomic<bool> wanted{false};

  /// On the destination's worker: lends it until it is given back.
  void lend(worker& at) noexcept {
    std::unique_lock lock(mutex_);
    if (over_) return;
    db_ = at.db();
    lent->open();
    // A wait by the steady clock is one that thread sanitizers of today do not see.
    while (!over_) {
      returned_.wait_until(lock, std::chrono::system_clock::now() + std::chrono::milliseconds(20));
      if (at.is_aborted()) wanted = true;
    }
    db_ = nullptr;
  }
  /// Any thread: the connection is its own again.
  void give_back() noexcept {
    const std::lock_guard lock(mutex_);
    over_ = true;
    returned_.notify_all();
  }
  /// Null: it is not lent.
  [[nodiscard]] sqlite3* db() noexcept {
    const std::lock_guard lock(mutex_);
    return db_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  sqlite3* db_ = nullptr;
  bool over_ = false;
};

/// Goes with the call that was to lend the connection, whether it ran or not.
struct loan_end {
  explicit loan_end(std::shared_ptr<loan> l) noexcept : of(std::move(l)) {}
  loan_end(const loan_end&) = delete;
  loan_end& operator=(const loan_end&) = delete;
  ~loan_end() { of->lent->open(); }
  std::shared_ptr<loan> of;
};

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
    std::string quoted;
    for (const char c : schema) quoted.append(c == '"' ? 2 : 1, c);
    if (at_.run_text("BEGIN") == SQLITE_OK) {
      const std::string touch = "SELECT 1 FROM \"" + quoted + "\".sqlite_master LIMIT 1";
      rc_ = at_.run_text(touch.c_str());
    }
  }
  snapshot(const snapshot&) = delete;
  snapshot& operator=(const snapshot&) = delete;
  ~snapshot() {
    if (own_ && !at_.in_autocommit()) at_.run_text("ROLLBACK");
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

/// Gives whether the copy is complete, nothing where somebody was in the way.
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
  end_job(at, job);
  return true;
}

/// A job on the loop's side: ends it, whatever becomes of the coroutine.
class running_backup {
 public:
  running_backup(call_site source, shared_job job) noexcept
      : source_(std::move(source)), keep_(source_.where), job_(std::move(job)) {}
  running_backup(const running_backup&) = delete;
  running_backup& operator=(const running_backup&) = delete;
  ~running_backup() {
    if (!begun_ || over_) return;
    auto work = [job = job_](worker& at, operation&) { end_job(at, job); };
    using kind = callable_type<decltype(work), void>;
    call_site s;
    s.where = source_.where;
    operation_ref op = make_operation(s, kind::urgent);
    op->closure = std::make_unique<callable_holder<decltype(work)>>(std::move(work));
    start_detached(std::move(op));
  }

  call<> begin(const std::source_location& where) {
    begun_ = true;
    return make_callable(
        source_,
        [job = job_](worker& at, operation& op) {
          try {
            start_job(at, op, job);
          } catch (...) {
            end_job(at, job);
            throw;
          }
        },
        where);
  }
  call<std::optional<bool>> step(int pages, const std::source_location& where) {
    return make_callable(
        source_, [job = job_, pages](worker& at, operation& op) { return step_job(at, op, job, pages); }, where);
  }
  void mark_over() noexcept { over_ = true; }
  [[nodiscard]] const backup_progress& progress() const noexcept { return job_->progress; }

 private:
  call_site source_;
  ref<executor> keep_;
  shared_job job_;
  bool begun_ = false;
  bool over_ = false;
};

/// Nothing else: a call that completes when the gate opens.
constexpr operation_type wait_operation{};

call<> wait_for(const call_site& site, const std::shared_ptr<loan>& l) {
  call_site s = site;
  s.where = l->lent.get();
  s.owner = 0;
  return call<>(make_operation(s, wait_operation));
}

/// Queues the call that lends the destination. Throws when it is refused.
void ask_for_loan(const call_site& to, const std::shared_ptr<loan>& l, const std::source_location& where) {
  auto end = std::make_shared<loan_end>(l);
  auto work = [end](worker& at, operation&) { end->of->lend(at); };
  end = nullptr;
  using kind = callable_type<decltype(work), void>;
  operation_ref op = make_operation(to, kind::type);
  op->location = where;
  op->closure = std::make_unique<callable_holder<decltype(work)>>(std::move(work));
  if (!start(*op, {})) check(*op);
}

std::exception_ptr busy_to_the_end(const call_site& site, const std::source_location& where) {
  if (site.deadline != 0) {
    return std::make_exception_ptr(
        timeout_error("the deadline passed while the backup was waiting for a lock on its source or destination",
                      {SQLITE_BUSY, {}, where}, timeout_error::stage::lock));
  }
  return std::make_exception_ptr(busy_error(
      "cannot go on with the backup: its source or destination was locked for longer than busy_timeout, by another connection "
      "or by a transaction of its own",
      {SQLITE_BUSY, {}, where}));
}

/// Steps until the copy is complete.
task<> copy_pages(running_backup* job, call_site site, const backup_plan* plan, const progress_function* report,
                  std::int64_t patience) {
  int pages = plan->pages;
  std::int64_t busy_since = 0;
  std::chrono::milliseconds nap(1);
  for (;;) {
    const std::optional<bool> complete = co_await job->step(pages, plan->where);
    if (complete && *report) (*report)(job->progress());
    if (complete && *complete) co_return;
    if (job->progress().restarts > plan->restarts) pages = 0;
    if (complete) {
      busy_since = 0;
      nap = std::chrono::milliseconds(1);
      if (plan->pause.count() > 0) co_await sleep_for(plan->pause);
      continue;
    }
    const std::int64_t now = now_ns();
    if (busy_since == 0) busy_since = now;
    const bool up = site.deadline != 0 ? now >= site.deadline : now - busy_since >= patience;
    if (up) std::rethrow_exception(busy_to_the_end(site, plan->where));
    std::chrono::nanoseconds pause = nap;
    if (site.deadline != 0) pause = std::min(pause, std::chrono::nanoseconds(site.deadline - now));
    co_await sleep_for(pause);
    if (site.deadline != 0 && now_ns() >= site.deadline) std::rethrow_exception(busy_to_the_end(site, plan->where));
    nap = std::min(2 * nap, std::chrono::milliseconds(25));
  }
}

/// The destinations of the backups of this thread's loops: a source among them would wait for itself in the end.
thread_local std::vector<const executor*> destinations;

class destination_mark {
 public:
  explicit destination_mark(const executor* to) : to_(to) { destinations.push_back(to); }
  destination_mark(const destination_mark&) = delete;
  destination_mark& operator=(const destination_mark&) = delete;
  ~destination_mark() { destinations.erase(std::ranges::find(destinations, to_)); }

 private:
  const executor* to_;
};

task<backup_progress> copy_between(call_site source, ref<executor> keep_source, ref<worker> to, backup_plan plan,
                                   progress_function report) {
  source = with_deadline_from_now(std::move(source));
  if (!keep_source) throw closed_error("the connection is closed", {SQLITE_MISUSE, {}, plan.where});
  if (!to) throw closed_error("the destination of the backup is closed", {SQLITE_MISUSE, {}, plan.where});
  if (static_cast<executor*>(to.get()) == keep_source.get()) {
    throw misuse_error("a database cannot be backed up onto itself", {SQLITE_MISUSE, {}, plan.where});
  }
  if (std::ranges::find(destinations, keep_source.get()) != destinations.end()) {
    throw misuse_error("the source of this backup is the destination of another one that is under way",
                       {SQLITE_MISUSE, {}, plan.where});
  }
  const destination_mark mark(to.get());
  auto* const from = dynamic_cast<worker*>(keep_source.get());
  const std::int64_t patience =
      from ? std::chrono::nanoseconds(from->options().busy_timeout).count() : std::int64_t{5'000'000'000};
  auto job = std::make_shared<backup_job>();
  job->from = plan.from;
  job->to = plan.to;
  job->destination = std::make_shared<loan>(
      ref<gate>::adopt(new gate(ref<bridge>(&keep_source->loop_bridge()), keep_source->poll_ns())));
  running_backup running(source, job);
  call_site destination;
  destination.where = to.get();
  ask_for_loan(destination, job->destination, plan.where);
  co_await wait_for(source, job->destination);
  co_await running.begin(plan.where);
  co_await copy_pages(&running, source, &plan, &report, patience);
  running.mark_over();
  co_return running.progress();
}

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
  unfinished.file->check_place(job.source.c_str(), 0);
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
  options.busy_timeout = source.options().busy_timeout;
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

void verify_copy(worker& at, const std::source_location& where) {
  sqlite3_stmt* stmt = nullptr;
  int rc = sqlite3_prepare_v2(at.db(), "PRAGMA quick_check(1)", -1, &stmt, nullptr);
  std::string found;
  if (rc == SQLITE_OK) {
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) found = reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0));
  }
  sqlite3_finalize(stmt);
  if (found != "ok")
    throw corrupt_error("the source is damaged, and so is its copy: " + found, {SQLITE_CORRUPT, {}, where});
}

/// The last step, on the copy's own worker: nobody waits for the disk but it.
call<> publish_copy(connection& copy, bool verify, int busy_ms, const std::source_location& where) {
  return make_callable(
      copy.site(),
      [verify, busy_ms](worker& at, operation& op) {
        if (verify) verify_copy(at, op.location);
        sqlite3_file* file = nullptr;
        sqlite3_file_control(at.db(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
        if (file && file->pMethods) {
          const int rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
          if (rc != SQLITE_OK) throw_sqlite_error(nullptr, rc, {}, op.location, "sync the backup");
        }
        at.extended<unfinished_file>()->file->publish(busy_ms);
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

task<backup_progress> copy_to_path(call_site source, ref<executor> keep_source, std::string path, backup_plan plan,
                                   progress_function report) {
  source = with_deadline_from_now(std::move(source));
  plan.to = "main";
  auto* const from = dynamic_cast<worker*>(keep_source.get());
  if (!from) throw closed_error("the connection is closed", {SQLITE_MISUSE, {}, plan.where});
  std::string source_file = co_await file_of(source, plan.from, plan.where);
  connection copy = co_await open_copy(source, *from, path, std::move(source_file), plan.where);
  const std::int64_t left =
      source.deadline == 0 ? INT64_MAX : std::max<std::int64_t>(0, source.deadline - now_ns()) / 1'000'000;
  const int busy_ms = static_cast<int>(std::min<std::int64_t>(left, from->options().busy_timeout.count()));
  const bool verify = plan.verify;
  const std::source_location where = plan.where;
  std::exception_ptr failure;
  backup_progress last;
  try {
    last = co_await copy_between(source, keep_source, ref<worker>(static_cast<worker*>(copy.site().where)),
                                 std::move(plan), std::move(report));
    if (source.stop.stop_requested()) throw cancelled_error("the backup was cancelled", {SQLITE_INTERRUPT, {}, where});
    co_await publish_copy(copy, verify, busy_ms, where);
  } catch (...) {
    failure = std::current_exception();
  }
  // Also a failed one goes before its error is told: nothing of it is left then.
  co_await copy.close(where);
  if (failure) std::rethrow_exception(std::move(failure));
  co_return last;
}

}  // namespace

task<backup_progress> backup_to_connection(const call_site& site, connection& to, const backup_options& options,
                                           progress_function progress, std::source_location where) {
  ref<worker> destination(dynamic_cast<worker*>(to.site().where));
  return copy_between(site, ref<executor>(site.where), std::move(destination), backup_plan(options, where),
                      std::move(progress));
}

task<backup_progress> backup_to_path(const call_site& site, std::string_view path, const backup_options& options,
                                     progress_function progress, std::source_location where) {
  return copy_to_path(site, ref<executor>(site.where), std::string(path), backup_plan(options, where),
                      std::move(progress));
}

namespace {

/// VACUUM attaches a database while it runs, whatever is allowed to statements.
class one_attachment {
 public:
  explicit one_attachment(sqlite3* db) noexcept : db_(db), before_(sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, -1)) {
    if (before_ == 0) sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 1);
  }
  one_attachment(const one_attachment&) = delete;
  one_attachment& operator=(const one_attachment&) = delete;
  ~one_attachment() { sqlite3_limit(db_, SQLITE_LIMIT_ATTACHED, before_); }

 private:
  sqlite3* db_;
  int before_;
};

void run_vacuum(worker& at, operation& op, const std::string& path, const std::string& schema) {
  new_file file(path, op.location);
  const int busy_ms = static_cast<int>(at.options().busy_timeout.count());
  const char* source = sqlite3_db_filename(at.db(), schema.c_str());
  file.check_place(source, 0);
  std::string sql = "VACUUM \"";
  for (const char c : schema) sql.append(c == '"' ? 2 : 1, c);
  sql += "\" INTO ?1";
  sqlite3_stmt* stmt = nullptr;
  const one_attachment allowed(at.db());
  int rc = sqlite3_prepare_v2(at.db(), sql.c_str(), -1, &stmt, nullptr);
  if (rc == SQLITE_OK) {
    sqlite3_bind_text(stmt, 1, file.temporary().c_str(), -1, SQLITE_STATIC);
    rc = sqlite3_step(stmt);
  }
  std::exception_ptr failure;
  if (rc != SQLITE_DONE) {
    try {
      at.fail(op, sqlite3_extended_errcode(at.db()), sql);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  sqlite3_finalize(stmt);
  if (failure) std::rethrow_exception(std::move(failure));
  file.take_permissions_of(source);
  sync_file(file.temporary(), op.location);
  file.publish(busy_ms);
}

}  // namespace

call<> vacuum_into(const call_site& site, std::string_view path, std::string_view schema, std::source_location where) {
  return make_callable(
      site,
      [path = std::string(path), schema = std::string(schema)](worker& at, operation& op) {
        run_vacuum(at, op, path, schema);
      },
      where);
}

}  // namespace cosqlite::detail
