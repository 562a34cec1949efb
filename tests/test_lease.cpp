// Whole connections of a pool, leased and given back clean.
#include "support/abandonable.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

using cosqlite::leased_connection;
using cosqlite::pool;
using cosqlite::task;
using cosqlite::transaction;
using support::failure_of;
using support::on_loop;
using support::open_pool_with_table;
using support::open_with_readers;
using support::temp_database;

int leave_running(sqlite3* raw) {
  sqlite3_stmt* stmt = nullptr;
  sqlite3_prepare_v2(raw, "SELECT v FROM t", -1, &stmt, nullptr);
  return sqlite3_step(stmt);
}

}  // namespace

TEST_CASE("a leased reader is its holder's alone, and comes back clean") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    co_await db.execute("INSERT INTO t(v) VALUES (1)");
    std::optional<int> seen;
    const auto read = [](pool& p, std::optional<int>& n) -> task<> {
      n = co_await p.query_one<int>("SELECT count(*) FROM t");
    };
    {
      leased_connection lease = co_await db.acquire_reader();
      CHECK(db.stats().leased == 1);
      transaction tx = co_await lease.begin(cosqlite::tx_mode::deferred);
      CHECK(co_await tx.query_one<int>("SELECT count(*) FROM t") == 1);
      cosqlite::spawn(read(db, seen));
      co_await db.execute("INSERT INTO t(v) VALUES (2)");
      // Its transaction keeps the old snapshot; the other read waits for a reader.
      CHECK(co_await tx.query_one<int>("SELECT count(*) FROM t") == 1);
      CHECK_FALSE(seen.has_value());
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 2);
    CHECK(seen == 2);
    CHECK(db.stats().leased == 0);
  });
}

TEST_CASE("the leased writer makes other writes wait, and what it left open is rolled back") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    bool written = false;
    const auto write = [](pool& p, bool& done) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await p.execute("INSERT INTO t(v) VALUES ('other')");
      done = true;
    };
    {
      leased_connection lease = co_await db.acquire_writer();
      co_await lease.execute("BEGIN IMMEDIATE");
      co_await lease.execute("INSERT INTO t(v) VALUES ('left open')");
      cosqlite::spawn(write(db, written));
      CHECK(co_await lease.query_one<int>("SELECT count(*) FROM t") == 1);
      CHECK_FALSE(written);
    }
    CHECK(co_await db.with(std::chrono::seconds(10)).query_one<int>("SELECT 1") == 1);
    transaction after = co_await db.begin();
    const auto left = co_await after.query<std::string>("SELECT v FROM t");
    CHECK(left == std::vector<std::string>{"other"});
    co_await after.commit();
    CHECK(written);
  });
}

TEST_CASE("a lease that was given back refuses calls") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    leased_connection lease = co_await db.acquire_reader();
    lease.release();
    co_await failure_of<cosqlite::closed_error>(lease.query("SELECT 1"));
    lease.release();
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
  });
}

namespace {

/// Leases the writer, or the one reader, until it is told.
task<> lease_into(std::optional<leased_connection>& lease, cosqlite::limited_pool db, bool writer) {
  [[maybe_unused]] const bool local = true;
  if (writer) {
    lease.emplace(co_await db.acquire_writer());
  } else {
    lease.emplace(co_await db.acquire_reader());
  }
}
/// The same, for a moment.
task<> lease_once(cosqlite::limited_pool db, bool writer) {
  std::optional<leased_connection> lease;
  co_await lease_into(lease, db, writer);
}

/// How far the hand-over has come when whoever waits goes away.
enum class moment { waiting, handed_over, leased };

void leave(support::test_loop& loop, pool& db, bool writer, moment when, bool by_stop) {
  INFO((writer ? "writer" : "reader") << " at " << static_cast<int>(when) << (by_stop ? " by stop" : " destroyed"));
  const auto patient = db.with(std::chrono::nanoseconds(0));
  std::optional<leased_connection> first;
  loop.run(lease_into(first, patient, writer));
  std::stop_source stop;
  std::optional<std::string> outcome;
  // The loop stands still meanwhile: nothing is delivered.
  support::abandonable waiter = support::start(lease_once(db.with(stop.get_token()), writer), outcome);
  CHECK(db.stats().waiting >= 1);
  first.reset();
  while (when != moment::waiting && db.stats().waiting != 0) std::this_thread::yield();
  while (when == moment::leased && db.stats().leased == 0) std::this_thread::yield();
  CHECK_FALSE(outcome.has_value());
  if (by_stop) {
    stop.request_stop();
    loop.run(support::until([&] { return outcome.has_value(); }));
    CHECK((outcome == "finished" || (outcome == "cancelled" && when != moment::leased)));
  } else {
    waiter.destroy();
  }
  // It is there for the next one, and for nobody else.
  loop.run(lease_once(patient, writer));
}

}  // namespace

