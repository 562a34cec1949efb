// What it costs that every call can be stopped: SQLite asks a progress handler every thousand steps.
#include "harness.hpp"
#include "raw.hpp"
#include <cosqlite/cosqlite.hpp>

#include <atomic>
#include <chrono>
#include <string>

using namespace bench;
using namespace std::chrono_literals;

namespace {

constexpr const char* count_up =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT sum(i % 7) FROM n";

void raw_query(const std::string& path, std::size_t steps, bool handler, stopwatch& watch) {
  raw::database db(path);
  std::atomic<bool> stop = false;
  if (handler) {
    const auto asked = [](void* flag) { return static_cast<std::atomic<bool>*>(flag)->load() ? 1 : 0; };
    sqlite3_progress_handler(db.get(), 1000, asked, &stop);
  }
  raw::statement select(db, count_up);
  select.bind(1, static_cast<sqlite3_int64>(steps));
  watch.start();
  select.step();
  watch.stop(static_cast<double>(steps));
}

cosqlite::task<> ours(std::string path, std::size_t steps, bool deadline, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  if (deadline) {
    auto limited = db.with(1h);
    watch.start();
    co_await limited.query_one<std::int64_t>(count_up, steps);
  } else {
    watch.start();
    co_await db.query_one<std::int64_t>(count_up, steps);
  }
  watch.stop(static_cast<double>(steps));
  co_await db.close();
}

}  // namespace

int main(int argc, char** argv) {
  return program("progress", argc, argv, [](suite& s) {
    const std::string path = s.fresh_file();
    const std::size_t steps = s.scaled(2'000'000);
    const side plain = [&](stopwatch& w) { raw_query(path, steps, false, w); };
    s.compare({.name = "a long query: progress handler (raw: none)", .unit = "rows", .floor = 0.98}, plain,
              [&](stopwatch& w) { raw_query(path, steps, true, w); });
    s.compare(
        {.name = "a long query: with a deadline (raw: ours without)", .unit = "rows", .floor = 0.98},
        [&](stopwatch& w) { cosqlite::run(ours(path, steps, false, w)); },
        [&](stopwatch& w) { cosqlite::run(ours(path, steps, true, w)); });
    s.compare({.name = "a long query: with a deadline (raw: no handler)", .unit = "rows", .floor = 0.95}, plain,
              [&](stopwatch& w) { cosqlite::run(ours(path, steps, true, w)); });
  });
}
