#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/foreign.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <sys/wait.h>

using cosqlite::connection;
using cosqlite::foreign_key_use;
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
using support::temp_database;

extern char** environ;

namespace {

migrator three_steps() {
  migrator steps;
  steps.add(1, "users", "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;", "DROP TABLE users;");
  steps.add(2, "emails", "ALTER TABLE users ADD COLUMN email TEXT; CREATE UNIQUE INDEX emails ON users(email);",
            "DROP INDEX emails; ALTER TABLE users DROP COLUMN email;");
  steps.add(
      3, "orders",
      "CREATE TABLE orders(id INTEGER PRIMARY KEY, owner INTEGER NOT NULL REFERENCES users ON DELETE CASCADE) STRICT",
      "DROP TABLE orders");
  return steps;
}

foreign::coroutine start(const migrator& steps, connection& db) {
  const std::vector<migration_status> done = co_await steps.up(db);
  static_cast<void>(done);
}

std::vector<std::int64_t> versions(const std::vector<migration_status>& list) {
  std::vector<std::int64_t> all;
  for (const migration_status& s : list) all.push_back(s.version);
  return all;
}

std::string fault_of(const std::string& sql) {
  migrator steps;
  try {
    steps.add(7, "bad", sql);
  } catch (const migration_error& e) {
    CHECK(e.version() == 7);
    return e.what();
  }
  return {};
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string schema_of(const temp_database& file) {
  return raw_database(file.path())
      .text(
          "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE name NOT LIKE "
          "'sqlite_%' ORDER BY name)");
}

// What the other processes of these tests do: this program, run again for one of its hidden cases.
constexpr int progress_of_helper = 3;

/// What it writes to progress_of_helper goes to \p progress, if there is one.
pid_t start_helper(const char* name, const std::string& path, int progress = -1) {
  setenv("COSQLITE_TEST_DATABASE", path.c_str(), 1);
  std::string program = "/proc/self/exe";
  std::string which = name;
  char* arguments[] = {program.data(), which.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  if (progress >= 0) posix_spawn_file_actions_adddup2(&actions, progress, progress_of_helper);
  pid_t child = 0;
  REQUIRE(posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments, environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  return child;
}

/// Its reading end; the writing end is for one child.
class progress_pipe {
 public:
  progress_pipe() { REQUIRE(pipe2(ends_, O_CLOEXEC) == 0); }
  progress_pipe(const progress_pipe&) = delete;
  progress_pipe& operator=(const progress_pipe&) = delete;
  ~progress_pipe() {
    close(ends_[0]);
    if (ends_[1] >= 0) close(ends_[1]);
  }
  int for_child() const { return ends_[1]; }
  /// Waits until the child has made that many steps.
  void wait_for(int steps) {
    close(std::exchange(ends_[1], -1));
    char step = 0;
    for (int i = 0; i < steps; ++i) REQUIRE(read(ends_[0], &step, 1) == 1);
  }

 private:
  int ends_[2] = {-1, -1};
};

int status_of(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

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

TEST_CASE("text that cannot run as a step is refused when it is added") {
  CHECK(contains(fault_of("BEGIN; CREATE TABLE a(b); COMMIT"), "migration 7 (bad) cannot run: statement 1 is BEGIN"));
  CHECK(contains(fault_of("CREATE TABLE a(b); /* done */ commit;"),
                 "statement 2 is COMMIT: a step runs in a transaction of its own"));
  CHECK(contains(fault_of("-- start\nEND"), "END"));
  CHECK(contains(fault_of("ROLLBACK TO x"), "ROLLBACK"));
  CHECK(contains(fault_of("SAVEPOINT x"), "SAVEPOINT"));
  CHECK(contains(fault_of("RELEASE x"), "RELEASE"));
  CHECK(contains(fault_of("VACUUM"), "cannot run in a transaction"));
  CHECK(contains(fault_of("PRAGMA main.foreign_keys = off"), "-- cosqlite: foreign_keys off"));
  CHECK(contains(fault_of("PRAGMA foreign_keys(0)"), "does nothing in a transaction"));
  CHECK(contains(fault_of("-- cosqlite: foreign_keys of\nSELECT 1"), "its first line is not understood"));
  CHECK(contains(fault_of(" -- nothing yet\n ; "), "holds no statement"));
  CHECK(contains(fault_of(std::string("SELECT 1\0;", 10)), "NUL"));
}

TEST_CASE("words that only look like transaction control are let through") {
  CHECK(
      fault_of(
          "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; UPDATE a SET b = CASE WHEN b THEN 1 ELSE 2 END; END; SELECT 1")
          .empty());
  CHECK(fault_of("CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END").empty());
  CHECK(fault_of("INSERT INTO a VALUES ('; COMMIT; it''s'); SELECT \"BEGIN;\", [;END], `;ROLLBACK`").empty());
  CHECK(fault_of("SELECT 1; -- COMMIT; \n /* ; BEGIN; */ SELECT 2").empty());
  CHECK(fault_of("PRAGMA user_version = 3").empty());
  CHECK(fault_of("CREATE TABLE \"begin\"(a); INSERT INTO \"begin\" VALUES (1)").empty());
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

TEST_CASE("a folder gives the steps that stand in it") {
  temp_database file;
  const std::filesystem::path folder = file.folder() / "migrations";
  std::filesystem::create_directory(folder);
  write_file(folder / "0001_users.up.sql",
             "\xef\xbb\xbf"
             "CREATE TABLE users(id INTEGER PRIMARY KEY);\r\n");
  write_file(folder / "0001_users.down.sql", "DROP TABLE users;\n");
  write_file(folder / "0010_add-email.up.sql", "ALTER TABLE users ADD email TEXT;\n");
  write_file(folder / "0010_add-email.down.sql", "-- no way back yet\n");
  write_file(folder / "README.md", "These are the steps.");
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    const migrator steps = migrator::from_directory(folder);
    const std::vector<migration_status> done = co_await steps.up(db);
    REQUIRE(done.size() == 2);
    CHECK(done[1].version == 10);
    CHECK(done[1].name == "add-email");
    CHECK(done[0].reversible);
    CHECK_FALSE(done[1].reversible);
  });
}

TEST_CASE("a folder with a bad or a duplicate name is refused, with the name") {
  temp_database file;
  const std::filesystem::path& folder = file.folder();
  write_file(folder / "0001_users.up.sql", "SELECT 1");
  const auto refused = [&](const char* name) {
    write_file(folder / name, "SELECT 1");
    std::string message;
    try {
      static_cast<void>(migrator::from_directory(folder));
    } catch (const migration_error& e) {
      message = e.what();
    }
    std::filesystem::remove(folder / name);
    INFO(name << ": " << message);
    return contains(message, name);
  };
  CHECK(refused("2_emails.sql"));
  CHECK(refused("emails.up.sql"));
  CHECK(refused("0000_zero.up.sql"));
  CHECK(refused("0002_.up.sql"));
  CHECK(refused("0002.up.sql"));
  CHECK(refused("0002_a.b.up.sql"));
  CHECK(refused("0002_emails.up.sq"));
  CHECK(refused("0001_people.up.sql"));
  CHECK(refused("1_users.up.sql"));
  CHECK(refused("0001_people.down.sql"));
  CHECK(refused("0002_emails.down.sql"));
  CHECK_NOTHROW(migrator::from_directory(folder));
  CHECK_THROWS_AS(migrator::from_directory(folder / "nowhere"), cosqlite::io_error);
}

TEST_CASE("a file of steps that cannot be read is an error that names it") {
  temp_database file;
  const std::filesystem::path unreadable = file.folder() / "0001_users.up.sql";
  SECTION("a folder by that name") { std::filesystem::create_directory(unreadable); }
  SECTION("a link to nowhere") { std::filesystem::create_symlink(file.folder() / "gone", unreadable); }
  try {
    static_cast<void>(migrator::from_directory(file.folder()));
    FAIL("nothing was thrown");
  } catch (const cosqlite::io_error& e) {
    CHECK(contains(e.what(), "cannot read " + unreadable.string()));
  }
}

TEST_CASE("a long file of steps is read whole, and an empty one is no step") {
  temp_database file;
  std::string text = "CREATE TABLE a(b);\n";
  for (int i = 0; i < 2000; ++i) text += "INSERT INTO a VALUES (" + std::to_string(i) + ");\n";
  write_file(file.folder() / "0001_a.up.sql", text);
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    const migrator steps = migrator::from_directory(file.folder());
    co_await steps.up(db);
    const int rows = co_await db.query_one<int>("SELECT count(*) FROM a");
    CHECK(rows == 2000);
  });
  write_file(file.folder() / "0002_empty.up.sql", "");
  CHECK_THROWS_AS(migrator::from_directory(file.folder()), migration_error);
}

TEST_CASE("a table is rebuilt with foreign keys off, and they are on again after") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = three_steps();
    co_await steps.up(db);
    co_await db.execute_script(
        "INSERT INTO users(id, name) VALUES (1, 'a'), (2, 'b'); INSERT INTO orders VALUES (1, 1), (2, 2), (3, 2)");
    const char* rebuild =
        "CREATE TABLE users2(id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> ''), email TEXT) STRICT;"
        "INSERT INTO users2 SELECT id, name, email FROM users; DROP TABLE users; ALTER TABLE users2 RENAME TO users;";
    steps.add(4, "rebuild", std::string("-- cosqlite: foreign_keys off\n") + rebuild);
    co_await steps.up(db);
    const int orders = co_await db.query_one<int>("SELECT count(*) FROM orders");
    CHECK(orders == 3);
    const int on = co_await db.query_one<int>("PRAGMA foreign_keys");
    CHECK(on == 1);
    co_await failure_of<cosqlite::constraint_error>(db.execute("INSERT INTO orders VALUES (9, 99)"));
  });
}

