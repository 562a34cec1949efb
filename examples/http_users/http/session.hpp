// One client's connection: reads requests, has them answered one after another, and writes the answers.
#pragma once

#include "message.hpp"
#include "parser.hpp"
#include <cosqlite/task.hpp>

#include <uv.h>

#include <array>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

namespace http {

struct settings {
  limits most;
  std::chrono::milliseconds read_timeout{10'000};   // from the first byte of a request to its last
  std::chrono::milliseconds idle_timeout{60'000};   // between requests
  std::chrono::milliseconds write_timeout{10'000};  // for the client to take an answer
  std::size_t pipelined = 16;                       // complete requests that may wait; then reading pauses
  std::size_t connections = 10'000;                 // beyond it new ones are closed at once
};

/// Counted since the start, for the metrics page.
struct counters {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;
  std::uint64_t requests = 0;
  std::uint64_t cancelled = 0;
  std::array<std::uint64_t, 6> by_class{};  // answers by the first digit of their status
  std::size_t open = 0;
  std::size_t busy = 0;
};

/// Answers a request. The token is stopped when the client has gone, or the server can wait no longer.
using handler = std::function<cosqlite::task<response>(const request&, std::stop_token)>;

class session {
 public:
  session(uv_loop_t* loop, const settings& how, const handler& answer, counters& count,
          std::function<void(session*)> on_closed);
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&tcp_); }
  /// Serves the client until it goes, and then destroys itself.
  void start();
  /// Closes the connection when the request that is under way, if any, has arrived, and its answer has been sent.
  void finish();
  /// Closes the connection now; what is under way is cancelled.
  void abort();

 private:
  enum class phase : std::uint8_t { idle, reading, answering, writing, lingering };

  /// What a coroutine of the session waits for: bytes, or the end of a write.
  struct wake_up {
    session* self;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const noexcept { self->waiter_ = h; }
    void await_resume() const noexcept {}
  };

  cosqlite::task<> serve();
  cosqlite::task<std::optional<request>> next_request();
  cosqlite::task<response> answer(const request& r);
  cosqlite::task<> write(std::string bytes);
  cosqlite::task<> linger();
  void enter(phase p, std::chrono::milliseconds timeout);
  void wake();
  void on_bytes(std::string_view bytes);
  void on_end();
  void on_timeout();
  void read_on();
  void close();
  void handle_closed();

  uv_tcp_t tcp_{};
  uv_timer_t timer_{};
  uv_write_t write_request_{};
  uv_shutdown_t shutdown_request_{};
  std::array<char, 16 * 1024> buffer_;
  const settings& settings_;
  const handler& handler_;
  counters& counters_;
  std::function<void(session*)> on_closed_;
  parser parser_;
  std::stop_source gone_;
  std::coroutine_handle<> waiter_;
  phase phase_ = phase::answering;
  int open_handles_ = 2;
  bool reading_ = false;
  bool ended_ = false;      // the client has gone, or must go
  bool timed_out_ = false;  // while a request was arriving
  bool finishing_ = false;
  bool write_done_ = false;
};

}  // namespace http
