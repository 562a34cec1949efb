// Four readers and a writer on one file at once: a pool against five threads that each have a connection. Every commit
// makes readers drop what they have cached, so how many the two writers make belongs to the figures; with a pace they
// make equally many.
#include "events.hpp"
#include "items.hpp"
#include <cosqlite/cosqlite.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace bench;

namespace {

constexpr std::size_t connections = 4;

/// How many writes were made beside the reads, and in which time.
struct writing {
  std::vector<double> rates;
  void add(std::size_t writes, double reads, const stopwatch& watch) {
    rates.push_back(static_cast<double>(writes) * watch.rate() / reads);
  }
};

/// Of load::writes_a_second.
constexpr double as_many_as_can_be = 0;
constexpr double none = -1;

class pace {
 public:
  explicit pace(double a_second) : a_second_(a_second) {}
  /// How long to wait before the next, when so many have been made.
  [[nodiscard]] std::chrono::nanoseconds wait_after(std::size_t writes) const {
    if (a_second_ <= 0) return {};
    const std::chrono::duration<double> due(static_cast<double>(writes) / a_second_);
    return std::chrono::duration_cast<std::chrono::nanoseconds>(due - (clock::now() - began_));
  }

 private:
  using clock = std::chrono::steady_clock;
  double a_second_;
  clock::time_point began_ = clock::now();
};

cosqlite::task<> read_items(cosqlite::pool& db, std::size_t seed, std::size_t reads) {
  sequence ids(seed);
  for (std::size_t i = 0; i < reads; ++i) {
    co_await db.query_one<std::string>(items::read_one, ids.next(items::count));
  }
}

cosqlite::task<> read_from_many(cosqlite::pool& db, std::size_t readers, std::size_t reads, bool& done) {
  std::vector<cosqlite::task<>> all;
  for (std::size_t r = 0; r < readers; ++r) all.push_back(read_items(db, r + 1, reads / readers));
  co_await when_all(std::move(all));
  done = true;
}

cosqlite::task<> write_meanwhile(cosqlite::pool& db, double a_second, const bool& done, std::size_t& writes) {
  const std::string message = events::message;
  const pace at(a_second);
  while (!done && a_second != none) {
    co_await db.execute(events::insert, writes++, message);
    const std::chrono::nanoseconds wait = at.wait_after(writes);
    if (wait > wait.zero()) co_await cosqlite::sleep_for(wait);
  }
}

struct load {
  std::size_t coroutines;
  std::size_t reads;
  double writes_a_second = as_many_as_can_be;
};

cosqlite::task<> ours(std::string path, load what, stopwatch& watch, writing& seen) {
  cosqlite::pool_options options;
  options.readers = connections;
  cosqlite::pool db = co_await cosqlite::pool::open(path, options);
  bool done = false;
  co_await read_from_many(db, what.coroutines, what.reads / 10, done);
  done = false;
  std::size_t writes = 0;
  watch.start();
  co_await when_all(read_from_many(db, what.coroutines, what.reads, done),
                    write_meanwhile(db, what.writes_a_second, done, writes));
  const double count = static_cast<double>(what.reads / what.coroutines * what.coroutines);
  watch.stop(count);
  seen.add(writes, count, watch);
  co_await db.close();
}

void raw_threads(const std::string& path, load what, stopwatch& watch, writing& seen) {
  std::atomic<bool> go = false, done = false;
  std::atomic<std::size_t> ready = 0;
  std::size_t writes = 0;
  const auto wait_for_start = [&] {
    ++ready;
    go.wait(false);
  };
  std::vector<std::thread> readers;
  for (std::size_t r = 0; r < connections; ++r) {
    readers.emplace_back([&, r] {
      raw::database db(path);
      raw::statement select(db, items::read_one);
      sequence ids(r + 1);
      items::read_all(select, ids, what.reads / connections / 10);
      wait_for_start();
      items::read_all(select, ids, what.reads / connections);
    });
  }
  std::thread writer([&] {
    raw::database db(path);
    raw::statement insert(db, events::insert);
    const std::string message = events::message;
    wait_for_start();
    const pace at(what.writes_a_second);
    while (!done.load() && what.writes_a_second != none) {
      insert.bind(1, static_cast<sqlite3_int64>(writes++));
      insert.bind(2, message);
      insert.run();
      std::this_thread::sleep_for(at.wait_after(writes));
    }
  });
  while (ready.load() < connections + 1) std::this_thread::yield();
  watch.start();
  go = true;
  go.notify_all();
  for (std::thread& r : readers) r.join();
  const double count = static_cast<double>(what.reads / connections * connections);
  watch.stop(count);
  done = true;
  writer.join();
  seen.add(writes, count, watch);
}

}  // namespace

int main(int argc, char** argv) {
  return program("pool", argc, argv, [](suite& s) {
    const auto compare = [&](const workload& what, load of) {
      if (!s.wants(what.name)) return;
      const std::string path = s.fresh_file();
      items::fill(path);
      raw::database(path).run(events::create);
      of.reads = s.scaled(of.reads);
      writing theirs, mine;
      s.compare(
          what, [&](stopwatch& w) { raw_threads(path, of, w, theirs); },
          [&](stopwatch& w) { cosqlite::run(ours(path, of, w, mine)); });
      if (of.writes_a_second == none) return;
      const std::string writes = std::string(what.name) + ": durable writes a second meanwhile";
      s.fact(writes + ", five raw threads", median(theirs.rates), "writes/s");
      s.fact(writes, median(mine.rates), "writes/s");
    };
    compare({.name = "pool of 4 readers and a writer, 4 coroutines read", .floor = 0.8},
            {.coroutines = 4, .reads = 300'000});
    compare({.name = "pool of 4 readers and a writer, 64 coroutines read", .floor = 0.8},
            {.coroutines = 64, .reads = 300'000});
    compare({.name = "pool of 4 readers and a writer, 64 read, both write 500 times a second", .floor = 0.8},
            {.coroutines = 64, .reads = 300'000, .writes_a_second = 500});
    compare({.name = "pool of 4 readers, 4 coroutines read and nobody writes"},
            {.coroutines = 4, .reads = 300'000, .writes_a_second = none});
    compare({.name = "pool of 4 readers, 64 coroutines read and nobody writes"},
            {.coroutines = 64, .reads = 300'000, .writes_a_second = none});
  });
}