TEST_CASE("a rebuild that breaks foreign keys is undone, and they are on again after") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    migrator steps = three_steps();
    co_await steps.up(db);
    co_await db.execute_script(
        "INSERT INTO users(id, name) VALUES (1, 'a'), (2, 'b'); INSERT INTO orders VALUES (1, 1), (2, 2), (3, 2)");
    steps.add(4, "lossy", "DELETE FROM users WHERE id = 2", "", foreign_key_use::off);
    const migration_error e = co_await failure_of<migration_error>(steps.up(db));
    CHECK(e.version() == 4);
    CHECK(contains(e.what(), "2 rows refer to rows that do not exist, the first in orders (rowid 2) to users"));
    const int users = co_await db.query_one<int>("SELECT count(*) FROM users");
    CHECK(users == 2);
    const int on = co_await db.query_one<int>("PRAGMA foreign_keys");
    CHECK(on == 1);
    co_await failure_of<cosqlite::constraint_error>(db.execute("INSERT INTO orders VALUES (9, 99)"));
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
    const auto let_go = [&other]() -> task<> {
      raw_database& holder = other;
      co_await cosqlite::sleep_for(std::chrono::milliseconds(50));
      holder.execute("COMMIT");
    };
    auto [done, nothing] = co_await cosqlite::when_all(steps.up(db), let_go());
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
    const auto let_go = [&other]() -> task<> {
      raw_database& holder = other;
      co_await cosqlite::sleep_for(std::chrono::milliseconds(50));
      holder.execute("COMMIT");
    };
    auto [done, nothing] = co_await cosqlite::when_all(steps.up(db), let_go());
    CHECK(done.size() == 3);
  });
}

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

