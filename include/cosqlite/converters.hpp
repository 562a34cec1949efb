/// \file
/// Values turned into C++ objects by the declared types of their columns, for code that learns at run time what it
/// reads.
#pragma once

#include <cosqlite/detail/decode.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/row.hpp>
#include <cosqlite/value.hpp>

#include <any>
#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cosqlite {

namespace detail {

/// A declared type as converters compare it: upper case, blanks folded.
COSQLITE_API std::string folded_type(std::string_view declared);
/// Its first word, without what stands in brackets behind it: DECIMAL for "decimal(10,2) not null".
COSQLITE_API std::string_view first_word(std::string_view folded) noexcept;
/// What stands in brackets at the end of a column's name: POINT for "p [point]"; empty when there is none.
COSQLITE_API std::string type_in_name(std::string_view column_name);

}  // namespace detail

/// A registry of converters by declared type. \p Result is what everything is converted to: `std::any`, or a variant of
/// yours.
/// \code
/// cosqlite::converters convert;
/// convert.add<std::chrono::sys_seconds>("TIMESTAMP");
/// convert.add("POINT", [](const cosqlite::value_view& v) {
///   return std::any(parse_point(v.get<std::string_view>()));
/// });
/// const cosqlite::rows found = co_await db.query("SELECT at, place FROM visits");
/// std::any at = convert(found[0], 0);
/// \endcode
/// A column's type is what CREATE TABLE declares, letter case aside: first as a whole ("UNSIGNED BIG INT"), then its
/// first word ("DECIMAL" for `DECIMAL(10,2)`). Expressions have none; name them `AS "at [timestamp]"` to give them one,
/// which wins over the declaration. NULL gives a `Result` made of nothing. Columns without a converter give what
/// `otherwise` makes of them: at first a Result that holds a `value`. `row.get<value>` is not touched by any of this.
///
/// A plain object: fill it, then share it; `operator()` and `read` may be called from any thread.
template <class Result = std::any>
class basic_converters {
 public:
  /// What turns a value that is not NULL into a Result.
  using converter = std::function<Result(const value_view&)>;

  basic_converters() {
    if constexpr (std::constructible_from<Result, value>) {
      otherwise_ = [](const value_view& v) { return Result(v.get<value>()); };
    }
  }

  /// Uses \p convert for columns declared as \p declared_type, in place of any before it. It is never given NULL; what
  /// it throws reaches the reader.
  template <std::invocable<const value_view&> F>
  basic_converters& add(std::string_view declared_type, F convert) {
    by_type_.insert_or_assign(detail::folded_type(declared_type), converter(std::move(convert)));
    return *this;
  }
  /// Reads columns declared as \p declared_type as \p T, by the rules of `row::get`.
  template <class T>
  basic_converters& add(std::string_view declared_type) {
    static_assert(!detail::borrowed_column<T>, "a converter's result must own its memory");
    return add(declared_type, [](const value_view& v) { return Result(v.get<T>()); });
  }
  /// Uses \p convert for all other columns.
  template <std::invocable<const value_view&> F>
  basic_converters& otherwise(F convert) {
    otherwise_ = std::move(convert);
    return *this;
  }

  /// Column \p i of \p from, converted.
  [[nodiscard]] Result operator()(const row& from, int i) const { return apply(find(from, i), from[i]); }
  /// The column called \p name.
  [[nodiscard]] Result operator()(const row& from, std::string_view name) const {
    return (*this)(from, from.index_of(name));
  }
  /// All columns of \p from.
  [[nodiscard]] std::vector<Result> read(const row& from) const { return read(from, plan(from)); }
  /// All rows; types are looked up once.
  [[nodiscard]] std::vector<std::vector<Result>> read(const rows& from) const {
    std::vector<std::vector<Result>> all;
    if (from.empty()) return all;
    all.reserve(from.size());
    const std::vector<const converter*> columns = plan(from[0]);
    for (const row& r : from) all.push_back(read(r, columns));
    return all;
  }

 private:
  [[nodiscard]] const converter* look_up(const std::string& folded) const {
    if (folded.empty()) return nullptr;
    auto it = by_type_.find(folded);
    if (it == by_type_.end()) it = by_type_.find(std::string(detail::first_word(folded)));
    return it == by_type_.end() ? nullptr : &it->second;
  }

  [[nodiscard]] const converter& find(const row& from, int i) const {
    if (const converter* named = look_up(detail::type_in_name(from.name(i)))) return *named;
    if (const converter* declared = look_up(detail::folded_type(from.declared_type(i)))) return *declared;
    return otherwise_;
  }

  [[nodiscard]] std::vector<const converter*> plan(const row& from) const {
    std::vector<const converter*> columns;
    columns.reserve(static_cast<std::size_t>(from.size()));
    for (int i = 0; i < from.size(); ++i) columns.push_back(&find(from, i));
    return columns;
  }

  [[nodiscard]] static std::vector<Result> read(const row& from, const std::vector<const converter*>& columns) {
    std::vector<Result> all;
    all.reserve(columns.size());
    for (int i = 0; i < from.size(); ++i) all.push_back(apply(*columns[static_cast<std::size_t>(i)], from[i]));
    return all;
  }

  [[nodiscard]] static Result apply(const converter& convert, const value_view& v) {
    if (v.is_null()) return Result();
    if (!convert) v.refuse("anything: its declared type has no converter, and there is no `otherwise`");
    return convert(v);
  }

  std::unordered_map<std::string, converter> by_type_;
  converter otherwise_;
};

/// Converters to `std::any`.
using converters = basic_converters<std::any>;

}  // namespace cosqlite
