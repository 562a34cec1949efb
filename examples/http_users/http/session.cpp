#include "session.hpp"

#include <cosqlite/error.hpp>
#include <cosqlite/run.hpp>

#include <cstdio>
#include <exception>
#include <utility>

namespace http {

namespace {

session* self_of(void* data) { return static_cast<session*>(data); }

}  // namespace

session::session(uv_loop_t* loop, const settings& how, const handler& answer, counters& count,
                 std::function<void(session*)> on_closed)
    : settings_(how), handler_(answer), counters_(count), on_closed_(std::move(on_closed)), parser_(how.most) {
  uv_tcp_init(loop, &tcp_);
  uv_timer_init(loop, &timer_);
  tcp_.data = timer_.data = write_request_.data = this;
  ++counters_.open;
}

void session::start() {
  uv_tcp_nodelay(&tcp_, 1);
  read_on();
  cosqlite::spawn(serve());
}

void session::finish() {
  finishing_ = true;
  if (phase_ == phase::idle) on_end();
}

void session::abort() { on_end(); }

cosqlite::task<> session::serve() {
  for (bool keep_alive = true; keep_alive && !ended_;) {
    std::optional<request> r = co_await next_request();
    if (!r) break;
    keep_alive = r->keep_alive;
    enter(phase::answering, std::chrono::milliseconds(0));
    ++counters_.requests;
    ++counters_.busy;
    const response a = co_await answer(*r);
    --counters_.busy;
    if (ended_) break;
    keep_alive = keep_alive && !finishing_;
    ++counters_.by_class[static_cast<std::size_t>(a.status / 100)];
    std::string bytes = serialize(a, keep_alive, r->method == "HEAD");
    co_await write(std::move(bytes));
  }
  close();
}

// The following request; nothing when there will be none: the client has gone, or has sent what is not HTTP and was
// told.
cosqlite::task<std::optional<request>> session::next_request() {
  while (parser_.ready().empty() && parser_.status() == 0 && !ended_ && !timed_out_ &&
         !(finishing_ && !parser_.inside_request())) {
    if (parser_.take_expect_continue()) {
      std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await write(std::move(go_on));
    }
    const phase wanted = parser_.inside_request() ? phase::reading : phase::idle;
    if (phase_ != wanted) enter(wanted, wanted == phase::idle ? settings_.idle_timeout : settings_.read_timeout);
    const wake_up bytes{this};
    co_await bytes;
  }
  std::optional<request> next;
  const bool told_off = timed_out_ || parser_.status() != 0;
  if (ended_ || (parser_.ready().empty() && !told_off)) co_return next;
  if (!parser_.ready().empty()) {
    next = std::move(parser_.ready().front());
    parser_.ready().pop_front();
    read_on();
    co_return next;
  }
  const int status = timed_out_ ? 408 : parser_.status();
  ++counters_.by_class[4];
  std::string bytes = serialize(error_response(status, reason(status)), false, false);
  co_await write(std::move(bytes));
  co_await linger();
  co_return next;
}

cosqlite::task<response> session::answer(const request& r) {
  response a(500);
  try {
    a = co_await handler_(r, gone_.get_token());
  } catch (const cosqlite::cancelled_error&) {
    ++counters_.cancelled;
    a = error_response(503, "the server is going down");
  } catch (const cosqlite::timeout_error&) {
    a = error_response(503, "the database did not answer in time");
    a.headers["Retry-After"] = "1";
  } catch (const cosqlite::busy_error&) {
    a = error_response(503, "the database is busy");
    a.headers["Retry-After"] = "1";
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s %s: %s\n", r.method.c_str(), r.path.c_str(), e.what());
    a = error_response(500, "internal error");
  }
  co_return a;
}

cosqlite::task<> session::write(std::string bytes) {
  if (ended_) co_return;
  uv_buf_t all = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
  const int sent = uv_try_write(stream(), &all, 1);
  const std::size_t done = sent > 0 ? static_cast<std::size_t>(sent) : 0;
  if (done == bytes.size()) co_return;
  if (sent < 0 && sent != UV_EAGAIN) {
    on_end();
    co_return;
  }
  // What the socket does not take at once is sent when it can be; `bytes` lives in this coroutine until then.
  uv_buf_t rest = uv_buf_init(bytes.data() + done, static_cast<unsigned>(bytes.size() - done));
  enter(phase::writing, settings_.write_timeout);
  write_done_ = false;
  const int failure = uv_write(&write_request_, stream(), &rest, 1, [](uv_write_t* w, int status) {
    session* self = self_of(w->data);
    self->write_done_ = true;
    if (status < 0) self->ended_ = true;
    self->wake();
  });
  if (failure != 0) {
    on_end();
    co_return;
  }
  const wake_up sent_all{this};
  while (!write_done_) co_await sent_all;
}

// To close while the client still sends would reset the connection, and the answer with it: read on for a while.
cosqlite::task<> session::linger() {
  const wake_up end{this};
  if (ended_ || uv_shutdown(&shutdown_request_, stream(), nullptr) != 0) co_return;
  enter(phase::lingering, std::chrono::seconds(1));
  read_on();
  while (!ended_) co_await end;
}

void session::enter(phase p, std::chrono::milliseconds timeout) {
  phase_ = p;
  if (timeout.count() == 0) {
    uv_timer_stop(&timer_);
    return;
  }
  uv_timer_start(
      &timer_, [](uv_timer_t* t) { self_of(t->data)->on_timeout(); }, static_cast<std::uint64_t>(timeout.count()), 0);
}

void session::wake() {
  if (const auto waiter = std::exchange(waiter_, {})) waiter.resume();
}

void session::read_on() {
  if (reading_ || ended_) return;
  if (phase_ != phase::lingering && (parser_.status() != 0 || parser_.ready().size() >= settings_.pipelined)) return;
  reading_ = true;
  uv_read_start(
      stream(),
      [](uv_handle_t* h, std::size_t, uv_buf_t* to) {
        session* self = self_of(h->data);
        *to = uv_buf_init(self->buffer_.data(), static_cast<unsigned>(self->buffer_.size()));
      },
      [](uv_stream_t* s, ssize_t size, const uv_buf_t* from) {
        session* self = self_of(s->data);
        if (size > 0) self->on_bytes(std::string_view(from->base, static_cast<std::size_t>(size)));
        if (size < 0) self->on_end();
      });
}

void session::on_bytes(std::string_view bytes) {
  if (phase_ == phase::lingering) return;
  const bool good = parser_.feed(bytes);
  if (!good || parser_.ready().size() >= settings_.pipelined) {
    uv_read_stop(stream());
    reading_ = false;
  }
  if (phase_ == phase::idle || phase_ == phase::reading) wake();
}

void session::on_end() {
  if (ended_) return;
  ended_ = true;
  if (reading_) uv_read_stop(stream());
  reading_ = false;
  gone_.request_stop();
  if (phase_ == phase::writing) {
    // The write's own callback wakes the coroutine: its buffer must stay until then.
    if (!uv_is_closing(reinterpret_cast<uv_handle_t*>(&tcp_))) {
      uv_close(reinterpret_cast<uv_handle_t*>(&tcp_), [](uv_handle_t* h) { self_of(h->data)->handle_closed(); });
    }
  } else if (phase_ != phase::answering) {
    wake();
  }
}

void session::on_timeout() {
  if (phase_ == phase::reading) {
    timed_out_ = true;
    wake();
    return;
  }
  on_end();
}

void session::close() {
  ended_ = true;
  for (auto* handle : {reinterpret_cast<uv_handle_t*>(&tcp_), reinterpret_cast<uv_handle_t*>(&timer_)}) {
    if (uv_is_closing(handle)) continue;
    uv_close(handle, [](uv_handle_t* h) { self_of(h->data)->handle_closed(); });
  }
}

void session::handle_closed() {
  if (--open_handles_ > 0) return;
  --counters_.open;
  on_closed_(this);
}

}  // namespace http