TEST_CASE("helper: up", "[.]") {
  const std::string path = std::getenv("COSQLITE_TEST_DATABASE");
  on_loop([&]() -> task<> {
    cosqlite::open_options options;
    // Where the file is there, whoever waits is the migrator.
    if (std::getenv("COSQLITE_TEST_IMPATIENT")) {
      options.busy_timeout = std::chrono::milliseconds(20);
      options.journal_mode = cosqlite::journal::keep;
    }
    connection db = co_await cosqlite::open(path, options);
    co_await counting_steps().up(db);
  });
}

TEST_CASE("helper: up and down for ever", "[.]") {
  const std::string path = std::getenv("COSQLITE_TEST_DATABASE");
  on_loop([&]() -> task<> {
    cosqlite::open_options options;
    options.synchronous = cosqlite::sync::off;
    options.journal_mode = cosqlite::journal::keep;
    connection db = co_await cosqlite::open(path, options);
    migrator steps = page_steps();
    steps.on_step([](const migration_status&) { static_cast<void>(!write(progress_of_helper, "s", 1)); });
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
  unsetenv("COSQLITE_TEST_IMPATIENT");
  if (!mode.starts_with("none")) {
    raw_database(file.path()).execute(("PRAGMA journal_mode = " + mode).c_str());
    setenv("COSQLITE_TEST_IMPATIENT", "1", 1);
  }
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) children.push_back(start_helper("helper: up", file.path()));
  for (const pid_t child : children) CHECK(status_of(child) == 0);
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
    progress_pipe progress;
    const pid_t child = start_helper("helper: up and down for ever", file.path(), progress.for_child());
    progress.wait_for(std::uniform_int_distribution<int>(1, 7)(random));
    // Somewhere in the next step or two, whose length this is.
    usleep(std::uniform_int_distribution<unsigned>(0, 4'000)(random));
    kill(child, SIGKILL);
    CHECK(WIFSIGNALED(status_of(child)));
    raw_database raw(file.path());
    CHECK(raw.text("PRAGMA integrity_check") == "ok");
    const std::int64_t tables =
        raw.number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 't_'");
    const std::int64_t whole =
        raw.number("SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name LIKE 't__a'");
    CHECK(whole == tables);
    const bool started = raw.number("SELECT count(*) FROM sqlite_schema WHERE name = 'cosqlite_migrations'") != 0;
    const std::int64_t version = started ? raw.number("SELECT ifnull(max(version), 0) FROM cosqlite_migrations") : 0;
    CHECK(tables == version);
    for (std::int64_t t = 1; t <= version; ++t) {
      CHECK(raw.number(("SELECT count(*) FROM t" + std::to_string(t)).c_str()) == 200);
    }
    seen += version;
  }
  INFO("the sum of the versions found");
  CHECK(seen > 0);
}
