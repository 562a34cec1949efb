#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/foreign.hpp"
#include "support/migrations.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <string>
#include <vector>

using cosqlite::connection;
using cosqlite::foreign_key_use;
using cosqlite::migration_error;
using cosqlite::migration_status;
using cosqlite::migrator;
using cosqlite::task;
using cosqlite::transaction;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::schema_of;
using support::temp_database;
using support::three_steps;

namespace {

/// The three steps, applied; two users, and three orders of theirs.
task<migrator> up_with_orders(connection& db) {
  migrator steps = three_steps();
  co_await steps.up(db);
  co_await db.execute_script(
      "INSERT INTO users(id, name) VALUES (1, 'a'), (2, 'b'); INSERT INTO orders VALUES (1, 1), (2, 2), (3, 2)");
  co_return steps;
}

/// Foreign keys are on, and mean something.
task<> check_enforced(connection& db) {
  const int on = co_await db.query_one<int>("PRAGMA foreign_keys");
  CHECK(on == 1);
  co_await failure_of<cosqlite::constraint_error>(db.execute("INSERT INTO orders VALUES (9, 99)"));
}

foreign::coroutine start(const migrator& steps, connection& db) {
  const std::vector<migration_status> done = co_await steps.up(db);
  static_cast<void>(done);
}

}  // namespace

TEST_CASE("a table is rebuilt with foreign keys off, and they are on again after") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = co_await up_with_orders(db);
    const char* rebuild =
        "CREATE TABLE users2(id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> ''), email TEXT) STRICT;"
        "INSERT INTO users2 SELECT id, name, email FROM users; DROP TABLE users; ALTER TABLE users2 RENAME TO users;";
    steps.add(4, "rebuild", std::string("-- cosqlite: foreign_keys off\n") + rebuild);
    co_await steps.up(db);
    const int orders = co_await db.query_one<int>("SELECT count(*) FROM orders");
    CHECK(orders == 3);
    co_await check_enforced(db);
  });
}

TEST_CASE("a rebuild that breaks foreign keys is undone, and they are on again after") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = co_await up_with_orders(db);
    steps.add(4, "lossy", "DELETE FROM users WHERE id = 2", "", foreign_key_use::off);
    const migration_error e = co_await failure_of<migration_error>(steps.up(db));
    CHECK(e.version() == 4);
    CHECK(contains(e.what(), "2 rows refer to rows that do not exist, the first in orders (rowid 2) to users"));
    const int users = co_await db.query_one<int>("SELECT count(*) FROM users");
    CHECK(users == 2);
    co_await check_enforced(db);
  });
}

TEST_CASE("foreign keys that a rebuild makes senseless fail the step by name") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = three_steps();
    steps.add(4, "no key",
              "CREATE TABLE child(p REFERENCES parent(x)); CREATE TABLE parent(x); INSERT INTO child VALUES (1)", "",
              foreign_key_use::off);
    const migration_error e = co_await failure_of<migration_error>(steps.up(db));
    CHECK(e.version() == 4);
    CHECK(contains(e.what(), "migration 4 (no key) failed, nothing of it was kept: foreign key mismatch"));
    CHECK(schema_of(file) == "cosqlite_migrations emails orders users");
    const int on = co_await db.query_one<int>("PRAGMA foreign_keys");
    CHECK(on == 1);
  });
}

TEST_CASE("a connection that does not enforce foreign keys is left so by a rebuild") {
  on_loop([]() -> task<> {
    cosqlite::open_options options;
    options.foreign_keys = false;
    connection db = co_await cosqlite::open(":memory:", options);
    migrator steps;
    steps.add(1, "a", "-- cosqlite: foreign_keys off\nCREATE TABLE a(b)");
    co_await steps.up(db);
    const int on = co_await db.query_one<int>("PRAGMA foreign_keys");
    CHECK(on == 0);
  });
}

TEST_CASE("foreign keys are on again when a migration is abandoned half-way") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    foreign::event never;
    migrator steps;
    const auto endless = [&never](transaction& tx) -> task<> {
      foreign::event& end = never;
      co_await tx.execute("CREATE TABLE half(a)");
      co_await end;
    };
    steps.add(1, "endless", endless, {}, foreign_key_use::off);
    {
      const foreign::coroutine abandoned = start(steps, db);
      while (!never.awaited()) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
    }
    const int on = co_await db.query_one<int>("PRAGMA foreign_keys");
    CHECK(on == 1);
    const int tables = co_await db.query_one<int>("SELECT count(*) FROM sqlite_schema");
    CHECK(tables == 0);
  });
}
