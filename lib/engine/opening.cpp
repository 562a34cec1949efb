#include "engine/carray.hpp"
#include "engine/eponymous_use.hpp"
#include "engine/worker.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <functional>
#include <set>
#include <string>
#include <utility>

namespace cosqlite::detail {

namespace {

int open_flags(const open_options& o) noexcept {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  switch (o.mode) {
    case access::read_only: flags |= SQLITE_OPEN_READONLY; break;
    case access::read_write: flags |= SQLITE_OPEN_READWRITE; break;
    case access::read_write_create: flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE; break;
  }
  return o.uri ? flags | SQLITE_OPEN_URI : flags;
}

/// SQLite may be built to take any name that begins with "file:" for a URI; a leading "./" makes it a name again.
std::string disarmed(const std::string& path, bool uri) {
  return !uri && path.starts_with("file:") ? "./" + path : path;
}

const char* journal_name(journal j) noexcept {
  switch (j) {
    case journal::wal: return "wal";
    case journal::del: return "delete";
    case journal::truncate: return "truncate";
    case journal::persist: return "persist";
    case journal::memory: return "memory";
    case journal::off: return "off";
    case journal::keep: break;
  }
  return "";
}

struct limit_setting {
  int id;
  int value;
};

// What sqlite.org/security.html advises for hostile input.
constexpr limit_setting strict_limits[] = {
    {SQLITE_LIMIT_LENGTH, 1'000'000},   {SQLITE_LIMIT_SQL_LENGTH, 100'000}, {SQLITE_LIMIT_COLUMN, 100},
    {SQLITE_LIMIT_EXPR_DEPTH, 10},      {SQLITE_LIMIT_COMPOUND_SELECT, 3},  {SQLITE_LIMIT_VDBE_OP, 25'000},
    {SQLITE_LIMIT_FUNCTION_ARG, 8},     {SQLITE_LIMIT_ATTACHED, 0},         {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50},
    {SQLITE_LIMIT_VARIABLE_NUMBER, 10}, {SQLITE_LIMIT_TRIGGER_DEPTH, 10},
};

/// The synchronous level that SQLite starts with; PRAGMA is only needed for another.
bool starts_synchronous_full() noexcept {
  static const bool full = sqlite3_compileoption_used("DEFAULT_SYNCHRONOUS=2") != 0 &&
                           sqlite3_compileoption_used("DEFAULT_WAL_SYNCHRONOUS=2") != 0;
  return full;
}

}  // namespace

bool in_memory(const std::string& path) noexcept { return path == ":memory:" || path.empty(); }

void worker::open(operation& op) {
  busy_timeout_ = options_.busy_timeout;
  const std::string name = disarmed(path_, options_.uri);
  const int rc = sqlite3_open_v2(name.c_str(), &db_, open_flags(options_), vfs_.empty() ? nullptr : vfs_.c_str());
  if (rc != SQLITE_OK)
    throw_sqlite_error(db_, db_ ? sqlite3_extended_errcode(db_) : rc, {}, op.location, "open " + path_);
  try {
    configure(op);
  } catch (const busy_error&) {
    throw;
  } catch (const error& e) {
    if (!e.sql().empty()) throw_sqlite_error(db_, e.code(), {}, op.location, "open " + path_);
    throw;
  }
}

void worker::configure(operation& op) {
  const auto config = [&](int id, bool on, const char* what) {
    int now = -1;
    const int rc = sqlite3_db_config(db_, id, on ? 1 : 0, &now);
    if (rc != SQLITE_OK) throw_sqlite_error(db_, rc, {}, op.location, what);
  };
  sqlite3_busy_handler(db_, &worker::on_busy, this);
  install_progress_handler();
  if (pooled_ && !reader_) sqlite3_wal_hook(db_, &worker::on_wal, this);  // in place of automatic checkpoints
  sqlite3_set_authorizer(db_, &worker::on_authorize, this);
  config(SQLITE_DBCONFIG_ENABLE_FKEY, options_.foreign_keys, "set foreign keys");
  config(SQLITE_DBCONFIG_TRUSTED_SCHEMA, options_.trusted_schema, "set trusted_schema");
  config(SQLITE_DBCONFIG_DQS_DML, false, "turn double-quoted strings off");
  config(SQLITE_DBCONFIG_DQS_DDL, false, "turn double-quoted strings off");
  config(SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false, "turn fts3_tokenizer off");
  config(SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, false, "turn extension loading off");
  if (const int rc = register_carray(db_); rc != SQLITE_OK)
    throw_sqlite_error(db_, rc, {}, op.location, "make carray(?)");
  if (options_.strict_limits) {
    for (const limit_setting& l : strict_limits) sqlite3_limit(db_, l.id, l.value);
  }
  sqlite3_limit(db_, SQLITE_LIMIT_WORKER_THREADS, 0);
  if (options_.query_only) set_pragma(op, "PRAGMA query_only=1");
  const bool writable = options_.mode != access::read_only && !in_memory(path_);
  if (writable && options_.journal_mode != journal::keep) {
    set_pragma(op, std::string("PRAGMA journal_mode=") + journal_name(options_.journal_mode));
  } else {
    set_pragma(op, "PRAGMA schema_version");  // reads the file, so that one that is no database is refused here
  }
  // Only now: defensive mode refuses journal_mode=off without a word.
  config(SQLITE_DBCONFIG_DEFENSIVE, options_.defensive, "set defensive mode");
  if (options_.synchronous != sync::full || !starts_synchronous_full()) {
    set_pragma(op, "PRAGMA synchronous=" + std::to_string(static_cast<int>(options_.synchronous)));
  }
  if (options_.strict_limits) set_pragma(op, "PRAGMA cell_size_check=1");
  if (options_.quick_check) set_pragma(op, "PRAGMA quick_check(1)");
}

namespace {

/// Runs a PRAGMA; \p found: the text that it answers.
int run_pragma(sqlite3* db, const std::string& text, std::string& found) {
  sqlite3_stmt* stmt = nullptr;
  const int rc = sqlite3_prepare_v2(db, text.c_str(), static_cast<int>(text.size()), &stmt, nullptr);
  if (rc != SQLITE_OK) return rc;
  if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) == SQLITE_TEXT) {
    found = reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0));
  }
  return sqlite3_finalize(stmt);
}

}  // namespace

