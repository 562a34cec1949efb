// A small web service: users with profiles, kept in SQLite, served over HTTP/1.1. The pool is opened at start-up and
// closed at shut-down; each request borrows what it needs from it.
#include "http/server.hpp"
#include "users/handlers.hpp"
#include "users/store.hpp"
#include <cosqlite/cosqlite.hpp>

#include <uv.h>

#include <charconv>
#include <chrono>
#include <coroutine>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <limits>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <sys/resource.h>

namespace {

struct arguments {
  std::string address = "127.0.0.1";
  std::string database = "users.db";
  int port = 8080;
  int readers = 4;
  int request_timeout = 5'000;
  int read_timeout = 10'000;
  int idle_timeout = 60'000;
  int grace = 10'000;
};

constexpr std::string_view usage =
    "usage: http_users [options]\n"
    "  --address A           where to listen (127.0.0.1)\n"
    "  --port N              0: any free port (8080)\n"
    "  --database FILE       (users.db)\n"
    "  --readers N           reading connections (4)\n"
    "  --request-timeout MS  for everything that a request asks of the database (5000)\n"
    "  --read-timeout MS     for a request to arrive (10000)\n"
    "  --idle-timeout MS     between the requests of a connection (60000)\n"
    "  --grace MS            for requests that are under way at a stop (10000)\n"
    "SIGTERM and SIGINT stop it.\n";

/// SIGTERM or SIGINT, as something to wait for.
class stop_signal {
 public:
  explicit stop_signal(uv_loop_t* loop) {
    for (uv_signal_t* s : {&term_, &interrupt_}) {
      uv_signal_init(loop, s);
      s->data = this;
      uv_signal_start(
          s, [](uv_signal_t* which, int) { static_cast<stop_signal*>(which->data)->fire(); },
          s == &term_ ? SIGTERM : SIGINT);
    }
  }
  stop_signal(const stop_signal&) = delete;
  stop_signal& operator=(const stop_signal&) = delete;

  /// Closes the handles, which are gone when the loop has turned once more.
  void close() {
    uv_close(reinterpret_cast<uv_handle_t*>(&term_), nullptr);
    uv_close(reinterpret_cast<uv_handle_t*>(&interrupt_), nullptr);
  }

  bool await_ready() const noexcept { return fired_; }
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter_ = h; }
  void await_resume() const noexcept {}

 private:
  void fire() {
    fired_ = true;
    if (const auto waiter = std::exchange(waiter_, {})) waiter.resume();
  }

  uv_signal_t term_{};
  uv_signal_t interrupt_{};
  std::coroutine_handle<> waiter_;
  bool fired_ = false;
};

cosqlite::task<> serve(uv_loop_t* loop, const arguments& a, stop_signal& stop) {
  cosqlite::pool_options options;
  options.readers = static_cast<std::size_t>(a.readers);
  auto db = co_await cosqlite::pool::open(a.database, options);
  co_await users::migrate(db);

  users::service service(db, std::chrono::milliseconds(a.request_timeout));
  http::settings settings;
  settings.read_timeout = std::chrono::milliseconds(a.read_timeout);
  settings.idle_timeout = std::chrono::milliseconds(a.idle_timeout);
  http::server server(loop, settings, std::ref(service));
  service.watch(server.count());
  std::exception_ptr failure;
  try {
    server.listen(a.address, a.port);
    std::cout << "listening on http://" << a.address << ':' << server.port() << std::endl;
    co_await stop;
    std::cout << "stopping" << std::endl;
  } catch (const std::exception&) {
    failure = std::current_exception();
  }
  co_await server.stop(std::chrono::milliseconds(a.grace));
  co_await db.close();
  if (failure) std::rethrow_exception(failure);
}

int number(std::string_view name, std::string_view text, int most) {
  int n = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (failure != std::errc() || end != text.data() + text.size() || n < 0 || n > most) {
    throw std::invalid_argument(std::string(name) + " wants a number from 0 to " + std::to_string(most) + ", not \"" +
                                std::string(text) + "\"");
  }
  return n;
}

/// Throws std::invalid_argument.
arguments parse(std::span<char* const> words) {
  arguments a;
  const std::map<std::string_view, int*> numbers = {
      {"--port", &a.port},
      {"--readers", &a.readers},
      {"--request-timeout", &a.request_timeout},
      {"--read-timeout", &a.read_timeout},
      {"--idle-timeout", &a.idle_timeout},
      {"--grace", &a.grace},
  };
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const std::string_view name = words[i];
    const auto option = numbers.find(name);
    if (option == numbers.end() && name != "--address" && name != "--database") {
      throw std::invalid_argument("there is no option " + std::string(name));
    }
    if (i + 1 == words.size()) throw std::invalid_argument(std::string(name) + " wants a value");
    const std::string_view value = words[i + 1];
    if (name == "--address") {
      a.address = value;
    } else if (name == "--database") {
      a.database = value;
    } else {
      *option->second = number(name, value, name == "--port" ? 65'535 : std::numeric_limits<int>::max());
    }
  }
  return a;
}

/// Every client needs a descriptor: take as many as the system grants.
void raise_descriptor_limit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

int main(int argc, char** argv) {
  const std::span<char* const> words(argv + 1, static_cast<std::size_t>(argc - 1));
  if (!words.empty() && std::string_view(words[0]) == "--help") {
    std::cout << usage;
    return 0;
  }
  arguments a;
  try {
    a = parse(words);
  } catch (const std::invalid_argument& e) {
    std::cerr << "http_users: " << e.what() << '\n' << usage;
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  uv_loop_t* loop = uv_default_loop();
  stop_signal stop(loop);
  int status = 0;
  try {
    cosqlite::run(serve(loop, a, stop), loop);
  } catch (const std::exception& e) {
    std::cerr << "http_users: " << e.what() << '\n';
    status = 1;
  }
  stop.close();
  uv_run(loop, UV_RUN_DEFAULT);
  uv_loop_close(loop);
  return status;
}
