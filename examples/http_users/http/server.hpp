// Listens, and keeps the sessions of its clients.
#pragma once

#include "session.hpp"
#include <cosqlite/task.hpp>

#include <uv.h>

#include <chrono>
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
  void accept();

  uv_loop_t* loop_;
  settings settings_;
  handler handler_;
  counters counters_;
  uv_tcp_t listener_{};
  std::unordered_set<session*> sessions_;
  bool listening_ = true;
};

}  // namespace http
