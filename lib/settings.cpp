#include "engine/worker.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/settings.hpp>

#include <sqlite3.h>

#include <string>

namespace cosqlite::detail {

namespace {

// Named only by newer headers than the oldest that is supported.
constexpr int statement_scan_status_code = 1018;
constexpr int reverse_scan_order_code = 1019;
constexpr int attach_create_code = 1020;
constexpr int attach_write_code = 1021;
constexpr int comments_code = 1022;

int code_of(limit_kind kind) noexcept {
  switch (kind) {
    case limit_kind::length: return SQLITE_LIMIT_LENGTH;
    case limit_kind::sql_length: return SQLITE_LIMIT_SQL_LENGTH;
    case limit_kind::column: return SQLITE_LIMIT_COLUMN;
    case limit_kind::expression_depth: return SQLITE_LIMIT_EXPR_DEPTH;
    case limit_kind::compound_select: return SQLITE_LIMIT_COMPOUND_SELECT;
    case limit_kind::vdbe_op: return SQLITE_LIMIT_VDBE_OP;
    case limit_kind::function_arguments: return SQLITE_LIMIT_FUNCTION_ARG;
    case limit_kind::attached: return SQLITE_LIMIT_ATTACHED;
    case limit_kind::like_pattern_length: return SQLITE_LIMIT_LIKE_PATTERN_LENGTH;
    case limit_kind::variable_number: return SQLITE_LIMIT_VARIABLE_NUMBER;
    case limit_kind::trigger_depth: return SQLITE_LIMIT_TRIGGER_DEPTH;
    case limit_kind::worker_threads: break;
  }
  return SQLITE_LIMIT_WORKER_THREADS;
}

int code_of(config_flag flag) noexcept {
  switch (flag) {
    case config_flag::foreign_keys: return SQLITE_DBCONFIG_ENABLE_FKEY;
    case config_flag::triggers: return SQLITE_DBCONFIG_ENABLE_TRIGGER;
    case config_flag::views: return SQLITE_DBCONFIG_ENABLE_VIEW;
    case config_flag::fts3_tokenizer: return SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER;
    case config_flag::no_checkpoint_on_close: return SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    case config_flag::query_planner_stability: return SQLITE_DBCONFIG_ENABLE_QPSG;
    case config_flag::trigger_explain: return SQLITE_DBCONFIG_TRIGGER_EQP;
    case config_flag::reset_database: return SQLITE_DBCONFIG_RESET_DATABASE;
    case config_flag::defensive: return SQLITE_DBCONFIG_DEFENSIVE;
    case config_flag::writable_schema: return SQLITE_DBCONFIG_WRITABLE_SCHEMA;
    case config_flag::legacy_alter_table: return SQLITE_DBCONFIG_LEGACY_ALTER_TABLE;
    case config_flag::dqs_in_statements: return SQLITE_DBCONFIG_DQS_DML;
    case config_flag::dqs_in_schema: return SQLITE_DBCONFIG_DQS_DDL;
    case config_flag::trusted_schema: return SQLITE_DBCONFIG_TRUSTED_SCHEMA;
    case config_flag::statement_scan_status: return statement_scan_status_code;
    case config_flag::reverse_scan_order: return reverse_scan_order_code;
    case config_flag::attach_create: return attach_create_code;
    case config_flag::attach_write: return attach_write_code;
    case config_flag::comments: return comments_code;
    case config_flag::legacy_file_format: break;
  }
  return SQLITE_DBCONFIG_LEGACY_FILE_FORMAT;
}

/// \p on: 0, 1, or -1 to ask.
bool configure(worker& at, const operation& op, config_flag flag, int on) {
  int now = -1;
  const int rc = sqlite3_db_config(at.db(), code_of(flag), on, &now);
  if (rc != SQLITE_OK) {
    throw unsupported_error("this SQLite does not know the connection switch " + std::to_string(code_of(flag)),
                            {rc, {}, op.location});
  }
  if (on >= 0 && now != on) {
    throw error("SQLite has left the connection switch " + std::to_string(code_of(flag)) + " as it was",
                {SQLITE_ERROR, {}, op.location});
  }
  return now == 1;
}

}  // namespace

call<int> get_limit(const call_site& site, limit_kind kind, std::source_location where) {
  return make_callable(
      site, [kind](worker& at, operation&) { return sqlite3_limit(at.db(), code_of(kind), -1); }, where);
}

call<int> set_limit(const call_site& site, limit_kind kind, int value, std::source_location where) {
  if (value < 0) throw misuse_error("a limit cannot be negative", {SQLITE_MISUSE, {}, where});
  return make_callable(
      site, [kind, value](worker& at, operation&) { return sqlite3_limit(at.db(), code_of(kind), value); }, where);
}

call<bool> get_config(const call_site& site, config_flag flag, std::source_location where) {
  return make_callable(site, [flag](worker& at, operation& op) { return configure(at, op, flag, -1); }, where);
}

call<bool> set_config(const call_site& site, config_flag flag, bool on, std::source_location where) {
  return make_callable(
      site, [flag, on](worker& at, operation& op) { return configure(at, op, flag, on ? 1 : 0); }, where);
}

}  // namespace cosqlite::detail
