#include "engine/hook_set.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace cosqlite::detail {

namespace {

std::string_view text(const char* s) noexcept { return s ? std::string_view(s) : std::string_view(); }

row_operation operation_of(int code) noexcept {
  if (code == SQLITE_INSERT) return row_operation::insert;
  return code == SQLITE_DELETE ? row_operation::remove : row_operation::update;
}

/// Calls every active callback; what one throws is kept with its subscription.
template <class Callback, class... A>
void call_all(hook_list<Callback>& list, const A&... arguments) noexcept {
  for (const auto& h : list) {
    if (!h->active.load(std::memory_order_acquire)) continue;
    try {
      (*h->fn)(arguments...);
    } catch (...) {
      h->note(std::current_exception());
    }
  }
}

template <class Callback>
bool erase(hook_list<Callback>& list, const std::shared_ptr<hook_entry>& entry) noexcept {
  return std::erase_if(list, [&](const auto& h) { return h == entry; }) != 0;
}

/// Forgets those that were installed through a lease, or all.
template <class Callback>
void forget(hook_list<Callback>& list, bool leased_only) noexcept {
  std::erase_if(list, [leased_only](const auto& h) {
    if (leased_only && !h->leased) return false;
    h->active.store(false, std::memory_order_release);
    h->forget();
    return true;
  });
}

}  // namespace

void worker::ask_authorizer_anew() noexcept { sqlite3_set_authorizer(db_, &worker::on_authorize, this); }

void hook_entry::note(std::exception_ptr e) noexcept {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(e);
}

std::exception_ptr hook_entry::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

hook_set::~hook_set() {
  forget_all(false);
  at_.authorizer = nullptr;
  at_.progress = nullptr;
}

void hook_set::returned_to_pool() noexcept { forget_all(true); }

void hook_set::forget_all(bool leased_only) noexcept {
  forget(authorizers, leased_only);
  forget(traces, leased_only);
  forget(progresses, leased_only);
  forget(updates, leased_only);
  forget(preupdates, leased_only);
  forget(commits, leased_only);
  forget(rollbacks, leased_only);
  forget(wals, leased_only);
  install();
}

void hook_set::remove(const std::shared_ptr<hook_entry>& entry) noexcept {
  const bool found = erase(authorizers, entry) || erase(traces, entry) || erase(progresses, entry) ||
                     erase(updates, entry) || erase(preupdates, entry) || erase(commits, entry) ||
                     erase(rollbacks, entry) || erase(wals, entry);
  entry->forget();
  if (found) install();
}

void hook_set::set_listener(transaction_listener* listener, row_source_kind source) noexcept {
  listener_ = listener;
  source_ = listener ? source : row_source_kind::none;
  install();
}

void hook_set::check_preupdate(const operation& op) const {
  if (!has_preupdate_hook()) {
    throw unsupported_error("this SQLite was compiled without SQLITE_ENABLE_PREUPDATE_HOOK",
                            {SQLITE_ERROR, {}, op.location});
  }
  if (sessions == 0) return;
  throw misuse_error(
      "a session is open on this connection and has the preupdate hook for itself: close the session first, or "
      "ask changes() for row_source::update_hook",
      {SQLITE_MISUSE, {}, op.location});
}

void hook_set::install() noexcept {
  install_authorizer();
  install_progress();
  install_trace();
  install_wal();
  sqlite3* db = at_.db();
  const bool update = !updates.empty() || source_ == row_source_kind::update_hook;
  sqlite3_update_hook(db, update ? &hook_set::on_update : nullptr, this);
  // A session's own hook must stay where it is.
  if (has_preupdate_hook() && sessions == 0) {
    sqlite3_preupdate_hook(db, uses_preupdate() ? &hook_set::on_preupdate : nullptr, this);
  }
  at_.set_commit_hook(listener_ || !commits.empty() ? &hook_set::on_commit : nullptr, this);
  sqlite3_rollback_hook(db, listener_ || !rollbacks.empty() ? &hook_set::on_rollback : nullptr, this);
}

