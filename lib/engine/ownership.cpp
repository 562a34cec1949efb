// Transactions and leases: whose calls run, and how the connection is left when they are over.

#include "engine/worker.hpp"

#include <utility>

namespace cosqlite::detail {

void worker::check_owner(const operation& op) {
  if (op.type->urgent) return;
  if (rollback_owed_) pay_rollback(op);
  if (op.owner == 0 || op.owner == lease_) return;
  if (op.owner != owner_) std::rethrow_exception(transaction_ended_error(op, false));
  if (owner_lost_ && !op.type->ends) std::rethrow_exception(transaction_ended_error(op, true));
}

/// Nothing may slip into a transaction that should be gone.
void worker::pay_rollback(const operation& op) {
  if (roll_back()) {
    owner_lost_ = owner_ != 0;
    return;
  }
  throw transaction_error(
      "a transaction that has ended could not be rolled back: " + std::string(sqlite3_errmsg(db_)) + "; try again",
      {sqlite3_extended_errcode(db_), std::string(sql_of(op)), op.location});
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
  return roll_back();
}

bool worker::roll_back() noexcept {
  rollback_owed_ = !in_autocommit() && undo("ROLLBACK") != SQLITE_OK && !in_autocommit();
  return !rollback_owed_;
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

}  // namespace cosqlite::detail
