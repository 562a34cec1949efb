#include "engine/change_tracker.hpp"

#include "engine/replaced_database.hpp"
#include "engine/savepoint_text.hpp"
#include "engine/watched_as_one.hpp"

#include <algorithm>
#include <cstring>

namespace cosqlite::detail {

namespace {

/// Whether the text may be about a savepoint or the schema: everything else needs no reading.
bool may_be_control(const char* sql) noexcept {
  while (*sql == ' ' || *sql == '\n' || *sql == '\t' || *sql == '\r' || *sql == ';') ++sql;
  switch (*sql) {
    case 'S':
    case 's': return (sql[1] | 0x20) == 'a';
    case 'D':
    case 'd': return (sql[1] | 0x20) == 'r';
    case 'A':
    case 'a':
    case 'C':
    case 'c':
    case 'R':
    case 'r':
    case '-':
    case '/': return true;
    default: return false;
  }
}

}  // namespace

change_tracker::change_tracker(worker& at) : at_(at), hooks_(at.extend<hook_set>()) {}

change_tracker::~change_tracker() {
  for (const listener& l : sinks_) l.sink->end();
  sinks_.clear();
  listen();
}

void change_tracker::returned_to_pool() noexcept {
  const auto end = [](const listener& l) {
    if (l.leased) l.sink->end();
    return l.leased;
  };
  std::erase_if(sinks_, end);
  listen();
}

/// Asks SQLite for what the sinks need now.
void change_tracker::listen() noexcept {
  source_ = row_source_kind::none;
  for (const listener& l : sinks_) source_ = std::max(source_, l.source);
  at_.after_calls = sinks_.empty() ? nullptr : this;
  hooks_.set_listener(sinks_.empty() ? nullptr : this, source_);
}

void change_tracker::add(row_sink& sink, ref<executor> owner, row_source_kind source, bool leased) {
  if (sinks_.empty()) {
    forget_savepoints();
    saw_all_savepoints_ = at_.in_autocommit();
    control_ = control_kind::none;
    committing_ = false;
    statement_ = nullptr;
    rows_ = direct_rows_ = 0;
  }
  listener& l = sinks_.emplace_back();
  l.sink = &sink;
  l.owner = std::move(owner);
  l.source = source;
  l.leased = leased;
  l.statement = sink.now();
  l.savepoints.assign(savepoints_.size(), sink.now());
  listen();
}

void change_tracker::remove(row_sink& sink) noexcept {
  std::erase_if(sinks_, [&sink](const listener& l) { return l.sink == &sink; });
  listen();
}

void change_tracker::ask_again(row_sink& sink) noexcept {
  for (listener& l : sinks_) {
    if (l.sink == &sink) l.wanted.clear();
  }
}

void change_tracker::contents_replaced() noexcept {
  call_ended();
  shapes_.clear();
  for (const listener& l : sinks_) l.sink->contents_replaced();
  mark_statement();
}

void tell_of_replacement(const worker& at) noexcept {
  if (auto* tracker = at.extended<change_tracker>()) tracker->contents_replaced();
}

watched_as_one::watched_as_one(const worker& at) noexcept
    : tracker_(at.after_calls ? at.extended<change_tracker>() : nullptr) {
  if (tracker_) tracker_->runs_begin();
}

watched_as_one::~watched_as_one() {
  if (tracker_) tracker_->runs_end();
}

void change_tracker::runs_begin() noexcept {
  end_statement();
  settle();
  statement_ = nullptr;
  hooks_.tell_statements(false);
}

void change_tracker::runs_end() noexcept {
  hooks_.tell_statements(true);
  mark_statement();
}

const table_name& change_tracker::name_of(const row_event& row) {
  if (last_text_ && last_text_ == row.table) return *last_table_;
  const auto is = [&row](const table_name& t) { return t.table == row.table && t.schema == row.schema; };
  if (!last_table_ || !is(*last_table_)) {
    auto it = std::ranges::find_if(*tables_, is);
    if (it == tables_->end()) {
      tables_->push_back({row.schema, row.table, tables_->size()});
      it = std::prev(tables_->end());
    }
    last_table_ = &*it;
  }
  last_text_ = row.table;
  return *last_table_;
}

const row_shape& change_tracker::shape_of(const table_name& table) {
  if (shapes_.size() <= table.number) shapes_.resize(table.number + 1);
  std::optional<row_shape>& shape = shapes_[table.number];
  if (!shape) shape = hooks_.shape_of(table.schema.c_str(), table.table.c_str());
  return *shape;
}

void change_tracker::row_changes(const row_event& row) noexcept {
  sqlite3* db = at_.db();
  const bool by_blob = row.operation == SQLITE_UPDATE && row.has_values && sqlite3_preupdate_blobwrite &&
                       sqlite3_preupdate_blobwrite(db) >= 0;
  // Writing through a blob is no statement: the one before has ended.
  if (by_blob) end_statement();
  if (by_blob || committing_ || control_ != control_kind::none) settle();
  try {
    const table_name& table = name_of(row);
    for (listener& l : sinks_) {
      if (l.wanted.size() <= table.number) l.wanted.resize(table.number + 1, -1);
      signed char& wanted = l.wanted[table.number];
      if (wanted < 0) wanted = l.sink->wants(table) ? 1 : 0;
      if (wanted == 1) l.sink->add(row, table, db);
    }
  } catch (const std::bad_alloc&) {
    // The statement fails for want of memory itself, or the row is one that a full buffer has lost.
  }
  if (by_blob) return mark_statement();
  ++rows_;
  // With the update hook none is known to be direct.
  if (direct_rows_ == 0 && row.has_values && sqlite3_preupdate_depth(db) == 0) direct_rows_ = 1;
}

void change_tracker::commits() noexcept { committing_ = true; }

void change_tracker::rolled_back() noexcept {
  for (listener& l : sinks_) l.sink->go_back({});
  shapes_.clear();
  control_ = control_kind::none;
  committing_ = false;
  statement_ = nullptr;
  forget_savepoints();
  mark_statement();
}

void change_tracker::call_ended() noexcept {
  end_statement();
  settle();
}

void change_tracker::statement_begins(sqlite3_stmt* stmt) noexcept {
  // Foreign key actions are traced as if their statement began again; its steps are counted when it stops.
  const int steps = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 0);
  if (stmt == statement_ && steps == steps_before_ && sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_RUN, 0) != 0) return;
  end_statement(stmt);
  settle();
  statement_ = stmt;
  steps_before_ = steps;
  note_control(stmt);
}

