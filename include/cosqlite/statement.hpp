/// \file
/// A statement prepared once and run many times.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/detail/results.hpp>
#include <cosqlite/execute_result.hpp>
#include <cosqlite/row.hpp>
#include <cosqlite/stream.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cosqlite {

/// A column of a statement's result.
struct column {
  std::string name;           ///< as the query calls it
  std::string declared_type;  ///< as the schema declares it; empty for expressions
  std::string schema;         ///< where the value comes from: "main", …; empty for expressions
  std::string table;          ///< its table; empty for expressions
  std::string origin;         ///< its column there; empty for expressions
};

/// A prepared statement. The connection caches statements by their text anyway; a `statement` saves the look-up, stays
/// prepared whatever the cache does, and knows its columns and parameters. Movable; dropping it is cheap. Runs are
/// calls like those of `queries`, under the limits of the `with(…)` that it was prepared through, if any. Follows
/// schema changes.
class statement {
 public:
  statement(detail::call_site site, std::shared_ptr<detail::prepared> prepared, std::vector<column> columns,
            std::vector<std::string> parameters) noexcept
      : site_(std::move(site)),
        where_(site_.where),
        prepared_(std::move(prepared)),
        columns_(std::move(columns)),
        parameters_(std::move(parameters)) {}

  /// The result's columns, as they were when it was prepared.
  [[nodiscard]] const std::vector<column>& columns() const noexcept { return columns_; }
  /// The parameters' names with their prefix, from the first; an empty string for `?`.
  [[nodiscard]] const std::vector<std::string>& parameters() const noexcept { return parameters_; }

  /// Runs it for its effect.
  template <class... A>
  [[nodiscard]] call<execute_result> execute(const A&... arguments) {
    return call<execute_result>(build(detail::execute_operation, arguments...));
  }
  /// All rows, untyped.
  template <int NoRowType = 0, class... A>  // so that query<T>(…) can only mean the typed one
  [[nodiscard]] call<rows> query(const A&... arguments) {
    return call<rows>(build(detail::query_operation, arguments...));
  }
  /// All rows as \p T.
  template <class T, class... A>
  [[nodiscard]] call<std::vector<T>> query(const A&... arguments) {
    return call<std::vector<T>>(build(detail::all_rows<T>::type, arguments...));
  }
  /// The first row as \p T. No row: `no_row_error`.
  template <class T, class... A>
  [[nodiscard]] call<T> query_one(const A&... arguments) {
    return call<T>(build(detail::first_row<T>::type, arguments...));
  }
  /// The first row as \p T, or nothing.
  template <class T, class... A>
  [[nodiscard]] call<std::optional<T>> query_optional(const A&... arguments) {
    return call<std::optional<T>>(build(detail::maybe_row<T>::type, arguments...));
  }
  /// A stream of untyped rows.
  template <int NoRowType = 0, class... A>  // so that stream<T>(…) can only mean the typed one
  [[nodiscard]] row_stream stream(const A&... arguments) {
    return row_stream(site_, build(detail::fetch_operation, arguments...));
  }
  /// A stream of rows as \p T.
  template <class T, class... A>
  [[nodiscard]] typed_stream<T> stream(const A&... arguments) {
    return typed_stream<T>(site_, build(detail::all_rows<T>::fetch, arguments...));
  }

  /// The same statement under a deadline for each call, from the moment of awaiting.
  [[nodiscard]] statement with(std::chrono::nanoseconds timeout) const { return limited(site_.stop, timeout); }
  /// The same statement under a stop token.
  [[nodiscard]] statement with(std::stop_token stop) const { return limited(std::move(stop), site_.timeout); }
  /// The same statement under both.
  [[nodiscard]] statement with(std::stop_token stop, std::chrono::nanoseconds timeout) const {
    return limited(std::move(stop), timeout);
  }

 private:
  statement limited(std::stop_token stop, std::chrono::nanoseconds timeout) const {
    statement copy = *this;
    copy.site_.stop = std::move(stop);
    copy.site_.timeout = timeout;
    return copy;
  }

  template <class... A>
  detail::operation_ref build(const detail::operation_type& type, const A&... arguments) {
    detail::operation_ref op = detail::make_operation(site_, type);
    op->statement = prepared_;
    (detail::bind(op->args, arguments), ...);
    return op;
  }

  detail::call_site site_;
  detail::ref<detail::executor> where_;
  std::shared_ptr<detail::prepared> prepared_;
  std::vector<column> columns_;
  std::vector<std::string> parameters_;
};

}  // namespace cosqlite
