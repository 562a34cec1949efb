// One row by its key, as text: one awaited after another, and from many coroutines on one connection.
#include "items.hpp"
#include <cosqlite/cosqlite.hpp>

#include <string>
#include <vector>

using namespace bench;

namespace {

cosqlite::task<> read_items(cosqlite::connection& db, std::size_t seed, std::size_t reads, std::size_t& total) {
  sequence ids(seed);
  for (std::size_t i = 0; i < reads; ++i) {
    const auto name = co_await db.query_one<std::string>(items::read_one, ids.next(items::count));
    total += name.size();
  }
}

cosqlite::task<> read_from_many(cosqlite::connection& db, std::size_t readers, std::size_t reads, std::size_t& total) {
  std::vector<cosqlite::task<>> all;
  for (std::size_t r = 0; r < readers; ++r) all.push_back(read_items(db, r + 1, reads / readers, total));
  co_await when_all(std::move(all));
}

cosqlite::task<> ours(std::string path, std::size_t readers, std::size_t reads, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  std::size_t total = 0;
  co_await read_from_many(db, readers, reads / 10, total);
  total = 0;
  watch.start();
  co_await read_from_many(db, readers, reads, total);
  watch.stop(static_cast<double>(reads / readers * readers));
  if (total != reads / readers * readers * 100) throw std::runtime_error("a read went wrong");
  co_await db.close();
}

void raw_reads(const std::string& path, std::size_t reads, stopwatch& watch) {
  raw::database db(path);
  raw::statement select(db, items::read_one);
  sequence ids;
  items::read_all(select, ids, reads / 10);
  watch.start();
  const std::size_t total = items::read_all(select, ids, reads);
  watch.stop(static_cast<double>(reads));
  if (total != reads * 100) throw std::runtime_error("a read went wrong");
}

}  // namespace

int main(int argc, char** argv) {
  return program("point_reads", argc, argv, [](suite& s) {
    const std::string path = s.fresh_file();
    items::fill(path);
    const auto compare = [&](const workload& what, std::size_t readers) {
      const std::size_t reads = s.scaled(100'000);
      s.compare(
          what, [&](stopwatch& w) { raw_reads(path, reads, w); },
          [&](stopwatch& w) { cosqlite::run(ours(path, readers, reads, w)); });
    };
    compare({.name = "point read, one awaited at a time", .floor = 0.80}, 1);
    compare({.name = "point reads, 64 at once", .floor = 1.8}, 64);
    compare({.name = "point reads, 1,024 at once", .floor = 1.8}, 1024);
    compare({.name = "point read, one awaited at a time", .floor = 0.40, .busy = true}, 1);
    compare({.name = "point reads, 64 at once", .busy = true}, 64);
  });
}
