// Whether the cost of a call or of a row stays the same as their numbers grow.
#include "items.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

using namespace bench;

namespace {

template <class Database>
cosqlite::task<> read_items(Database& db, std::size_t seed, std::size_t reads) {
  sequence ids(seed);
  for (std::size_t i = 0; i < reads; ++i) {
    co_await db.template query_one<std::string>(items::read_one, ids.next(items::count));
  }
}

template <class Database>
cosqlite::task<> read_from_many(Database& db, std::size_t readers, std::size_t reads, stopwatch& watch) {
  std::vector<cosqlite::task<>> all;
  for (std::size_t r = 0; r < readers; ++r) all.push_back(read_items(db, r + 1, reads / readers));
  watch.start();
  co_await when_all(std::move(all));
  watch.stop(static_cast<double>(reads / readers * readers));
}

cosqlite::task<> in_flight(std::string path, std::size_t readers, std::size_t reads, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  co_await read_items(db, 7, 1'000);
  co_await read_from_many(db, readers, reads, watch);
  co_await db.close();
}

cosqlite::task<> in_pool(std::string path, std::size_t connections, std::size_t reads, stopwatch& watch) {
  cosqlite::pool_options options;
  options.readers = connections;
  cosqlite::pool db = co_await cosqlite::pool::open(path, options);
  stopwatch warm_up;  // opens the readers
  co_await read_from_many(db, 64, reads / 10, warm_up);
  co_await read_from_many(db, 64, reads, watch);
  co_await db.close();
}

using sizes = std::initializer_list<std::size_t>;

struct numbered {
  std::int64_t id;
  double half;
};

constexpr const char* numbers =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i, i * 0.5 FROM n";

cosqlite::task<> fetch(std::string path, std::size_t rows, std::size_t times, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  co_await db.query<numbered>(numbers, 1);
  watch.start();
  for (std::size_t i = 0; i < times; ++i) co_await db.query<numbered>(numbers, rows);
  watch.stop(static_cast<double>(rows * times));
  co_await db.close();
}

cosqlite::task<> stream(std::string path, std::size_t rows, std::size_t times, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  co_await db.query<numbered>(numbers, 1);
  watch.start();
  for (std::size_t i = 0; i < times; ++i) {
    auto all = db.stream<numbered>(numbers, rows);
    while (co_await all.next()) continue;
  }
  watch.stop(static_cast<double>(rows * times));
  co_await db.close();
}

void raw_fetch(const std::string& path, std::size_t rows, std::size_t times, bool keep, stopwatch& watch) {
  raw::database db(path);
  raw::statement select(db, numbers);
  watch.start();
  for (std::size_t i = 0; i < times; ++i) {
    std::vector<numbered> all;
    double sum = 0;
    select.bind(1, static_cast<sqlite3_int64>(rows));
    while (select.step()) {
      const numbered n{select.integer(0), select.real(1)};
      if (keep) {
        all.push_back(n);
      } else {
        sum += n.half + static_cast<double>(n.id);
      }
    }
    select.reset();
    if (keep ? all.size() != rows : sum == 0) throw std::runtime_error("rows are missing");
  }
  watch.stop(static_cast<double>(rows * times));
}

std::string grouped(std::size_t n) {
  std::string text = std::to_string(n);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  return program("growth", argc, argv, [](suite& s) {
    const std::string path = s.fresh_file();
    items::fill(path);
    const std::size_t reads = s.scaled(100'000);
    const side one_by_one = [&](stopwatch& w) {
      raw::database db(path);
      raw::statement select(db, items::read_one);
      sequence ids;
      w.start();
      items::read_all(select, ids, reads);
      w.stop(static_cast<double>(reads));
    };
    for (const std::size_t readers : sizes{1, 4, 16, 64, 256, 1'024, 10'000}) {
      const std::string name = "point reads, calls in flight: " + grouped(readers);
      s.compare({.name = name}, one_by_one,
                [&](stopwatch& w) { cosqlite::run(in_flight(path, readers, std::max(reads, readers), w)); });
    }
    for (const std::size_t count : sizes{1, 2, 4, 8, 16, 32}) {
      const std::string name = "64 point reads at once, readers in the pool: " + grouped(count);
      s.compare({.name = name}, one_by_one, [&](stopwatch& w) { cosqlite::run(in_pool(path, count, reads, w)); });
    }
    for (const std::size_t rows : sizes{1, 10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000}) {
      if (s.quick() && rows > 1'000'000) break;
      const std::size_t times = std::max<std::size_t>(1, std::min<std::size_t>(s.scaled(20'000), 1'000'000 / rows));
      s.compare(
          {.name = "rows fetched, a result of " + grouped(rows), .unit = "rows"},
          [&](stopwatch& w) { raw_fetch(path, rows, times, true, w); },
          [&](stopwatch& w) { cosqlite::run(fetch(path, rows, times, w)); });
      s.compare(
          {.name = "rows streamed, a result of " + grouped(rows), .unit = "rows"},
          [&](stopwatch& w) { raw_fetch(path, rows, times, false, w); },
          [&](stopwatch& w) { cosqlite::run(stream(path, rows, times, w)); });
    }
  });
}
