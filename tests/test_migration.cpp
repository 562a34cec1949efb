#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/migrations.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using cosqlite::connection;
using cosqlite::migration_error;
using cosqlite::migration_state;
using cosqlite::migration_status;
using cosqlite::migrator;
using cosqlite::task;
using cosqlite::transaction;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::schema_of;
using support::temp_database;
using support::three_steps;
using support::versions;

namespace {

/// Ends the other program's transaction when somebody has begun to wait for it.
task<> let_go(raw_database& other) {
  [[maybe_unused]] const bool local = true;
  co_await cosqlite::sleep_for(std::chrono::milliseconds(50));
  other.execute("COMMIT");
}

}  // namespace

TEST_CASE("up applies what is pending in order, once, and writes the history") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    const migrator steps = three_steps();
    const std::vector<migration_status> first = co_await steps.up(db, 2);
    CHECK(versions(first) == std::vector<std::int64_t>{1, 2});
    const std::vector<migration_status> second = co_await steps.up(db);
    CHECK(versions(second) == std::vector<std::int64_t>{3});
    const std::vector<migration_status> third = co_await steps.up(db);
    CHECK(third.empty());
    const std::vector<migration_status> all = co_await steps.status(db);
    REQUIRE(all.size() == 3);
    for (const migration_status& s : all) {
      CHECK(s.state == migration_state::applied);
      CHECK(s.reversible);
      CHECK(s.applied_at.has_value());
    }
  });
  raw_database raw(file.path());
  CHECK(raw.text("SELECT group_concat(version || name, ' ') FROM cosqlite_migrations") == "1users 2emails 3orders");
  CHECK(
      raw.number(
          "SELECT count(*) FROM cosqlite_migrations WHERE length(checksum) = 64 AND julianday(applied_at) IS NOT NULL AND "
          "abs(julianday('now') - julianday(applied_at)) < 1 AND duration_us >= 0") == 3);
}

TEST_CASE("the checksum is the SHA-256 of the text, whatever its line ends") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator unix_ends;
    unix_ends.add(1, "a", "CREATE TABLE a(b);\nCREATE TABLE c(d);\n");
    migrator dos_ends;
    dos_ends.add(1, "a", "CREATE TABLE a(b);\r\nCREATE TABLE c(d);\r\n");
    co_await dos_ends.up(db);
    CHECK_NOTHROW(co_await unix_ends.up(db));
    const auto sum = co_await db.query_one<std::string>("SELECT checksum FROM cosqlite_migrations");
    CHECK(sum == "3e0c442927497e363d9b68eddb781060866aa728b24c492ef4fbb164570a5c5e");
  });
}

TEST_CASE("down takes steps back, the latest first") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    const migrator steps = three_steps();
    co_await steps.up(db);
    const std::vector<migration_status> back = co_await steps.down(db, 1);
    CHECK(versions(back) == std::vector<std::int64_t>{3, 2});
    CHECK(schema_of(file) == "cosqlite_migrations users");
    const std::vector<migration_status> rest = co_await steps.down(db, 0);
    CHECK(versions(rest) == std::vector<std::int64_t>{1});
    const std::vector<migration_status> nothing = co_await steps.down(db, 0);
    CHECK(nothing.empty());
    const std::vector<migration_status> again = co_await steps.up(db);
    CHECK(again.size() == 3);
  });
}

TEST_CASE("a way back that is missing is refused before anything is taken back") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps;
    steps.add(1, "a", "CREATE TABLE a(b)");
    steps.add(2, "c", "CREATE TABLE c(d)", "DROP TABLE c");
    co_await steps.up(db);
    const migration_error e = co_await failure_of<migration_error>(steps.down(db, 0));
    CHECK(e.version() == 1);
    CHECK(contains(e.what(), "migration 1 (a) has no way down: nothing was taken back"));
    CHECK(schema_of(file) == "a c cosqlite_migrations");
  });
}

