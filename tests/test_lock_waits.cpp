// Calls that wait for a lock that another program holds end when they are told to.
#include "support/abandonable.hpp"
#include "support/call_table.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/plug.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::limited_connection;
using cosqlite::task;
using support::abandonable;
using support::on_loop;
using support::raw_database;
using support::start;
using support::temp_database;
using support::until;
using namespace support::calls;

/// Calls that wait for a lock that another program holds.
struct case_of_lock {
  const char* name;
  const char* taken;  ///< by the other program
  cosqlite::journal mode;
  made_on on;
  task<> (*make)(world& w);
};

const case_of_lock lock_waits[] = {
    {"execute", "BEGIN IMMEDIATE", cosqlite::journal::wal, made_on::connection,
     [](world& w) { return await(w.limited().execute(insert_x)); }},
    {"execute_many", "BEGIN IMMEDIATE", cosqlite::journal::wal, made_on::connection,
     [](world& w) { return await(w.limited().execute_many("INSERT INTO t(v) VALUES (?)", w.rows)); }},
    {"begin", "BEGIN IMMEDIATE", cosqlite::journal::wal, made_on::connection,
     [](world& w) { return await(w.limited().begin()); }},
    {"blob write", "BEGIN IMMEDIATE", cosqlite::journal::wal, made_on::blob,
     [](world& w) { return await_void(w.blob->with(w.stop, w.limit).write(w.buffer, 0)); }},
    {"query", "BEGIN EXCLUSIVE", cosqlite::journal::del, made_on::connection,
     [](world& w) { return await(w.limited().query("SELECT * FROM t")); }},
    {"prepare", "BEGIN EXCLUSIVE", cosqlite::journal::del, made_on::connection,
     [](world& w) { return await(w.limited().prepare("SELECT v FROM t")); }},
    {"commit", "BEGIN; SELECT * FROM t", cosqlite::journal::del, made_on::transaction,
     [](world& w) { return await_void(w.tx->commit()); }},
};

constexpr way_out ways_to_stop[] = {way_out::destroy, way_out::stop, way_out::timeout, way_out::drop,
                                    way_out::stopped_loop};

/// A transaction's limit counts from its BEGIN: more of it where the machine is too slow.
task<> begin_in_time(world& w) {
  for (;; w.limit *= 4) {
    bool in_time = true;
    try {
      w.tx.emplace(co_await w.limited().begin());
      co_await w.tx->execute(insert_x);
    } catch (const cosqlite::timeout_error&) {
      in_time = false;
    }
    if (in_time) co_return;
    w.tx.reset();
  }
}

task<> set_up_lock(world& w, const case_of_lock& c) {
  // Not through the connection: what it compiles first reads the schema, under a lock.
  raw_database(w.path).execute(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t(v) VALUES ('first'); CREATE TABLE f(data BLOB); "
      "INSERT INTO f VALUES (zeroblob(64))");
  cosqlite::open_options o;
  o.journal_mode = c.mode;
  o.busy_timeout = std::chrono::minutes(10);
  w.db.emplace(co_await cosqlite::open(w.path, o));
  // It forgets the schema, so that what is compiled next has to read it.
  co_await w.db->execute_script("BEGIN; CREATE TABLE gone(a); ROLLBACK");
  if (c.on == made_on::transaction) co_await begin_in_time(w);
  if (c.on == made_on::blob) {
    w.blob.emplace(
        co_await w.db->open_blob({.table = "f", .column = "data", .rowid = 1}, cosqlite::blob_mode::read_write));
  }
}

/// The worker has got past the call, although the lock is still held.
task<> pass(world& w) {
  const auto nothing = [](sqlite3*) {};
  co_await run_there(w, nothing);
}

void try_lock(const case_of_lock& c, way_out how) {
  INFO(c.name << " waiting for a lock, ended by " << names_of_ways_out[static_cast<int>(how)]);
  const temp_database file;
  std::stop_source stop;
  support::test_loop loop;
  world w;
  w.path = file.path();
  w.stop = stop.get_token();
  if (how == way_out::timeout) w.limit = std::chrono::milliseconds(200);
  loop.run(set_up_lock(w, c));
  const raw_database other(file.path());
  sqlite3_busy_timeout(other.get(), 10'000);
  other.execute(c.taken);
  std::optional<std::string> outcome;
  std::optional<abandonable> subject(start(c.make(w), outcome));
  const auto turn = [](int turns) -> task<> {
    for (int i = 0; i < turns; ++i) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
  };
  loop.run(turn(5));
  if (how != way_out::timeout) CHECK_FALSE(outcome.has_value());
  switch (how) {
    case way_out::destroy: subject->destroy(); break;
    case way_out::stop: stop.request_stop(); break;
    case way_out::drop: w.drop(); break;
    case way_out::stopped_loop:
      subject->destroy();
      w.drop();
      return;
    default: break;
  }
  if (how != way_out::destroy) {
    loop.run(until([&] { return outcome.has_value(); }));
    CHECK(outcome != "finished");
    if (how == way_out::stop) CHECK(outcome == "cancelled");
    if (how == way_out::timeout) CHECK(outcome == "timeout");
    if (how == way_out::drop) CHECK(outcome == "closed");
  }
  if (how == way_out::destroy) loop.run(pass(w));
  other.try_to("ROLLBACK");
  if (w.db) loop.run(check_usable(w));
  w.drop();
  CHECK(other.number("SELECT count(*) FROM t") == 1);
}

}  // namespace

