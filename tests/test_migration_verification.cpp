#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/migrations.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <cstdint>
#include <vector>

using cosqlite::connection;
using cosqlite::migration_error;
using cosqlite::migration_state;
using cosqlite::migration_status;
using cosqlite::migrator;
using cosqlite::task;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::schema_of;
using support::temp_database;
using support::three_steps;

TEST_CASE("a changed, renamed, missing or late step is refused, and status says which") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await three_steps().up(db, 2);

    migrator changed;
    changed.add(1, "users", "CREATE TABLE users(id INTEGER PRIMARY KEY)");
    changed.add(2, "emails", "ALTER TABLE users ADD COLUMN email TEXT; CREATE UNIQUE INDEX emails ON users(email);");
    const migration_error c = co_await failure_of<migration_error>(changed.up(db));
    CHECK(c.version() == 1);
    CHECK(contains(c.what(), "migration 1 (users) was changed after it had been applied"));
    CHECK(contains(c.what(), "restore its text, and make the change in a new step"));
    const std::vector<migration_status> edited = co_await changed.status(db);
    CHECK(edited.at(0).state == migration_state::changed);
    CHECK(edited.at(1).state == migration_state::applied);

    migrator missing;
    missing.add(2, "emails", "ALTER TABLE users ADD COLUMN email TEXT; CREATE UNIQUE INDEX emails ON users(email);");
    const migration_error m = co_await failure_of<migration_error>(missing.up(db));
    CHECK(contains(m.what(), "migration 1 (users) was applied, but is not among the steps any more: put it back"));
    const std::vector<migration_status> without_first = co_await missing.status(db);
    REQUIRE(without_first.size() == 2);
    CHECK(without_first[0].state == migration_state::missing);
    CHECK(without_first[0].name == "users");
    CHECK(to_string(without_first[0].state) == "missing");

    migrator newer;
    newer.add(1, "users", "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;");
    const migration_error n = co_await failure_of<migration_error>(newer.up(db));
    CHECK(n.version() == 2);
    CHECK(contains(
        n.what(),
        "the database is newer than this program: migration 2 (emails) is applied, and the latest known here is 1"));

    migrator renamed = three_steps();
    co_await db.execute("UPDATE cosqlite_migrations SET name = 'people' WHERE version = 1");
    const migration_error r = co_await failure_of<migration_error>(renamed.down(db, 0));
    CHECK(contains(r.what(), "migration 1 (people) is called \"users\" now"));
    co_await db.execute("UPDATE cosqlite_migrations SET name = 'users' WHERE version = 1");

    co_await db.execute("DELETE FROM cosqlite_migrations WHERE version = 1");
    const migration_error o = co_await failure_of<migration_error>(three_steps().up(db));
    CHECK(contains(o.what(), "migration 1 (users) is not applied, but version 2 is: give it a number above 2"));

    const std::vector<migration_status> late = co_await three_steps().status(db);
    REQUIRE(late.size() == 3);
    CHECK(late[0].state == migration_state::out_of_order);
    CHECK(late[1].state == migration_state::applied);
    CHECK(late[2].state == migration_state::pending);
    const std::vector<migration_status> unknown = co_await newer.status(db);
    REQUIRE(unknown.size() == 2);
    CHECK(unknown[1].state == migration_state::newer);
    CHECK(to_string(unknown[1].state) == "newer");
    CHECK(schema_of(file) == "cosqlite_migrations emails users");
  });
}

TEST_CASE("a database that does not fit is refused by down and by the dry runs too") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await three_steps().up(db);
    migrator older;
    older.add(1, "users", "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;",
              "DROP TABLE users;");
    const migration_error down = co_await failure_of<migration_error>(older.down(db, 0));
    CHECK(contains(down.what(), "newer than this program"));
    const migration_error dry = co_await failure_of<migration_error>(older.dry_run(db));
    CHECK(contains(dry.what(), "newer than this program"));
    const migration_error dry_down = co_await failure_of<migration_error>(older.dry_run_down(db, 0));
    CHECK(contains(dry_down.what(), "newer than this program"));
    CHECK(schema_of(file) == "cosqlite_migrations emails orders users");
  });
}

TEST_CASE("the application_id is checked, and given to a database that has none") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = three_steps();
    co_await steps.up(db);
    steps.application_id(0x1234abcd);
    co_await steps.up(db);
    const auto id = co_await db.query_one<std::int64_t>("PRAGMA application_id");
    CHECK(id == 0x1234abcd);
    steps.application_id(7);
    const migration_error e = co_await failure_of<migration_error>(steps.up(db));
    CHECK(contains(e.what(), "its application_id is 0x1234abcd, not 0x00000007"));
  });
}
