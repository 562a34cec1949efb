/// \file
/// Running coroutines from ordinary code, and the loop that they run on.
#pragma once

#include <cosqlite/detail/export.hpp>
#include <cosqlite/task.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

struct uv_loop_s;
typedef struct uv_loop_s uv_loop_t;

namespace cosqlite {

/// The loop that coroutines on this thread are running on: set by run(), and while a coroutine is resumed from a call
/// of this library. Everywhere else it is libuv's default loop, which only one thread may use.
[[nodiscard]] COSQLITE_API uv_loop_t* this_loop() noexcept;

/// Starts `body` on this_loop(), now, up to its first suspension, and lets it go on by itself; whoever drives the
/// loop drives it. `on_error` receives what it throws, on the loop's thread, and must not throw itself. Without
/// `on_error` an exception ends the program (std::terminate): it is never swallowed.
COSQLITE_API void spawn(task<> body, std::function<void(std::exception_ptr)> on_error = {});

namespace detail {

COSQLITE_API void run_to_end(task<> body, uv_loop_t* loop);

template <class T>
task<> store_result(task<T> body, std::optional<T>& result) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  result.emplace(co_await std::move(body));
}

template <class T>
task<> store_result(task<T&> body, T*& result) {
  T& value = co_await std::move(body);
  result = std::addressof(value);
}

}  // namespace detail

/// Drives a loop from ordinary code until `body` has finished; gives its result or rethrows its exception.
///
/// Without a loop it makes one of its own for the call, and before it returns lets everything else on it come to its
/// end as well: spawned coroutines, connections that are still closing. With `loop` (its thread must be this one) it
/// drives that one just as long as `body` needs; other handles and spawned coroutines on it stay as they are. uv_stop()
/// does not end run().
///
/// Throws misuse_error when the loop has nothing left to do although `body` is still waiting, when called in a
/// coroutine or callback that the same `loop` is running, and when objects made on the private loop outlive it (a
/// connection in the result, say: pass a loop of your own then). std::system_error when no loop could be made.
template <class T>
T run(task<T> body, uv_loop_t* loop = nullptr) {
  if constexpr (std::is_void_v<T>) {
    detail::run_to_end(std::move(body), loop);
  } else if constexpr (std::is_reference_v<T>) {
    std::remove_reference_t<T>* result = nullptr;
    detail::run_to_end(detail::store_result(std::move(body), result), loop);
    return *result;
  } else {
    std::optional<T> result;
    detail::run_to_end(detail::store_result(std::move(body), result), loop);
    return *std::move(result);
  }
}

}  // namespace cosqlite