/// What the last statements have done to the transaction is certain now.
void change_tracker::settle() noexcept {
  if (!at_.in_autocommit()) {
    // After a commit that has failed (SQLITE_BUSY) the transaction goes on, and a savepoint whose release was the
    // commit stays.
    if (std::exchange(committing_, false)) control_ = control_kind::none;
    apply_control();
    return;
  }
  control_ = control_kind::none;
  if (!savepoints_.empty() || !saw_all_savepoints_) forget_savepoints();
  if (!committing_) return;
  committing_ = false;
  shapes_.clear();
  for (listener& l : sinks_) l.sink->publish();
  mark_statement();
}

void change_tracker::end_statement(const sqlite3_stmt* next) noexcept {
  if (rows_ == 0) return;
  // What commits by itself has succeeded. The next statement may stand where the one before it was.
  if (!committing_ && was_undone() && (statement_ == next || !is_running(statement_))) {
    for (listener& l : sinks_) l.sink->go_back(l.statement);
  }
  mark_statement();
}

/// A statement that is undone alone leaves a count of no changes; one whose rows were all changed by triggers (INSTEAD
/// OF, or RAISE(IGNORE)) too, and is told by its error.
bool change_tracker::was_undone() const noexcept {
  if (sqlite3_changes64(at_.db()) != 0) return false;
  if (direct_rows_ != 0) return true;
  const int code = sqlite3_errcode(at_.db());
  return code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE;
}