TEST_CASE("whoever goes away while a connection is handed to him does not take it along") {
  const temp_database file;
  support::test_loop loop;
  std::optional<pool> db(loop.run(open_with_readers(file.path(), 1)));
  for (int round = 0; round < 50; ++round) {
    for (const bool writer : {false, true}) {
      for (const moment when : {moment::waiting, moment::handed_over, moment::leased}) {
        for (const bool by_stop : {false, true}) leave(loop, *db, writer, when, by_stop);
      }
    }
  }
  const auto close = [](pool& p) -> task<> {
    [[maybe_unused]] const bool local = true;
    co_await p.close();
  };
  loop.run(close(*db));
  CHECK(db->stats().waiting == 0);
  CHECK(db->stats().leased == 0);
}

TEST_CASE("leases of a pool in memory are all of its one connection") {
  on_loop([]() -> task<> {
    pool db = co_await open_pool_with_table(":memory:");
    {
      leased_connection reader = co_await db.acquire_reader();
      co_await failure_of<cosqlite::misuse_error>(db.acquire_writer());
      co_await reader.execute("INSERT INTO t(v) VALUES (1)");
      co_await reader.execute("BEGIN");
      co_await reader.execute("INSERT INTO t(v) VALUES (2)");
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

TEST_CASE("a call waits for a lease that somebody else may give back") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    const auto owns = [](leased_connection lease) -> task<> {
      co_await lease.execute("INSERT INTO t(v) VALUES (1)");
      lease.release();
    };
    leased_connection moved = co_await db.acquire_writer();
    cosqlite::spawn(owns(std::move(moved)));
    co_await db.execute("INSERT INTO t(v) VALUES (2)");
    const auto uses = [](leased_connection& lease) -> task<> {
      co_await lease.execute("INSERT INTO t(v) VALUES (3)");
      lease.release();
    };
    leased_connection shared = co_await db.acquire_writer();
    cosqlite::spawn(uses(shared));
    co_await db.execute("INSERT INTO t(v) VALUES (4)");
    const auto order = co_await db.query<int>("SELECT v FROM t ORDER BY id");
    CHECK(order == std::vector<int>{1, 2, 3, 4});
  });
}

TEST_CASE("a leased reader cannot write, whichever way it is tried") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    leased_connection lease = co_await db.acquire_reader();
    const char* const insert = "INSERT INTO t(v) VALUES (1)";
    co_await failure_of<cosqlite::readonly_error>(lease.execute(insert));
    co_await failure_of<cosqlite::readonly_error>(lease.execute_script(insert));
    const auto by_hand = [insert](sqlite3* raw) { return sqlite3_exec(raw, insert, nullptr, nullptr, nullptr) & 0xff; };
    const int rc = co_await lease.run(by_hand);
    CHECK(rc == SQLITE_READONLY);
    // Nor when it says that it may.
    co_await lease.execute("PRAGMA query_only = off");
    const int again = co_await lease.run(by_hand);
    CHECK(again == SQLITE_READONLY);
    CHECK(co_await lease.query_one<int>("SELECT count(*) FROM t") == 0);
  });
}

TEST_CASE("a stream that outlives its lease ends with it, and lets go of the connection") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_with_readers(file.path(), 1);
    co_await db.execute(
        "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 90000) "
        "SELECT i FROM c");
    leased_connection lease = co_await db.acquire_reader();
    auto rows = lease.stream<int>("SELECT v FROM t");
    const auto first = co_await rows.next();
    CHECK(first == 1);
    lease.release();
    // The one reader is there for everybody again.
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 90'000);
    int more = 0;
    bool ended = false;
    try {
      while (co_await rows.next()) ++more;
    } catch (const cosqlite::error&) {
      ended = true;
    }
    CHECK(ended);
    CHECK(more < 89'999);
  });
}

