// Opening a database that exists, with all the settings, and closing it: a thread comes and goes with it.
#include "items.hpp"
#include <cosqlite/cosqlite.hpp>

#include <string>

using namespace bench;

namespace {

cosqlite::task<> ours(std::string path, std::size_t times, stopwatch& watch) {
  watch.start();
  for (std::size_t i = 0; i < times; ++i) {
    cosqlite::connection db = co_await cosqlite::open(path);
    co_await db.close();
  }
  watch.stop(static_cast<double>(times));
}

}  // namespace

int main(int argc, char** argv) {
  return program("open_close", argc, argv, [](suite& s) {
    const std::string path = s.fresh_file();
    items::fill(path, 1'000);
    const std::size_t times = s.scaled(2'000);
    s.compare(
        {.name = "open and close", .floor = 0.4},
        [&](stopwatch& w) {
          w.start();
          for (std::size_t i = 0; i < times; ++i) const raw::database db(path);
          w.stop(static_cast<double>(times));
        },
        [&](stopwatch& w) { cosqlite::run(ours(path, times, w)); });
  });
}
