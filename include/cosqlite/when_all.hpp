/// \file
/// Awaiting several things at once.
#pragma once

#include <cosqlite/detail/awaitable.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/task.hpp>

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace cosqlite {

namespace detail {

/// Lets one coroutine wait for many tasks. It counts those that are unfinished, and one more while they are started:
/// whoever brings the count to zero makes the waiting coroutine go on.
class COSQLITE_API join {
 public:
  /// Runs `self` up to its first suspension.
  void start(std::coroutine_handle<> self, task_promise_base& promise, std::coroutine_handle<> parent) noexcept;

  /// True for the last one.
  [[nodiscard]] bool leave() noexcept { return pending_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

 private:
  std::atomic<std::size_t> pending_{1};
};

struct task_access {
  template <class T>
  static typename task_frame<T>::handle handle(const task<T>& t) {
    if (!t) throw_empty_task();
    return t.frame_.get();
  }
  template <class T>
  static decltype(auto) result(const task<T>& t) {
    return t.frame_.get().promise().take();
  }
};

/// Starts every task of `Tasks`, a tuple or a vector, in order, and waits for all of them.
template <class Tasks>
class join_awaiter {
 public:
  explicit join_awaiter(Tasks& tasks) noexcept : tasks_(tasks) {}

  bool await_ready() const {
    for_each([](const auto& t) { task_access::handle(t); });
    return false;
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    for_each([&](const auto& t) {
      const auto h = task_access::handle(t);
      h.promise().awaited_by = lineage_of(parent);
      h.promise().beside_others = true;
      join_.start(h, h.promise(), parent);
    });
    return !join_.leave();
  }
  void await_resume() const noexcept {}

 private:
  template <class F>
  void for_each(F f) const {
    if constexpr (requires { tasks_.begin(); }) {
      for (const auto& t : tasks_) f(t);
    } else {
      std::apply([&](const auto&... t) { (f(t), ...); }, tasks_);
    }
  }

  Tasks& tasks_;
  join join_;
};

template <class T>
struct joined_element {
  using in_tuple = T;
  using in_vector = T;
};
template <class T>
struct joined_element<T&> {
  using in_tuple = T&;
  using in_vector = std::reference_wrapper<T>;
};
template <>
struct joined_element<void> {
  using in_tuple = std::monostate;
};

template <class T>
typename joined_element<T>::in_tuple joined_result(const task<T>& t) {
  if constexpr (std::is_void_v<T>) {
    task_access::result(t);
    return {};
  } else {
    return task_access::result(t);
  }
}

// The braces keep the order: the first failure in it is the one that is rethrown.
template <class... T>
auto results_of(const std::tuple<task<T>...>& tasks) {
  using results = std::tuple<typename joined_element<T>::in_tuple...>;
  return std::apply([](const auto&... t) { return results{joined_result(t)...}; }, tasks);
}

template <class T>
auto results_of(const std::vector<task<T>>& tasks) {
  std::vector<typename joined_element<T>::in_vector> results;
  results.reserve(tasks.size());
  for (const auto& t : tasks) results.push_back(task_access::result(t));
  return results;
}

inline void results_of(const std::vector<task<>>& tasks) {
  for (const auto& t : tasks) task_access::result(t);
}

template <class Tasks>
task<decltype(results_of(std::declval<const Tasks&>()))> join_all(Tasks tasks) {
  join_awaiter<Tasks> all(tasks);
  co_await all;
  co_return results_of(tasks);
}

template <awaitable A>
task<await_result_t<A>> as_task(A awaited) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  co_return co_await std::move(awaited);
}

template <class T>
task<T> as_task(task<T>&& t) noexcept {
  return std::move(t);
}

}  // namespace detail

/// Awaits all of `awaitables` at once: `auto [user, posts] = co_await when_all(find_user(id), find_posts(id));`
///
/// They are started in order when the result is awaited, and each goes on when it can; the await is over when the last
/// has finished. It gives a tuple of their results, with std::monostate for those that give none. If some fail, all the
/// others are still waited for, and then the exception of the first in the order of the arguments is rethrown.
///
/// Takes tasks, calls of this library, and whatever else can be awaited in a coroutine; lvalues are copied, so move
/// what cannot be. Destroying the coroutine that waits destroys, and so cancels, all that have not finished.
template <detail::awaitable... A>
[[nodiscard]] task<std::tuple<typename detail::joined_element<detail::await_result_t<A>>::in_tuple...>> when_all(
    A... awaitables) {
  return detail::join_all(std::tuple<task<detail::await_result_t<A>>...>(detail::as_task(std::move(awaitables))...));
}

/// The same for any number of tasks, also none: gives a vector of their results in the order of `tasks` (of
/// std::reference_wrapper for tasks that give references), and nothing for `task<>`.
template <class T>
[[nodiscard]] auto when_all(std::vector<task<T>> tasks) {
  return detail::join_all(std::move(tasks));
}

}  // namespace cosqlite