TEST_CASE("a transaction or savepoint that outlives its lease does nothing to whoever comes next") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    std::optional<transaction> old;
    std::optional<cosqlite::savepoint> point;
    {
      leased_connection lease = co_await db.acquire_writer();
      old.emplace(co_await lease.begin());
      point.emplace(co_await old->savepoint());
      co_await old->execute("INSERT INTO t(v) VALUES ('gone')");
    }
    leased_connection lease = co_await db.acquire_writer();
    transaction tx = co_await lease.begin();
    cosqlite::savepoint inside = co_await tx.savepoint();
    co_await tx.execute("INSERT INTO t(v) VALUES ('kept')");
    co_await failure_of<cosqlite::transaction_error>(old->execute("INSERT INTO t(v) VALUES ('late')"));
    co_await failure_of<cosqlite::transaction_error>(point->rollback());
    co_await failure_of<cosqlite::transaction_error>(old->commit());
    point.reset();
    old.reset();
    co_await inside.release();
    co_await tx.commit();
    const auto values = co_await db.query<std::string>("SELECT v FROM t");
    CHECK(values == std::vector<std::string>{"kept"});
  });
}

TEST_CASE("a lease comes back with its statements reset and its settings as they were") {
  for (const bool in_memory : {false, true}) {
    const temp_database file;
    const std::string path = in_memory ? ":memory:" : file.path();
    on_loop([&]() -> task<> {
      pool db = co_await open_pool_with_table(path);
      co_await db.execute_script("CREATE TABLE child(id REFERENCES t(id)); INSERT INTO t(v) VALUES (1), (2)");
      {
        leased_connection lease = co_await db.acquire_writer();
        co_await lease.execute("PRAGMA foreign_keys = off");
        co_await lease.execute("PRAGMA busy_timeout = 0");
        co_await lease.execute("INSERT INTO child VALUES (77)");
        const int rc = co_await lease.run(&leave_running);
        CHECK(rc == SQLITE_ROW);
      }
      leased_connection next = co_await db.acquire_writer();
      const auto busy = [](sqlite3* raw) {
        int n = 0;
        for (sqlite3_stmt* s = sqlite3_next_stmt(raw, nullptr); s; s = sqlite3_next_stmt(raw, s))
          n += sqlite3_stmt_busy(s);
        return n;
      };
      const int left = co_await next.run(busy);
      CHECK(left == 0);
      CHECK(co_await next.query_one<int>("PRAGMA foreign_keys") == 1);
      co_await failure_of<cosqlite::constraint_error>(next.execute("INSERT INTO child VALUES (78)"));
      CHECK(co_await next.query_one<int>("SELECT count(*) FROM t") == 2);
    });
  }
}

TEST_CASE("what is open on the one connection of a pool in memory goes on when a lease has come and gone") {
  on_loop([]() -> task<> {
    pool db = co_await open_pool_with_table(":memory:");
    co_await db.execute(
        "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i < 5000) SELECT i FROM c");
    co_await db.execute_script("CREATE TABLE f(data BLOB); INSERT INTO f VALUES (zeroblob(64))");
    auto rows = db.stream<int>("SELECT v FROM t ORDER BY id");
    auto first = co_await rows.next();
    CHECK(first == 1);
    cosqlite::blob blob = co_await db.writer().open_blob({.table = "f", .column = "data", .rowid = 1});
    {
      leased_connection lease = co_await db.acquire_writer();
      CHECK(co_await lease.query_one<int>("SELECT count(*) FROM t") == 5000);
    }
    int last = 1;
    while (auto v = co_await rows.next()) {
      CHECK(*v == last + 1);
      last = *v;
    }
    CHECK(last == 5000);
    std::array<std::byte, 64> bytes{};
    co_await blob.read(bytes, 0);
  });
}

namespace {

/// Leaves a connection in a transaction that only the end of the connection ends: it is being copied to. The copy cannot
/// be finished after that, so it stays reachable for ever.
int leave_copy_under_way(sqlite3* to) {
  static sqlite3* from = nullptr;
  static sqlite3_backup* copy = nullptr;
  sqlite3_open(":memory:", &from);
  sqlite3_exec(from, "CREATE TABLE copied(a)", nullptr, nullptr, nullptr);
  copy = sqlite3_backup_init(to, "other", from, "main");
  sqlite3_backup_step(copy, 1);
  return sqlite3_txn_state(to, nullptr);
}
int state_of_transaction(sqlite3* raw) { return sqlite3_txn_state(raw, nullptr); }

}  // namespace

