#include "engine/worker.hpp"

#include "engine/coalescer.hpp"
#include "engine/relax.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/prefetch.hpp>
#include <cosqlite/detail/trampoline.hpp>

#include <pthread.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>
#include <ctime>
#include <system_error>
#include <thread>

namespace cosqlite::detail {

namespace {

/// Results are handed over together unless the oldest has waited for so long.
constexpr std::int64_t publish_after_ns = 50'000;
constexpr int most_unpublished = 64;

constinit thread_local worker* worker_of_thread = nullptr;

/// So many records are fetched at once from the other side.
constexpr std::size_t fetched_at_once = 16;

/// Signals belong to the application's threads.
class signals_blocked {
 public:
  signals_blocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;
  ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

void extension::transaction_ended(std::uint64_t) noexcept {}

worker* this_worker() noexcept { return worker_of_thread; }

sqlite3* native_handle(worker& at) noexcept { return at.db(); }

worker::worker(ref<bridge> to, std::string path, const open_options& options)
    : bridge_(std::move(to)),
      path_(std::move(path)),
      vfs_(options.vfs),
      options_(options),
      poll_ns_(std::chrono::duration_cast<std::chrono::nanoseconds>(options.poll).count()) {
  options_.vfs = vfs_;
  opened_with_ = options.busy_timeout;
  statements_.limit(options.statement_cache, options.statement_cache_bytes);
  has_lane_ = bridge_->attach(*this);
}

worker::~worker() {
  // Otherwise its last word has detached it.
  if (!started_ && !is_forked_child()) bridge_->detach(*this);
  // Of a loop that ended first.
  while (operation* op = results_.pop()) op->release();
  while (operation* op = inbox_.pop()) op->release();
}

// --- loop thread

namespace {

std::exception_ptr misuse(const operation& op, const char* message) {
  return std::make_exception_ptr(misuse_error(message, {SQLITE_MISUSE, std::string(sql_of(op)), op.location}));
}

}  // namespace

std::exception_ptr wrong_thread(const operation& op, const bridge& to) noexcept {
  if (is_forked_child()) {
    return misuse(
        op,
        "this process was forked while connections were open, which SQLite does not survive: fork before opening, or "
        "exec a program in the child");
  }
  if (worker_of_thread) {
    return misuse(op,
                  "a function or hook that runs on a connection's worker thread cannot await a connection; use the "
                  "sqlite3* that run() gives, or return a task");
  }
  if (!to.on_loop_thread()) {
    return misuse(op,
                  "a connection may only be used on the thread of its event loop; open another one for this thread");
  }
  return nullptr;
}

std::exception_ptr worker::refusal(const operation& op) noexcept {
  if (std::exception_ptr e = wrong_thread(op, *bridge_)) return e;
  if (!accepting_ && !op.type->closes) return closed_call_error(op);
  if (tasks_waited_for > 0 && lineage::holds_up(op.of_waiter, *this)) {
    return misuse(
        op,
        "a task that a user function of this connection returned cannot await the connection, which waits for "
        "the task: use another connection");
  }
  return possessions ? deadlock(op) : nullptr;
}

namespace {

const char* deadlock_message(possession::kind what) noexcept {
  switch (what) {
    case possession::kind::body:
      return "a call through the connection inside its own transact() body would wait for ever: make it through the "
             "transaction";
    case possession::kind::transaction:
      return "this call would wait for ever, for a transaction that its own coroutine has open on this connection: make it "
             "through the transaction, or end that first";
    case possession::kind::lease: break;
  }
  return "this call would wait for ever, for a connection that its own coroutine has leased: make it through the lease, or give "
         "that back first";
}

/// Whether nothing but an answer ends the wait for \p op.
bool waits_without_limit(const operation& op) noexcept {
  return op.timeout == 0 && op.deadline == 0 && !op.stop_token.stop_possible();
}

/// Whether \p op waits until \p p is over. \p first: all that coroutines have of the connection.
bool stands_in_the_way(const possession& p, const operation& op, const possession* first) noexcept {
  if (op.owner == p.id() || p.is_over()) return false;
  if (op.owner == 0) return true;
  if (p.what() == possession::kind::lease) return false;
  // A lease's own calls wait for the transaction that was begun in it.
  for (; first; first = first->next_there()) {
    if (first->what() == possession::kind::lease && first->id() == op.owner) return true;
  }
  return false;
}

}  // namespace

/// Why \p op would wait for what its own coroutine, or one that waits for nothing else, has and so cannot give up.
/// Whoever waits for several coroutines may get on when another of them ends the transaction, but a body ends it only
/// when it returns.
std::exception_ptr worker::deadlock(const operation& op) noexcept {
  if (op.type->closes) return nullptr;
  for (possession* p = possessions; op.owner != 0 && op.waiter && p; p = p->next_there()) {
    if (p->id() != op.owner || p->what() == possession::kind::body) continue;
    // Another coroutine uses it, and may end it.
    if (!lineage::descends(op.of_waiter, p->holder())) p->forget();
    break;
  }
  const bool for_ever = waits_without_limit(op);
  bool alone = true;
  for (const lineage* who = op.of_waiter; who; who = who->awaited_by) {
    for (const possession* p = who->has; p; p = p->next()) {
      const bool counts = p->what() == possession::kind::body || (alone && for_ever);
      if (&p->of() == this && counts && stands_in_the_way(*p, op, possessions))
        return misuse(op, deadlock_message(p->what()));
    }
    alone = alone && !who->beside_others;
  }
  return nullptr;
}

void worker::submit(operation& op) noexcept {
  op.at = this;
  if (op.type->closes) accepting_ = false;
  if (op.serial == 0) op.serial = ++serials_;
  if (pooled_ && op.submitted_at == 0) op.submitted_at = now_ns();
  if (counts_as_queued(op)) queued_.fetch_add(1, std::memory_order_relaxed);
  if (!started_) start_thread();
  if (inbox_closed_.load(std::memory_order_acquire) || !inbox_.push(&op)) {
    if (reject(op)) return bridge_->post(&op, &op);
    return op.release();
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (inbox_closed_.load(std::memory_order_relaxed)) return reject_queued();
  if (parked_.load(std::memory_order_seq_cst) != 0 && !bridge_->wake_later(*this)) wake();
}

void worker::wake() noexcept {
  if (parked_.exchange(0, std::memory_order_seq_cst) == 0) return;
  const std::lock_guard lock(mutex_);
  woken_.notify_one();
}

/// What came when the worker had ended is answered from here.
void worker::reject_queued() noexcept {
  while (!inbox_left_.load(std::memory_order_acquire)) sched_yield();
  while (operation* op = inbox_.pop()) {
    if (reject(*op)) {
      bridge_->post(op, op);
    } else {
      op->release();
    }
  }
}

void worker::start_thread() noexcept {
  started_ = true;
  retain();
  count_open_connections(1);
  try {
    const signals_blocked blocked;
    std::thread([this] { main(); }).detach();
  } catch (const std::system_error& e) {
    // Nothing will ever run: what is queued is answered from here, beginning with the call that opens.
    closed_ = true;
    inbox_closed_.store(true);
    inbox_left_.store(true);
    accepting_ = false;
    count_open_connections(-1);
    release();
    callback_error_ = std::make_exception_ptr(
        io_error(std::string("cannot start a thread for the connection: ") + e.what(), {SQLITE_IOERR}));
  }
}

void worker::interrupt() noexcept {
  const std::uint64_t running = running_.load(std::memory_order_acquire);
  if (running != 0) interrupted_.store(running, std::memory_order_release);
}

/// Answers a call that came too late; the caller hands it over. False: it was stopped and handed over meanwhile.
bool worker::reject(operation& op) noexcept {
  op_state queued = op_state::queued;
  if (op.type->opens) {
    op.error = take_callback_error();
    op.detaches = true;
  } else if (op.type->closes) {
    op.error = nullptr;
  } else if (!op.state.compare_exchange_strong(queued, op_state::running, std::memory_order_acq_rel)) {
    return false;
  } else {
    op.error = late_error(op);
  }
  op.state.store(op_state::done, std::memory_order_release);
  return true;
}

/// What a call is told that finds the connection closed: why it could not be opened, if so.
std::exception_ptr worker::late_error(const operation& op) const {
  if (open_failure_code_ == 0) return closed_call_error(op);
  return std::make_exception_ptr(io_error(open_failure_, {open_failure_code_, std::string(sql_of(op)), op.location}));
}

void worker::note_open_failure(const operation& op) noexcept {
  try {
    std::rethrow_exception(op.error);
  } catch (const closed_error&) {
    return;  // it was dropped meanwhile: what waits is told that it is closed
  } catch (const error& e) {
    open_failure_ = e.what();
    open_failure_code_ = e.code();
  } catch (...) {
    open_failure_ = "the connection could not be opened";
    open_failure_code_ = SQLITE_CANTOPEN;
  }
}

// --- worker thread

void worker::main() noexcept {
  worker_of_thread = this;
  pthread_setname_np(pthread_self(), "cosqlite");
  while (!closed_) {
    take_inbox();
    if (operation* op = next()) {
      publish_when_due();
      run(*op);
      if (after_calls) after_calls->call_ended();
      continue;
    }
    publish();
    if (pooled_) {
      checkpoint_when_due();
      if (end_old_reads()) continue;  // it may serve others now
    }
    wait();
  }
  publish();
  publish();
  worker_of_thread = nullptr;
  executor::release();
}

void worker::take_inbox() noexcept {
  if (inbox_.empty()) return;
  std::array<operation*, fetched_at_once> some;
  for (std::size_t n = some.size(); n == some.size();) {
    n = 0;
    while (n < some.size() && (some[n] = inbox_.pop())) fetch_ahead(*some[n++]);
    for (std::size_t i = 0; i < n; ++i) {
      fetch_line(some[i]->sql.data());
      fetch_line(some[i]->args.slots().data());
      fetch_line(some[i]->args.data());
      if (expects_call() && (some[i]->serial >> 63) != 0) expected_.fetch_sub(1, std::memory_order_relaxed);
      sort_in(*some[i]);
    }
  }
}

void worker::sort_in(operation& op) noexcept {
  if (op.type->closes) closing_seen_ = true;
  if (op.type->urgent) return urgent_.push(op);
  if (op.owner != 0) return owned_.push(op);
  waiting_.push(op);
  ++waiting_count_;
}

operation* worker::next() noexcept {
  if (operation* op = urgent_.pop()) return op;
  while (operation* op = owned_.pop()) {
    // A lease's own calls wait for the transaction that was begun in it.
    if (lease_ == 0 || op->owner != lease_ || owner_ == 0) return op;
    leased_.push(*op);
  }
  if (owner_ == 0) {
    if (operation* op = leased_.pop()) return op;
  }
  if (owner_ != 0 || lease_ != 0) {
    if (!closing_seen_) return nullptr;
    end_transaction();
    if (operation* op = leased_.pop()) return op;
    lease_ = 0;
  }
  if (operation* op = waiting_.pop()) {
    --waiting_count_;
    return op;
  }
  return source_ && !cursors_ ? source_->take(*this) : nullptr;
}

void worker::wait() noexcept {
  if (poll_inbox()) return;
  snapshot_.close();
  park();
}

bool worker::poll_inbox() noexcept {
  if (poll_ns_ == 0 || !may_poll() || poller_.skips()) return false;
  return poller_.wait([this] { return !inbox_.empty(); }, poll_ns_);
}

void worker::park() noexcept {
  std::unique_lock lock(mutex_);
  parked_.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!inbox_.empty()) {
    parked_.store(0, std::memory_order_relaxed);
    return;
  }
  const auto awake = [this] { return parked_.load(std::memory_order_seq_cst) == 0; };
  const std::int64_t oldest = max_read_age_ != 0 ? oldest_read() : 0;
  if (oldest == 0) return woken_.wait(lock, awake);
  const std::int64_t left = oldest + max_read_age_ - now_ns();
  woken_.wait_for(lock, std::chrono::nanoseconds(std::max<std::int64_t>(left, 1'000'000)), awake);
  parked_.store(0, std::memory_order_relaxed);
}

bool worker::claim(operation& op) noexcept {
  if (counts_as_queued(op)) queued_.fetch_sub(1, std::memory_order_relaxed);
  if (op.type->opens || op.type->closes) return true;
  op.at = this;
  op_state queued = op_state::queued;
  if (op.state.compare_exchange_strong(queued, op_state::running, std::memory_order_acq_rel)) return true;
  op.release();
  return false;
}

void worker::run(operation& op) noexcept {
  if (coalescer::may_lead(*this, op)) return coalescer(*this).run(op);
  snapshot_.close();
  if (!claim(op)) return;
  if (op.type->closes) {
    aborted_.store(false, std::memory_order_relaxed);
    shut();
    op.detaches = true;
    return finish(op);
  }
  if (!op.type->plain_statement) snapshot_.forget_mode();
  execute(op);
  if (op.type->plain_statement && ran_read_ && op.owner == 0) snapshot_.expect_another();
  if ((op.type->opens && op.error) || beyond_repair_) {
    note_open_failure(op);
    shut();
    op.detaches = true;
  }
  finish(op);
}

/// Runs a claimed call; its outcome is in the record afterwards.
void worker::execute(operation& op) noexcept {
  current_ = &op;
  count_up(counted.calls);
  const std::int64_t began = pooled_ ? now_ns() : 0;
  if (pooled_) {
    counted.running.store(true, std::memory_order_relaxed);
    if (op.submitted_at != 0) count_up(counted.wait_ns, began - op.submitted_at);
  }
  running_.store(op.serial, std::memory_order_release);
  callback_error_ = nullptr;
  // Nobody's answer waits for what may take long; a plain statement sees to it where it does.
  if (!op.type->plain_statement) publish();
  spoilt_ = undone_ = false;
  const std::int64_t changes = commits_guarded_ ? sqlite3_total_changes64(db_) : 0;
  try {
    if (stop_requested() && !op.type->urgent) {
      op.error = stopped_error(op, op.in_lock ? timeout_error::stage::lock : timeout_error::stage::queue);
    } else {
      check_owner(op);
      if (before_calls) before_calls->before_call(op);
      op.type->run(*this, op);
    }
  } catch (...) {
    op.error = std::current_exception();
  }
  if (spoilt_) {
    if (!op.error) op.error = take_callback_error();
    spoilt_ = false;
    undone_ = true;
    // Its rows may stand in the wrong order in an index.
    if (!in_autocommit() && sqlite3_total_changes64(db_) != changes) run_text("ROLLBACK");
  }
  // What SQLite ended behind the transaction's back must not go on statement by statement.
  if (owner_ != 0 && op.owner == owner_ && in_autocommit()) owner_lost_ = true;
  if (new_busy_timeout_ >= 0 || !op.type->plain_statement) restore_busy_handler();
  if (after_calls) after_calls->call_ended();
  running_.store(0, std::memory_order_release);
  current_ = nullptr;
  if (pooled_) {
    count_up(counted.run_ns, now_ns() - began);
    counted.running.store(false, std::memory_order_relaxed);
  }
}

void worker::restore_busy_handler() noexcept {
  const int ms = std::exchange(new_busy_timeout_, -1);
  if (ms >= 0) options_.busy_timeout = std::chrono::milliseconds(ms);
  if (db_) sqlite3_busy_handler(db_, &worker::on_busy, this);
}

void worker::check_owner(const operation& op) const {
  if (op.owner == 0 || op.type->urgent) return;
  if (op.owner == lease_) return;
  if (op.owner != owner_) std::rethrow_exception(transaction_ended_error(op, false));
  if (owner_lost_ && !op.type->ends) std::rethrow_exception(transaction_ended_error(op, true));
}

void worker::finish(operation& op) noexcept {
  op.next_done = nullptr;
  (done_ ? done_newest_->next_done : done_) = &op;
  done_newest_ = &op;
  if (done_count_++ == 0) done_since_ = 0;  // the clock is asked only when something else runs first
  op.state.store(op_state::done, std::memory_order_release);
}

void worker::publish() noexcept {
  if (done_count_ == 0) return;
  done_count_ = 0;
  operation* op = std::exchange(done_, nullptr);
  while (op && has_lane_) {
    operation* next = op->next_done;  // the loop may take it at once
    if (!results_.push(op)) break;
    op = next;
  }
  if (op) return post_done(op);
  bridge_->notify_if_parked();
}

/// Hands over \p oldest and what follows it without a lane.
void worker::post_done(operation* oldest) noexcept {
  operation* newest_first = nullptr;
  for (operation* op = oldest; op;) {
    operation* next = op->next_done;
    op->next_done = newest_first;
    newest_first = op;
    op = next;
  }
  bridge_->post(newest_first, oldest);
}

void worker::publish_when_due() noexcept {
  if (done_count_ == 0) return;
  const std::int64_t now = now_ns();
  if (done_since_ == 0) done_since_ = now;
  if (done_count_ >= most_unpublished || now - done_since_ > publish_after_ns ||
      (bridge_->is_polling() && done_count_ >= 8)) {
    publish();
  }
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

int worker::step(sqlite3_stmt* stmt) noexcept {
  stepping_ = stmt;
  const int rc = sqlite3_step(stmt);
  stepping_ = nullptr;
  return rc;
}

int worker::on_progress(void* self) noexcept {
  auto* w = static_cast<worker*>(self);
  w->publish_when_due();
  // SQLite asks once more on leaving a statement that has done its work, a commit even; stopping it now would be a lie.
  if (w->stepping_ && sqlite3_stmt_busy(w->stepping_) == 0) return 0;
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
    w->busy_since_ = now;
    count_up(w->counted.busy_waits);
  }
  const auto stopped = [w] {
    const bool stop = w->stop_requested();
    if (stop && w->current_) w->current_->in_lock = true;
    return stop;
  };
  if (stopped() || w->impatient_) return 0;
  const std::int64_t left = std::chrono::nanoseconds(w->options_.busy_timeout).count() - (now - w->busy_since_);
  if (left <= 0) return 0;
  const std::int64_t pause = std::min<std::int64_t>({left, 1'000'000, std::int64_t{50'000} << std::min(tries, 5)});
  timespec t{.tv_sec = 0, .tv_nsec = pause};
  nanosleep(&t, nullptr);
  return stopped() ? 0 : 1;
}

void worker::fail(operation& op, int rc) { fail(op, rc, sql_of(op)); }

void worker::fail(const operation& op, int rc, std::string_view sql) {
  if (std::exception_ptr thrown = take_callback_error()) std::rethrow_exception(std::move(thrown));
  const bool stopped = op.stop.load(std::memory_order_relaxed) != stop_reason::none;
  if (stopped && (rc & 0xff) == SQLITE_INTERRUPT) std::rethrow_exception(stopped_error(op, timeout_error::stage::run));
  if (stopped && op.in_lock && (rc & 0xff) == SQLITE_BUSY) {
    std::rethrow_exception(stopped_error(op, timeout_error::stage::lock));
  }
  throw_sqlite_error(db_, rc, sql, op.location);
}

int worker::run_text(const char* sql) noexcept {
  try {
    std::shared_ptr<prepared> p = statements_.find(sql);
    if (!p) {
      p = prepare(sql, {});
      statements_.insert(p);
    }
    const int rc = step(p->stmt);
    const int reset = sqlite3_reset(p->stmt);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : reset;
  } catch (const error& e) {
    return e.code();
  } catch (...) {
    return SQLITE_NOMEM;
  }
}

void worker::begin(operation& op, std::uint64_t id, const char* sql) {
  if (const int rc = run_text(sql); rc != SQLITE_OK) fail(op, rc, sql);
  owner_ = id;
  owner_since_ = now_ns();
  owner_lost_ = false;
  savepoints.clear();
  // Nobody waits for it any more: nothing may stay open.
  if (op.stop.load(std::memory_order_acquire) == stop_reason::abandoned) end_transaction();
}

int worker::begin_for(operation& op) noexcept {
  current_ = &op;
  callback_error_ = nullptr;
  const int rc = run_text("BEGIN IMMEDIATE");
  if (rc != SQLITE_OK && stop_requested()) {
    try {
      fail(op, rc);
    } catch (...) {
      op.error = std::current_exception();
    }
  }
  current_ = nullptr;
  return rc;
}

bool worker::limit_run(std::int64_t until) noexcept {
  run_until_ = until;
  return std::exchange(overran_, false);
}

void worker::commit(operation& op) {
  if (owner_lost_) std::rethrow_exception(transaction_ended_error(op, true));
  if (const int rc = run_text("COMMIT"); rc != SQLITE_OK) fail(op, rc, "COMMIT");
  tell_ended(std::exchange(owner_, 0));
}

void worker::rollback(operation& op) {
  if (op.owner != owner_) return;
  if (!end_transaction()) fail(op, sqlite3_extended_errcode(db_), "ROLLBACK");
}

void worker::tell_ended(std::uint64_t owner) noexcept {
  if (owner == 0) return;
  for (const auto& e : extensions_) e->transaction_ended(owner);
}

bool worker::end_transaction() noexcept {
  tell_ended(std::exchange(owner_, 0));
  owner_lost_ = false;
  return in_autocommit() || run_text("ROLLBACK") == SQLITE_OK || in_autocommit();
}

void worker::begin_lease(std::uint64_t id) noexcept {
  lease_ = id;
  lease_began_idle_ = sqlite3_txn_state(db_, nullptr) == SQLITE_TXN_NONE;
  counted.leased.store(true, std::memory_order_relaxed);
}

void worker::end_lease(operation& op) noexcept {
  if (op.owner != lease_) return;
  for (cursor* c = cursors_; c;) {
    cursor* const following = c->next;
    // Streams of others, on a connection that is not leased for every read, go on.
    if (c->origin().owner != 0) c->end(*this);
    c = following;
  }
  for (const auto& e : extensions_) e->returned_to_pool();
  lease_ = 0;
  counted.leased.store(false, std::memory_order_relaxed);
  // What was left queued for the lease comes too late.
  while (operation* late = leased_.pop()) owned_.push(*late);
  try {
    if (clean_up(op)) return;
    close_database();
    open(op);
  } catch (...) {
    op.error = std::current_exception();
    callback_error_ = nullptr;
    beyond_repair_ = true;
  }
}

/// Makes the connection what it was before its lease. False: it must be opened anew. What was made through it,
/// functions and attached databases among it, stays.
bool worker::clean_up(operation& op) {
  const bool ended = end_transaction();
  bool clean = ended && in_autocommit();
  if (lease_began_idle_) {
    // Left behind by functions given to run().
    for (sqlite3_stmt* s = sqlite3_next_stmt(db_, nullptr); s; s = sqlite3_next_stmt(db_, s)) {
      if (sqlite3_stmt_busy(s) != 0) sqlite3_reset(s);
    }
    clean = clean && sqlite3_txn_state(db_, nullptr) == SQLITE_TXN_NONE;
  }
  // A database in memory would be lost.
  if (!clean && !in_memory(path_)) return false;
  if (std::exchange(settings_changed_, false)) settle(op);
  return true;
}

std::int64_t worker::oldest_read() const noexcept {
  std::int64_t oldest = owner_ != 0 ? owner_since_ : 0;
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
    run_text("ROLLBACK");
    owner_lost_ = true;
  }
  return ended;
}

/// Moves the write-ahead log into the file while nothing waits, and starts it anew when readers let it grow.
void worker::checkpoint_when_due() noexcept {
  if (reader_ || !db_ || owner_ != 0) return;
  const int pages = counted.wal_pages.load(std::memory_order_relaxed);
  if (pages < checkpoint_pages_ || pages < checkpoint_again_at_) return;
  snapshot_.close();
  if (!in_autocommit()) return;
  int log = 0;
  int moved = 0;
  const int how = pages >= 4 * checkpoint_pages_ ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE;
  const auto patience = std::exchange(options_.busy_timeout, std::chrono::milliseconds(20));
  const int rc = sqlite3_wal_checkpoint_v2(db_, nullptr, how, &log, &moved);
  options_.busy_timeout = patience;
  count_up(counted.checkpoints);
  // Readers that hold the log back are not asked again before it has grown by as much.
  checkpoint_again_at_ = rc == SQLITE_OK && moved == log ? 0 : pages + checkpoint_pages_;
  if (rc == SQLITE_OK && moved == log) counted.wal_pages.store(0, std::memory_order_relaxed);
}

void worker::guard_commits() noexcept {
  commits_guarded_ = true;
  set_commit_hook(commit_hook_, commit_hook_of_);
}

void worker::set_commit_hook(int (*hook)(void*), void* of) noexcept {
  commit_hook_ = hook;
  commit_hook_of_ = of;
  sqlite3_commit_hook(db_, hook || commits_guarded_ ? &worker::on_commit : nullptr, this);
}

int worker::on_commit(void* self) noexcept {
  auto* w = static_cast<worker*>(self);
  if (w->spoilt_) return 1;
  return w->commit_hook_ ? w->commit_hook_(w->commit_hook_of_) : 0;
}

void worker::add_user_function(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (std::ranges::find(user_functions_, name) == user_functions_.end()) user_functions_.push_back(std::move(name));
  // Cached statements were compiled and classified without it.
  statements_.expire();
}

void worker::add_cursor(cursor& c) noexcept {
  c.next = cursors_;
  c.previous_link = &cursors_;
  if (cursors_) cursors_->previous_link = &c.next;
  cursors_ = &c;
  c.retain();
}

void worker::remove_cursor(cursor& c) noexcept {
  *c.previous_link = c.next;
  if (c.next) c.next->previous_link = c.previous_link;
  c.next = nullptr;
  c.release();
}

/// Ends everything: the connection closes, whatever waits is refused.
void worker::shut() noexcept {
  closed_ = true;
  if (db_) {
    snapshot_.close();
    while (cursors_) cursors_->end(*this);
    end_transaction();
    if (options_.optimize_on_close) run_text("PRAGMA optimize");
    close_database();
  }
  count_open_connections(-1);
  if (source_) source_->leave(*this);
  close_inbox();
  fail_queued();
}

void worker::close_database() noexcept {
  snapshot_.close();
  snapshot_.forget_mode();
  // The later ones build on the earlier.
  while (!extensions_.empty()) extensions_.pop_back();
  statements_.clear();
  if (sqlite3_close(db_) != SQLITE_OK) {
    // Only statements that a function given to run() left behind can be here.
    while (sqlite3_stmt* left = sqlite3_next_stmt(db_, nullptr)) sqlite3_finalize(left);
    sqlite3_close_v2(db_);
  }
  db_ = nullptr;
}

void worker::close_inbox() noexcept {
  inbox_closed_.store(true, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  take_inbox();
  inbox_left_.store(true, std::memory_order_release);
}

void worker::fail_queued() noexcept {
  for (operation_queue* q : {&urgent_, &owned_, &leased_, &waiting_}) {
    while (operation* op = q->pop()) {
      if (op->type->closes || claim(*op)) {
        if (!op->type->closes) op->error = late_error(*op);
        finish(*op);
      }
    }
  }
}

}  // namespace cosqlite::detail
