#include "server.hpp"

#include <system_error>
#include <utility>

namespace http {

namespace {

void check(int status, const std::string& what) {
  if (status < 0) throw std::system_error(-status, std::generic_category(), what);
}

}  // namespace

server::server(uv_loop_t* loop, settings how, handler answer)
    : loop_(loop), settings_(how), handler_(std::move(answer)) {
  uv_tcp_init(loop_, &listener_);
  uv_timer_init(loop_, &grace_);
  listener_.data = grace_.data = this;
}

void server::listen(const std::string& address, int port) {
  sockaddr_storage where{};
  const std::string name = address + ":" + std::to_string(port);
  if (uv_ip4_addr(address.c_str(), port, reinterpret_cast<sockaddr_in*>(&where)) != 0) {
    check(uv_ip6_addr(address.c_str(), port, reinterpret_cast<sockaddr_in6*>(&where)), name);
  }
  check(uv_tcp_bind(&listener_, reinterpret_cast<const sockaddr*>(&where), 0), name);
  check(uv_listen(reinterpret_cast<uv_stream_t*>(&listener_), 1024,
                  [](uv_stream_t* s, int status) {
                    if (status == 0) static_cast<server*>(s->data)->accept();
                  }),
        name);
}

int server::port() const {
  sockaddr_storage where{};
  int size = sizeof where;
  uv_tcp_getsockname(&listener_, reinterpret_cast<sockaddr*>(&where), &size);
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&where);
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&where);
  return ntohs(where.ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
}

void server::accept() {
  auto* client = new session(loop_, settings_, handler_, counters_, [this](session* s) { forget(s); });
  sessions_.insert(client);
  const bool taken = uv_accept(reinterpret_cast<uv_stream_t*>(&listener_), client->stream()) == 0;
  if (!taken || sessions_.size() > settings_.connections) {
    ++counters_.refused;
    client->abort();
  } else {
    ++counters_.accepted;
  }
  client->start();
}

void server::forget(session* s) {
  sessions_.erase(s);
  delete s;
  wake();
}

void server::close(uv_handle_t* handle) {
  uv_close(handle, [](uv_handle_t* h) {
    auto* self = static_cast<server*>(h->data);
    --self->open_handles_;
    self->wake();
  });
}

void server::wake() {
  if (const auto waiter = std::exchange(waiter_, {})) waiter.resume();
}

cosqlite::task<> server::stop(std::chrono::milliseconds grace) {
  close(reinterpret_cast<uv_handle_t*>(&listener_));
  // A session ends on the loop, after these calls: the set does not change under them.
  uv_timer_start(
      &grace_,
      [](uv_timer_t* t) {
        for (session* s : static_cast<server*>(t->data)->sessions_) s->abort();
      },
      static_cast<std::uint64_t>(grace.count()), 0);
  for (session* s : sessions_) s->finish();
  const an_end something{this};
  while (!sessions_.empty()) co_await something;
  close(reinterpret_cast<uv_handle_t*>(&grace_));
  while (open_handles_ > 0) co_await something;
}

}  // namespace http
