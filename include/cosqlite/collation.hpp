/// \file
/// Collations written in C++: how texts are ordered and compared.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>

#include <compare>
#include <concepts>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cosqlite {

namespace detail {

/// A collation without its type.
class COSQLITE_API collation {
 public:
  collation() = default;
  collation(const collation&) = delete;
  collation& operator=(const collation&) = delete;
  virtual ~collation();
  /// On the worker. May throw.
  virtual int compare(std::string_view a, std::string_view b) = 0;
};

template <class R>
int order_of(const R& r) noexcept {
  if constexpr (std::integral<R>) {
    return r < 0 ? -1 : r > 0 ? 1 : 0;
  } else {
    static_assert(std::convertible_to<R, std::weak_ordering>,
                  "a collation gives an int or an ordering, as operator<=> does");
    const std::weak_ordering o = r;
    return o < 0 ? -1 : o > 0 ? 1 : 0;
  }
}

template <class F>
class callable_collation final : public collation {
 public:
  template <class G>
  explicit callable_collation(G&& fn) : fn_(std::forward<G>(fn)) {}
  int compare(std::string_view a, std::string_view b) override { return order_of(fn_(a, b)); }

 private:
  F fn_;
};

COSQLITE_API call<> create_collation(const call_site& site, std::string name, std::unique_ptr<collation> compare,
                                     std::source_location where);
COSQLITE_API call<> remove_collation(const call_site& site, std::string name, std::source_location where);

}  // namespace detail

/// What a connection offers for collations.
template <class Self>
class collation_calls {
 public:
  /// Makes \p compare, `int(std::string_view, std::string_view)` or with an ordering as its result, a collation of this
  /// connection: `ORDER BY name COLLATE my_order`. It runs on the worker thread, and must order texts in one consistent
  /// way for as long as indexes use it (REINDEX when it changes). What it throws reaches the coroutine as the same
  /// object; a write that met it is not committed. A collation of the same name is replaced; not while a statement
  /// runs: that is a `busy_error`.
  template <class F>
  [[nodiscard]] call<> create_collation(std::string name, F&& compare,
                                        std::source_location where = std::source_location::current()) {
    detail::check_callable<F>();
    using function = std::decay_t<detail::callable_t<F>>;
    static_assert(std::invocable<function&, std::string_view, std::string_view>,
                  "a collation is called with two std::string_view");
    auto typed =
        std::make_unique<detail::callable_collation<function>>(detail::unwrap_callable(std::forward<F>(compare)));
    return detail::create_collation(static_cast<Self&>(*this).site(), std::move(name), std::move(typed), where);
  }

  /// Removes the collation of that name: statements that need it fail then. `misuse_error` when there is none,
  /// `busy_error` while a statement runs.
  [[nodiscard]] call<> remove_collation(std::string name,
                                        std::source_location where = std::source_location::current()) {
    return detail::remove_collation(static_cast<Self&>(*this).site(), std::move(name), where);
  }
};

}  // namespace cosqlite
