/// \file
/// Table-valued functions: a C++ range as a table in SQL.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/aggregate.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/signature.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <source_location>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cosqlite {

/// How a table-valued function looks in SQL.
struct table_function_options {
  std::string_view columns =
      {};                    ///< names of its columns: "id, name"; empty: "value" for one, "c1", "c2", … for several
  bool direct_only = false;  ///< not from views, triggers and what else stands in the schema of a file
  bool innocuous = false;    ///< harmless: also from a schema that is not trusted
};

namespace detail {

/// The rows of one call of a table-valued function.
class COSQLITE_API table_rows {
 public:
  table_rows() = default;
  table_rows(const table_rows&) = delete;
  table_rows& operator=(const table_rows&) = delete;
  virtual ~table_rows();
  /// Goes to the first row, then to the next; false: there is none.
  virtual bool advance() = 0;
  virtual void column(int i, sink& to) = 0;
};

/// A table-valued function without its types. All of it runs on the worker.
class COSQLITE_API table_source {
 public:
  table_source() = default;
  table_source(const table_source&) = delete;
  table_source& operator=(const table_source&) = delete;
  virtual ~table_source();
  virtual std::unique_ptr<table_rows> run(const argument_list& from) = 0;
};

struct table_shape {
  int columns = 0;
  int arguments = 0;
  std::uint32_t required = 0;  ///< a bit for each argument that cannot be left out
};

// What follows needs no more of a range than a range-for does, so that generators without difference_type work too.
template <class R>
concept iterable = requires(R& r) {
  r.begin();
  r.end();
} || std::ranges::input_range<R>;

/// An object that gives a row, or nothing after the last, each time it is called.
template <class R>
concept row_generator = !iterable<R> && requires(R& r) {
  { r().has_value() } -> std::convertible_to<bool>;
  *r();
};

template <class R>
auto first_of(R& r) {
  if constexpr (requires { r.begin(); }) {
    return r.begin();
  } else {
    return std::ranges::begin(r);
  }
}
template <class R>
auto end_of(R& r) {
  if constexpr (requires { r.end(); }) {
    return r.end();
  } else {
    return std::ranges::end(r);
  }
}

template <class R, class Reference>
struct row_type {
  using type = std::remove_cvref_t<Reference>;
};
template <std::ranges::input_range R, class Reference>
struct row_type<R, Reference> {
  using type = std::ranges::range_value_t<R>;
};

/// Steps through a range that it owns, or refers to where the function returned a reference.
template <class R>
class range_steps {
 public:
  using range = std::remove_reference_t<R>;
  using iterator = decltype(first_of(std::declval<range&>()));
  using reference = decltype(*std::declval<iterator&>());
  using row = typename row_type<range, reference>::type;
  static constexpr bool stays =
      std::is_lvalue_reference_v<reference> && std::is_same_v<std::remove_cvref_t<reference>, row>;

  template <class Make>
  explicit range_steps(Make make) : range_(make()) {}

  bool advance() {
    if (!at_) {
      at_.emplace(first_of(get()));
      end_.emplace(end_of(get()));
    } else {
      ++*at_;
    }
    if (*at_ == *end_) return false;
    if constexpr (stays) {
      current_ = std::addressof(**at_);
    } else {
      current_.emplace(**at_);
    }
    return true;
  }
  [[nodiscard]] const row& current() const { return *current_; }

 private:
  range& get() noexcept { return range_; }

  R range_;
  std::optional<iterator> at_;
  std::optional<decltype(end_of(std::declval<range&>()))> end_;
  std::conditional_t<stays, const row*, std::optional<row>> current_{};
};

template <class G>
class generator_steps {
 public:
  using row = std::remove_cvref_t<decltype(*std::declval<std::remove_reference_t<G>&>()())>;

  template <class Make>
  explicit generator_steps(Make make) : next_(make()) {}
  bool advance() {
    current_ = next_();
    return current_.has_value();
  }
  [[nodiscard]] const row& current() const { return *current_; }

