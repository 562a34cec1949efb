/// \file
/// How the rows of a statement become the result of a call: one static table for each result type.
#pragma once

#include <cosqlite/detail/decode.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/row.hpp>

#include <optional>
#include <utility>
#include <vector>

namespace cosqlite::detail {

/// Runs one statement on the worker: finds or prepares it, binds, steps, resets.
COSQLITE_API void run_statement(worker& at, operation& op);
/// Runs one statement once for each row that `type->next` binds, all or nothing.
COSQLITE_API void run_many(worker& at, operation& op);
/// Steps a stream's statement on by a batch.
COSQLITE_API void run_fetch(worker& at, operation& op);
COSQLITE_API void run_script(worker& at, operation& op);

extern COSQLITE_API const operation_type execute_operation;
extern COSQLITE_API const operation_type query_operation;
extern COSQLITE_API const operation_type fetch_operation;
extern COSQLITE_API const operation_type script_operation;

[[noreturn]] COSQLITE_API void throw_no_row(const operation& op);

template <class T>
struct all_rows {
  static void begin(operation& op) { emplace_result<std::vector<T>>(op).reserve(op.expected_rows); }
  static bool row(operation& op, cell* cells, int count) {
    auto& all = result_of<std::vector<T>>(op);
    all.push_back(decode_row<T>(cells, count));
    return true;
  }
  static constexpr operation_type type{.run = &run_statement,
                                       .row = &row,
                                       .begin = &begin,
                                       .destroy_result = &destroy_result<std::vector<T>>,
                                       .plain_statement = true};
  static constexpr operation_type fetch{
      .run = &run_fetch, .row = &row, .begin = &begin, .destroy_result = &destroy_result<std::vector<T>>};
};

template <class T>
struct first_row {
  static void begin(operation& op) { op.clear_result(); }
  static bool row(operation& op, cell* cells, int count) {
    if (!op.result) emplace_result<T>(op, decode_row<T>(cells, count));
    return false;
  }
  static void end(operation& op) {
    if (!op.result) throw_no_row(op);
  }
  static constexpr operation_type type{.run = &run_statement,
                                       .row = &row,
                                       .begin = &begin,
                                       .end = &end,
                                       .destroy_result = &destroy_result<T>,
                                       .plain_statement = true};
};

template <class T>
struct maybe_row {
  static void begin(operation& op) { emplace_result<std::optional<T>>(op); }
  static bool row(operation& op, cell* cells, int count) {
    auto& found = result_of<std::optional<T>>(op);
    if (!found) found.emplace(decode_row<T>(cells, count));
    return false;
  }
  static constexpr operation_type type{.run = &run_statement,
                                       .row = &row,
                                       .begin = &begin,
                                       .destroy_result = &destroy_result<std::optional<T>>,
                                       .plain_statement = true};
};

}  // namespace cosqlite::detail
