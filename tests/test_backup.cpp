// Copies of a database, while it is in use.

#include "support/backup.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/stat.h>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::contains;
using support::failure_of;
using support::files_in;
using support::has_partial_file;
using support::on_loop;
using support::raw_database;
using support::rows_of;
using support::sample;
using support::temp_database;

TEST_CASE("a backup to a path is a complete database, and reports its progress") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const std::string copy = (at.folder() / "copy.db").string();
    std::vector<backup_progress> seen;
    const auto report = [&seen](const backup_progress& p) { seen.push_back(p); };
    const backup_progress last = co_await db.backup(copy, backup_options{.pages = 100, .verify = true}, report);
    CHECK(last.remaining == 0);
    CHECK(last.total > 1000);
    CHECK(last.restarts == 0);
    CHECK(seen.size() > 10);
    CHECK(seen.front().remaining == seen.front().total - 100);
    CHECK(std::ranges::is_sorted(seen, std::ranges::greater(), &backup_progress::remaining));
    raw_database found(copy);
    CHECK(found.text("PRAGMA integrity_check") == "ok");
    CHECK(found.number("SELECT count(*) FROM t") == 1000);
    CHECK_FALSE(has_partial_file(at));
  });
}

TEST_CASE("a database goes from memory to disk and back") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection memory = co_await sample(":memory:");
    const std::string copy = (at.folder() / "copy.db").string();
    co_await memory.backup(copy);
    connection disk = co_await open(copy);
    int rows = co_await rows_of(disk);
    CHECK(rows == 1000);
    co_await disk.execute("DELETE FROM t WHERE id > 10");
    connection again = co_await open(":memory:");
    co_await disk.backup(again);
    rows = co_await rows_of(again);
    CHECK(rows == 10);
    co_await disk.backup(memory, {.pages = 0});
    rows = co_await rows_of(memory);
    CHECK(rows == 10);
  });
}

TEST_CASE("other calls run between the steps, and what they change is in the copy") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    int between = 0;
    bool stop = false;
    const auto writer = [](connection* to, int* count, bool* done) -> task<> {
      while (!*done) {
        co_await to->execute("UPDATE t SET pad = 'changed' WHERE id = 1000");
        co_await to->execute("INSERT INTO t(pad) VALUES('new')");
        ++*count;
      }
    };
    spawn(writer(&db, &between, &stop));
    connection to = co_await open((at.folder() / "copy.db").string());
    const backup_progress last = co_await db.backup(to, {.pages = 10});
    stop = true;
    CHECK(last.restarts == 0);
    CHECK(between > 10);
    const std::string ok = co_await to.query_one<std::string>("PRAGMA integrity_check");
    CHECK(ok == "ok");
    const std::string changed = co_await to.query_one<std::string>("SELECT pad FROM t WHERE id = 1000");
    CHECK(changed == "changed");
    const int rows = co_await rows_of(to);
    CHECK(rows > 1010);
  });
}

TEST_CASE("writes of other connections make it begin anew, and after some restarts it comes to its end nevertheless") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    raw_database other(at.path());
    connection to = co_await open(":memory:");
    const auto disturb = [&other](const backup_progress&) { other.execute("INSERT INTO t(pad) VALUES('foreign')"); };
    const backup_progress last = co_await db.backup(to, {.pages = 50, .restarts = 4}, disturb);
    CHECK(last.restarts == 5);
    CHECK(last.remaining == 0);
    const int rows = co_await rows_of(to);
    CHECK(rows > 1000);
    const std::string copy = (at.folder() / "copy.db").string();
    const backup_progress second = co_await db.backup(copy, {.pages = 50, .restarts = 0}, disturb);
    CHECK(second.restarts == 1);
    CHECK(raw_database(copy).text("PRAGMA integrity_check") == "ok");
  });
}

TEST_CASE("an existing database is replaced when nobody uses it, and only then") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const std::string copy = (at.folder() / "copy.db").string();
    {
      raw_database old(copy);
      old.execute("PRAGMA journal_mode = WAL");
      old.execute("CREATE TABLE old(a)");
      const busy_error e = co_await failure_of<busy_error>(db.with(300ms).backup(copy));
      CHECK(contains(e.what(), "another connection has it open"));
      CHECK(old.number("SELECT count(*) FROM old") == 0);
      const busy_error vacuum = co_await failure_of<busy_error>(db.vacuum_into(copy));
    }
    co_await db.backup(copy);
    raw_database found(copy);
    CHECK(found.number("SELECT count(*) FROM t") == 1000);
    CHECK(found.number("SELECT count(*) FROM sqlite_schema WHERE name = 'old'") == 0);
    CHECK_FALSE(has_partial_file(at));
  });
}

TEST_CASE("a copy is no more readable than its source") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    REQUIRE(chmod(at.path().c_str(), 0600) == 0);
    for (const char* name : {"a.db", "b.db"}) {
      const std::string copy = (at.folder() / name).string();
      if (*name == 'a') co_await db.backup(copy);
      if (*name == 'b') co_await db.vacuum_into(copy);
      struct stat found{};
      REQUIRE(stat(copy.c_str(), &found) == 0);
      CHECK((found.st_mode & 0777) == 0600);
    }
  });
}

