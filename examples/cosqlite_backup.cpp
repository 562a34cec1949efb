// Copies a database that may be in use: cosqlite-backup source destination
// Ctrl-C ends it cleanly: the destination is then what it was before.
#include "progress_bar.hpp"
#include <cosqlite/cosqlite.hpp>

#include <uv.h>

#include <csignal>
#include <iostream>
#include <stop_token>
#include <string>

using cosqlite::task;

namespace {

/// Requests a stop when the user presses Ctrl-C. Lives on the loop, without keeping it alive.
class interrupt_watch {
 public:
  explicit interrupt_watch(uv_loop_t* loop) : signal_(new uv_signal_t) {
    uv_signal_init(loop, signal_);
    signal_->data = this;
    uv_signal_start(
        signal_, [](uv_signal_t* s, int) { static_cast<interrupt_watch*>(s->data)->stop_.request_stop(); }, SIGINT);
    uv_unref(reinterpret_cast<uv_handle_t*>(signal_));
  }
  interrupt_watch(const interrupt_watch&) = delete;
  interrupt_watch& operator=(const interrupt_watch&) = delete;
  ~interrupt_watch() {
    uv_close(reinterpret_cast<uv_handle_t*>(signal_), [](uv_handle_t* h) { delete reinterpret_cast<uv_signal_t*>(h); });
  }
  std::stop_token token() const { return stop_.get_token(); }

 private:
  uv_signal_t* signal_;
  std::stop_source stop_;
};

task<int> back_up(std::string source, std::string destination) {
  const interrupt_watch interrupted(cosqlite::this_loop());
  progress_bar bar(source);
  const auto report = [&bar](const cosqlite::backup_progress& p) {
    const std::string note = p.restarts == 0 ? "" : ", begun anew " + std::to_string(p.restarts) + " times";
    bar.show(static_cast<std::uint64_t>(p.total - p.remaining), static_cast<std::uint64_t>(p.total), note);
  };
  try {
    const cosqlite::open_options options{.mode = cosqlite::access::read_write, .journal_mode = cosqlite::journal::keep};
    cosqlite::connection db = co_await cosqlite::open(source, options);
    auto limited = db.with(interrupted.token());
    const cosqlite::backup_progress done = co_await limited.backup(destination, {.pages = 1000}, report);
    std::cout << done.total << " pages copied to " << destination << '\n';
    co_await db.close();
    co_return 0;
  } catch (const cosqlite::cancelled_error&) {
    bar.leave();
    std::cerr << "interrupted: " << destination << " is as it was before\n";
    co_return 130;
  } catch (const cosqlite::error& e) {
    bar.leave();
    std::cerr << e.what() << '\n';
    co_return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: cosqlite-backup source destination\n";
    return 2;
  }
  return cosqlite::run(back_up(argv[1], argv[2]));
}
