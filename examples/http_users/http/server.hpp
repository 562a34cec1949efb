// Listens, and keeps the sessions of its clients.
#pragma once

#include "session.hpp"
#include <cosqlite/task.hpp>

#include <uv.h>

#include <chrono>
#include <coroutine>
#include <string>
#include <unordered_set>

namespace http {

class server {
 public:
  server(uv_loop_t* loop, settings how, handler answer);
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Starts to listen; port 0 takes a free one. Throws std::system_error.
  void listen(const std::string& address, int port);
  int port() const;
  /// Accepts nobody any more, lets answers that are under way be sent, and after `grace` cancels the rest.
  cosqlite::task<> stop(std::chrono::milliseconds grace);

  const counters& count() const { return counters_; }

 private:
  /// What `stop` waits for: the end of a session, or of a handle.
  struct an_end {
    server* self;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const noexcept { self->waiter_ = h; }
    void await_resume() const noexcept {}
  };

  void accept();
  void forget(session* s);
  void close(uv_handle_t* handle);
  void wake();

  uv_loop_t* loop_;
  settings settings_;
  handler handler_;
  counters counters_;
  uv_tcp_t listener_{};
  uv_timer_t grace_{};
  std::unordered_set<session*> sessions_;
  std::coroutine_handle<> waiter_;
  int open_handles_ = 2;
};

}  // namespace http
