/// \file
/// What a callable takes and gives, and how SQL values become its arguments.
#pragma once

#include <cosqlite/detail/cell_list.hpp>
#include <cosqlite/detail/decode.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/task.hpp>
#include <cosqlite/value.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace cosqlite::detail {

/// The result and the parameter types of a function.
template <class R, class... P>
struct signature {
  using result = R;
};

template <class C, class R, class... P>
signature<R, P...> member_signature(R (C::*)(P...));
template <class C, class R, class... P>
signature<R, P...> member_signature(R (C::*)(P...) const);
template <class C, class R, class... P>
signature<R, P...> member_signature(R (C::*)(P...) &);
template <class C, class R, class... P>
signature<R, P...> member_signature(R (C::*)(P...) const&);
template <class R, class... P>
signature<R, P...> pointer_signature(R (*)(P...));

template <class F> concept function_object = requires { member_signature(&F::operator()); };

template <class F>
constexpr auto find_signature() {
  if constexpr (std::is_pointer_v<F>) {
    return std::type_identity<decltype(pointer_signature(std::declval<F>()))>();
  } else {
    static_assert(
        function_object<F>,
        "the parameter types of an SQL function must be written out: it can be neither generic (auto) nor overloaded");
    return std::type_identity<decltype(member_signature(&F::operator()))>();
  }
}

/// The signature of a function pointer, a closure or any object with one `operator()`.
template <class F>
using signature_of = typename decltype(find_signature<F>())::type;

/// The parameter that takes all remaining arguments.
template <class P>
inline constexpr bool takes_rest = std::is_same_v<std::remove_cvref_t<P>, std::span<const value_view>>;

template <class R>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

/// The arguments of one call of an SQL function, and its name for messages.
struct argument_list {
  std::span<const value_view> values;
  std::string_view function;
};

/// How many arguments SQL must give for parameters \p P: a number, or -1 for any.
template <class... P>
consteval int argument_count() {
  static_assert(sizeof...(P) <= 127, "an SQL function takes at most 127 arguments");
  constexpr std::size_t rest = (std::size_t{0} + ... + (takes_rest<P> ? 1U : 0U));
  if constexpr (rest == 0) {
    return static_cast<int>(sizeof...(P));
  } else {
    static_assert(rest == 1 && takes_rest<std::tuple_element_t<sizeof...(P) - 1, std::tuple<P...>>>,
                  "std::span<const value_view>, which takes all remaining arguments, must be the last parameter");
    return -1;
  }
}

/// Says which argument of which function has the wrong type.
[[noreturn]] COSQLITE_API void throw_argument(const conversion_error& e, std::string_view function, std::size_t index);
[[noreturn]] COSQLITE_API void throw_too_few_arguments(const argument_list& from, std::size_t wanted);

template <class P>
std::remove_cvref_t<P> read_argument(const argument_list& from, std::size_t index) {
  using T = std::remove_cvref_t<P>;
  static_assert(!std::is_lvalue_reference_v<P> || std::is_const_v<std::remove_reference_t<P>>,
                "an SQL function takes its arguments by value or by const reference");
  if constexpr (takes_rest<P>) {
    return from.values.subspan(index);
  } else if constexpr (std::is_same_v<T, value_view>) {
    return from.values[index];
  } else {
    try {
      return decode<T>(from.values[index].raw(), static_cast<int>(index));
    } catch (const conversion_error& e) {
      throw_argument(e, from.function, index);
    }
  }
}

/// Refuses a call of a variadic function that has too few arguments; SQLite has counted all others.
template <class... P>
void check_count(const argument_list& from) {
  if constexpr (argument_count<P...>() < 0) {
    if (from.values.size() + 1 < sizeof...(P)) throw_too_few_arguments(from, sizeof...(P) - 1);
  }
}

/// Runs \p fn and hands its result to \p to.
template <class R, class F>
void bind_result(sink& to, F&& fn) {
  if constexpr (std::is_void_v<R>) {
    fn();
    to.null();
  } else {
    const transient_scope temporary(to);
    detail::bind(to, fn());
  }
}

/// A copy of a call's arguments, for what outlives the call: a task on the loop, the rows of a table-valued function.
class COSQLITE_API argument_copy {
 public:
  explicit argument_copy(const argument_list& from);
  argument_copy(const argument_copy&) = delete;
  argument_copy& operator=(const argument_copy&) = delete;
  ~argument_copy();
  [[nodiscard]] argument_list list() const noexcept { return {views_, function_}; }

 private:
  cell_list cells_;
  std::vector<value_view> views_;
  std::string function_;
};

/// The arguments themselves, kept as long as somebody may refer to them.
template <class... P>
class decoded_arguments {
 public:
  explicit decoded_arguments(const argument_list& from)
      : decoded_arguments((check_count<P...>(from), from), std::index_sequence_for<P...>()) {}

  template <class F>
  decltype(auto) apply(F& fn) {
    return std::apply([&fn](auto&... a) -> decltype(auto) { return fn(static_cast<passed<P>>(a)...); }, values_);
  }

 private:
  // By value: a copy; by reference: what is kept here.
  template <class T>
  using passed =
      std::conditional_t<std::is_rvalue_reference_v<T>, T, std::add_lvalue_reference_t<std::remove_reference_t<T>>>;

  template <std::size_t... I>
  decoded_arguments(const argument_list& from, std::index_sequence<I...>) : values_(read_argument<P>(from, I)...) {
    static_cast<void>(from);
  }

  std::tuple<std::remove_cvref_t<P>...> values_;
};

}  // namespace cosqlite::detail
