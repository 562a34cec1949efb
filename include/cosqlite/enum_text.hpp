/// \file
/// Enumerations stored as text instead of their numbers.
#pragma once

#include <cosqlite/adapter.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/value.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace cosqlite {

namespace detail {

[[noreturn]] COSQLITE_API void throw_unnamed_enum();

}  // namespace detail

/// Enumerations are integers in SQLite. To store one by the names of its values instead, give it an adapter with this
/// base:
/// \code
/// enum class level { low, high };
/// template <> struct cosqlite::adapter<level> : cosqlite::enum_text<level> {
///   static constexpr std::pair<level, std::string_view> names[] = {{level::low, "low"}, {level::high, "high"}};
/// };
/// \endcode
/// Names are compared exactly; where two are given for one value, the first is written and both are read. A text (or,
/// when binding, a value) without a name is a `conversion_error`.
template <class E>
struct enum_text {
  /// The name of \p v.
  static std::string_view to_sqlite(const E& v) {
    for (const auto& [value, name] : adapter<E>::names) {
      if (value == v) return name;
    }
    detail::throw_unnamed_enum();
  }

  /// The value with that name.
  static E from_sqlite(const value_view& v) {
    if (v.type() != value_type::text) v.refuse("the name of an enumeration's value");
    for (const auto& [value, name] : adapter<E>::names) {
      if (v.raw().text() == name) return value;
    }
    v.refuse(expected());
  }

 private:
  static std::string expected() {
    std::string all = "one of";
    for (const auto& [value, name] : adapter<E>::names) all.append(" '").append(name).append("'");
    return all;
  }
};

}  // namespace cosqlite
