#include "engine/worker.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/explain.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <memory>

namespace cosqlite {

namespace detail {

namespace {

using statement_owner = std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)>;

std::string_view column_text(sqlite3_stmt* stmt, int i) noexcept {
  const auto* s = reinterpret_cast<const char*>(sqlite3_column_text(stmt, i));
  return s ? std::string_view(s, static_cast<std::size_t>(sqlite3_column_bytes(stmt, i))) : std::string_view();
}

/// Compiles \p verb and the statement, which must be a single one.
statement_owner explain_statement(worker& at, operation& op, const char* verb) {
  // Compiled by itself first, so that an error's offset is in the caller's text, and a second statement is refused.
  at.statements().adopt(at.prepare(op.sql, op.location));
  const std::string sql = verb + op.sql;
  sqlite3_stmt* stmt = nullptr;
  const int rc = sqlite3_prepare_v2(at.db(), sql.c_str(), static_cast<int>(sql.size() + 1), &stmt, nullptr);
  if (rc != SQLITE_OK) at.fail(op, rc);
  return {stmt, sqlite3_finalize};
}

plan_step* find_step(std::vector<plan_step>& steps, int id) noexcept {
  for (plan_step& s : steps) {
    if (s.id == id) return &s;
    if (plan_step* inner = find_step(s.steps, id)) return inner;
  }
  return nullptr;
}

void print(const std::vector<plan_step>& steps, std::size_t level, std::string& to) {
  for (const plan_step& s : steps) {
    to.append(2 * level, ' ').append(s.detail).append("\n");
    print(s.steps, level + 1, to);
  }
}

bool any_scan(const std::vector<plan_step>& steps) {
  return std::ranges::any_of(steps,
                             [](const plan_step& s) { return s.detail.starts_with("SCAN ") || any_scan(s.steps); });
}

template <class F>
auto make_explanation(const call_site& site, const sql_text& sql, F work) {
  using result = std::invoke_result_t<F&, worker&, operation&>;
  using kind = callable_type<F, result>;
  operation_ref op = make_operation(site, kind::type, sql);
  op->closure = std::make_unique<callable_holder<F>>(std::move(work));
  return call<result>(std::move(op));
}

}  // namespace

call<query_plan> explain_plan(const call_site& site, const sql_text& sql) {
  return make_explanation(site, sql, [](worker& at, operation& op) {
    const statement_owner stmt = explain_statement(at, op, "EXPLAIN QUERY PLAN ");
    query_plan plan;
    int rc = SQLITE_OK;
    while ((rc = sqlite3_step(stmt.get())) == SQLITE_ROW) {
      plan_step* parent = find_step(plan.steps, sqlite3_column_int(stmt.get(), 1));
      plan_step& step = (parent ? parent->steps : plan.steps).emplace_back();
      step.id = sqlite3_column_int(stmt.get(), 0);
      step.detail = column_text(stmt.get(), 3);
    }
    if (rc != SQLITE_DONE) at.fail(op, rc);
    return plan;
  });
}

call<std::string> explain_program(const call_site& site, const sql_text& sql) {
  return make_explanation(site, sql, [](worker& at, operation& op) {
    const statement_owner stmt = explain_statement(at, op, "EXPLAIN ");
    std::string text;
    int rc = SQLITE_OK;
    while ((rc = sqlite3_step(stmt.get())) == SQLITE_ROW) {
      for (int i = 0; i < sqlite3_column_count(stmt.get()); ++i) {
        if (i > 0) text += '\t';
        text += column_text(stmt.get(), i);
      }
      text += '\n';
    }
    if (rc != SQLITE_DONE) at.fail(op, rc);
    return text;
  });
}

call<column_metadata> describe_column(const call_site& site, std::string table, std::string column, std::string schema,
                                      std::source_location where) {
  auto work = [table = std::move(table), column = std::move(column), schema = std::move(schema)](worker& at,
                                                                                                 operation& op) {
    const char* type = nullptr;
    const char* collation = nullptr;
    int not_null = 0;
    int key = 0;
    int counts = 0;
    const int rc = sqlite3_table_column_metadata(at.db(), schema.empty() ? nullptr : schema.c_str(), table.c_str(),
                                                 column.c_str(), &type, &collation, &not_null, &key, &counts);
    if (rc != SQLITE_OK) at.fail(op, rc, {});
    column_metadata m;
    if (type) m.declared_type = type;
    if (collation) m.collation = collation;
    m.not_null = not_null != 0;
    m.primary_key = key != 0;
    m.autoincrement = counts != 0;
    return m;
  };
  return make_callable(site, std::move(work), where);
}

}  // namespace detail

std::string query_plan::text() const {
  std::string all;
  detail::print(steps, 0, all);
  return all;
}

bool query_plan::scans() const { return detail::any_scan(steps); }

}  // namespace cosqlite