TEST_CASE("vacuum_into writes a compacted copy, or nothing") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    co_await db.execute("DELETE FROM t WHERE id > 10");
    const std::string copy = (at.folder() / "copy.db").string();
    co_await db.vacuum_into(copy);
    CHECK(std::filesystem::file_size(copy) < 100'000);
    CHECK(raw_database(copy).number("SELECT count(*) FROM t") == 10);
    co_await db.vacuum_into(copy);
    const error unknown = co_await failure_of<error>(db.vacuum_into(copy, "nowhere"));
    CHECK(raw_database(copy).number("SELECT count(*) FROM t") == 10);
    co_await db.execute("BEGIN");
    const error inside = co_await failure_of<error>(db.vacuum_into((at.folder() / "no.db").string()));
    CHECK(contains(inside.what(), "cannot VACUUM from within a transaction"));
    co_await db.execute("ROLLBACK");
    CHECK_FALSE(has_partial_file(at));
    CHECK_FALSE(std::filesystem::exists(at.folder() / "no.db"));
  });
}

TEST_CASE("attached schemas are backed up by their name") {
  temp_database at;
  on_loop([&]() -> task<> {
    open_options options;
    options.attach = true;
    connection db = co_await open(":memory:", options);
    co_await db.execute("ATTACH ':memory:' AS extra");
    co_await db.execute("CREATE TABLE extra.t(id)");
    co_await db.execute("INSERT INTO extra.t VALUES(1), (2)");
    connection to = co_await open(":memory:");
    co_await db.backup(to, {.from = "extra"});
    const int rows = co_await rows_of(to);
    CHECK(rows == 2);
    const error unknown = co_await failure_of<error>(db.backup(to, {.from = "nowhere"}));
    CHECK(contains(unknown.what(), "unknown database nowhere"));
    connection both = co_await open(":memory:", options);
    co_await both.execute_script("CREATE TABLE here(a); ATTACH ':memory:' AS side");
    co_await db.backup(both, {.from = "extra", .to = "side"});
    const int beside = co_await both.query_one<int>("SELECT count(*) FROM side.t");
    CHECK(beside == 2);
    const int kept = co_await both.query_one<int>("SELECT count(*) FROM main.here");
    CHECK(kept == 0);
    const error no_place = co_await failure_of<error>(db.backup(both, {.to = "nowhere"}));
    CHECK(contains(no_place.what(), "unknown database nowhere"));
    const std::string copy = (at.folder() / "copy.db").string();
    co_await db.backup(copy, {.from = "extra"});
    CHECK(raw_database(copy).number("SELECT count(*) FROM t") == 2);
    co_await db.execute("DELETE FROM extra.t WHERE id = 1");
    co_await db.vacuum_into(copy, "extra");
    CHECK(raw_database(copy).number("SELECT count(*) FROM t") == 1);
  });
}

TEST_CASE("a log that somebody has left beside an absent destination does not get into the copy") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const std::string copy = (at.folder() / "copy.db").string();
    {
      raw_database gone(copy);
      gone.execute("PRAGMA journal_mode = WAL");
      gone.execute("PRAGMA wal_autocheckpoint = 0");
      gone.execute("CREATE TABLE gone(a)");
      gone.execute("INSERT INTO gone VALUES (zeroblob(100000))");
      std::filesystem::copy_file(copy + "-wal", copy + ".kept");
    }
    std::filesystem::remove(copy);
    std::filesystem::rename(copy + ".kept", copy + "-wal");
    co_await db.backup(copy);
    {
      raw_database found(copy);
      CHECK(found.text("PRAGMA integrity_check") == "ok");
      CHECK(found.number("SELECT count(*) FROM t") == 1000);
      CHECK(found.number("SELECT count(*) FROM sqlite_schema WHERE name = 'gone'") == 0);
    }
    const std::vector<std::string> expected{"copy.db", "test.db", "test.db-shm", "test.db-wal"};
    CHECK(files_in(at) == expected);
  });
}

TEST_CASE("an empty database, one with a single page, and one without a name are backed up") {
  temp_database at;
  on_loop([&]() -> task<> {
    for (const char* const source : {":memory:", ""}) {
      connection db = co_await open(source);
      const std::string copy = (at.folder() / "empty.db").string();
      const backup_progress last = co_await db.backup(copy);
      CHECK(last.remaining == 0);
      CHECK(raw_database(copy).number("SELECT count(*) FROM sqlite_schema") == 0);
      co_await db.execute("CREATE TABLE t(a)");
      co_await db.backup(copy, {.pages = 1});
      CHECK(raw_database(copy).number("SELECT count(*) FROM t") == 0);
      connection to = co_await open(":memory:");
      co_await db.backup(to, {.pages = 1});
      const int rows = co_await rows_of(to);
      CHECK(rows == 0);
    }
  });
}

TEST_CASE("writers of another connection that never rest do not keep a backup to a path from ending") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    connection other = co_await open(at.path());
    bool done = false;
    const auto write = [](connection* to, const bool* stop) -> task<> {
      int written = 0;
      while (!*stop) {
        co_await to->execute("INSERT INTO t(pad) VALUES('more')");
        ++written;
      }
      CHECK(written > 0);
    };
    const std::string copy = (at.folder() / "copy.db").string();
    const auto back_up = [](connection* from, const std::string* path, bool* stop) -> task<> {
      const backup_progress last = co_await from->backup(*path, {.pages = 10, .restarts = 2});
      *stop = true;
      CHECK(last.remaining == 0);
      CHECK(last.restarts <= 3);
    };
    co_await when_all(write(&other, &done), back_up(&db, &copy, &done));
    raw_database found(copy);
    CHECK(found.text("PRAGMA integrity_check") == "ok");
    CHECK(found.number("SELECT count(*) FROM t") >= 1000);
  });
}
