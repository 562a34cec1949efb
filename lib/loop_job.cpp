#include "engine/worker.hpp"
#include <cosqlite/detail/lineage.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/function.hpp>

#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <exception>
#include <mutex>
#include <utility>

namespace cosqlite::detail {

loop_job::~loop_job() = default;

namespace {

/// A coroutine that the bridge resumes on the loop, once; it destroys itself when it ends.
struct on_loop {
  struct promise_type : lineage {
    on_loop get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

/// Shared by the worker, which waits, and the coroutine on the loop, which owns the task.
struct loop_run {
  explicit loop_run(std::shared_ptr<loop_job> j, worker& w) noexcept : job(std::move(j)), at(w) {}

  std::shared_ptr<loop_job> job;
  worker& at;

  // Loop thread.
  std::coroutine_handle<> running;

  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  bool given_up = false;
  std::exception_ptr error;

  bool is_given_up() {
    const std::lock_guard lock(mutex);
    return given_up;
  }
  void finish(std::exception_ptr e) {
    const std::lock_guard lock(mutex);
    error = std::move(e);
    done = true;
    ended.notify_one();
  }
};

on_loop drive(std::shared_ptr<loop_run> run) {
  std::exception_ptr error;
  if (run->is_given_up()) {
    run->running = {};
    co_return;
  }
  ++run->at.tasks_waited_for;
  try {
    co_await run->job->run();
  } catch (...) {
    error = std::current_exception();
  }
  --run->at.tasks_waited_for;
  run->running = {};
  run->finish(std::move(error));
}

on_loop destroy(std::shared_ptr<loop_run> run) {
  const std::coroutine_handle<> running = std::exchange(run->running, {});
  if (running) {
    --run->at.tasks_waited_for;
    running.destroy();
  }
  co_return;
}

constexpr operation_type message{};

void post(worker& at, std::coroutine_handle<> h) {
  call_site site;
  site.where = &at;
  operation* op = make_operation(site, message).leak();
  op->at = &at;
  op->waiter = h;
  at.loop_bridge().post(op, op);
}

/// False: the call was stopped first.
bool wait_for_end(worker& at, loop_run& run) {
  // Nobody wakes the worker when its call is stopped.
  constexpr auto look = std::chrono::milliseconds(1);
  std::unique_lock lock(run.mutex);
  while (!run.done) {
    if (at.stop_requested()) {
      run.given_up = true;
      return false;
    }
    run.ended.wait_for(lock, look);
  }
  return true;
}

}  // namespace

void run_on_loop(std::shared_ptr<loop_job> job) {
  worker& at = *this_worker();
  operation* const op = at.current();
  if (!op || op->type->urgent || op->type->closes) {
    throw misuse_error("a function that returns a task cannot run while its connection closes", {SQLITE_MISUSE});
  }
  // What has finished may be what the task waits for.
  at.publish();
  const auto run = std::make_shared<loop_run>(std::move(job), at);
  const on_loop driver = drive(run);
  driver.handle.promise().waited_for_by = &at;
  run->running = driver.handle;
  post(at, driver.handle);
  if (!wait_for_end(at, *run)) {
    post(at, destroy(run).handle);
    at.fail(*op, SQLITE_INTERRUPT);
  }
  if (run->error) std::rethrow_exception(std::exchange(run->error, nullptr));
}

}  // namespace cosqlite::detail
