// Whether a call may be made at all. On the loop's thread.

#include "engine/worker.hpp"
#include <cosqlite/detail/lineage.hpp>

#include <string>

namespace cosqlite::detail {

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
  if (this_worker()) {
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

}  // namespace cosqlite::detail