/// Runs a PRAGMA; quick_check must answer "ok".
void worker::set_pragma(operation& op, const std::string& text) {
  std::string found;
  const std::int64_t begun = now_ns();
  int rc = run_pragma(db_, text, found);
  // A change of the journal mode reads first, and SQLite asks no busy handler before it writes after that.
  for (int tries = 1; (rc & 0xff) == SQLITE_BUSY; ++tries) {
    busy_since_ = begun;
    if (on_busy(this, tries) == 0) break;
    rc = run_pragma(db_, text, found);
  }
  if (rc != SQLITE_OK) fail(op, rc, text);
  if (text.starts_with("PRAGMA quick_check") && found != "ok") {
    throw corrupt_error("cannot open " + path_ + ": the file is damaged: " + found, {SQLITE_CORRUPT, {}, op.location});
  }
}

/// What PRAGMAs may have changed since it was opened.
void worker::settle(operation& op) {
  busy_timeout_ = options_.busy_timeout;
  sqlite3_busy_handler(db_, &worker::on_busy, this);
  int now = -1;
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_FKEY, options_.foreign_keys ? 1 : 0, &now);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, options_.trusted_schema ? 1 : 0, &now);
  set_pragma(op, options_.query_only ? "PRAGMA query_only=1" : "PRAGMA query_only=0");
  set_pragma(op, "PRAGMA synchronous=" + std::to_string(static_cast<int>(options_.synchronous)));
}

void worker::install_progress_handler() noexcept {
  sqlite3_progress_handler(db_, progress_steps, &worker::on_progress, this);
}

namespace {

bool is_special(int action) noexcept {
  switch (action) {
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
    case SQLITE_PRAGMA:
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
    case SQLITE_ALTER_TABLE:
    case SQLITE_REINDEX:
    case SQLITE_ANALYZE:
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_VIEW:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_VTABLE: return true;
    default: return false;
  }
}

bool is_schema_table(std::string_view name) noexcept {
  return name == "sqlite_master" || name == "sqlite_temp_master" || name == "sqlite_schema";
}

/// Their answer depends on the statements before, or they reach outside the database.
bool is_impure(std::string_view name) noexcept {
  return name == "changes" || name == "total_changes" || name == "last_insert_rowid" || name == "load_extension" ||
         name == "fts3_tokenizer" || name == "writefile" || name == "edit";
}

/// The functions of a connection on which nobody has registered any. Another one may do anything, so it is no matter
/// for a group of writes, which may be run twice.
const std::set<std::string, std::less<>>& functions_of_sqlite() {
  static const auto* const names = [] {
    auto* all = new std::set<std::string, std::less<>>;
    sqlite3* db = nullptr;
    sqlite3_stmt* stmt = nullptr;
    if (sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT name FROM pragma_function_list", -1, &stmt, nullptr) == SQLITE_OK) {
      while (sqlite3_step(stmt) == SQLITE_ROW) all->insert(reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0)));
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return all;
  }();
  return *names;
}

