// Several processes on one file, through the library in each of them.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include <sys/wait.h>

namespace {

using cosqlite::connection;
using cosqlite::task;
using cosqlite::transaction;
using support::temp_database;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int increments = 4'000;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr int increments = 4'000;
#else
constexpr int increments = 100'000;
#endif
#else
constexpr int increments = 100'000;
#endif

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

pid_t start_child(const char* test, const std::string& path) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child != 0) return child;
  setenv("COSQLITE_CHILD_PATH", path.c_str(), 1);
  execl("/proc/self/exe", "child", test, static_cast<char*>(nullptr));
  std::_Exit(127);
}

}  // namespace

TEST_CASE("child: counts up on four connections", "[.child]") {
  const char* path = std::getenv("COSQLITE_CHILD_PATH");
  REQUIRE(path != nullptr);
  cosqlite::run(count_up_on_all(path));
}

TEST_CASE("two processes with four connections each count to the exact sum, and nobody is told that it is busy") {
  const temp_database file;
  const support::raw_database raw(file.path());
  raw.execute("PRAGMA journal_mode = wal; CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES (0)");
  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i)
    children.push_back(start_child("child: counts up on four connections", file.path()));
  for (const pid_t child : children) {
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  CHECK(raw.number("SELECT n FROM counter") == increments / processes / connections * connections * processes);
}
