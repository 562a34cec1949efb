/// \file
/// The one set of calls that connection, transaction, savepoint and pool share.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/many.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/detail/results.hpp>
#include <cosqlite/execute_result.hpp>
#include <cosqlite/row.hpp>
#include <cosqlite/sql.hpp>
#include <cosqlite/stream.hpp>

#include <optional>
#include <ranges>
#include <vector>

namespace cosqlite {

/// Queries on whatever \p Self stands for. For all of them: SQL and arguments are copied before the function returns
/// (the rows of `execute_many` excepted), the call is queued when awaited, runs on the connection's worker thread, and
/// the coroutine resumes on the loop. Arguments bind by position (`?`, `?NNN`) or with `named(":name", v)`; their
/// number must match the statement's. Exactly one statement a call. Errors are those of error.hpp, thrown from the
/// `co_await`; a bad argument (NaN, an unsigned integer too large) throws when the call is built. Call from the loop's
/// thread.
template <class Self>
class queries {
 public:
  /// Runs a statement for its effect. Rows that it returns are dropped.
  template <class... A>
  [[nodiscard]] call<execute_result> execute(sql_text sql, const A&... arguments) {
    return call<execute_result>(build(detail::execute_operation, sql, arguments...));
  }

  /// All rows, untyped.
  template <int NoRowType = 0, class... A>  // so that query<T>(…) can only mean the typed one
  [[nodiscard]] call<rows> query(sql_text sql, const A&... arguments) {
    return call<rows>(build(detail::query_operation, sql, arguments...));
  }

  /// All rows as \p T: a scalar, `std::optional`, tuple or plain struct by position, or a type with an `adapter`.
  /// Decoded on the worker.
  template <class T, class... A>
  [[nodiscard]] call<std::vector<T>> query(sql_text sql, const A&... arguments) {
    return call<std::vector<T>>(build(detail::all_rows<T>::type, sql, arguments...));
  }

  /// The first row as \p T; further rows are not read. No row: `no_row_error`.
  template <class T, class... A>
  [[nodiscard]] call<T> query_one(sql_text sql, const A&... arguments) {
    return call<T>(build(detail::first_row<T>::type, sql, arguments...));
  }

  /// The first row as \p T, or nothing.
  template <class T, class... A>
  [[nodiscard]] call<std::optional<T>> query_optional(sql_text sql, const A&... arguments) {
    return call<std::optional<T>>(build(detail::maybe_row<T>::type, sql, arguments...));
  }

  /// A stream of untyped rows. The statement starts at its first `next()`.
  template <int NoRowType = 0, class... A>  // so that stream<T>(…) can only mean the typed one
  [[nodiscard]] row_stream stream(sql_text sql, const A&... arguments) {
    return row_stream(site(), build(detail::fetch_operation, sql, arguments...));
  }

  /// A stream of rows as \p T.
  template <class T, class... A>
  [[nodiscard]] typed_stream<T> stream(sql_text sql, const A&... arguments) {
    return typed_stream<T>(site(), build(detail::all_rows<T>::fetch, sql, arguments...));
  }

  /// Runs \p sql once for each of \p rows (tuples, plain structs, ranges of values, or single values), in one hop and
  /// one transaction, all or nothing. `changes` is the sum. A container passed by name is read in place by the worker:
  /// leave it alone until the call is done (destroying the call waits for the row at hand). Other ranges are moved or
  /// copied in.
  template <std::ranges::input_range R>
  [[nodiscard]] call<execute_result> execute_many(sql_text sql, R&& rows) {
    return call<execute_result>(detail::make_many(site(), sql, std::forward<R>(rows)));
  }

  /// Runs all statements of \p sql, one after another; rows are dropped. Stops at the first that fails; what ran before
  /// it stays, unless the script itself or a surrounding transaction says otherwise.
  [[nodiscard]] call<> execute_script(sql_text sql) {
    return call<>(detail::make_operation(site(), detail::script_operation, sql));
  }

 private:
  [[nodiscard]] detail::call_site site() { return static_cast<Self&>(*this).site(); }

  template <class... A>
  detail::operation_ref build(const detail::operation_type& type, const sql_text& sql, const A&... arguments) {
    detail::operation_ref op = detail::make_operation(site(), type, sql);
    (detail::bind(op->args, arguments), ...);
    return op;
  }
};

}  // namespace cosqlite