std::string lower(const char* s) {
  std::string l(s ? s : "");
  for (char& c : l) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return l;
}

void classify(statement_traits& t, int action, const char* a, const char* b, const char* trigger,
              const std::vector<std::string>& user_functions) {
  if (is_special(action)) t.special = true;
  if (action == SQLITE_PRAGMA && a && b && sqlite3_stricmp(a, "busy_timeout") == 0) {
    t.busy_timeout = std::max(0, static_cast<int>(std::strtol(b, nullptr, 10)));
  }
  if ((action == SQLITE_INSERT || action == SQLITE_UPDATE || action == SQLITE_DELETE) && !trigger && a &&
      !is_schema_table(a)) {
    t.changes_rows = true;
  }
  // A table-valued function of the user's, or a table.
  if (action == SQLITE_READ && !user_functions.empty() &&
      std::ranges::find(user_functions, lower(a)) != user_functions.end()) {
    t.impure = true;
  }
  if (action != SQLITE_FUNCTION) return;
  const std::string name = lower(b);
  t.impure = t.impure || is_impure(name) || !functions_of_sqlite().contains(name) ||
             std::ranges::find(user_functions, name) != user_functions.end();
}

}  // namespace

bool is_eponymous(std::string_view table) noexcept {
  const auto is = [table](std::string_view name) {
    return table.size() >= name.size() &&
           sqlite3_strnicmp(table.data(), name.data(), static_cast<int>(name.size())) == 0;
  };
  if (is("pragma_")) return true;
  for (const std::string_view name : {"json_each", "json_tree", "carray", "dbstat", "sqlite_dbpage", "sqlite_stmt",
                                      "bytecode", "tables_used", "generate_series"}) {
    if (table.size() == name.size() && is(name)) return true;
  }
  return false;
}

int worker::on_authorize(void* self, int action, const char* a, const char* b, const char* schema,
                         const char* trigger) noexcept {
  auto* w = static_cast<worker*>(self);
  try {
    if (action == SQLITE_PRAGMA && w->classified_ && a && sqlite3_stricmp(a, "encoding") == 0)
      w->encoding_ = encoding::unknown;
    // It gives, and takes, addresses of functions: with a bound argument even where it is turned off.
    if (action == SQLITE_FUNCTION && b && sqlite3_stricmp(b, "fts3_tokenizer") == 0) return SQLITE_DENY;
    if (action == SQLITE_PRAGMA && b && w->lease_ != 0) w->settings_changed_ = true;
    if (action == SQLITE_READ && a &&
        (is_eponymous(a) || (!w->user_functions_.empty() &&
                             std::ranges::find(w->user_functions_, lower(a)) != w->user_functions_.end()))) {
      static_cast<void>(w->extend<eponymous_use>());
    }
    if (w->classified_) classify(*w->classified_, action, a, b, trigger, w->user_functions_);
    // VACUUM attaches while it runs, and may; a statement that says ATTACH is seen here while it is prepared.
    if (action == SQLITE_ATTACH && w->classified_ && !w->options_.attach) {
      w->callback_threw(std::make_exception_ptr(
          error("ATTACH is off for this connection: open it with open_options::attach = true", {SQLITE_AUTH})));
      return SQLITE_DENY;
    }
  } catch (...) {
    w->callback_threw(std::current_exception());
    return SQLITE_DENY;
  }
  return w->authorizer && !w->asks_nobody_ ? w->authorizer->authorize(action, a, b, schema, trigger) : SQLITE_OK;
}

bool worker::ask_encoding() noexcept {
  sqlite3_stmt* stmt = nullptr;
  encoding_ = encoding::other;
  if (sqlite3_prepare_v2(db_, "PRAGMA encoding", -1, &stmt, nullptr) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
    const auto* name = reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0));
    if (name && std::string_view(name) == "UTF-8") encoding_ = encoding::utf8;
  }
  sqlite3_finalize(stmt);
  return encoding_ == encoding::utf8;
}

