/// \file
/// Calls whose work is a function of their own, and the rule for functions that travel through a co_await.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

struct sqlite3;

namespace cosqlite {

/// Says that a named callable may be moved from: `db.run(by_move(f))`. See `detail::safe_callable`.
template <class F>
class by_move {
 public:
  explicit by_move(F& f) noexcept : f_(&f) {}
  [[nodiscard]] F&& get() const noexcept { return std::move(*f_); }

 private:
  F* f_;
};

namespace detail {

template <class F>
inline constexpr bool is_by_move = false;
template <class F>
inline constexpr bool is_by_move<by_move<F>> = true;

/// GCC before 13 destroys closures twice that are temporaries with non-trivial captures inside a co_await expression.
template <class F>
inline constexpr bool safe_callable =
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
    std::is_lvalue_reference_v<F&&> || std::is_trivially_destructible_v<std::remove_cvref_t<F>>;
#else
    true;
#endif

/// The callable itself, copied from an lvalue, moved from an rvalue or a by_move.
template <class F>
decltype(auto) unwrap_callable(F&& f) noexcept {
  if constexpr (is_by_move<std::remove_cvref_t<F>>) {
    return f.get();
  } else {
    return std::forward<F>(f);
  }
}

template <class F>
using callable_t = std::remove_cvref_t<decltype(unwrap_callable(std::declval<F>()))>;

template <class F>
constexpr void check_callable() {
  static_assert(safe_callable<F>,
                "GCC 12 would destroy this closure twice: name the lambda first, then pass it (or by_move(name))");
}

template <class F>
struct callable_holder final : holder {
  template <class G>
  explicit callable_holder(G&& g) : fn(std::forward<G>(g)) {}
  F fn;
};

template <class F, class R>
struct callable_type {
  static void run(worker& at, operation& op) {
    auto& fn = static_cast<callable_holder<F>&>(*op.closure).fn;
    if constexpr (std::is_void_v<R>) {
      fn(at, op);
    } else {
      emplace_result<R>(op, fn(at, op));
    }
  }
  static constexpr void (*destroy)(operation&) noexcept = [] {
    if constexpr (std::is_void_v<R>) {
      return nullptr;
    } else {
      return &destroy_result<R>;
    }
  }();
  static constexpr operation_type type{.run = &run, .destroy_result = destroy};
  static constexpr operation_type urgent{.run = &run, .destroy_result = destroy, .urgent = true};
};

/// A call that runs `fn(worker&, operation&)` on the worker; its result is the call's. For the library's own features.
template <class F>
auto make_callable(const call_site& site, F fn, std::source_location where = {}) {
  using result = std::invoke_result_t<F&, worker&, operation&>;
  operation_ref op = make_operation(site, callable_type<F, result>::type);
  op->location = where;
  op->closure = std::make_unique<callable_holder<F>>(std::move(fn));
  return call<result>(std::move(op));
}

/// The connection of a worker, on its thread.
COSQLITE_API sqlite3* native_handle(worker& at) noexcept;

}  // namespace detail

}  // namespace cosqlite
