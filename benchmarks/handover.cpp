// The default hand-over against threads that always sleep. In each row the raw side is ours with poll = 0: polling must
// never be slower than that, least of all where other processes want the processor too.
#include "events.hpp"
#include "items.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <string>

using namespace bench;
using namespace std::chrono_literals;

namespace {

cosqlite::open_options polling(bool on) {
  cosqlite::open_options options;
  if (!on) options.poll = 0us;
  return options;
}

cosqlite::task<> read(std::string path, bool poll, std::size_t reads, stopwatch& watch) {
  const cosqlite::open_options options = polling(poll);
  cosqlite::connection db = co_await cosqlite::open(path, options);
  sequence ids;
  co_await db.query_one<std::string>(items::read_one, 1);
  watch.start();
  for (std::size_t i = 0; i < reads; ++i) {
    co_await db.query_one<std::string>(items::read_one, ids.next(items::count));
  }
  watch.stop(static_cast<double>(reads));
  co_await db.close();
}

cosqlite::task<> insert(std::string path, bool poll, std::size_t inserts, stopwatch& watch) {
  const cosqlite::open_options options = polling(poll);
  cosqlite::connection db = co_await cosqlite::open(path, options);
  cosqlite::transaction tx = co_await db.begin();
  const std::string message = events::message;
  watch.start();
  for (std::size_t i = 0; i < inserts; ++i) co_await tx.execute(events::insert, i, message);
  watch.stop(static_cast<double>(inserts));
  co_await tx.commit();
  co_await db.close();
}

}  // namespace

int main(int argc, char** argv) {
  return program("handover", argc, argv, [](suite& s) {
    const std::string path = s.fresh_file();
    items::fill(path);
    const auto compare = [&](bool busy) {
      const std::size_t calls = s.scaled(busy ? 10'000 : 20'000);
      s.compare(
          {.name = "hand-over, point reads: polling (raw: sleeping)", .floor = 1, .busy = busy},
          [&](stopwatch& w) { cosqlite::run(read(path, false, calls, w)); },
          [&](stopwatch& w) { cosqlite::run(read(path, true, calls, w)); });
      s.compare(
          {.name = "hand-over, inserts: polling (raw: sleeping)", .floor = 1, .busy = busy},
          [&](stopwatch& w) { cosqlite::run(insert(events::file(s), false, calls, w)); },
          [&](stopwatch& w) { cosqlite::run(insert(events::file(s), true, calls, w)); });
    };
    compare(false);
    compare(true);
  });
}