std::shared_ptr<prepared> worker::prepare(std::string_view sql, const std::source_location& where) {
  auto p = std::make_shared<prepared>();
  p->sql = sql;
  const char* tail = nullptr;
  const auto raise = [&](int rc) {
    if (std::exception_ptr thrown = take_callback_error()) std::rethrow_exception(std::move(thrown));
    if (current_) fail(*current_, rc, sql);
    throw_sqlite_error(db_, rc, sql, where);
  };
  classified_ = &p->traits;
  const int rc = sqlite3_prepare_v3(db_, p->sql.c_str(), static_cast<int>(p->sql.size() + 1), SQLITE_PREPARE_PERSISTENT,
                                    &p->stmt, &tail);
  classified_ = nullptr;
  if (rc != SQLITE_OK) raise(rc);
  const auto refuse = [&](const char* message) {
    sqlite3_finalize(p->stmt);
    throw misuse_error(message, {SQLITE_MISUSE, std::string(sql), where});
  };
  if (!p->stmt) refuse("the SQL text holds no statement");
  sqlite3_stmt* second = nullptr;
  if (*tail != '\0') {
    const int tail_rc = sqlite3_prepare_v2(db_, tail, -1, &second, nullptr);
    const bool more = tail_rc != SQLITE_OK || second;
    sqlite3_finalize(second);
    take_callback_error();
    if (more) refuse("one statement a call: text follows the first one; use execute_script for several");
  }
  p->parameters = sqlite3_bind_parameter_count(p->stmt);
  p->traits.read_only = sqlite3_stmt_readonly(p->stmt) != 0;
  if (sqlite3_stmt_isexplain(p->stmt) != 0) p->traits.special = true;
  if (!p->traits.read_only && !p->traits.changes_rows) p->traits.special = true;
  return p;
}

namespace {

/// Gives a statement that has been finalized meanwhile what \p fresh was compiled to.
void revive(prepared& p, prepared& fresh) noexcept {
  p.stmt = std::exchange(fresh.stmt, nullptr);
  p.traits = fresh.traits;
  p.parameters = fresh.parameters;
  p.reprepares = 0;
  p.names = nullptr;
}

}  // namespace

std::shared_ptr<prepared> worker::acquire(operation& op) {
  if (op.statement) {
    if (op.statement->stmt && !op.statement->in_use) {
      op.statement->in_use = true;
      return op.statement;
    }
    auto again = prepare(op.statement->sql, op.location);
    if (!op.statement->stmt) {
      revive(*op.statement, *again);
      statements_.adopt(op.statement);
      op.statement->in_use = true;
      return op.statement;
    }
    statements_.adopt(again);
    again->in_use = true;
    return again;
  }
  std::shared_ptr<prepared> p = look_up(op);
  p->in_use = true;
  return p;
}

std::shared_ptr<prepared> worker::look_up(operation& op) {
  if (op.statement && op.statement->stmt) return op.statement;
  const std::string_view sql = sql_of(op);
  std::shared_ptr<prepared> p = statements_.find(sql);
  // Asked for its kind first, a statement is looked for twice.
  const bool first = !std::exchange(op.looked_up, true);
  if (p) {
    if (first) count_up(counted.cache_hits);
    return p;
  }
  if (!db_) std::rethrow_exception(closed_call_error(op));
  p = prepare(sql, op.location);
  if (first) count_up(counted.cache_misses);
  if (reader_ && !p->traits.read_only) {
    sqlite3_finalize(std::exchange(p->stmt, nullptr));
    throw readonly_error(
        "a reader of a pool cannot run a statement that writes: use execute(), begin(), transact() or "
        "acquire_writer() of the pool",
        {SQLITE_READONLY, std::string(sql), op.location});
  }
  statements_.insert(p);
  return p;
}

int worker::on_wal(void* self, sqlite3*, const char*, int pages) noexcept {
  auto* w = static_cast<worker*>(self);
  w->counted.wal_pages.store(pages, std::memory_order_relaxed);
  // Between transactions is better; but while calls keep coming there may be no such moment.
  if (pages >= 2 * w->checkpoint_pages_ && pages >= w->checkpoint_again_at_) w->checkpoint_when_due();
  return SQLITE_OK;
}

int worker::compile_script_statement(const char* sql, int size, sqlite3_stmt** stmt, const char** tail) noexcept {
  statement_traits ignored;
  classified_ = &ignored;
  const int rc = sqlite3_prepare_v3(db_, sql, size, 0, stmt, tail);
  classified_ = nullptr;
  if (ignored.busy_timeout >= 0) set_busy_timeout(ignored.busy_timeout);
  return rc;
}

int worker::put_back(prepared& p) noexcept {
  const bool failed = callback_error_ != nullptr;
  const int rc = sqlite3_reset(p.stmt);
  // Aggregates that had not come to their end were finalized for nobody.
  if (!failed) callback_error_ = nullptr;
  if (p.parameters > 0) sqlite3_clear_bindings(p.stmt);
  p.in_use = false;
  if (!p.cached) statements_.sweep();
  return rc;
}

}  // namespace cosqlite::detail
