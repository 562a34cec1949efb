/// \file
/// Aggregate and window functions written in C++.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/signature.hpp>
#include <cosqlite/function.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

namespace cosqlite {

namespace detail {

/// An aggregate without its type; each function works on the object that `construct` has built.
struct aggregate_type {
  std::size_t size;
  int arguments;
  void (*construct)(void* at);
  void (*destroy)(void* object) noexcept;
  void (*step)(void* object, const argument_list& from);
  void (*finalize)(void* object, sink& to);
  void (*value)(void* object, sink& to);                     ///< null: no window function
  void (*inverse)(void* object, const argument_list& from);  ///< null: no window function
};

template <class A> concept has_value = requires(A& a) { a.value(); };
template <class A> concept has_inverse = requires { &A::inverse; };

template <class A, class S>
struct aggregate_methods;

template <class A, class R, class... P>
struct aggregate_methods<A, signature<R, P...>> {
  static_assert(!is_task<R>, "step runs on the worker and cannot return a task");
  static constexpr int arguments = argument_count<P...>();

  static A& object(void* at) noexcept { return *std::launder(static_cast<A*>(at)); }
  static void construct(void* at) { ::new (at) A(); }
  static void destroy(void* at) noexcept { object(at).~A(); }
  static void step(void* at, const argument_list& from) {
    check_count<P...>(from);
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      object(at).step(read_argument<P>(from, I)...);
    }(std::index_sequence_for<P...>());
  }
  static void inverse(void* at, const argument_list& from) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      object(at).inverse(read_argument<P>(from, I)...);
    }(std::index_sequence_for<P...>());
  }
  static void finalize(void* at, sink& to) {
    using result = decltype(object(at).finalize());
    bind_result<result>(to, [at]() -> result { return object(at).finalize(); });
  }
  static void value(void* at, sink& to) {
    using result = decltype(object(at).value());
    bind_result<result>(to, [at]() -> result { return object(at).value(); });
  }
};

template <class A>
consteval aggregate_type describe_aggregate() {
  static_assert(std::is_default_constructible_v<A>,
                "an aggregate is built anew for each group: give it a default constructor");
  static_assert(alignof(A) <= 8,
                "SQLite aligns the memory of aggregates to eight bytes: hold over-aligned members by pointer");
  using types = decltype(member_signature(&A::step));
  using methods = aggregate_methods<A, types>;
  aggregate_type t{sizeof(A),
                   methods::arguments,
                   &methods::construct,
                   &methods::destroy,
                   &methods::step,
                   &methods::finalize,
                   nullptr,
                   nullptr};
  static_assert(has_value<A> == has_inverse<A>, "a window function needs both value() and inverse(…)");
  if constexpr (has_value<A> && has_inverse<A>) {
    static_assert(requires(A& a) { member_signature(&A::inverse); }, "inverse must be one function");
    t.value = &methods::value;
    t.inverse = &methods::inverse;
  }
  return t;
}

template <class A>
inline constexpr aggregate_type aggregate_of = describe_aggregate<A>();

COSQLITE_API call<> create_aggregate(const call_site& site, std::string name, const aggregate_type& type,
                                     function_options options, std::source_location where);

}  // namespace detail

/// What a connection offers for aggregate functions.
template <class Self>
class aggregate_function_calls {
 public:
  /// Makes \p A an aggregate function of this connection. An `A` is built for each group, on the worker thread;
  /// `step(args…)` is called for each row and `finalize()` gives the result, also for a group without rows. Arguments
  /// and results are as for `create_function`. With `value()`, which gives the result so far, and `inverse(args…)`,
  /// which takes the oldest row out again, it is a window function too. What its methods throw reaches the coroutine as
  /// the same object. Remove it with `remove_function`.
  /// \code
  /// struct mean {
  ///   void step(double v) { sum += v, ++count; }
  ///   std::optional<double> finalize() const { return count ? std::optional(sum / count) : std::nullopt; }
  ///   double sum = 0;
  ///   int count = 0;
  /// };
  /// co_await db.create_aggregate<mean>("mean");
  /// \endcode
  template <class A>
  [[nodiscard]] call<> create_aggregate(std::string name, function_options options = {},
                                        std::source_location where = std::source_location::current()) {
    return detail::create_aggregate(static_cast<Self&>(*this).site(), std::move(name), detail::aggregate_of<A>, options,
                                    where);
  }
};

}  // namespace cosqlite
