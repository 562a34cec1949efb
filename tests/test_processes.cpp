// Several processes on one file, through the library in each of them.

#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::task;
using cosqlite::transaction;
using support::child_process;
using support::temp_database;

constexpr int increments = support::sanitized ? 4'000 : 100'000;
constexpr int processes = 2;
constexpr int connections = 4;

task<> count_up(std::string path, int times) {
  cosqlite::open_options o;
  o.synchronous = cosqlite::sync::off;
  o.busy_timeout = std::chrono::seconds(5);
  connection db = co_await cosqlite::open(std::move(path), o);
  for (int i = 0; i < times; ++i) {
    transaction tx = co_await db.begin();
    const auto n = co_await tx.query_one<std::int64_t>("SELECT n FROM counter");
    co_await tx.execute("UPDATE counter SET n = ?", n + 1);
    co_await tx.commit();
  }
  co_await db.close();
}

task<> count_up_on_all(std::string path) {
  std::vector<task<>> all;
  for (int i = 0; i < connections; ++i) all.push_back(count_up(path, increments / processes / connections));
  co_await cosqlite::when_all(std::move(all));
}

}  // namespace

TEST_CASE("child: counts up on four connections", "[.child]") { cosqlite::run(count_up_on_all(child_process::path())); }

TEST_CASE("two processes with four connections each count to the exact sum, and nobody is told that it is busy") {
  const temp_database file;
  const support::raw_database raw(file.path());
  raw.execute("PRAGMA journal_mode = wal; CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES (0)");
  std::vector<child_process> children;
  for (int i = 0; i < processes; ++i) children.emplace_back("child: counts up on four connections", file.path());
  for (child_process& child : children) CHECK(child.wait() == 0);
  CHECK(raw.number("SELECT n FROM counter") == increments / processes / connections * connections * processes);
}
