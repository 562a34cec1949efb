// What a connection, a call and a stream hold, and what an idle connection burns.
#include "items.hpp"
#include "orders.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

using namespace bench;
using namespace std::chrono_literals;

// Counts what the C++ code allocates and, in it, what the whole process does, SQLite too: operator new ends in malloc,
// and glibc lets a program put its own in front.
namespace {
std::atomic<std::size_t> all_allocations = 0;
std::atomic<std::size_t> cpp_allocations = 0;
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);

void* malloc(std::size_t size) {
  all_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  all_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
  all_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(old, size);
}
}

[[gnu::noinline]] void* operator new(std::size_t size) {
  cpp_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

constexpr std::size_t connection_count = 64;

double raw_connections(const std::string& path) {
  std::vector<std::unique_ptr<raw::database>> all;
  const double before = resident_memory();
  for (std::size_t i = 0; i < connection_count; ++i) {
    all.push_back(std::make_unique<raw::database>(path));
    raw::statement select(*all.back(), items::read_one);
    sequence ids;
    items::read_all(select, ids, 1);
  }
  return (resident_memory() - before) / connection_count;
}

cosqlite::task<double> our_connections(std::string path) {
  std::vector<cosqlite::connection> all;
  const double before = resident_memory();
  for (std::size_t i = 0; i < connection_count; ++i) {
    all.push_back(co_await cosqlite::open(path));
    co_await all.back().query_one<std::string>(items::read_one, 1);
  }
  const double after = resident_memory();
  for (cosqlite::connection& db : all) co_await db.close();
  co_return (after - before) / connection_count;
}

/// Allocations a call.
struct allocated {
  double all = 0;
  double cpp = 0;
};

/// What has been allocated since it was made.
class tally {
 public:
  [[nodiscard]] allocated each(std::size_t calls) const {
    return {since(all_allocations, all_, calls), since(cpp_allocations, cpp_, calls)};
  }

 private:
  static double since(const std::atomic<std::size_t>& now, std::size_t then, std::size_t calls) {
    return static_cast<double>(now.load() - then) / static_cast<double>(calls);
  }

  std::size_t all_ = all_allocations.load();
  std::size_t cpp_ = cpp_allocations.load();
};

allocated raw_allocations(const std::string& path, std::size_t reads) {
  raw::database db(path);
  raw::statement select(db, items::read_one);
  sequence ids;
  items::read_all(select, ids, reads);
  const tally counted;
  items::read_all(select, ids, reads);
  return counted.each(reads);
}

cosqlite::task<> read_items(cosqlite::connection& db, std::size_t seed, std::size_t reads) {
  sequence ids(seed);
  for (std::size_t i = 0; i < reads; ++i) {
    co_await db.query_one<std::string>(items::read_one, ids.next(items::count));
  }
}

/// The readers start first, so that what the coroutines themselves need is not counted among the calls' allocations.
cosqlite::task<> read_twice(cosqlite::connection& db, std::size_t seed, std::size_t reads,
                            std::optional<tally>& counted) {
  co_await read_items(db, seed, 100);
  if (!counted) counted.emplace();
  co_await read_items(db, seed, reads);
}

cosqlite::task<allocated> our_allocations(std::string path, std::size_t readers, std::size_t reads) {
  cosqlite::connection db = co_await cosqlite::open(path);
  co_await read_items(db, 7, reads);
  std::vector<cosqlite::task<>> all;
  std::optional<tally> counted;
  for (std::size_t r = 0; r < readers; ++r) all.push_back(read_twice(db, r + 1, reads / readers, counted));
  co_await when_all(std::move(all));
  const allocated found = counted->each(reads / readers * readers);
  co_await db.close();
  co_return found;
}

cosqlite::task<double> streaming(std::string path) {
  cosqlite::connection db = co_await cosqlite::open(path);
  const double before = resident_memory();
  double most = before;
  orders::digest seen;
  cosqlite::row_stream rows = db.stream(orders::read_all);
  while (const auto row = co_await rows.next()) {
    seen.add(row->get<std::int64_t>(0), row->get<std::int64_t>(1), row->get<double>(2), row->get<std::string_view>(3));
    if (seen.rows % 10'000 == 0) most = std::max(most, resident_memory());
  }
  rows.close();
  co_await db.close();
  co_return most - before;
}

cosqlite::task<double> idle(std::string path) {
  cosqlite::connection db = co_await cosqlite::open(path);
  co_await read_items(db, 1, 1'000);
  co_await cosqlite::sleep_for(50ms);
  const double before = cpu_seconds();
  co_await cosqlite::sleep_for(1s);
  const double used = cpu_seconds() - before;
  co_await db.close();
  co_return used;
}

}  // namespace

int main(int argc, char** argv) {
  return program("memory", argc, argv, [](suite& s) {
    const std::string path = s.fresh_file(), big = s.fresh_file();
    items::fill(path);
    orders::fill(big, s.scaled(1'000'000));
    s.fact("resident memory growth while 1M rows are streamed", cosqlite::run(streaming(big)) / 1e6, "MB", 4);
    s.fact("resident memory a connection, raw", raw_connections(path) / 1e3, "kB");
    s.fact("resident memory a connection", cosqlite::run(our_connections(path)) / 1e3, "kB");
    const std::size_t reads = s.scaled(100'000);
    const auto report = [&s](const std::string& how, const allocated& found, double limit) {
      s.fact("heap allocations a point read of 100 bytes, " + how, found.cpp, "", limit);
      s.fact("the same and SQLite's own, " + how, found.all, "");
    };
    report("raw", raw_allocations(path, reads), 0);
    report("one awaited at a time", cosqlite::run(our_allocations(path, 1, reads)), 1.01);
    report("64 at once", cosqlite::run(our_allocations(path, 64, reads)), 1.01);
    s.fact("processor time of an idle connection over one second", cosqlite::run(idle(path)) * 1e3, "ms", 1);
  });
}
