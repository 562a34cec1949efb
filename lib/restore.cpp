#include "engine/worker.hpp"
#include "sql_quoting.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/dump.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/transaction.hpp>

#include <cctype>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace cosqlite::detail {

namespace {

constexpr std::size_t text_due = 64 * 1024;

/// What a restore has changed of the connection, until its transaction ends.
class restore_settings final : public extension {
 public:
  explicit restore_settings(worker& at) : at_(at) {}

  /// Rows come before what they refer to, and schemas may be older than the rules for them.
  void relax() noexcept {
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_ENABLE_FKEY, -1, &foreign_keys_);
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_DQS_DDL, -1, &double_quotes_);
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_ENABLE_FKEY, 0, nullptr);
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_DQS_DDL, 1, nullptr);
  }
  void set_back() noexcept {
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_ENABLE_FKEY, foreign_keys_, nullptr);
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_DQS_DDL, double_quotes_, nullptr);
    owner = 0;
  }
  void transaction_ended(std::uint64_t ended) noexcept override {
    if (ended == owner) set_back();
  }
  std::uint64_t owner = 0;

 private:
  worker& at_;
  int foreign_keys_ = 1;
  int double_quotes_ = 0;
};

bool is_transaction_control(std::string_view sql) {
  std::string word;
  for (std::size_t i = 0; i < sql.size();) {
    const auto c = static_cast<unsigned char>(sql[i]);
    if (std::isalpha(c)) {
      word += static_cast<char>(std::tolower(c));
      ++i;
      continue;
    }
    if (!word.empty()) break;
    const bool skipped = std::isspace(c) || c == ';' || sql.substr(i, 2) == "--" || sql.substr(i, 2) == "/*";
    if (!skipped) break;
    i = token_end(sql, i);
  }
  return word == "begin" || word == "commit" || word == "end";
}

void run_piece(worker& at, operation& op, const char* from, const char* end, const char*& tail) {
  sqlite3_stmt* stmt = nullptr;
  int rc = at.compile_script_statement(from, static_cast<int>(end - from) + 1, &stmt, &tail);
  const bool passed_over = rc == SQLITE_OK && is_transaction_control({from, static_cast<std::size_t>(tail - from)});
  if (rc == SQLITE_OK && stmt && !passed_over) {
    do rc = sqlite3_step(stmt);
    while (rc == SQLITE_ROW);
    if (rc == SQLITE_DONE) rc = SQLITE_OK;
  }
  std::exception_ptr failure;
  if (rc != SQLITE_OK) {
    const char* last = tail && tail > from ? tail : end;
    try {
      at.fail(op, sqlite3_extended_errcode(at.db()), std::string_view(from, static_cast<std::size_t>(last - from)));
    } catch (...) {
      failure = std::current_exception();
    }
  }
  sqlite3_finalize(stmt);
  if (failure) std::rethrow_exception(std::move(failure));
}

void run_text_of(worker& at, operation& op, const std::string& text) {
  const char* next = text.c_str();
  const char* const end = next + text.size();
  while (next < end) {
    if (at.stop_requested()) at.fail(op, SQLITE_INTERRUPT, {});
    if (at.in_autocommit()) std::rethrow_exception(transaction_ended_error(op, true));
    const char* tail = nullptr;
    run_piece(at, op, next, end, tail);
    next = tail;
  }
}

}  // namespace

class restore_state {
 public:
  restore_state(call_site s, std::source_location w) : site(std::move(s)), keep(site.where), where(w) {}
  restore_state(const restore_state&) = delete;
  restore_state& operator=(const restore_state&) = delete;
  ~restore_state();

  call_site site;
  ref<executor> keep;
  std::source_location where;
  std::string text;
  std::size_t due = text_due;
};

namespace {

void run_begin_restore(worker& at, operation& op) {
  auto& settings = at.extend<restore_settings>();
  settings.relax();
  try {
    at.begin(op, op.serial, "BEGIN IMMEDIATE");
  } catch (...) {
    settings.set_back();
    throw;
  }
  if (at.owner() == 0) return settings.set_back();  // abandoned
  settings.owner = op.serial;
  call_site s;
  s.where = &at;
  s.owner = op.serial;
  s.deadline = op.deadline;
  s.stop = op.stop_token;
  emplace_result<restore_session>(op, std::make_unique<restore_state>(std::move(s), op.location));
}

void run_commit_restore(worker& at, operation& op) { at.commit(op); }
void run_drop_restore(worker& at, operation& op) { at.rollback(op); }

constexpr operation_type begin_operation{
    .run = &run_begin_restore, .destroy_result = &destroy_result<restore_session>, .begins = true};
constexpr operation_type commit_operation{.run = &run_commit_restore, .ends = true};
constexpr operation_type drop_operation{.run = &run_drop_restore, .urgent = true, .ends = true};

}  // namespace

restore_state::~restore_state() {
  call_site s;
  s.where = site.where;
  s.owner = site.owner;
  start_detached(make_operation(s, drop_operation));
}

restore_session::restore_session(std::unique_ptr<restore_state> state) noexcept : state_(std::move(state)) {}
restore_session::restore_session(restore_session&&) noexcept = default;
restore_session& restore_session::operator=(restore_session&&) noexcept = default;
restore_session::~restore_session() = default;

void restore_session::add(std::string_view sql) {
  if (sql.find('\0') != std::string_view::npos) {
    throw misuse_error("the SQL text has a NUL character in it, where SQLite would stop reading",
                       {SQLITE_MISUSE, {}, state_->where});
  }
  state_->text += sql;
  // A statement a piece, without its line's end.
  if (!sql.empty() && sql.back() == ';') state_->text += '\n';
}

bool restore_session::is_due() const noexcept {
  if (state_->text.size() < state_->due) return false;
  if (sqlite3_complete(state_->text.c_str()) != 0) return true;
  state_->due *= 2;
  return false;
}

call<> restore_session::flush() {
  state_->due = text_due;
  std::string text = std::exchange(state_->text, {});
  return make_callable(
      state_->site, [text = std::move(text)](worker& at, operation& op) { run_text_of(at, op, text); }, state_->where);
}

call<> restore_session::commit() {
  operation_ref op = make_operation(state_->site, commit_operation);
  op->location = state_->where;
  return call<>(std::move(op));
}

call<restore_session> begin_restore(const call_site& site, std::source_location where) {
  operation_ref op = make_operation(site, begin_operation);
  op->location = where;
  return call<restore_session>(std::move(op));
}

call_site restore_site(call_site site) noexcept { return with_deadline_from_now(std::move(site)); }

}  // namespace cosqlite::detail
