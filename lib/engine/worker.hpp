#pragma once

#include "engine/bridge.hpp"
#include "engine/channel.hpp"
#include "engine/cursor.hpp"
#include "engine/errors.hpp"
#include "engine/read_snapshot.hpp"
#include "engine/statement_cache.hpp"
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/options.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace cosqlite::detail {

/// First in, first out, linked through the operations themselves.
class operation_queue {
 public:
  [[nodiscard]] bool empty() const noexcept { return !first_; }
  [[nodiscard]] operation* front() const noexcept { return first_; }
  void push(operation& op) noexcept {
    op.next_queued = nullptr;
    (first_ ? last_->next_queued : first_) = &op;
    last_ = &op;
  }
  operation* pop() noexcept {
    operation* op = first_;
    if (op) first_ = op->next_queued;
    return op;
  }
  /// Puts \p others before what is here.
  void prepend(operation_queue others) noexcept {
    if (others.empty()) return;
    others.last_->next_queued = first_;
    if (!first_) last_ = others.last_;
    first_ = others.first_;
  }

 private:
  operation* first_ = nullptr;
  operation* last_ = nullptr;
};

/// Adds to a counter that this thread alone writes.
template <class N>
void count_up(std::atomic<N>& counter, std::type_identity_t<N> by = 1) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

/// Calls that several workers serve: what the readers of a pool take their work from.
class work_source {
 public:
  /// The next operation for \p w, or null; then \p w is woken when there is one. On the worker's thread.
  virtual operation* take(worker& w) noexcept = 0;
  /// \p w is busy with something that may take long: others are to look after what waits.
  virtual void entrust_to_others(worker& w) noexcept = 0;
  /// A call took so long to run.
  virtual void ran_for(std::int64_t ns) noexcept = 0;
  /// \p w has ended and will take no more.
  virtual void leave(worker& w) noexcept = 0;

 protected:
  ~work_source() = default;
};

/// Something of a feature that lives as long as the connection, on the worker's thread: hooks, functions, changes.
struct extension {
  extension() = default;
  extension(const extension&) = delete;
  extension& operator=(const extension&) = delete;
  virtual ~extension() = default;
  /// The transaction of that number has been committed, or is about to be rolled back: what belongs to it lets go.
  virtual void transaction_ended(std::uint64_t owner) noexcept;
  /// The connection goes back to its pool: what its user installed goes.
  virtual void returned_to_pool() noexcept {}
};

/// What a user's progress callback answers, or the authorizer.
struct progress_listener {
  virtual bool should_stop() noexcept = 0;

 protected:
  ~progress_listener() = default;
};
struct authorizer_listener {
  virtual int authorize(int action, const char* a, const char* b, const char* schema, const char* trigger) noexcept = 0;

 protected:
  ~authorizer_listener() = default;
};

/// Told before each call runs.
struct start_listener {
  virtual void before_call(const operation& op) noexcept = 0;

 protected:
  ~start_listener() = default;
};

/// Told when a call has run, and when a group has been committed: what has happened to the transaction can be seen now.
struct call_listener {
  virtual void call_ended() noexcept = 0;

 protected:
  ~call_listener() = default;
};

/// A connection: its thread, its queue, and the only code that touches its sqlite3*. Created on the loop's thread;
/// `submit`, `refusal` and what is marked so are for the loop's thread, the rest for the worker's own.
class worker final : public executor {
 public:
  worker(ref<bridge> to, std::string path, const open_options& options);

  // --- loop thread
  void submit(operation& op) noexcept override;
  std::exception_ptr refusal(const operation& op) noexcept override;
  bool accepts(const operation& op) noexcept override { return accepting_ || op.type->closes; }
  bridge& loop_bridge() noexcept override { return *bridge_; }
  /// Any thread: ends its sleep.
  void wake() noexcept;
  /// Any thread: makes it look into its source once more before it sleeps, or now.
  void look_again() noexcept {
    look_again_.store(true, std::memory_order_seq_cst);
    wake();
  }
  /// It is looking: with the lock held under which it is asked to.
  void has_looked() noexcept { look_again_.store(false, std::memory_order_relaxed); }
  /// It will take no more from its source. The former on its own thread, the latter on any.
  void leaves_source() noexcept { left_source_.store(true, std::memory_order_release); }
  [[nodiscard]] bool has_left_source() const noexcept { return left_source_.load(std::memory_order_acquire); }
  /// What waits for any reader of the pool is not to wait for this one, which may be busy for long. Its own thread.
  void entrust_work() noexcept;
  /// The same once the call that runs has taken long. SQLite also asks while a transaction of the worker's own ends, after
  /// the last call: it is about to sleep then, and would not come back for what waits.
  void entrust_work_when_long() noexcept {
    if (current_ && !entrusted_ && took_long()) entrust_work();
  }
  /// Puts the calls for any reader that it has taken, and not begun, before those in \p to. How many; its own thread.
  std::size_t give_back(operation_queue& to) noexcept;
  /// Whether the call that runs has taken so long that calls for any reader had better go to others.
  [[nodiscard]] bool took_long() const noexcept { return source_ && now_ns() - began_ > long_run_ns; }
  /// No call is accepted from now on.
  void refuse_calls() noexcept { accepting_ = false; }
  [[nodiscard]] bool accepts_calls() const noexcept { return accepting_; }
  /// Stops the call that runs now and refuses what is queued: the connection was dropped.
  void abort() noexcept { aborted_.store(true, std::memory_order_relaxed); }
  void interrupt() noexcept;
  [[nodiscard]] std::int64_t poll_ns() const noexcept override { return poll_ns_; }
  std::uint64_t next_transaction() noexcept { return ++transactions_; }
  /// How many tasks of user functions it is waiting for: coroutines on the loop that cannot call it.
  int tasks_waited_for = 0;
  [[nodiscard]] bool is_gone() const noexcept override { return gone_; }
  /// Its last word has been delivered: nothing posted for it would be any more.
  void mark_gone() noexcept { gone_ = true; }
  /// What it has done, for the bridge to deliver.
  [[nodiscard]] channel<operation>& results() noexcept { return results_; }
  /// Set before the first submit: it belongs to a pool, which wants times; a reader refuses statements that write.
  void join_pool(bool reader, std::chrono::nanoseconds max_read_age, int checkpoint_pages) noexcept {
    pooled_ = true;
    reader_ = reader;
    max_read_age_ = max_read_age.count();
    checkpoint_pages_ = checkpoint_pages;
  }
  /// How many calls wait in it, about. Any thread.
  [[nodiscard]] std::size_t in_queue() const noexcept { return queued_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool is_pooled() const noexcept { return pooled_; }
  /// The pool's readers that it is one of, or null.
  [[nodiscard]] const executor* group() const noexcept { return source_owner_.get(); }
  /// A call of the source is going to be submitted to it: until that has come, it is not free.
  void expect_call() noexcept { expected_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] bool expects_call() const noexcept { return expected_.load(std::memory_order_relaxed) > 0; }
  /// Set before the first submit: where to look for work when there is none of its own.
  void serve(work_source& source, executor& owner_of_source) noexcept {
    source_ = &source;
    source_owner_ = ref<executor>(&owner_of_source);
  }

  // --- worker thread
  /// Queues \p op behind what waits of its kind.
  void sort_in(operation& op) noexcept;
  [[nodiscard]] sqlite3* db() const noexcept { return db_; }
  /// As it was opened.
  [[nodiscard]] const open_options& options() const noexcept { return options_; }
  /// How long it waits for locks, as it is now. Any thread.
  [[nodiscard]] std::chrono::milliseconds busy_timeout() const noexcept {
    return busy_timeout_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] operation* current() const noexcept { return current_; }
  [[nodiscard]] std::uint64_t owner() const noexcept { return owner_; }
  [[nodiscard]] statement_cache& statements() noexcept { return statements_; }
  [[nodiscard]] const statement_cache& statements() const noexcept { return statements_; }
  /// Whether the database keeps its text in UTF-8. Asked once; a PRAGMA encoding asks anew.
  [[nodiscard]] bool keeps_utf8() noexcept {
    return encoding_ == encoding::utf8 || (encoding_ == encoding::unknown && ask_encoding());
  }
  [[nodiscard]] bool in_autocommit() const noexcept { return sqlite3_get_autocommit(db_) != 0; }
  /// The transaction that reads share; it counts as none.
  [[nodiscard]] read_snapshot& shared_reads() noexcept { return snapshot_; }

  void open(operation& op);
  /// Keeps the connection for calls of \p id until end_lease; whatever else comes waits.
  void begin_lease(std::uint64_t id) noexcept;
  /// Cleans the connection after its lease; one that cannot be cleaned is opened anew.
  void end_lease(operation& op) noexcept;
  void begin(operation& op, std::uint64_t id, const char* sql);
  void commit(operation& op);
  void rollback(operation& op);
  /// Rolls back whatever is open and forgets who owned it. True: it went well, or there was nothing.
  bool end_transaction() noexcept;
  /// Rolls back whatever is open. False: it could not be done now, for lack of memory perhaps; then it is done before
  /// the next call runs.
  bool roll_back() noexcept;
  /// BEGIN IMMEDIATE in the name of \p op: its deadline and stop count. What stopped it becomes its error.
  int begin_for(operation& op) noexcept;
  /// Lets the progress handler stop the statement at \p until (0: no more). Gives whether it did, and forgets it.
  bool limit_run(std::int64_t until) noexcept;

  /// The statement of the call, idle: from its `statement`, from the cache, or newly prepared.
  std::shared_ptr<prepared> acquire(operation& op);
  std::shared_ptr<prepared> prepare(std::string_view sql, const std::source_location& where);
  /// The same statement, not marked as in use: to see what kind it is.
  std::shared_ptr<prepared> look_up(operation& op);
  /// Compiles the next statement of a script, under the same rules as any other.
  int compile_script_statement(const char* sql, int size, sqlite3_stmt** stmt, const char** tail) noexcept;
  /// Resets it after a run and lets it be used again. Gives the code of sqlite3_reset.
  int put_back(prepared& p) noexcept;
  /// sqlite3_step. A statement that is run otherwise may be reported as stopped when it has just finished.
  int step(sqlite3_stmt* stmt) noexcept {
    stepping_ = stmt;
    const int rc = sqlite3_step(stmt);
    stepping_ = nullptr;
    return rc;
  }
  /// The same for a write that is done and whose rows are being told: stopping it would undo it.
  int step_on(sqlite3_stmt* stmt) noexcept {
    goes_on_ = true;
    const int rc = step(stmt);
    goes_on_ = false;
    return rc;
  }
  /// Runs one of the library's own statements; gives SQLite's code.
  int run_text(const char* sql) noexcept;
  /// The same for one that undoes something, which no authorizer can deny, nor anything stop.
  int undo(const char* sql) noexcept;
  /// Throws what made \p rc: the exception of a callback, the call's stop, or SQLite's error.
  [[noreturn]] void fail(operation& op, int rc);
  [[noreturn]] void fail(const operation& op, int rc, std::string_view sql);
  /// Whether the current call was asked to stop.
  [[nodiscard]] bool stop_requested() noexcept;
  [[nodiscard]] bool is_aborted() const noexcept { return aborted_.load(std::memory_order_relaxed); }

  /// What a callback threw; becomes the error of the call that was running.
  void callback_threw(std::exception_ptr e) noexcept {
    if (!callback_error_) callback_error_ = std::move(e);
  }
  /// The same from a callback that has no way to make its statement fail: that must not be committed.
  void callback_spoilt(std::exception_ptr e) noexcept {
    spoilt_ = true;
    callback_threw(std::move(e));
  }
  [[nodiscard]] bool is_spoilt() const noexcept { return spoilt_; }
  std::exception_ptr take_callback_error() noexcept { return std::exchange(callback_error_, nullptr); }
  /// A statement has run: whether it only read.
  void ran(bool read) noexcept { ran_read_ = read; }
  /// Hands over what has been done so far; before a wait that may depend on it.
  void publish() noexcept;
  /// From now on no statement is committed that a callback has spoilt.
  void guard_commits() noexcept;
  /// The one commit hook of the connection; null: none.
  void set_commit_hook(int (*hook)(void*), void* of) noexcept;
  /// Functions whose name is among these keep a write out of groups.
  void add_user_function(std::string name);

  /// A PRAGMA has set it, which puts SQLite's own handler in place of ours: that comes back when the call ends, since
  /// deadlines and stops count in locks too.
  void set_busy_timeout(int ms) noexcept { new_busy_timeout_ = ms; }

  void add_cursor(cursor& c) noexcept;
  void remove_cursor(cursor& c) noexcept;

  template <class E>
  E& extend() {
    for (const auto& e : extensions_) {
      if (auto* found = dynamic_cast<E*>(e.get())) return *found;
    }
    extensions_.push_back(std::make_unique<E>(*this));
    return static_cast<E&>(*extensions_.back());
  }
  template <class E>
  [[nodiscard]] E* extended() const noexcept {
    for (const auto& e : extensions_) {
      if (auto* found = dynamic_cast<E*>(e.get())) return found;
    }
    return nullptr;
  }
  /// The open savepoints, outermost first. From here on apart from what the loop writes for every call.
  alignas(64) std::vector<std::uint64_t> savepoints;
  progress_listener* progress = nullptr;
  authorizer_listener* authorizer = nullptr;
  start_listener* before_calls = nullptr;
  call_listener* after_calls = nullptr;
  int progress_steps = 1000;
  void install_progress_handler() noexcept;
  /// Makes SQLite compile every prepared statement anew at its next run, and ask the authorizer about it.
  void ask_authorizer_anew() noexcept;

  /// Written by the worker, read by anybody.
  struct alignas(64) counters {
    std::atomic<std::uint64_t> calls{0};
    std::atomic<std::uint64_t> groups{0};
    std::atomic<std::uint64_t> grouped_calls{0};
    std::atomic<std::uint64_t> followed_reads{0};
    std::atomic<std::uint64_t> lost_groups{0};
    std::atomic<std::uint64_t> busy_waits{0};
    std::atomic<std::uint64_t> cache_hits{0};
    std::atomic<std::uint64_t> cache_misses{0};
    std::atomic<std::int64_t> wait_ns{0};  // in a pool only
    std::atomic<std::int64_t> run_ns{0};   // in a pool only
    std::atomic<int> wal_pages{0};
    std::atomic<std::uint64_t> checkpoints{0};
    std::atomic<bool> leased{false};
    std::atomic<bool> running{false};
  } counted;

 private:
  friend class coalescer;
  friend class hook_set;
  ~worker() override;

  enum class encoding : std::uint8_t { unknown, utf8, other };
  bool ask_encoding() noexcept;
  std::exception_ptr deadlock(const operation& op) noexcept;
  void start_thread() noexcept;
  void main() noexcept;
  void take_inbox() noexcept;
  operation* next() noexcept;
  void wait() noexcept;
  void tell_ended(std::uint64_t owner) noexcept;
  bool poll_inbox() noexcept;
  void park() noexcept;
  [[nodiscard]] bool claim(operation& op) noexcept;
  /// Calls that came through a pool's shared queue are counted there.
  [[nodiscard]] bool counts_as_queued(const operation& op) const noexcept {
    return pooled_ && (op.serial >> 63) == 0 && !op.type->opens && !op.type->closes;
  }
  void run(operation& op) noexcept;
  void execute(operation& op) noexcept;
  void check_owner(const operation& op);
  void pay_rollback(const operation& op);
  void restore_busy_handler() noexcept;
  void finish(operation& op) noexcept;
  void checkpoint_when_due() noexcept;
  [[nodiscard]] bool end_old_reads() noexcept;
  [[nodiscard]] std::int64_t oldest_read() const noexcept;
  void publish_when_due() noexcept;
  void post_done(operation* oldest) noexcept;
  void fail_queued() noexcept;
  void shut() noexcept;
  void close_inbox() noexcept;
  void reject_queued() noexcept;
  void close_database() noexcept;
  [[nodiscard]] bool reject(operation& op) noexcept;
  [[nodiscard]] std::exception_ptr late_error(const operation& op) const;
  void note_open_failure(const operation& op) noexcept;
  void configure(operation& op);
  [[nodiscard]] bool clean_up(operation& op);
  void settle(operation& op);
  void set_pragma(operation& op, const std::string& text);

  static int on_progress(void* self) noexcept;
  static int on_busy(void* self, int tries) noexcept;
  static int on_wal(void* self, sqlite3* db, const char* schema, int pages) noexcept;
  static int on_commit(void* self) noexcept;
  static int on_authorize(void* self, int action, const char* a, const char* b, const char* schema,
                          const char* trigger) noexcept;

  // Loop thread.
  alignas(64) ref<bridge> bridge_;
  std::string path_;
  std::string vfs_;
  open_options options_;
  std::int64_t poll_ns_;
  bool accepting_ = true;
  bool started_ = false;
  bool has_lane_ = false;
  bool gone_ = false;
  bool pooled_ = false;
  bool reader_ = false;
  std::int64_t max_read_age_ = 0;
  int checkpoint_pages_ = 0;
  std::uint64_t transactions_ = 0;
  std::uint64_t serials_ = 0;

  // Shared: what is written for every call stands apart from what is seldom written.
  channel<operation> inbox_;    // from the loop to the worker
  channel<operation> results_;  // and back, where the bridge has a lane for it
  alignas(64) std::atomic<int> parked_{0};
  std::atomic<bool> look_again_{false};
  std::atomic<bool> left_source_{false};
  std::atomic<bool> inbox_closed_{false};  // nothing that comes now is looked at
  std::atomic<bool> inbox_left_{false};    // the worker has taken its last call from it
  std::atomic<bool> aborted_{false};
  std::atomic<std::uint64_t> interrupted_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
  alignas(64) std::atomic<std::uint64_t> running_{0};

  // Worker thread.
  alignas(64) sqlite3* db_ = nullptr;
  operation* current_ = nullptr;
  sqlite3_stmt* stepping_ = nullptr;
  bool goes_on_ = false;  // whoever wants it to stop is not heard
  std::int64_t run_until_ = 0;
  bool overran_ = false;
  encoding encoding_ = encoding::unknown;
  // Kept between groups, so that a group allocates nothing.
  std::vector<operation*> group_members_;
  std::vector<operation*> group_ran_;
  std::size_t group_next_ = 0;                                    // the first member that has not run
  std::atomic<std::chrono::milliseconds> busy_timeout_{};         // as it is now
  std::optional<std::chrono::milliseconds> checkpoint_patience_;  // while one runs
  int new_busy_timeout_ = -1;
  bool impatient_ = false;  // the time to wait for locks has been spent
  std::int64_t busy_since_ = 0;
  std::uint64_t owner_ = 0;
  bool owner_lost_ = false;
  bool rollback_owed_ = false;  // of a transaction that nobody has any more
  bool asks_nobody_ = false;    // the authorizer
  std::uint64_t lease_ = 0;
  bool lease_began_idle_ = true;   // nothing of anybody else's was open
  bool settings_changed_ = false;  // by the user of the lease
  bool beyond_repair_ = false;
  std::int64_t owner_since_ = 0;
  std::int64_t checkpoint_again_at_ = 0;
  bool closed_ = false;
  bool closing_seen_ = false;
  operation_queue urgent_;
  operation_queue owned_;
  operation_queue leased_;
  operation_queue waiting_;
  std::size_t waiting_count_ = 0;
  std::atomic<std::size_t> queued_{0};
  std::atomic<int> expected_{0};
  operation* done_ = nullptr;  // the oldest of those not yet handed over
  operation* done_newest_ = nullptr;
  int done_count_ = 0;
  std::int64_t done_since_ = 0;
  poller poller_;
  work_source* source_ = nullptr;
  static constexpr std::int64_t long_run_ns = 50'000;
  std::int64_t began_ = 0;   // the call that runs; in a pool only
  std::int64_t ended_ = 0;   // the call before, of the same group of reads; 0: the clock is asked
  bool collecting_ = false;  // a group: its calls stand where they are
  bool entrusted_ = false;   // the source knows that this worker is busy
  ref<executor> source_owner_;
  std::string open_failure_;
  int open_failure_code_ = 0;
  cursor* cursors_ = nullptr;
  read_snapshot snapshot_{*this};
  bool ran_read_ = false;  // the last statement only read
  statement_cache statements_;
  statement_traits* classified_ = nullptr;
  std::vector<std::string> user_functions_;
  std::exception_ptr callback_error_;
  bool spoilt_ = false;
  bool undone_ = false;
  bool commits_guarded_ = false;
  int (*commit_hook_)(void*) = nullptr;
  void* commit_hook_of_ = nullptr;
  std::vector<std::unique_ptr<extension>> extensions_;
};

/// Whether \p path names a database that goes with its connection.
[[nodiscard]] bool in_memory(const std::string& path) noexcept;

/// Why \p op may not be made from this thread or process, or null.
[[nodiscard]] std::exception_ptr wrong_thread(const operation& op, const bridge& to) noexcept;

/// The worker whose thread this is, or null.
[[nodiscard]] worker* this_worker() noexcept;

}  // namespace cosqlite::detail
