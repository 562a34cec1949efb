#pragma once

#include <coroutine>
#include <type_traits>
#include <utility>

namespace cosqlite::detail {

template <class A> concept has_member_co_await = requires(A&& a) { std::forward<A>(a).operator co_await(); };

template <class A> concept has_free_co_await = requires(A&& a) { operator co_await(std::forward<A>(a)); };

/// What `co_await` makes of an `A`, before it awaits it.
template <class A>
decltype(auto) awaiter_of(A&& a) {
  if constexpr (has_member_co_await<A>) {
    return std::forward<A>(a).operator co_await();
  } else if constexpr (has_free_co_await<A>) {
    return operator co_await(std::forward<A>(a));
  } else {
    return std::forward<A>(a);
  }
}

/// What can be awaited, as an rvalue, in a coroutine whose promise does not transform it.
template <class A>
concept awaitable = requires(A&& a, std::coroutine_handle<> h) {
  awaiter_of(std::forward<A>(a)).await_ready() ? 0 : 1;
  awaiter_of(std::forward<A>(a)).await_suspend(h);
  awaiter_of(std::forward<A>(a)).await_resume();
};

/// What an await gives: a value, an lvalue reference, or nothing.
template <class T>
struct await_value {
  using type = std::remove_cvref_t<T>;
};
template <class T>
struct await_value<T&> {
  using type = T&;
};

template <class A>
using await_result_t = typename await_value<decltype(awaiter_of(std::declval<A>()).await_resume())>::type;

}  // namespace cosqlite::detail