 private:
  G next_;
  std::optional<row> current_;
};

template <class R>
constexpr auto find_steps() {
  static_assert(!std::is_rvalue_reference_v<R>,
                "a table-valued function returns its range by value or by lvalue reference");
  using plain = std::remove_reference_t<R>;
  static_assert(!is_task<plain>, "a table-valued function runs on the worker and cannot return a task");
  static_assert(!text_like<plain>, "a table-valued function returns a range of rows; a text is a range of characters");
  if constexpr (row_generator<plain>) {
    return std::type_identity<generator_steps<R>>();
  } else {
    static_assert(iterable<plain>,
                  "a table-valued function returns a range, or an object whose operator() gives "
                  "std::optional<row>, of values, tuples or plain structs");
    return std::type_identity<range_steps<R>>();
  }
}
template <class R>
using steps_of = typename decltype(find_steps<R>())::type;

/// A row of one column.
template <class V>
concept single_value = one_column<V> || adapted_for_binding<V> || text_like<V> || bytes_like<V> ||
                       std::same_as<V, std::nullptr_t> || !(std::is_aggregate_v<V> || is_tuple<V>);

template <class V>
consteval int column_count() {
  if constexpr (single_value<V>) {
    return 1;
  } else if constexpr (is_tuple<V>) {
    return static_cast<int>(std::tuple_size_v<V>);
  } else {
    return static_cast<int>(member_count<V>());
  }
}

template <class V>
void bind_column(const V& row, int i, sink& to) {
  const transient_scope temporary(to);
  if constexpr (single_value<V>) {
    detail::bind(to, row);
  } else if constexpr (is_tuple<V>) {
    std::apply(
        [&to, i, k = 0](const auto&... member) mutable { ((k++ == i ? detail::bind(to, member) : void()), ...); }, row);
  } else {
    for_each_member(row, [&to, i, k = 0](const auto& member) mutable {
      if (k++ == i) detail::bind(to, member);
    });
  }
}

template <class F, class S>
class callable_table;

template <class F, class R, class... P>
class callable_table<F, signature<R, P...>> final : public table_source {
 public:
  static_assert(sizeof...(P) <= 31, "a table-valued function takes at most 31 arguments");
  static_assert((!takes_rest<P> && ...), "the arguments of a table-valued function are columns: their number is fixed");
  using steps = steps_of<R>;

  static constexpr table_shape shape() {
    table_shape s;
    s.columns = column_count<typename steps::row>();
    s.arguments = static_cast<int>(sizeof...(P));
    const std::array<bool, sizeof...(P) + 1> optional{is_optional<std::remove_cvref_t<P>>..., true};
    for (std::size_t i = 0; i < sizeof...(P); ++i) {
      if (!optional[i]) s.required |= 1U << i;
    }
    return s;
  }

  template <class G>
  explicit callable_table(G&& fn) : fn_(std::forward<G>(fn)) {}

  std::unique_ptr<table_rows> run(const argument_list& from) override { return std::make_unique<rows>(fn_, from); }

 private:
  class rows final : public table_rows {
   public:
    rows(F& fn, const argument_list& from)
        : arguments_(from), steps_([this, &fn]() -> R { return arguments_.apply(fn); }) {}
    bool advance() override { return steps_.advance(); }
    void column(int i, sink& to) override { bind_column(steps_.current(), i, to); }

   private:
    decoded_arguments<P...> arguments_;
    steps steps_;
  };

  F fn_;
};

COSQLITE_API call<> create_table_function(const call_site& site, std::string name, std::unique_ptr<table_source> source,
                                          table_shape shape, table_function_options options,
                                          std::source_location where);
COSQLITE_API call<> remove_table_function(const call_site& site, std::string name, std::source_location where);

}  // namespace detail

/// What a connection offers for table-valued functions.
template <class Self>
class table_function_calls {
 public:
  /// Makes \p fn a table of this connection: `SELECT * FROM name(args…)`. Its parameters are as for `create_function`;
  /// a `std::optional` one may be left out in SQL, all others are required. It returns a range (a container, a view, a
  /// generator) or a generator function, an object whose `operator()` gives `std::optional` of a row until there are no
  /// more; a row is a value, a tuple or a plain struct. \p fn runs once for each use of the table in a statement, on
  /// the worker thread, and its range is walked as SQLite asks for rows, so it may be endless under a LIMIT. Its
  /// arguments live as long as its range. What it throws, also while the range is walked, reaches the coroutine as the
  /// same object. A table-valued function of the same name is replaced. `misuse_error` when the number of names in
  /// `options.columns` is wrong.
  template <class F>
  [[nodiscard]] call<> create_table_function(std::string name, F&& fn, table_function_options options = {},
                                             std::source_location where = std::source_location::current()) {
    detail::check_callable<F>();
    using function = std::decay_t<detail::callable_t<F>>;
    using table = detail::callable_table<function, detail::signature_of<function>>;
    auto typed = std::make_unique<table>(detail::unwrap_callable(std::forward<F>(fn)));
    return detail::create_table_function(static_cast<Self&>(*this).site(), std::move(name), std::move(typed),
                                         table::shape(), options, where);
  }

  /// Removes the table-valued function of that name. `misuse_error` when there is none.
  [[nodiscard]] call<> remove_table_function(std::string name,
                                             std::source_location where = std::source_location::current()) {
    return detail::remove_table_function(static_cast<Self&>(*this).site(), std::move(name), where);
  }
};

}  // namespace cosqlite
