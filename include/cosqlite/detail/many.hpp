/// \file
/// Ranges of rows on their way into execute_many.
#pragma once

#include <cosqlite/detail/aggregate.hpp>
#include <cosqlite/detail/decode.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/detail/results.hpp>
#include <cosqlite/execute_result.hpp>

#include <concepts>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <type_traits>
#include <utility>

namespace cosqlite::detail {

template <class T>
concept bindable_scalar =
    one_column<T> || adapted_for_binding<T> || text_like<T> || bytes_like<T> || is_named<T> ||
    std::same_as<T, std::nullptr_t> || std::same_as<T, zeroblob> || requires(const T& v, sink& s) { v.bind_to(s); };

/// Binds one row: a tuple or plain struct member by member, anything else as the only argument.
template <class T>
void bind_row(sink& to, const T& row) {
  if constexpr (bindable_scalar<T>) {
    detail::bind(to, row);
  } else if constexpr (is_tuple<T>) {
    std::apply([&to](const auto&... v) { (detail::bind(to, v), ...); }, row);
  } else if constexpr (std::ranges::range<const T>) {
    for (const auto& v : row) detail::bind(to, v);
  } else {
    for_each_member(row, [&to](const auto& v) { detail::bind(to, v); });
  }
}

/// A range that another thread may walk while its owner waits: one that const access alone can walk, again and again.
template <class R>
concept lendable_range =
    std::ranges::forward_range<const R> && std::ranges::sized_range<const R> && !std::ranges::view<R>;

template <class R>
struct lent_rows final : holder {
  explicit lent_rows(const R& r) : at(std::ranges::begin(r)), end(std::ranges::end(r)) {}
  std::ranges::iterator_t<const R> at;
  std::ranges::sentinel_t<const R> end;
};

template <class R>
struct owned_rows final : holder {
  explicit owned_rows(R r) : rows(std::move(r)), at(std::ranges::begin(rows)), end(std::ranges::end(rows)) {}
  R rows;
  std::ranges::iterator_t<const R> at;
  std::ranges::sentinel_t<const R> end;
};

template <class Rows>
struct many_type {
  static bool next(operation& op, sink& to) {
    auto& rows = static_cast<Rows&>(*op.closure);
    if (rows.at == rows.end) return false;
    if constexpr (std::is_reference_v<decltype(*rows.at)>) {
      bind_row(to, *rows.at);
    } else {
      const transient_scope temporary(to);
      bind_row(to, *rows.at);
    }
    ++rows.at;
    return true;
  }
  static constexpr operation_type type{
      .run = &run_many, .next = &next, .destroy_result = &destroy_result<execute_result>};
};

/// Rows of a range that can be walked only once, or only here: collected before the call is queued.
template <class R>
auto collect(R&& rows) {
  std::vector<std::ranges::range_value_t<R>> all;
  if constexpr (std::ranges::sized_range<R>) all.reserve(std::ranges::size(rows));
  for (auto&& row : rows) all.push_back(std::forward<decltype(row)>(row));
  return all;
}

template <class R>
operation_ref make_many(const call_site& site, const sql_text& sql, R&& rows) {
  using range = std::remove_cvref_t<R>;
  if constexpr (std::is_lvalue_reference_v<R&&> && lendable_range<range>) {
    operation_ref op = make_operation(site, many_type<lent_rows<range>>::type, sql);
    op->closure = std::make_unique<lent_rows<range>>(rows);
    op->borrows = true;
    return op;
  } else if constexpr (lendable_range<range>) {
    operation_ref op = make_operation(site, many_type<owned_rows<range>>::type, sql);
    op->closure = std::make_unique<owned_rows<range>>(std::forward<R>(rows));
    return op;
  } else {
    return make_many(site, sql, collect(std::forward<R>(rows)));
  }
}

}  // namespace cosqlite::detail
