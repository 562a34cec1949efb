/// \file
/// How SQLite runs a statement, and what it knows of a column.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/sql.hpp>

#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cosqlite {

/// One step of a query plan, with the steps it is made of.
struct plan_step {
  int id = 0;                    ///< SQLite's number of the step
  std::string detail;            ///< such as "SEARCH users USING INTEGER PRIMARY KEY (rowid=?)"
  std::vector<plan_step> steps;  ///< what it is made of
};

/// A query plan as a tree.
struct query_plan {
  std::vector<plan_step> steps;  ///< the uppermost steps
  /// The plan as text, a step a line, indented by two spaces a level.
  [[nodiscard]] COSQLITE_API std::string text() const;
  /// Whether a step reads a whole table (or index) row by row.
  [[nodiscard]] COSQLITE_API bool scans() const;
};

/// What the schema says of a column.
struct column_metadata {
  std::string declared_type;   ///< as CREATE TABLE has it
  std::string collation;       ///< the collation that it is compared with, such as "BINARY"
  bool not_null = false;       ///< it has a NOT NULL constraint
  bool primary_key = false;    ///< it is part of the primary key
  bool autoincrement = false;  ///< it is AUTOINCREMENT
};

namespace detail {

COSQLITE_API call<query_plan> explain_plan(const call_site& site, const sql_text& sql);
COSQLITE_API call<std::string> explain_program(const call_site& site, const sql_text& sql);
COSQLITE_API call<column_metadata> describe_column(const call_site& site, std::string table, std::string column,
                                                   std::string schema, std::source_location where);

}  // namespace detail

/// Explanations of a connection. They compile the statement and do not run it; parameters stay unbound.
template <class Self>
class explain_calls {
 public:
  /// EXPLAIN QUERY PLAN of \p sql, as a tree.
  [[nodiscard]] call<cosqlite::query_plan> query_plan(sql_text sql) { return detail::explain_plan(here(), sql); }
  /// EXPLAIN of \p sql: the program of SQLite's virtual machine, an instruction a line.
  [[nodiscard]] call<std::string> explain(sql_text sql) { return detail::explain_program(here(), sql); }
  /// What the schema says of a column. Empty \p schema: wherever the table is found. error when there is no such
  /// column.
  [[nodiscard]] call<cosqlite::column_metadata> column_metadata(
      std::string table, std::string column, std::string schema = {},
      std::source_location where = std::source_location::current()) {
    return detail::describe_column(here(), std::move(table), std::move(column), std::move(schema), where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