TEST_CASE("every call that waits for a lock ends in every way, long before the busy timeout") {
  for (const case_of_lock& c : lock_waits) {
    for (const way_out how : ways_to_stop) try_lock(c, how);
  }
}

namespace {

task<> read(limited_connection db) { static_cast<void>(co_await db.query("SELECT * FROM t")); }
task<> write_one(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute(insert_x);
}
task<> write_in_transaction(limited_connection db) {
  cosqlite::transaction tx = co_await db.begin();
  co_await tx.execute(insert_x);
  co_await tx.commit();
}
task<> write_many(limited_connection db) {
  const std::vector<std::string> rows(10, "x");
  co_await db.execute_many(insert_value, rows);
}

}  // namespace

TEST_CASE("compiling a statement for a group waits for a lock no longer than its call may") {
  const temp_database file;
  on_loop([&]() -> task<> {
    cosqlite::open_options o;
    o.journal_mode = cosqlite::journal::del;
    o.busy_timeout = std::chrono::minutes(10);
    const raw_database other(file.path());
    other.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)");
    connection db = co_await cosqlite::open(file.path(), o);
    co_await db.execute_script("BEGIN; CREATE TABLE gone(a); ROLLBACK");
    other.execute("BEGIN EXCLUSIVE");
    // They lie in the inbox together, so that they are looked at for a group; the schema has to be read first.
    support::plug plug;
    std::optional<std::string> let_go;
    const auto hold_worker = [](connection& on, support::plug& by) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await by.hold(on);
    };
    abandonable blocker = start(hold_worker(db, plug), let_go);
    std::vector<std::optional<std::string>> outcomes(3);
    std::vector<abandonable> subjects;
    const auto limited = db.with(std::chrono::milliseconds(30));
    for (auto& outcome : outcomes) subjects.push_back(start(read(limited), outcome));
    plug.release();
    co_await until([&] { return std::ranges::all_of(outcomes, [](const auto& one) { return one.has_value(); }); });
    for (const auto& outcome : outcomes) CHECK(outcome == "timeout");
    // The worker does not go on waiting.
    const int rc = co_await db.run([](sqlite3*) { return 7; });
    CHECK(rc == 7);
    other.execute("ROLLBACK");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
  });
}

TEST_CASE("a lock that another process holds does not keep a call whose stop was requested") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_tables(file.path());
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    for (auto* work : {&write_one, &write_in_transaction, &write_many}) {
      std::stop_source stop;
      std::optional<std::string> outcome;
      abandonable subject = start(work(db.with(stop.get_token())), outcome);
      co_await cosqlite::sleep_for(std::chrono::milliseconds(5));
      stop.request_stop();
      co_await until([&] { return outcome.has_value(); });
      CHECK(outcome == "cancelled");
    }
    other.execute("ROLLBACK");
    co_await db.execute("INSERT INTO t(v) VALUES ('x')");
  });
}

TEST_CASE("writes that share a transaction wait for its commit's lock no longer than each of them may") {
  const temp_database file;
  on_loop([&]() -> task<> {
    cosqlite::open_options o;
    o.journal_mode = cosqlite::journal::del;
    o.busy_timeout = std::chrono::minutes(10);
    connection db = co_await cosqlite::open(file.path(), o);
    co_await db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)");
    const raw_database other(file.path());
    other.execute("BEGIN; SELECT count(*) FROM t");
    const auto write = [](limited_connection on, cosqlite::timeout_error::stage& where) -> task<> {
      try {
        co_await on.execute("INSERT INTO t(v) VALUES ('x')");
      } catch (const cosqlite::timeout_error& e) {
        where = e.spent_in();
      }
    };
    auto first = cosqlite::timeout_error::stage::run;
    auto second = cosqlite::timeout_error::stage::run;
    const auto limited = db.with(std::chrono::milliseconds(300));
    co_await cosqlite::when_all(write(limited, first), write(limited, second));
    CHECK(first == cosqlite::timeout_error::stage::lock);
    CHECK(second != cosqlite::timeout_error::stage::run);  // it may yet come to wait for the lock itself
    other.execute("ROLLBACK");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
  });
}