TEST_CASE("a failing step leaves nothing of itself, names itself and keeps those before it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps;
    steps.add(1, "good", "CREATE TABLE good(a)");
    steps.add(2, "bad", "CREATE TABLE half(a); INSERT INTO half VALUES (1); INSERT INTO nowhere VALUES (1);");
    const migration_error e = co_await failure_of<migration_error>(steps.up(db));
    CHECK(e.version() == 2);
    CHECK(contains(e.what(), "migration 2 (bad) failed, nothing of it was kept: no such table: nowhere"));
    CHECK(contains(e.sql(), "INSERT INTO nowhere"));
    CHECK(e.also());
    CHECK(schema_of(file) == "cosqlite_migrations good");
    co_await db.execute("INSERT INTO good VALUES (1)");
  });
}

TEST_CASE("a step whose COMMIT fails is named, and leaves nothing of itself") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = three_steps();
    steps.add(4, "dangling", "PRAGMA defer_foreign_keys = on; CREATE TABLE half(a); INSERT INTO orders VALUES (1, 99)");
    const migration_error e = co_await failure_of<migration_error>(steps.up(db));
    CHECK(e.version() == 4);
    CHECK(e.name() == "SQLITE_CONSTRAINT_FOREIGNKEY");
    CHECK(contains(e.what(), "migration 4 (dangling) failed, nothing of it was kept: FOREIGN KEY constraint failed"));
    CHECK(schema_of(file) == "cosqlite_migrations emails orders users");
    const int orders = co_await db.query_one<int>("SELECT count(*) FROM orders");
    CHECK(orders == 0);
  });
}

TEST_CASE("a way back that fails takes nothing back") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps;
    steps.add(1, "a", "CREATE TABLE a(b)", "DROP TABLE a; DROP TABLE nowhere");
    co_await steps.up(db);
    const migration_error e = co_await failure_of<migration_error>(steps.down(db, 0));
    CHECK(
        contains(e.what(), "migration 1 (a) could not be taken back, nothing of it was kept: no such table: nowhere"));
    CHECK(schema_of(file) == "a cosqlite_migrations");
    const std::vector<migration_status> all = co_await steps.status(db);
    CHECK(all.at(0).state == migration_state::applied);
  });
}

TEST_CASE("a first step that fails leaves no table of the history behind") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps;
    steps.application_id(77);
    steps.add(1, "bad", "CREATE TABLE half(a); SELECT * FROM nowhere");
    co_await failure_of<migration_error>(steps.up(db));
    CHECK(schema_of(file) == "");
    CHECK(raw_database(file.path()).number("PRAGMA application_id") == 0);
  });
}

TEST_CASE("steps in C++ run in the transaction, and what they throw comes back unchanged") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps;
    steps.add(1, "table", [](transaction& tx) -> task<> { co_await tx.execute("CREATE TABLE a(b)"); });
    steps.add(
        2, "rows", [](transaction& tx) -> task<> { co_await tx.execute("INSERT INTO a VALUES (?)", 5); },
        [](transaction& tx) -> task<> { co_await tx.execute("DELETE FROM a"); });
    co_await steps.up(db);
    const int b = co_await db.query_one<int>("SELECT b FROM a");
    CHECK(b == 5);
    co_await steps.down(db, 1);
    steps.add(3, "throws", [](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO a VALUES (6)");
      throw std::domain_error("mine");
    });
    co_await steps.up(db, 2);
    std::string thrown;
    try {
      co_await steps.up(db);
    } catch (const std::domain_error& e) {
      thrown = e.what();
    }
    CHECK(thrown == "mine");
    const int rows = co_await db.query_one<int>("SELECT count(*) FROM a");
    CHECK(rows == 1);
  });
}

TEST_CASE("a step in C++ that ends its transaction is told so") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    migrator steps;
    steps.add(1, "hasty", [](transaction& tx) -> task<> { co_await tx.commit(); });
    const migration_error e = co_await failure_of<migration_error>(steps.up(db));
    CHECK(contains(e.what(), "leave commit and rollback to the migrator"));
  });
}