/// Only whether it is among the living may be asked: it may have been finalized.
bool change_tracker::is_running(const sqlite3_stmt* stmt) const noexcept {
  for (sqlite3_stmt* s = sqlite3_next_stmt(at_.db(), nullptr); s; s = sqlite3_next_stmt(at_.db(), s)) {
    if (s == stmt) return sqlite3_stmt_busy(s) != 0;
  }
  return false;
}

void change_tracker::mark_statement() noexcept {
  rows_ = direct_rows_ = 0;
  last_text_ = nullptr;
  for (listener& l : sinks_) l.statement = l.sink->now();
}

bool change_tracker::others_write(const sqlite3_stmt* stmt) const noexcept {
  for (sqlite3_stmt* s = sqlite3_next_stmt(at_.db(), nullptr); s; s = sqlite3_next_stmt(at_.db(), s)) {
    if (s != stmt && sqlite3_stmt_busy(s) && !sqlite3_stmt_readonly(s)) return true;
  }
  return false;
}

void change_tracker::note_control(sqlite3_stmt* stmt) noexcept {
  const char* sql = sqlite3_sql(stmt);
  if (!sql || !may_be_control(sql)) return;
  try {
    savepoint_statement s = read_savepoint_statement(sql);
    using verb = savepoint_statement::verb;
    if (s.what == verb::none) return;
    if (s.what == verb::schema) {
      shapes_.clear();
      for (const listener& l : sinks_) l.sink->schema_changes();
      return mark_statement();
    }
    // SQLite refuses both while another statement is writing.
    if (s.what != verb::roll_back_to && others_write(stmt)) return;
    control_ = s.what == verb::begin     ? control_kind::savepoint
               : s.what == verb::release ? control_kind::release
                                         : control_kind::rollback_to;
    control_name_ = std::move(s.name);
  } catch (const std::bad_alloc&) {
    at_.callback_threw(std::current_exception());
  }
}

void change_tracker::apply_control() noexcept {
  const control_kind what = std::exchange(control_, control_kind::none);
  if (what == control_kind::none) return;
  if (what == control_kind::savepoint) {
    try {
      savepoints_.push_back(control_name_);
      for (listener& l : sinks_) l.savepoints.push_back(l.sink->now());
    } catch (const std::bad_alloc&) {
      at_.callback_threw(std::current_exception());
    }
    return;
  }
  const auto found = std::find(savepoints_.rbegin(), savepoints_.rend(), control_name_);
  if (found == savepoints_.rend()) {
    // One that was open before anybody listened holds everything that has been seen; otherwise SQLite has refused.
    if (saw_all_savepoints_) return;
    if (what == control_kind::rollback_to) {
      shapes_.clear();
      for (listener& l : sinks_) l.sink->go_back({});
    }
    savepoints_.clear();
    for (listener& l : sinks_) l.savepoints.clear();
    return;
  }
  const auto index = static_cast<std::size_t>(savepoints_.rend() - found) - 1;
  if (what == control_kind::rollback_to) go_back(index);
  const std::size_t left = what == control_kind::rollback_to ? index + 1 : index;
  savepoints_.resize(left);
  for (listener& l : sinks_) l.savepoints.resize(left);
}

void change_tracker::go_back(std::size_t savepoint) noexcept {
  shapes_.clear();
  for (listener& l : sinks_) l.sink->go_back(l.savepoints[savepoint]);
  mark_statement();
}

void change_tracker::forget_savepoints() noexcept {
  savepoints_.clear();
  for (listener& l : sinks_) l.savepoints.clear();
  saw_all_savepoints_ = true;
}

}  // namespace cosqlite::detail
