#include "engine/bridge.hpp"
#include "engine/cursor.hpp"
#include "engine/errors.hpp"
#include "engine/statement_cache.hpp"
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/error.hpp>

#include <sched.h>

#include <algorithm>
#include <vector>

namespace cosqlite::detail {

namespace {

constexpr std::size_t most_kept = 1024;
constexpr std::size_t most_text_kept = 4096;

/// Records of finished calls, kept for the next ones of this thread.
class operation_store {
 public:
  operation_store() { kept_.reserve(most_kept); }
  operation_store(const operation_store&) = delete;
  operation_store& operator=(const operation_store&) = delete;
  ~operation_store() {
    gone = true;
    for (operation* op : kept_) delete op;
  }

  operation* take() {
    if (kept_.empty()) return new operation;
    operation* op = kept_.back();
    kept_.pop_back();
    return op;
  }
  bool keep(operation* op) noexcept {
    if (kept_.size() == most_kept) return false;
    kept_.push_back(op);
    return true;
  }

  static inline thread_local bool gone = false;

 private:
  std::vector<operation*> kept_;
};

operation_store& store() {
  thread_local operation_store of_thread;
  return of_thread;
}

/// Ends a call that never reached, or left, the queue.
void complete_with(operation& op, std::exception_ptr e) noexcept {
  op.error = std::move(e);
  op.state.store(op_state::done, std::memory_order_release);
}

void set_deadline(operation& op) noexcept {
  if (op.timeout == 0) return;
  const std::int64_t own = now_ns() + op.timeout;
  op.deadline = op.deadline == 0 ? own : std::min(own, op.deadline);
}

/// What keeps the call from being queued at all.
std::exception_ptr obstacle(operation& op) noexcept {
  if (!op.where) return closed_call_error(op);
  if (std::exception_ptr refused = op.where->refusal(op)) return refused;
  if (op.stop_token.stop_requested()) {
    op.stop.store(stop_reason::requested, std::memory_order_relaxed);
    return stopped_error(op, timeout_error::stage::queue);
  }
  set_deadline(op);
  if (op.deadline != 0 && now_ns() >= op.deadline) {
    op.stop.store(stop_reason::timed_out, std::memory_order_relaxed);
    return stopped_error(op, timeout_error::stage::queue);
  }
  return nullptr;
}

bool never_dropped(const operation& op) noexcept { return op.type->opens || op.type->closes; }

void enqueue(operation& op) noexcept {
  op.state.store(never_dropped(op) ? op_state::running : op_state::queued, std::memory_order_relaxed);
  op.retain();
  op.where->loop_bridge().submitted(op, op.where->poll_ns());
  if (op.stop_token.stop_possible()) op.stop_callback.emplace(op.stop_token, stop_request{&op});
  op.where->submit(op);
}

}  // namespace

executor::~executor() = default;
holder::~holder() = default;
operation::operation() = default;
operation::~operation() = default;

operation_ref make_operation(const call_site& site, const operation_type& type) {
  operation* op = store().take();
  op->references.store(1, std::memory_order_relaxed);
  op->type = &type;
  op->where = ref<executor>(site.where);
  op->owner = site.owner;
  op->timeout = site.timeout.count();
  op->deadline = site.deadline;
  if (site.stop.stop_possible()) op->stop_token = site.stop;
  return operation_ref::adopt(op);
}

operation_ref make_operation(const call_site& site, const operation_type& type, const sql_text& sql) {
  if (sql.text().find('\0') != std::string_view::npos) {
    throw misuse_error("the SQL text has a NUL character in it, where SQLite would stop reading",
                       {21, std::string(sql.text()), sql.where()});
  }
  operation_ref op = make_operation(site, type);
  op->sql.assign(sql.text());
  op->location = sql.where();
  return op;
}

void operation::recycle() noexcept {
  clear_result();
  stop_callback.reset();
  where = {};
  statement = nullptr;
  from = {};
  closure = nullptr;
  names = nullptr;
  error = nullptr;
  stop_token = {};
  if (operation_store::gone) {
    delete this;
    return;
  }
  args.clear();
  if (sql.capacity() > most_text_kept) {
    sql = {};
  } else {
    sql.clear();
  }
  next_queued = next_done = nullptr;
  state.store(op_state::built, std::memory_order_relaxed);
  stop.store(stop_reason::none, std::memory_order_relaxed);
  waiter = {};
  of_waiter = nullptr;
  gives = nullptr;
  at = nullptr;
  owner = 0;
  timeout = deadline = 0;
  serial = 0;
  submitted_at = 0;
  expected_rows = 0;
  counted = borrows = in_lock = in_body = detaches = last = looked_up = awaited_again = false;
  location = {};
  if (!store().keep(this)) delete this;
}

bool start(operation& op, std::coroutine_handle<> waiter, const lineage* of_waiter) noexcept {
  if (op.state.load(std::memory_order_relaxed) != op_state::built) {
    op.awaited_again = true;
    return false;
  }
  if (op.type->closes && (!op.where || op.where->is_gone())) {
    complete_with(op, nullptr);
    return false;
  }
  op.waiter = waiter;
  op.of_waiter = of_waiter;
  if (std::exception_ptr e = obstacle(op)) {
    stop_waiting(op);
    complete_with(op, std::move(e));
    return false;
  }
  enqueue(op);
  return true;
}

void start_detached(operation_ref op) noexcept {
  if (!op->where || is_forked_child()) return;
  if (!op->where->accepts(*op)) return;
  enqueue(*op);
}

void abandon(operation_ref op) noexcept {
  if (!op->counted || is_forked_child()) return;
  // Waits for a callback that runs on another thread: after it nobody else decides about the call.
  op->stop_callback.reset();
  stop_waiting(*op);
  stop_reason none = stop_reason::none;
  op->stop.compare_exchange_strong(none, stop_reason::abandoned, std::memory_order_release);
  op_state queued = op_state::queued;
  if (op->state.compare_exchange_strong(queued, op_state::dropped, std::memory_order_acq_rel)) {
    op->where->loop_bridge().settled(*op);
    return;
  }
  if (!op->borrows) return;
  // The worker may be reading the caller's memory, which goes away with the caller.
  while (op->state.load(std::memory_order_acquire) == op_state::running) sched_yield();
}

void stop_waiting(operation& op) noexcept {
  op.waiter = {};
  op.of_waiter = nullptr;
}

void check(operation& op) {
  if (std::exchange(op.awaited_again, false)) throw misuse_error("a call can be awaited only once", {21});
  // What the call was made with goes with its answer, not when the record does.
  op.closure = nullptr;
  if (op.error) std::rethrow_exception(std::move(op.error));
}

void throw_no_call() { throw misuse_error("this call was moved from: await the one that it was moved to", {21}); }

void stop_request::operator()() const noexcept {
  stop_reason none = stop_reason::none;
  op->stop.compare_exchange_strong(none, stop_reason::requested, std::memory_order_relaxed);
  op_state queued = op_state::queued;
  if (!op->state.compare_exchange_strong(queued, op_state::dropped, std::memory_order_acq_rel)) return;
  // Before anybody can see that it is done, and let go of it.
  op->retain();
  op->error = stopped_error(*op, timeout_error::stage::queue);
  op->state.store(op_state::done, std::memory_order_release);
  op->where->loop_bridge().post(op, op);
}

}  // namespace cosqlite::detail