TEST_CASE("targets that lead the wrong way or nowhere are refused") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    const migrator steps = three_steps();
    const migration_error none = co_await failure_of<migration_error>(steps.up(db, 9));
    CHECK(contains(none.what(), "there is no migration of version 9"));
    co_await steps.up(db, 2);
    const migration_error past = co_await failure_of<migration_error>(steps.up(db, 1));
    CHECK(contains(past.what(), "`down` leads back"));
    const migration_error before = co_await failure_of<migration_error>(steps.down(db, 3));
    CHECK(contains(before.what(), "`up` leads there"));
  });
}

TEST_CASE("versions and names are checked when a step is added") {
  migrator steps = three_steps();
  CHECK_THROWS_AS(steps.add(3, "again", "SELECT 1"), migration_error);
  CHECK_THROWS_AS(steps.add(0, "zero", "SELECT 1"), migration_error);
  CHECK_THROWS_AS(steps.add(-1, "negative", "SELECT 1"), migration_error);
  CHECK_THROWS_AS(steps.add(4, "", "SELECT 1"), migration_error);
  CHECK_THROWS_AS(steps.add(4, "nothing", migrator::step()), migration_error);
  CHECK_NOTHROW(steps.add(20260301120000, "a time as version", "SELECT 1"));
}

TEST_CASE("a step waits for others' locks for as long as lock_timeout says") {
  temp_database file;
  raw_database other(file.path());
  other.execute("PRAGMA journal_mode = wal; BEGIN IMMEDIATE");
  on_loop([&]() -> task<> {
    cosqlite::open_options options;
    options.busy_timeout = std::chrono::milliseconds(1);
    connection db = co_await cosqlite::open(file.path(), options);
    migrator steps = three_steps();
    steps.lock_timeout(std::chrono::milliseconds(0));
    co_await failure_of<cosqlite::busy_error>(steps.up(db));
    steps.lock_timeout(std::chrono::minutes(5));
    auto [done, nothing] = co_await cosqlite::when_all(steps.up(db), let_go(other));
    CHECK(done.size() == 3);
  });
}

TEST_CASE("a step waits for readers that hold its COMMIT up") {
  temp_database file;
  raw_database other(file.path());
  other.execute("PRAGMA journal_mode = delete; CREATE TABLE t(a); BEGIN; SELECT count(*) FROM t");
  on_loop([&]() -> task<> {
    cosqlite::open_options options;
    options.busy_timeout = std::chrono::milliseconds(1);
    options.journal_mode = cosqlite::journal::keep;
    connection db = co_await cosqlite::open(file.path(), options);
    const migrator steps = three_steps();
    auto [done, nothing] = co_await cosqlite::when_all(steps.up(db), let_go(other));
    CHECK(done.size() == 3);
  });
}

TEST_CASE("an observer is told of each step that is committed, and of no other") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    migrator steps = three_steps();
    steps.add(4, "bad", "INSERT INTO nowhere VALUES (1)");
    std::vector<std::string> told;
    steps.on_step(
        [&told](const migration_status& s) { told.push_back(s.name + " " + std::string(to_string(s.state))); });
    co_await failure_of<migration_error>(steps.dry_run(db));
    CHECK(told.empty());
    co_await failure_of<migration_error>(steps.up(db));
    CHECK(told == std::vector<std::string>{"users applied", "emails applied", "orders applied"});
    told.clear();
    co_await steps.down(db, 2);
    CHECK(told == std::vector<std::string>{"orders pending"});
    steps.on_step([](const migration_status&) { throw std::domain_error("observer"); });
    co_await failure_of<std::domain_error>(steps.up(db, 3));
    const std::vector<migration_status> all = co_await steps.status(db);
    CHECK(all.at(2).state == migration_state::applied);
  });
}

TEST_CASE("tasks under way and copies keep the steps that they have") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    migrator steps;
    steps.add(1, "a", "CREATE TABLE a(b)");
    migrator copy = steps;
    task<std::vector<migration_status>> pending = steps.up(db);
    steps.add(2, "c", "CREATE TABLE c(d)");
    const std::vector<migration_status> done = co_await std::move(pending);
    CHECK(done.size() == 1);
    const std::vector<migration_status> nothing = co_await copy.up(db);
    CHECK(nothing.empty());
    const std::vector<migration_status> rest = co_await steps.up(db);
    CHECK(rest.size() == 1);
  });
}