void hook_set::install_authorizer() noexcept {
  // Beside an authorizer reads share no transaction with later ones: a trace shows a call's own statements only.
  const bool wanted = !authorizers.empty() || !traces.empty() || sees_deletes_by_authorizer();
  at_.authorizer = wanted ? this : nullptr;
  // DELETE without WHERE is compiled differently while somebody watches the rows.
  const bool rows_watched = uses_preupdate() || sees_deletes_by_authorizer();
  const row_source_kind now = rows_watched ? row_source_kind::preupdate_hook : row_source_kind::none;
  if (wanted || had_authorizers_ || now != installed_source_) at_.ask_authorizer_anew();
  had_authorizers_ = wanted;
  installed_source_ = now;
}

row_shape hook_set::shape_of(const char* schema, const char* table) {
  looks_up_ = true;
  const std::unique_ptr<bool, decltype([](bool* on) noexcept { *on = false; })> until_done(&looks_up_);
  return row_shape(at_.db(), schema, table);
}

int hook_set::authorize(int action, const char* a, const char* b, const char* schema, const char* trigger) noexcept {
  if (looks_up_) return SQLITE_OK;
  int answer = SQLITE_OK;
  try {
    if (tables_read && action == SQLITE_READ && a) tables_read->emplace_back(text(schema), a);
    const authorization question{static_cast<authorizer_action>(action), text(a), text(b), text(schema), text(trigger)};
    for (const auto& h : authorizers) {
      if (!h->active.load(std::memory_order_acquire)) continue;
      const authorizer_answer said = (*h->fn)(question);
      if (said == authorizer_answer::deny) return SQLITE_DENY;
      if (said == authorizer_answer::ignore) answer = SQLITE_IGNORE;
    }
  } catch (...) {
    at_.callback_threw(std::current_exception());
    return SQLITE_DENY;
  }
  // "Ignore" for a DELETE means: delete row by row, so that the update hook sees them.
  if (action == SQLITE_DELETE && sees_deletes_by_authorizer()) return SQLITE_IGNORE;
  return answer;
}

void hook_set::install_progress() noexcept {
  constexpr int own_steps = 1000;
  int steps = own_steps;
  for (const auto& h : progresses) steps = std::min(steps, h->steps);
  at_.progress = progresses.empty() ? nullptr : this;
  if (at_.progress_steps == steps) return;
  at_.progress_steps = steps;
  at_.install_progress_handler();
}

bool hook_set::should_stop() noexcept {
  try {
    for (const auto& h : progresses) {
      h->steps_done += at_.progress_steps;
      if (h->steps_done < h->steps || !h->active.load(std::memory_order_acquire)) continue;
      h->steps_done = 0;
      if ((*h->fn)()) return true;
    }
    return false;
  } catch (...) {
    at_.callback_threw(std::current_exception());
    return true;
  }
}

void hook_set::tell_statements(bool on) noexcept {
  tells_statements_ = on;
  install_trace();
}

void hook_set::install_trace() noexcept {
  unsigned mask = listener_ && tells_statements_ ? SQLITE_TRACE_STMT : 0;
  for (const auto& h : traces) {
    if (h->traces.statements) mask |= SQLITE_TRACE_STMT;
    if (h->traces.profile) mask |= SQLITE_TRACE_PROFILE;
    if (h->traces.rows) mask |= SQLITE_TRACE_ROW;
  }
  sqlite3_trace_v2(at_.db(), mask, mask != 0 ? &hook_set::on_trace : nullptr, this);
}

int hook_set::on_trace(unsigned kind, void* self, void* stmt, void* what) noexcept {
  auto* hooks = static_cast<hook_set*>(self);
  if (hooks->looks_up_) return 0;
  auto* statement = static_cast<sqlite3_stmt*>(stmt);
  // Triggers, and statements that run inside another one, come with a comment in place of the statement's own text.
  if (kind == SQLITE_TRACE_STMT && hooks->listener_ && hooks->tells_statements_ && what == sqlite3_sql(statement)) {
    hooks->listener_->statement_begins(statement);
  }
  if (!hooks->traces.empty()) hooks->trace(kind, statement, what);
  return 0;
}

