#include "engine/worker.hpp"

#include "engine/coalescer.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/prefetch.hpp>
#include <cosqlite/detail/trampoline.hpp>

#include <pthread.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>
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

void worker::submit(operation& op) noexcept {
  op.at = this;
  if (op.type->closes) accepting_ = false;
  if (op.serial == 0) op.serial = ++serials_;
  if (pooled_ && op.submitted_at == 0) op.submitted_at = now_ns();
  if (counts_as_queued(op)) queued_.fetch_add(1, std::memory_order_relaxed);
  if (!started_) start_thread();
  if (inbox_closed_.load(std::memory_order_acquire) || !inbox_.push(&op)) {
    if (expects_call() && (op.serial >> 63) != 0) {
      expected_.fetch_sub(1, std::memory_order_relaxed);
      look_again();
    }
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
    open_failure_ = std::string("cannot start a thread for the connection: ") + e.what();
    open_failure_code_ = SQLITE_IOERR;
    callback_error_ = std::make_exception_ptr(io_error(open_failure_, {SQLITE_IOERR}));
  }
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
    // A lease's own calls wait for the transaction that was begun in it, and behind those that have waited for it.
    if (lease_ == 0 || op->owner != lease_ || (owner_ == 0 && leased_.empty())) return op;
    leased_.push(*op);
  }
  if (owner_ == 0) {
    if (operation* op = leased_.pop()) return op;
  }
  if (owner_ != 0 || lease_ != 0) {
    entrust_work();
    if (!closing_seen_) return nullptr;
    end_transaction();
    if (operation* op = leased_.pop()) return op;
    lease_ = 0;
  }
  if (operation* op = waiting_.pop()) {
    --waiting_count_;
    return op;
  }
  if (!source_ || !db_) return nullptr;  // its opening may still be on the way
  if (cursors_) {
    entrust_work();
    return nullptr;
  }
  entrusted_ = false;
  return source_->take(*this);
}

void worker::entrust_work() noexcept {
  if (!source_ || entrusted_ || collecting_) return;
  entrusted_ = true;
  source_->entrust_to_others(*this);
}

std::size_t worker::give_back(operation_queue& to) noexcept {
  operation_queue back;
  std::size_t count = 0;
  for (std::size_t i = group_next_; i < group_members_.size(); ++i, ++count) back.push(*group_members_[i]);
  // They are counted anew where they run.
  count_up(counted.grouped_calls, std::uint64_t{0} - count);
  group_members_.resize(std::min(group_next_, group_members_.size()));
  operation_queue kept;
  while (operation* op = waiting_.pop()) {
    const bool for_any = op->type->plain_statement && (op->serial >> 63) != 0;
    (for_any ? back : kept).push(*op);
    if (!for_any) continue;
    --waiting_count_;
    ++count;
  }
  waiting_ = kept;
  to.prepend(back);
  return count;
}

void worker::wait() noexcept {
  if (poll_inbox()) return;
  snapshot_.close();
  if (urgent_.empty()) park();  // what was asked for meanwhile on this thread
}

bool worker::poll_inbox() noexcept {
  if (poll_ns_ == 0 || !may_poll() || poller_.skips()) return false;
  if (!source_) return poller_.wait([this] { return !inbox_.empty(); }, poll_ns_);
  return poller_.wait([this] { return !inbox_.empty() || look_again_.load(std::memory_order_relaxed); }, poll_ns_);
}

void worker::park() noexcept {
  std::unique_lock lock(mutex_);
  parked_.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!inbox_.empty() || look_again_.load(std::memory_order_seq_cst)) {
    parked_.store(0, std::memory_order_relaxed);
    return;
  }
  const auto awake = [this] { return parked_.load(std::memory_order_seq_cst) == 0; };
  const std::int64_t oldest = reader_ && max_read_age_ != 0 ? oldest_read() : 0;
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
  const std::int64_t before = std::exchange(ended_, 0);
  if (pooled_) {
    began_ = before != 0 ? before : now_ns();
    counted.running.store(!op.type->opens, std::memory_order_relaxed);
    if (op.submitted_at != 0) count_up(counted.wait_ns, began_ - op.submitted_at);
  }
  running_.store(op.serial, std::memory_order_release);
  callback_error_ = nullptr;
  // Nobody's answer waits for what may take long; a plain statement sees to it where it does.
  if (!op.type->plain_statement) {
    publish();
    if (!op.type->opens) entrust_work();  // it has none yet
  }
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
    if (sqlite3_total_changes64(db_) != changes) roll_back();
  }
  // What SQLite ended behind the transaction's back must not go on statement by statement.
  if (owner_ != 0 && op.owner == owner_ && in_autocommit()) owner_lost_ = true;
  if (new_busy_timeout_ >= 0 || !op.type->plain_statement) restore_busy_handler();
  if (after_calls) after_calls->call_ended();
  running_.store(0, std::memory_order_release);
  current_ = nullptr;
  if (pooled_) {
    const std::int64_t ended = now_ns();
    const std::int64_t took = ended - began_;
    if (before != 0) ended_ = ended;
    count_up(counted.run_ns, took);
    if (source_) source_->ran_for(took);
    counted.running.store(false, std::memory_order_relaxed);
  }
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
  const std::int64_t now = ended_ != 0 ? ended_ : now_ns();
  if (done_since_ == 0) done_since_ = now;
  if (done_count_ >= most_unpublished || now - done_since_ > publish_after_ns ||
      (bridge_->is_polling() && done_count_ >= 8)) {
    publish();
    if (ended_ != 0) ended_ = now_ns();  // waking the loop is no part of the next call
  }
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

int worker::undo(const char* sql) noexcept {
  const bool went_on = std::exchange(goes_on_, true);
  const bool asked = std::exchange(asks_nobody_, true);
  // Not kept among the statements where an authorizer has not been asked about it.
  const int rc = authorizer ? sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) : run_text(sql);
  asks_nobody_ = asked;
  goes_on_ = went_on;
  return rc;
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
