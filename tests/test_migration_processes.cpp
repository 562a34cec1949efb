#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

using cosqlite::connection;
using cosqlite::migration_status;
using cosqlite::migrator;
using cosqlite::task;
using support::child_process;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

/// Ten steps, each of which leaves a mark for every time that it ran.
migrator counting_steps() {
  migrator steps;
  steps.add(1, "runs", "CREATE TABLE runs(step INTEGER NOT NULL) STRICT; INSERT INTO runs VALUES (1)");
  for (int i = 2; i <= 10; ++i) {
    const std::string number = std::to_string(i);
    steps.add(i, "step" + number, "INSERT INTO runs VALUES (" + number + "); CREATE TABLE t" + number + "(a, b);");
  }
  return steps;
}

/// Each step makes one table with a few pages in it; a way back drops it.
migrator page_steps() {
  migrator steps;
  for (int i = 1; i <= 3; ++i) {
    const std::string table = "t" + std::to_string(i);
    steps.add(i, table,
              "CREATE TABLE " + table +
                  "(a, b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO " +
                  table + " SELECT i, hex(zeroblob(100)) FROM n; CREATE INDEX " + table + "_a ON " + table + "(a);",
              "DROP TABLE " + table);
  }
  return steps;
}

/// How far a file is: steps in the history, and what of them is there.
void check_whole(const raw_database& raw, std::int64_t version) {
  CHECK(raw.text("PRAGMA integrity_check") == "ok");
  CHECK(raw.number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 't_'") == version);
  CHECK(raw.number("SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name LIKE 't__a'") == version);
  for (std::int64_t t = 1; t <= version; ++t) {
    CHECK(raw.number(("SELECT count(*) FROM t" + std::to_string(t)).c_str()) == 200);
  }
}

std::int64_t version_of(const raw_database& raw) {
  const bool started = raw.number("SELECT count(*) FROM sqlite_schema WHERE name = 'cosqlite_migrations'") != 0;
  return started ? raw.number("SELECT ifnull(max(version), 0) FROM cosqlite_migrations") : 0;
}

}  // namespace

TEST_CASE("several connections of one program run each step once") {
  temp_database file;
  on_loop([&]() -> task<> {
    std::vector<connection> all;
    for (int i = 0; i < 4; ++i) {
      connection db = co_await cosqlite::open(file.path());
      all.push_back(std::move(db));
    }
    const migrator steps = counting_steps();
    std::vector<task<std::vector<migration_status>>> starts;
    for (connection& db : all) starts.push_back(steps.up(db));
    const std::vector<std::vector<migration_status>> done = co_await cosqlite::when_all(std::move(starts));
    std::size_t sum = 0;
    for (const std::vector<migration_status>& d : done) sum += d.size();
    CHECK(sum == 10);
    const int runs = co_await all[0].query_one<int>("SELECT count(*) FROM runs");
    CHECK(runs == 10);
  });
}

TEST_CASE("child: makes a database and goes up", "[.child]") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(child_process::path());
    co_await counting_steps().up(db);
  });
}

TEST_CASE("child: goes up and leaves all the waiting to the migrator", "[.child]") {
  on_loop([]() -> task<> {
    cosqlite::open_options options;
    options.journal_mode = cosqlite::journal::keep;
    connection db = co_await cosqlite::open(child_process::path(), options);
    co_await db.execute("PRAGMA busy_timeout = 20");
    co_await counting_steps().up(db);
  });
}

TEST_CASE("child: goes up and down for ever", "[.child]") {
  on_loop([]() -> task<> {
    cosqlite::open_options options;
    options.synchronous = cosqlite::sync::off;
    options.journal_mode = cosqlite::journal::keep;
    connection db = co_await cosqlite::open(child_process::path(), options);
    migrator steps = page_steps();
    steps.on_step([](const migration_status& s) { child_process::report(s.version); });
    for (;;) {
      co_await steps.up(db);
      co_await steps.down(db, 0);
    }
  });
}

TEST_CASE("processes that start at the same moment run each step once") {
  temp_database file;
  const auto mode = GENERATE(as<std::string>(), "wal", "delete", "none: the file is not there yet");
  INFO("journal mode " << mode);
  std::string test = "child: makes a database and goes up";
  if (!mode.starts_with("none")) {
    raw_database(file.path()).execute(("PRAGMA journal_mode = " + mode).c_str());
    test = "child: goes up and leaves all the waiting to the migrator";
  }
  std::vector<child_process> children;
  for (int i = 0; i < 6; ++i) children.emplace_back(test, file.path());
  for (child_process& child : children) CHECK(child.wait() == 0);
  raw_database raw(file.path());
  CHECK(raw.number("SELECT count(*) FROM runs") == 10);
  CHECK(raw.number("SELECT count(DISTINCT step) FROM runs") == 10);
  CHECK(raw.number("SELECT count(*) FROM cosqlite_migrations") == 10);
}

TEST_CASE("killed at any moment, the version is the old or the new one") {
  temp_database file;
  const auto mode = GENERATE(as<std::string>(), "wal", "delete", "truncate");
  raw_database(file.path()).execute(("PRAGMA journal_mode = " + mode + "; CREATE TABLE first(a)").c_str());
  INFO("journal mode " << mode);
  std::mt19937 random(11);
  std::int64_t seen = 0;
  for (int round = 0; round < 20; ++round) {
    child_process child("child: goes up and down for ever", file.path());
    const int steps = std::uniform_int_distribution<int>(1, 7)(random);
    std::int64_t version = 0;
    for (int i = 0; i < steps; ++i) REQUIRE(child.next_report(version));
    // Somewhere in the next step or two, whose length this is.
    usleep(std::uniform_int_distribution<unsigned>(0, 4'000)(random));
    child.kill();
    CHECK(child.wait() == 128 + SIGKILL);
    const raw_database raw(file.path());
    const std::int64_t found = version_of(raw);
    check_whole(raw, found);
    seen += found;
  }
  INFO("the sum of the versions found");
  CHECK(seen > 0);
}