void hook_set::trace(unsigned kind, sqlite3_stmt* stmt, void* what) noexcept {
  trace_event event{trace_kind::statement, text(sqlite3_sql(stmt)), {}, {}};
  if (kind == SQLITE_TRACE_STMT) event.sql = text(static_cast<const char*>(what));
  if (kind == SQLITE_TRACE_PROFILE) {
    event.kind = trace_kind::profile;
    event.elapsed = std::chrono::nanoseconds(*static_cast<sqlite3_int64*>(what));
  }
  if (kind == SQLITE_TRACE_ROW) event.kind = trace_kind::row;
  char* expanded = nullptr;
  for (const auto& h : traces) {
    const trace_options& o = h->traces;
    const bool wanted = event.kind == trace_kind::statement ? o.statements
                        : event.kind == trace_kind::profile ? o.profile
                                                            : o.rows;
    if (!wanted || !h->active.load(std::memory_order_acquire)) continue;
    if (o.expanded && !expanded) expanded = sqlite3_expanded_sql(stmt);
    event.expanded = o.expanded ? text(expanded) : std::string_view();
    try {
      (*h->fn)(event);
    } catch (...) {
      h->note(std::current_exception());
    }
  }
  sqlite3_free(expanded);
}

void hook_set::on_update(void* self, int operation, const char* schema, const char* table,
                         sqlite3_int64 rowid) noexcept {
  auto* hooks = static_cast<hook_set*>(self);
  if (hooks->source_ == row_source_kind::update_hook) {
    hooks->listener_->row_changes({operation, schema, table, rowid, rowid, false});
  }
  if (!hooks->updates.empty())
    call_all(hooks->updates, row_update{operation_of(operation), text(schema), text(table), rowid});
}

void hook_set::on_preupdate(void* self, sqlite3* db, int operation, const char* schema, const char* table,
                            sqlite3_int64 old_rowid, sqlite3_int64 new_rowid) noexcept {
  auto* hooks = static_cast<hook_set*>(self);
  // Writing through an open blob is reported as a delete that no insert follows.
  if (operation == SQLITE_DELETE && sqlite3_preupdate_blobwrite && sqlite3_preupdate_blobwrite(db) >= 0) {
    operation = SQLITE_UPDATE;
  }
  if (hooks->source_ == row_source_kind::preupdate_hook) {
    hooks->listener_->row_changes({operation, schema, table, old_rowid, new_rowid, true});
  }
  if (hooks->preupdates.empty()) return;
  call_all(hooks->preupdates, preupdate(db, operation_of(operation), text(schema), text(table), old_rowid, new_rowid));
}

int hook_set::on_commit(void* self) noexcept {
  auto* hooks = static_cast<hook_set*>(self);
  try {
    for (const auto& h : hooks->commits) {
      if (!h->active.load(std::memory_order_acquire)) continue;
      if ((*h->fn)() == commit_vote::roll_back) return 1;
    }
  } catch (...) {
    hooks->at_.callback_threw(std::current_exception());
    return 1;
  }
  if (hooks->listener_) hooks->listener_->commits();
  return 0;
}

void hook_set::on_rollback(void* self) noexcept {
  auto* hooks = static_cast<hook_set*>(self);
  if (hooks->listener_) hooks->listener_->rolled_back();
  call_all(hooks->rollbacks);
}

void hook_set::install_wal() noexcept {
  if (wals.empty() == !has_wal_) return;
  has_wal_ = !wals.empty();
  sqlite3* db = at_.db();
  const bool pool_writer = at_.pooled_ && !at_.reader_;
  if (!has_wal_) {
    if (pool_writer) {
      sqlite3_wal_hook(db, &worker::on_wal, &at_);
    } else {
      sqlite3_wal_autocheckpoint(db, autocheckpoint_);
    }
    return;
  }
  sqlite3_stmt* stmt = nullptr;
  if (sqlite3_prepare_v2(db, "PRAGMA wal_autocheckpoint", -1, &stmt, nullptr) == SQLITE_OK &&
      sqlite3_step(stmt) == SQLITE_ROW) {
    autocheckpoint_ = sqlite3_column_int(stmt, 0);
  }
  sqlite3_finalize(stmt);
  sqlite3_wal_hook(db, &hook_set::on_wal, this);
}

int hook_set::on_wal(void* self, sqlite3* db, const char* schema, int pages) noexcept {
  auto* hooks = static_cast<hook_set*>(self);
  worker& at = hooks->at_;
  if (at.pooled_ && !at.reader_) {
    worker::on_wal(&at, db, schema, pages);
  } else if (hooks->autocheckpoint_ > 0 && pages >= hooks->autocheckpoint_) {
    sqlite3_wal_checkpoint_v2(db, schema, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  }
  call_all(hooks->wals, wal_commit{text(schema), pages});
  return SQLITE_OK;
}

}  // namespace cosqlite::detail
