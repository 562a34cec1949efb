#include <cosqlite/detail/trampoline.hpp>
#include <cosqlite/run.hpp>

#include <exception>
#include <functional>
#include <utility>

namespace cosqlite {
namespace {

/// A coroutine that nobody owns: it destroys itself when it ends.
struct detached {
  struct promise_type {
    detached get_return_object() noexcept { return detached{std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    // Called in the handler, so that the runtime can still name the exception.
    void unhandled_exception() const noexcept { std::terminate(); }
  };

  std::coroutine_handle<promise_type> handle;
};

detached run_detached(task<> body, std::function<void(std::exception_ptr)> on_error) {
  std::exception_ptr error;
  try {
    co_await std::move(body);
  } catch (...) {
    if (!on_error) throw;
    error = std::current_exception();
  }
  if (error) on_error(std::move(error));
}

}  // namespace

void spawn(task<> body, std::function<void(std::exception_ptr)> on_error) {
  const detail::loop_scope scope(this_loop());
  detail::resume(run_detached(std::move(body), std::move(on_error)).handle);
}

}  // namespace cosqlite
