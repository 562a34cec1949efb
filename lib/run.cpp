#include <cosqlite/detail/trampoline.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/run.hpp>

#include <sqlite3.h>
#include <uv.h>

#include <system_error>

namespace cosqlite {
namespace {

/// The coroutine at the bottom of a run(): awaits the task and stays suspended at its end, to be asked and destroyed.
class root {
 public:
  class promise_type {
   public:
    root get_return_object() noexcept { return root(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { error_ = std::current_exception(); }

   private:
    friend root;
    std::exception_ptr error_;
  };

  root(const root&) = delete;
  root& operator=(const root&) = delete;
  ~root() { handle_.destroy(); }

  void start() noexcept { detail::resume(handle_); }
  bool done() const noexcept { return handle_.done(); }
  void rethrow() const {
    if (handle_.promise().error_) std::rethrow_exception(handle_.promise().error_);
  }

 private:
  explicit root(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

root await(task<> body) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  co_await std::move(body);
}

[[noreturn]] void refuse(const char* message) {
  error::details details;
  details.code = SQLITE_MISUSE;
  throw misuse_error(message, std::move(details));
}

void drive(task<> body, uv_loop_t* loop) {
  if (detail::loop_scope::contains(loop)) {
    refuse("run() was called from within its own loop, which would never get on: co_await the task instead");
  }
  const detail::loop_scope scope(loop);
  root bottom = await(std::move(body));
  bottom.start();
  while (!bottom.done()) {
    const bool alive = uv_run(loop, UV_RUN_ONCE) != 0;
    if (!alive && !bottom.done()) {
      refuse(
          "run(): the loop has nothing left to do but the task has not finished: "
          "it waits for something that nobody will bring about");
    }
  }
  bottom.rethrow();
}

class private_loop {
 public:
  private_loop() : loop_(std::make_unique<uv_loop_t>()) {
    const int rc = uv_loop_init(loop_.get());
    if (rc != 0) throw std::system_error(-rc, std::generic_category(), "run(): cannot make a libuv loop");
  }

  uv_loop_t* get() const noexcept { return loop_.get(); }

  /// Runs what is left to its end. False: handles of living objects remain, and the loop's memory is left to them.
  [[nodiscard]] bool close() {
    const detail::loop_scope scope(loop_.get());
    while (uv_run(loop_.get(), UV_RUN_DEFAULT) != 0) {
    }
    if (uv_loop_close(loop_.get()) == 0) return true;
    static_cast<void>(loop_.release());
    return false;
  }

 private:
  std::unique_ptr<uv_loop_t> loop_;
};

}  // namespace

uv_loop_t* this_loop() noexcept {
  uv_loop_t* const loop = detail::current_loop();
  return loop != nullptr ? loop : uv_default_loop();
}

void detail::run_to_end(task<> body, uv_loop_t* loop) {
  if (loop != nullptr) return drive(std::move(body), loop);

  private_loop own;
  std::exception_ptr error;
  try {
    drive(std::move(body), own.get());
  } catch (...) {
    error = std::current_exception();
  }
  const bool closed = own.close();
  if (error) std::rethrow_exception(error);
  if (!closed) {
    refuse(
        "run(): something made on its private loop outlives it (a connection that was returned or stored?): "
        "let it go before the task ends, or give run() a loop of your own");
  }
}

}  // namespace cosqlite
