// How soon a call ends whose stop is requested or whose deadline passes: while it runs, while it waits for a lock that
// another connection holds, and while it is queued behind another call.
#include "harness.hpp"
#include "raw.hpp"
#include <cosqlite/cosqlite.hpp>

#include <uv.h>

#include <algorithm>
#include <chrono>
#include <stop_token>
#include <string>
#include <vector>

using namespace bench;
using namespace std::chrono_literals;

namespace {

constexpr const char* endless =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
constexpr const char* write = "INSERT INTO t VALUES (1)";
constexpr const char* quick = "SELECT 1";
constexpr auto patience = 3ms;

double milliseconds() { return static_cast<double>(uv_hrtime()) * 1e-6; }

/// When the call ended, in ms.
cosqlite::task<double> end_of(cosqlite::limited_connection db, std::string sql) {
  try {
    co_await db.execute(sql);
  } catch (const cosqlite::cancelled_error&) {
  } catch (const cosqlite::timeout_error&) {
  }
  co_return milliseconds();
}

/// When the stop was requested.
cosqlite::task<double> stop_soon(std::stop_source source) {
  co_await cosqlite::sleep_for(patience);
  const double now = milliseconds();
  source.request_stop();
  co_return now;
}

cosqlite::task<double> lateness(cosqlite::connection& db, std::string sql, bool by_deadline) {
  std::stop_source source;
  if (by_deadline) {
    const double due = milliseconds() + std::chrono::duration<double, std::milli>(patience).count();
    const double end = co_await end_of(db.with(patience), sql);
    co_return end - due;
  }
  const auto [end, asked] = co_await cosqlite::when_all(end_of(db.with(source.get_token()), sql), stop_soon(source));
  co_return end - asked;
}

cosqlite::task<> measure(suite& s, cosqlite::connection& db, std::string state, std::string sql) {
  for (const bool by_deadline : {false, true}) {
    const std::string name = "a call that " + state + ", " + (by_deadline ? "at its deadline" : "when stopped");
    if (!s.wants(name)) continue;
    std::vector<double> late;
    for (std::size_t i = 0; i < s.scaled(200); ++i) late.push_back(co_await lateness(db, sql, by_deadline));
    std::ranges::sort(late);
    s.fact(name + ": median", late[late.size() / 2], "ms");
    s.fact(name + ": worst", late.back(), "ms", 5);
  }
}

cosqlite::task<> run_all(suite& s, std::string path) {
  cosqlite::open_options options;
  options.busy_timeout = 1h;
  cosqlite::connection db = co_await cosqlite::open(path, options);
  co_await db.execute("CREATE TABLE t (n INTEGER)");
  co_await measure(s, db, "runs", endless);
  {
    raw::database other(path);
    other.run("BEGIN IMMEDIATE");
    co_await measure(s, db, "waits for a lock", write);
    other.run("ROLLBACK");
  }
  std::stop_source blocker;
  auto blocked = [&]() -> cosqlite::task<> {
    static_cast<void>(co_await end_of(db.with(blocker.get_token()), endless));
  };
  auto queued = [&]() -> cosqlite::task<> {
    co_await measure(s, db, "is queued", quick);
    blocker.request_stop();
  };
  co_await cosqlite::when_all(blocked(), queued());
  co_await db.close();
}

}  // namespace

int main(int argc, char** argv) {
  return program("stopping", argc, argv, [](suite& s) { cosqlite::run(run_all(s, s.fresh_file())); });
}