TEST_CASE("a leased connection that cannot be cleaned is replaced, and the pool goes on") {
  const temp_database file;
  on_loop([&]() -> task<> {
    cosqlite::pool_options options;
    options.connection.attach = true;
    pool db = co_await open_pool_with_table(file.path(), options);
    {
      leased_connection lease = co_await db.acquire_writer();
      co_await lease.execute("INSERT INTO t(v) VALUES ('kept')");
      co_await lease.execute("ATTACH ? AS other", file.path() + ".other");
      const int state = co_await lease.run(&leave_copy_under_way);
      CHECK(state == SQLITE_TXN_WRITE);
    }
    {
      leased_connection next = co_await db.acquire_writer();
      const int state = co_await next.run(&state_of_transaction);
      CHECK(state == SQLITE_TXN_NONE);
      // What was attached stays with a connection that could be cleaned.
      CHECK(co_await next.query_one<int>("SELECT count(*) FROM pragma_database_list") == 1);
      // It is set up as the first one was.
      CHECK(co_await next.query_one<int>("PRAGMA foreign_keys") == 1);
    }
    co_await db.execute("INSERT INTO t(v) VALUES ('after')");
    const auto values = co_await db.query<std::string>("SELECT v FROM t ORDER BY id");
    CHECK(values == std::vector<std::string>{"kept", "after"});
    co_await db.close();
  });
}

TEST_CASE("every call of a connection can be made through a lease") {
  const temp_database file;
  const temp_database copy;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    leased_connection c = co_await db.acquire_writer();
    co_await c.execute_script("INSERT INTO t(v) VALUES (1); INSERT INTO t(v) VALUES (x'0203')");
    const std::vector<int> more{3, 4};
    co_await c.execute_many("INSERT INTO t(v) VALUES (?)", more);
    CHECK(co_await c.query_one<int>("SELECT count(*) FROM t") == 4);
    CHECK((co_await c.query_optional<int>("SELECT v FROM t WHERE id = 3")) == 3);
    int streamed = 0;
    {
      auto rows = c.stream<int>("SELECT id FROM t");
      while (auto id = co_await rows.next()) streamed += *id;
    }
    CHECK(streamed == 10);
    cosqlite::statement add = co_await c.prepare("INSERT INTO t(v) VALUES (?)");
    co_await add.execute(5);
    const auto body = [](transaction& tx) -> task<> {
      cosqlite::savepoint point = co_await tx.savepoint();
      co_await point.execute("INSERT INTO t(v) VALUES (6)");
      co_await point.release();
    };
    co_await c.transact(body);
    cosqlite::blob blob = co_await c.open_blob({.table = "t", .column = "v", .rowid = 2});
    CHECK(blob.size() == 2);
    co_await blob.close();
    CHECK((co_await c.backup(copy.path())).remaining == 0);
    const cosqlite::bytes image = co_await c.serialize();
    CHECK_FALSE(image.empty());
    std::vector<std::string> text;
    {
      auto dump = c.dump();
      while (auto sql = co_await dump.next()) text.push_back(*sql);
    }
    co_await c.execute("DROP TABLE t");
    co_await c.restore(text);
    CHECK(co_await c.query_one<int>("SELECT count(*) FROM t") == 6);
    co_await c.create_function("twice", [](int n) { return 2 * n; });
    co_await c.create_collation("backwards", [](std::string_view a, std::string_view b) { return b <=> a; });
    CHECK(co_await c.query_one<int>("SELECT twice(id) FROM t ORDER BY v COLLATE backwards LIMIT 1") > 0);
    cosqlite::session session = co_await c.create_session("t");
    co_await c.execute("DELETE FROM t WHERE id = 1");
    CHECK_FALSE(co_await session.is_empty());
    const cosqlite::changeset taken = co_await session.changeset();
    co_await c.execute("INSERT INTO t(id, v) VALUES (1, 1)");
    co_await c.apply(taken);
    CHECK(co_await c.query_one<int>("SELECT count(*) FROM t") == 5);
    co_await c.checkpoint();
    co_await c.limit(cosqlite::limit_kind::length);
    CHECK((co_await c.query_plan("SELECT v FROM t")).scans());
    CHECK((co_await c.stats()).calls > 0);
    CHECK_FALSE(co_await c.in_transaction());
  });
}

TEST_CASE("a script runs through a leased reader") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool_with_table(file.path());
    leased_connection reader = co_await db.acquire_reader();
    co_await reader.execute_script("SELECT 1; SELECT count(*) FROM t");
  });
}
