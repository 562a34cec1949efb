/// \file
/// Limits and switches of a connection.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>

#include <cstdint>
#include <source_location>

namespace cosqlite {

/// What SQLite limits for each connection; see sqlite.org/limits.html.
enum class limit_kind : std::uint8_t {
  length,      ///< bytes of a string, blob or row
  sql_length,  ///< bytes of an SQL statement
  column,      ///< columns of a table, result or index
  expression_depth,
  compound_select,  ///< terms of a compound SELECT
  vdbe_op,          ///< instructions of a compiled statement
  function_arguments,
  attached,  ///< attached databases
  like_pattern_length,
  variable_number,  ///< the highest parameter number
  trigger_depth,
  worker_threads,  ///< helper threads of one statement
};

/// Switches of a connection; see sqlite.org/c3ref/c_dbconfig_defensive.html.
enum class config_flag : std::uint8_t {
  foreign_keys,
  triggers,
  views,
  fts3_tokenizer,
  no_checkpoint_on_close,
  query_planner_stability,
  trigger_explain,
  reset_database,
  defensive,
  writable_schema,
  legacy_alter_table,
  dqs_in_statements,  ///< double-quoted strings in queries
  dqs_in_schema,      ///< double-quoted strings in CREATE statements
  trusted_schema,
  legacy_file_format,
  statement_scan_status,  ///< from SQLite 3.42 on, where it is compiled in
  reverse_scan_order,     ///< from SQLite 3.42 on
  attach_create,          ///< ATTACH may make files; from SQLite 3.49 on
  attach_write,           ///< attached files may be written to; from SQLite 3.49 on
  comments,               ///< SQL may have comments; from SQLite 3.49 on
};

namespace detail {

COSQLITE_API call<int> get_limit(const call_site& site, limit_kind kind, std::source_location where);
COSQLITE_API call<int> set_limit(const call_site& site, limit_kind kind, int value, std::source_location where);
COSQLITE_API call<bool> get_config(const call_site& site, config_flag flag, std::source_location where);
COSQLITE_API call<bool> set_config(const call_site& site, config_flag flag, bool on, std::source_location where);

}  // namespace detail

/// The settings of a connection.
template <class Self>
class settings_calls {
 public:
  /// The limit's value.
  [[nodiscard]] call<int> limit(limit_kind kind, std::source_location where = std::source_location::current()) {
    return detail::get_limit(here(), kind, where);
  }
  /// Sets a limit (SQLite cuts it to what it was compiled with) and gives the value before. Negative: misuse_error.
  [[nodiscard]] call<int> limit(limit_kind kind, int value,
                                std::source_location where = std::source_location::current()) {
    return detail::set_limit(here(), kind, value, where);
  }
  /// Whether the switch is on. unsupported_error where this SQLite does not know it.
  [[nodiscard]] call<bool> config(config_flag flag, std::source_location where = std::source_location::current()) {
    return detail::get_config(here(), flag, where);
  }
  /// Turns a switch and gives what it is now; throws when SQLite has not done as asked.
  [[nodiscard]] call<bool> config(config_flag flag, bool on,
                                  std::source_location where = std::source_location::current()) {
    return detail::set_config(here(), flag, on, where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
