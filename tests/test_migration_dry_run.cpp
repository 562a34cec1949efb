#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/migrations.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

using cosqlite::connection;
using cosqlite::migration_error;
using cosqlite::migration_status;
using cosqlite::migrator;
using cosqlite::task;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::schema_of;
using support::temp_database;
using support::three_steps;
using support::versions;

TEST_CASE("a dry run changes nothing and finds what would fail") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = three_steps();
    const std::vector<migration_status> done = co_await steps.dry_run(db);
    CHECK(done.size() == 3);
    CHECK(schema_of(file) == "");
    const std::vector<migration_status> two = co_await steps.dry_run(db, 2);
    CHECK(two.size() == 2);
    co_await steps.up(db);
    co_await db.execute_script("INSERT INTO users(id, name) VALUES (1, 'a'); INSERT INTO orders VALUES (1, 1)");
    steps.add(4, "bad", "INSERT INTO orders VALUES (2, 2)");
    const migration_error e = co_await failure_of<migration_error>(steps.dry_run(db));
    CHECK(e.version() == 4);
    migrator checked = three_steps();
    checked.add(4, "broken constraint",
                "PRAGMA ignore_check_constraints = on; CREATE TABLE c(a CHECK (a > 0)); INSERT INTO c VALUES (-1)");
    const migration_error damaged = co_await failure_of<migration_error>(checked.dry_run(db));
    CHECK(contains(damaged.what(), "integrity_check after the steps: CHECK constraint failed in c"));
    const int orders = co_await db.query_one<int>("SELECT count(*) FROM orders");
    CHECK(orders == 1);
  });
}

TEST_CASE("a dry run of the way down changes nothing, and is refused where down would be") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = three_steps();
    steps.add(4, "bad way back", "CREATE TABLE d(e CHECK (e > 0))",
              "PRAGMA ignore_check_constraints = on; INSERT INTO d VALUES (-1)");
    co_await steps.up(db);
    const std::vector<migration_status> nothing = co_await steps.dry_run_down(db, 4);
    CHECK(nothing.empty());
    steps.add(5, "last", "CREATE TABLE l(m)", "DROP TABLE l");
    co_await steps.up(db);
    const std::vector<migration_status> one = co_await steps.dry_run_down(db, 4);
    CHECK(versions(one) == std::vector<std::int64_t>{5});
    const migration_error e = co_await failure_of<migration_error>(steps.dry_run_down(db, 3));
    CHECK(contains(e.what(), "integrity_check after the steps: CHECK constraint failed in d"));
    const migration_error nowhere = co_await failure_of<migration_error>(steps.dry_run_down(db, 77));
    CHECK(contains(nowhere.what(), "there is no migration of version 77"));
    CHECK(schema_of(file) == "cosqlite_migrations d emails l orders users");
  });
}

TEST_CASE("a dry run refuses a database that is damaged already") {
  temp_database file;
  on_loop([&]() -> task<> {
    cosqlite::open_options options;
    options.foreign_keys = false;
    connection db = co_await cosqlite::open(file.path(), options);
    co_await three_steps().up(db);
    co_await db.execute("INSERT INTO orders VALUES (1, 99)");
    const migration_error e = co_await failure_of<migration_error>(three_steps().dry_run(db));
    CHECK(contains(e.what(), "foreign_key_check before any step: 1 row refers to rows that do not exist"));
  });
}

TEST_CASE("a dry run that cannot read the database, or has no room for its copy, says so") {
  temp_database file;
  raw_database other(file.path());
  other.execute("PRAGMA journal_mode = delete; CREATE TABLE t(a)");
  on_loop([&]() -> task<> {
    cosqlite::open_options options;
    options.busy_timeout = std::chrono::milliseconds(1);
    options.journal_mode = cosqlite::journal::keep;
    connection db = co_await cosqlite::open(file.path(), options);
    other.execute("BEGIN EXCLUSIVE");
    const cosqlite::busy_error busy = co_await failure_of<cosqlite::busy_error>(three_steps().dry_run(db));
    CHECK(contains(busy.what(), "cannot copy the database for a dry run"));
    other.execute("COMMIT");
    const char* before = std::getenv("TMPDIR");
    const std::string kept = before ? before : "";
    setenv("TMPDIR", (file.folder() / "nowhere").c_str(), 1);
    const cosqlite::io_error missing = co_await failure_of<cosqlite::io_error>(three_steps().dry_run(db));
    CHECK(contains(missing.what(), "TMPDIR"));
    if (before) {
      setenv("TMPDIR", kept.c_str(), 1);
    } else {
      unsetenv("TMPDIR");
    }
    const std::vector<migration_status> done = co_await three_steps().dry_run(db);
    CHECK(done.size() == 3);
  });
}

TEST_CASE("a dry run can be given the functions that its steps need") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    migrator steps;
    int prepared = 0;
    steps.add(1, "a", "CREATE TABLE a(b)");
    steps.prepare_copy([&prepared](connection& copy) -> task<> {
      int& count = prepared;
      co_await copy.execute("PRAGMA user_version");
      ++count;
    });
    co_await steps.dry_run(db);
    CHECK(prepared > 0);
  });
}
