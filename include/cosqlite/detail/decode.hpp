/// \file
/// From SQLite's values to C++ types: one set of rules for rows, typed queries and the arguments of user functions.
#pragma once

#include <cosqlite/adapter.hpp>
#include <cosqlite/detail/aggregate.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/value.hpp>

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cosqlite::detail {

/// Throws a conversion_error that names the column (when the running statement knows it), what was found and \p to.
[[noreturn]] COSQLITE_API void throw_conversion(const cell& from, int column, std::string_view to);
[[noreturn]] COSQLITE_API void throw_out_of_range(const cell& from, int column, std::string_view to);
/// Throws a misuse_error: the row has \p columns columns and the type \p members.
[[noreturn]] COSQLITE_API void throw_column_count(int columns, std::size_t members);
/// An integral REAL within ±2^53 as an integer; false for any other.
COSQLITE_API bool exact_integer(double from, std::int64_t& to) noexcept;

template <class T>
inline constexpr bool cannot_be_read = false;

template <class T>
consteval std::string_view integer_name() {
  if constexpr (std::same_as<T, bool>) return "bool";
  if constexpr (std::signed_integral<T>) {
    return sizeof(T) == 8   ? "a 64-bit integer"
           : sizeof(T) == 4 ? "a 32-bit integer"
           : sizeof(T) == 2 ? "a 16-bit integer"
                            : "an 8-bit integer";
  }
  return sizeof(T) == 8   ? "an unsigned 64-bit integer"
         : sizeof(T) == 4 ? "an unsigned 32-bit integer"
         : sizeof(T) == 2 ? "an unsigned 16-bit integer"
                          : "an unsigned 8-bit integer";
}

template <std::integral T>
T decode_integer(const cell& c, int column) {
  std::int64_t v = c.integer;
  if (c.type != value_type::integer) [[unlikely]] {
    if (c.type != value_type::real || !exact_integer(c.real, v)) throw_conversion(c, column, integer_name<T>());
  }
  if constexpr (std::same_as<T, bool>) {
    return v != 0;
  } else {
    // Not std::in_range: it refuses character types.
    const T narrowed = static_cast<T>(v);
    if (static_cast<std::int64_t>(narrowed) != v || (std::unsigned_integral<T> && v < 0)) {
      throw_out_of_range(c, column, integer_name<T>());
    }
    return narrowed;
  }
}

template <std::floating_point T>
T decode_real(const cell& c, int column) {
  if (c.type == value_type::real) [[likely]]
    return static_cast<T>(c.real);
  constexpr std::int64_t exact = std::int64_t{1} << 53;
  if (c.type != value_type::integer) throw_conversion(c, column, "a floating-point number");
  if (c.integer > exact || c.integer < -exact) throw_out_of_range(c, column, "a floating-point number");
  return static_cast<T>(c.integer);
}

inline value decode_any(const cell& c) {
  switch (c.type) {
    case value_type::integer: return value(c.integer);
    case value_type::real: return value(c.real);
    case value_type::text: return value(std::string(c.text()));
    case value_type::blob: return value(bytes(c.blob().begin(), c.blob().end()));
    case value_type::null: break;
  }
  return value();
}

/// The rules: integers read from INTEGER, and from a REAL that is integral and within ±2^53; out of range is an error.
/// Floating point reads from REAL, and from an INTEGER within ±2^53. Text reads from TEXT, bytes from BLOB. NULL reads
/// only as `std::optional` or `value`. Nothing is converted silently.
template <class T>
T decode(const cell& c, int column) {
  if constexpr (std::same_as<T, value>) {
    return decode_any(c);
  } else if constexpr (is_optional<T>) {
    if (c.type == value_type::null) return std::nullopt;
    return decode<typename T::value_type>(c, column);
  } else if constexpr (adapted_for_reading<T>) {
    if (c.type == value_type::null) throw_conversion(c, column, "a type that is not std::optional");
    return adapter<T>::from_sqlite(value_view(c, column));
  } else if constexpr (std::same_as<T, value_view>) {
    return value_view(c, column);
  } else if constexpr (std::is_enum_v<T> && !std::same_as<T, std::byte>) {
    return static_cast<T>(decode<std::underlying_type_t<T>>(c, column));
  } else if constexpr (std::integral<T>) {
    return decode_integer<T>(c, column);
  } else if constexpr (std::floating_point<T>) {
    return decode_real<T>(c, column);
  } else if constexpr (std::same_as<T, std::string> || std::same_as<T, std::string_view>) {
    if (c.type != value_type::text) [[unlikely]]
      throw_conversion(c, column, "text");
    return T(c.text());
  } else if constexpr (std::same_as<T, bytes>) {
    if (c.type != value_type::blob) [[unlikely]]
      throw_conversion(c, column, "bytes");
    return bytes(c.blob().begin(), c.blob().end());
  } else if constexpr (std::same_as<T, std::span<const std::byte>>) {
    if (c.type != value_type::blob) throw_conversion(c, column, "bytes");
    return c.blob();
  } else {
    static_assert(cannot_be_read<T>, "this type cannot be read from a column: specialise cosqlite::adapter for it");
  }
}

template <class T>
concept one_column =
    adapted_for_reading<T> || is_optional<T> || std::same_as<T, value> || std::is_arithmetic_v<T> ||
    std::is_enum_v<T> || std::same_as<T, std::string> || std::same_as<T, bytes> || std::same_as<T, std::string_view> ||
    std::same_as<T, std::span<const std::byte>> || std::same_as<T, value_view>;

template <class T>
inline constexpr bool is_tuple = false;
template <class... T>
inline constexpr bool is_tuple<std::tuple<T...>> = true;
template <class A, class B>
inline constexpr bool is_tuple<std::pair<A, B>> = true;

template <class T>
concept borrowed_column =
    std::same_as<T, std::string_view> || std::same_as<T, std::span<const std::byte>> || std::same_as<T, value_view>;

template <class T, std::size_t... I>
T decode_tuple(const cell* cells, std::index_sequence<I...>) {
  return T(decode<std::tuple_element_t<I, T>>(cells[I], static_cast<int>(I))...);
}

/// A whole row as T: a scalar from its only column, a tuple or plain struct by position.
template <class T>
T decode_row(const cell* cells, int count) {
  if constexpr (one_column<T>) {
    static_assert(!borrowed_column<T>, "a typed row must own its memory: use std::string or cosqlite::bytes");
    if (count != 1) [[unlikely]]
      throw_column_count(count, 1);
    return decode<T>(cells[0], 0);
  } else if constexpr (is_tuple<T>) {
    constexpr std::size_t n = std::tuple_size_v<T>;
    if (static_cast<std::size_t>(count) != n) [[unlikely]]
      throw_column_count(count, n);
    return decode_tuple<T>(cells, std::make_index_sequence<n>());
  } else {
    static_assert(std::is_aggregate_v<T>,
                  "rows are read into scalars, std::optional, tuples, plain structs (aggregates) or "
                  "types with a cosqlite::adapter");
    constexpr std::size_t n = member_count<T>();
    if (static_cast<std::size_t>(count) != n) [[unlikely]]
      throw_column_count(count, n);
    T row{};
    for_each_member(row, [cells, i = 0](auto& member) mutable {
      using member_type = std::remove_cvref_t<decltype(member)>;
      static_assert(!borrowed_column<member_type>,
                    "a typed row must own its memory: use std::string or cosqlite::bytes");
      member = decode<member_type>(cells[i], i);
      ++i;
    });
    return row;
  }
}

}  // namespace cosqlite::detail

namespace cosqlite {

template <class T>
T value_view::get() const {
  return detail::decode<T>(cell_, column_);
}

template <class T>
T value::get() const {
  detail::cell c;
  c.type = type();
  if (auto* i = std::get_if<std::int64_t>(&storage_)) {
    c.integer = *i;
  } else if (auto* d = std::get_if<double>(&storage_)) {
    c.real = *d;
  } else if (auto* s = std::get_if<std::string>(&storage_)) {
    c.data = s->data();
    c.size = static_cast<std::uint32_t>(s->size());
  } else if (auto* b = std::get_if<bytes>(&storage_)) {
    c.data = reinterpret_cast<const char*>(b->data());
    c.size = static_cast<std::uint32_t>(b->size());
  }
  return detail::decode<T>(c, -1);
}

}  // namespace cosqlite
