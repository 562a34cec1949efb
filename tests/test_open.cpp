// What open() is asked for is what the connection has.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

open_options with_journal(journal mode) {
  open_options o;
  o.journal_mode = mode;
  return o;
}

task<std::string> pragma(connection& db, std::string name) {
  const value v = co_await db.query_one<value>("PRAGMA " + name);
  co_return v.type() == value_type::integer ? std::to_string(v.get<std::int64_t>()) : v.get<std::string>();
}

/// Ends the transaction of \p other a little later.
task<> commit_soon(const raw_database& other) {
  co_await sleep_for(20ms);
  other.execute("COMMIT");
}

}  // namespace

TEST_CASE("the journal mode is the one that was asked for") {
  struct expected {
    journal mode;
    const char* name;
  };
  for (const expected& e : {expected{journal::wal, "wal"},
                            {journal::del, "delete"},
                            {journal::truncate, "truncate"},
                            {journal::persist, "persist"},
                            {journal::memory, "memory"},
                            {journal::off, "off"},
                            {journal::keep, "delete"}}) {
    temp_database file;
    on_loop([&]() -> task<> {
      connection db = co_await open(file.path(), with_journal(e.mode));
      CHECK(co_await pragma(db, "journal_mode") == e.name);
      co_await db.close();
    });
  }
}

TEST_CASE("journal::keep leaves the file's mode as it is") {
  temp_database file;
  raw_database(file.path()).execute("PRAGMA journal_mode=wal; CREATE TABLE t(a)");
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), with_journal(journal::keep));
    CHECK(co_await pragma(db, "journal_mode") == "wal");
    co_await db.close();
  });
}

TEST_CASE("the synchronous level is the one that was asked for, full by default") {
  CHECK(open_options().synchronous == cosqlite::sync::full);
  for (const cosqlite::sync level :
       {cosqlite::sync::off, cosqlite::sync::normal, cosqlite::sync::full, cosqlite::sync::extra}) {
    temp_database file;
    on_loop([&]() -> task<> {
      open_options o;
      o.synchronous = level;
      connection db = co_await open(file.path(), o);
      CHECK(co_await pragma(db, "synchronous") == std::to_string(static_cast<int>(level)));
      co_await db.close();
    });
  }
}

TEST_CASE("read_only reads and refuses to write") {
  temp_database file;
  raw_database(file.path()).execute("CREATE TABLE t(a); INSERT INTO t VALUES(7)");
  on_loop([&]() -> task<> {
    open_options o;
    o.mode = cosqlite::access::read_only;
    connection db = co_await open(file.path(), o);
    CHECK(co_await db.query_one<int>("SELECT a FROM t") == 7);
    const auto e = co_await failure_of<readonly_error>(db.execute("INSERT INTO t VALUES(8)"));
    CHECK(e.name() == "SQLITE_READONLY");
    co_await db.close();
  });
}

TEST_CASE("only read_write_create makes a missing file") {
  for (const cosqlite::access mode : {cosqlite::access::read_only, cosqlite::access::read_write}) {
    temp_database file;
    on_loop([&]() -> task<> {
      open_options o;
      o.mode = mode;
      const auto e = co_await failure_of<io_error>(open(file.path(), o));
      CHECK(e.name() == "SQLITE_CANTOPEN");
      CHECK(support::contains(e.what(), file.path()));
    });
    CHECK(!file.exists());
  }
}

TEST_CASE("query_only refuses every write") {
  temp_database file;
  raw_database(file.path()).execute("CREATE TABLE t(a)");
  on_loop([&]() -> task<> {
    open_options o;
    o.query_only = true;
    connection db = co_await open(file.path(), o);
    co_await failure_of<readonly_error>(db.execute("INSERT INTO t VALUES(8)"));
    co_await db.close();
  });
}

TEST_CASE("an unknown VFS is refused by name, a known one is used") {
  temp_database file;
  on_loop([&]() -> task<> {
    open_options o;
    o.vfs = "no-such-vfs";
    const auto e = co_await failure_of<error>(open(file.path(), o));
    CHECK(support::contains(e.what(), "no such vfs: no-such-vfs"));
    o.vfs = "unix-excl";
    connection db = co_await open(file.path(), o);
    co_await db.execute("CREATE TABLE t(a)");
    co_await db.close();
  });
}

TEST_CASE("uri = true takes the path for a URI") {
  temp_database file;
  on_loop([&]() -> task<> {
    open_options o;
    o.uri = true;
    connection db = co_await open("file:" + file.path() + "?mode=rwc", o);
    co_await db.execute("CREATE TABLE t(a)");
    co_await db.close();
  });
  CHECK(file.exists());
}

TEST_CASE("memory and temporary databases open") {
  on_loop([&]() -> task<> {
    for (const char* path : {":memory:", ""}) {
      connection db = co_await open(path);
      co_await db.execute("CREATE TABLE t(a)");
      co_await db.execute("INSERT INTO t VALUES(1)");
      CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
      co_await db.close();
    }
  });
}

TEST_CASE("quick_check refuses a damaged file") {
  temp_database file;
  {
    raw_database raw(file.path());
    raw.execute("PRAGMA page_size=1024; CREATE TABLE t(a); CREATE INDEX i ON t(a)");
    raw.execute("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 500) INSERT INTO t SELECT n FROM c");
    raw.execute("PRAGMA writable_schema=1; DELETE FROM sqlite_schema WHERE name='i'");
  }
  on_loop([&]() -> task<> {
    open_options o;
    o.quick_check = true;
    const auto e = co_await failure_of<corrupt_error>(open(file.path(), o));
    CHECK(support::contains(e.what(), file.path()));
    o.quick_check = false;
    connection db = co_await open(file.path(), o);
    co_await db.close();
  });
}

TEST_CASE("optimize_on_close, no cache, no coalescing and no polling work") {
  temp_database file;
  on_loop([&]() -> task<> {
    open_options o;
    o.optimize_on_close = true;
    o.statement_cache = 0;
    o.coalesce = false;
    o.poll = 0us;
    connection db = co_await open(file.path(), o);
    co_await db.execute("CREATE TABLE t(a)");
    for (int i = 0; i < 20; ++i) co_await db.execute("INSERT INTO t VALUES(?)", i);
    CHECK(co_await db.query_one<int>("SELECT sum(a) FROM t") == 190);
    co_await db.close();
  });
}

TEST_CASE("an explicit loop is the one where results arrive") {
  temp_database file;
  support::test_loop own;
  const auto body = [&]() -> task<> {
    open_options o;
    o.loop = own.get();
    connection db = co_await open(file.path(), o);
    co_await db.execute("CREATE TABLE t(a)");
    CHECK(this_loop() == own.get());
    co_await db.close();
  };
  own.run(body());
}

TEST_CASE("open waits for a lock that somebody holds when it changes the journal mode") {
  temp_database file;
  raw_database other(file.path());
  other.execute("CREATE TABLE t(a); BEGIN IMMEDIATE");
  on_loop([&]() -> task<> {
    open_options o;
    o.busy_timeout = 1ms;
    co_await failure_of<busy_error>(open(file.path(), o));
    o.busy_timeout = 60s;
    connection db;
    co_await when_all(commit_soon(other), [](connection& opened, std::string path, open_options asked) -> task<> {
      opened = co_await open(std::move(path), asked);
    }(db, file.path(), o));
    CHECK(co_await pragma(db, "journal_mode") == "wal");
    co_await db.close();
  });
}
