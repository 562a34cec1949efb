#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::limited_connection;
using cosqlite::task;
using cosqlite::timeout_error;
using cosqlite::transaction;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

constexpr const char* endless_read =
    "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c) SELECT max(i) FROM c";
constexpr const char* endless_write =
    "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c) SELECT 'x' || i FROM c";

task<connection> open_with_table(std::string path) {
  connection db = co_await cosqlite::open(std::move(path));
  co_await db.execute_script("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v TEXT)");
  co_return db;
}

/// What a call of each kind does; those that can be made to last for ever do.
struct kind {
  const char* name;
  task<> (*quick)(limited_connection db);
  task<> (*endless)(limited_connection db);
};

task<> quick_execute(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute("INSERT INTO t(v) VALUES ('x')");
}
task<> endless_execute(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute(endless_write);
}
task<> quick_query(limited_connection db) { static_cast<void>(co_await db.query("SELECT * FROM t")); }
task<> endless_query(limited_connection db) { static_cast<void>(co_await db.query(endless_read)); }
task<> quick_many(limited_connection db) {
  const std::vector<std::string> rows(10, "x");
  co_await db.execute_many("INSERT INTO t(v) VALUES (?)", rows);
}
task<> endless_many(limited_connection db) {
  const std::vector<int> rows(2, 1);
  co_await db.execute_many(
      "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(?) UNION ALL SELECT i + 1 FROM c) SELECT i FROM c", rows);
}
task<> quick_script(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute_script("INSERT INTO t(v) VALUES ('x'); INSERT INTO t(v) VALUES ('y')");
}
task<> endless_script(limited_connection db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute_script(std::string("INSERT INTO t(v) VALUES ('x'); ") + endless_write);
}
int ask(sqlite3* raw, const char* sql) {
  sqlite3_stmt* stmt = nullptr;
  sqlite3_prepare_v2(raw, sql, -1, &stmt, nullptr);
  const int rc = sqlite3_step(stmt);
  sqlite3_finalize(stmt);
  if (rc == SQLITE_INTERRUPT) throw std::runtime_error("interrupted");
  return rc;
}
task<> quick_run(limited_connection db) {
  const int rc = co_await db.run([](sqlite3* raw) { return ask(raw, "SELECT 1"); });
  static_cast<void>(rc);
}
task<> endless_run(limited_connection db) {
  const int rc = co_await db.run([](sqlite3* raw) { return ask(raw, endless_read); });
  static_cast<void>(rc);
}
task<> quick_stream(limited_connection db) {
  auto rows = db.stream<std::string>("SELECT v FROM t");
  while (auto row = co_await rows.next()) static_cast<void>(row);
}
task<> endless_stream(limited_connection db) {
  auto rows = db.stream<int>(endless_read);
  while (auto row = co_await rows.next()) static_cast<void>(row);
}
task<> quick_prepare(limited_connection db) {
  cosqlite::statement s = co_await db.prepare("SELECT count(*) FROM t");
  static_cast<void>(co_await s.query_one<int>());
}
task<> endless_prepare(limited_connection db) {
  cosqlite::statement s = co_await db.prepare(endless_read);
  static_cast<void>(co_await s.query_one<int>());
}
task<> quick_transaction(limited_connection db) {
  transaction tx = co_await db.begin();
  co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
  co_await tx.commit();
}
task<> endless_transaction(limited_connection db) {
  transaction tx = co_await db.begin();
  co_await tx.execute(endless_write);
  co_await tx.commit();
}

constexpr kind kinds[] = {
    {"execute", &quick_execute, &endless_execute},
    {"query", &quick_query, &endless_query},
    {"execute_many", &quick_many, &endless_many},
    {"execute_script", &quick_script, &endless_script},
    {"run", &quick_run, &endless_run},
    {"stream", &quick_stream, &endless_stream},
    {"statement", &quick_prepare, &endless_prepare},
    {"transaction", &quick_transaction, &endless_transaction},
};

enum class way { destroy, stop, timeout, close, drop };
constexpr way ways[] = {way::destroy, way::stop, way::timeout, way::close, way::drop};
constexpr const char* way_names[] = {"destroy", "stop", "timeout", "close", "drop"};

/// A coroutine under test: its outcome, and the power to destroy it.
struct subject {
  std::optional<std::string> outcome;
  std::optional<task<>> body;
};

std::string outcome_of(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const timeout_error&) {
    return "timeout";
  } catch (const cosqlite::cancelled_error&) {
    return "cancelled";
  } catch (const cosqlite::closed_error&) {
    return "closed";
  } catch (const std::exception& other) {
    return other.what();
  }
}

/// Starts a task at once and lets it be destroyed half-way, as an abandoned request is.
class abandonable {
 public:
  struct promise_type {
    abandonable get_return_object() { return abandonable(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  abandonable(abandonable&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  abandonable& operator=(abandonable&&) = delete;
  ~abandonable() { destroy(); }
  void destroy() {
    if (handle_) std::exchange(handle_, {}).destroy();
  }

 private:
  explicit abandonable(std::coroutine_handle<promise_type> h) : handle_(h) {}
  std::coroutine_handle<promise_type> handle_;
};

abandonable start(task<> body, std::optional<std::string>& outcome) {
  std::exception_ptr failure;
  try {
    co_await std::move(body);
    outcome = "finished";
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) outcome = outcome_of(failure);
}

/// Lets the loop turn until \p done says so.
template <class F>
task<> until(F done) {
  while (!done()) co_await cosqlite::sleep_for(std::chrono::milliseconds(1));
}

task<> end_by(way how, std::optional<connection>& db, abandonable& subject, std::stop_source& stop) {
  switch (how) {
    case way::destroy: subject.destroy(); break;
    case way::stop: stop.request_stop(); break;
    case way::timeout: break;
    case way::close: co_await db->close(); break;
    case way::drop: db.reset(); break;
  }
  co_return;
}

constexpr std::chrono::nanoseconds no_time{0};

task<> close(connection& db) {
  [[maybe_unused]] const bool local = true;
  co_await db.close();
}

}  // namespace

TEST_CASE("a call of every kind that is queued ends in every way without having run") {
  for (const kind& k : kinds) {
    for (const way how : ways) {
      if (how == way::close) continue;  // close lets what is queued finish: see below
      INFO(k.name << " queued, ended by " << way_names[static_cast<int>(how)]);
      const temp_database file;
      on_loop([&]() -> task<> {
        std::optional<connection> db(co_await open_with_table(file.path()));
        std::stop_source blocker_stop;
        std::optional<std::string> blocker_outcome;
        std::optional<std::string> outcome;
        std::stop_source stop;
        abandonable blocker = start(endless_query(db->with(blocker_stop.get_token())), blocker_outcome);
        const auto limit = how == way::timeout ? std::chrono::nanoseconds(std::chrono::milliseconds(5)) : no_time;
        abandonable subject = start(k.quick(db->with(stop.get_token(), limit)), outcome);
        co_await end_by(how, db, subject, stop);
        // The blocker still holds the worker: the queued call ends all the same.
        if (how != way::destroy) co_await until([&] { return outcome.has_value(); });
        if (how == way::stop) CHECK(outcome == "cancelled");
        if (how == way::timeout) CHECK(outcome == "timeout");
        if (how == way::drop) CHECK(outcome == "closed");
        if (how != way::drop) CHECK_FALSE(blocker_outcome.has_value());
        blocker_stop.request_stop();
        co_await until([&] { return blocker_outcome.has_value(); });
        if (db) CHECK(co_await db->query_one<int>("SELECT count(*) FROM t") == 0);
      });
    }
  }
}

TEST_CASE("a call of every kind that runs ends in every way, and the next one is not harmed") {
  for (const kind& k : kinds) {
    for (const way how : ways) {
      if (how == way::close) continue;  // close waits for what runs
      INFO(k.name << " running, ended by " << way_names[static_cast<int>(how)]);
      const temp_database file;
      on_loop([&]() -> task<> {
        std::optional<connection> db(co_await open_with_table(file.path()));
        std::optional<std::string> outcome;
        std::stop_source stop;
        const auto limit = how == way::timeout ? std::chrono::nanoseconds(std::chrono::milliseconds(10)) : no_time;
        abandonable subject = start(k.endless(db->with(stop.get_token(), limit)), outcome);
        if (how != way::timeout) co_await cosqlite::sleep_for(std::chrono::milliseconds(5));
        co_await end_by(how, db, subject, stop);
        if (how != way::destroy) {
          co_await until([&] { return outcome.has_value(); });
          CHECK(outcome != "finished");
        }
        if (!db) co_return;
        // It did not take the connection along, nothing of it stayed, and no transaction is open.
        CHECK(co_await db->query_one<int>("SELECT 1") == 1);
        const int left = co_await db->query_one<int>("SELECT count(*) FROM t");
        CHECK(left <= (std::string_view(k.name) == "execute_script" ? 1 : 0));
        transaction tx = co_await db->begin();
        co_await tx.rollback();
      });
    }
  }
}

TEST_CASE("close lets calls of every kind finish that were queued before it") {
  for (const kind& k : kinds) {
    INFO(k.name);
    const temp_database file;
    on_loop([&]() -> task<> {
      connection db = co_await open_with_table(file.path());
      std::optional<std::string> outcome;
      abandonable subject = start(k.quick(db.with(std::stop_token())), outcome);
      co_await db.close();
      co_await until([&] { return outcome.has_value(); });
      // What needs a second call after close finds the connection closed.
      const bool one_call = std::string_view(k.name) != "transaction" && std::string_view(k.name) != "statement" &&
                            std::string_view(k.name) != "stream";
      if (one_call) CHECK(outcome == "finished");
    });
  }
}

TEST_CASE("a call that is done but not delivered is reported as done, whatever asks it to stop") {
  const temp_database file;
  support::test_loop loop;
  connection db = loop.run(open_with_table(file.path()));
  std::optional<std::string> outcome;
  std::stop_source stop;
  // The loop stands still until the row can be seen from outside: the call is done, its outcome waits.
  abandonable subject = start(quick_execute(db.with(stop.get_token())), outcome);
  const raw_database other(file.path());
  while (other.number("SELECT count(*) FROM t") == 0) std::this_thread::yield();
  CHECK_FALSE(outcome.has_value());
  stop.request_stop();
  loop.run(until([&] { return outcome.has_value(); }));
  CHECK(outcome == "finished");
  loop.run(close(db));
}

namespace {

// ------------------------------------------------------------- every call x {queued, done} x every way in which it can
// end

enum class way_out { destroy, stop, timeout, close, drop, stopped_loop };
constexpr way_out ways_out[] = {way_out::destroy, way_out::stop, way_out::timeout,
                                way_out::close,   way_out::drop, way_out::stopped_loop};
constexpr const char* names_of_ways_out[] = {"destroy", "stop", "timeout", "close", "drop", "stopped loop"};

/// What the calls under test are made on. One row is in t, and a blob in f.
struct world {
  std::string path;
  std::stop_token stop;
  std::chrono::nanoseconds limit{0};
  std::optional<connection> db;
  std::optional<transaction> tx;
  std::optional<cosqlite::savepoint> point;
  std::optional<cosqlite::blob> blob;
  std::optional<cosqlite::pool> pool;
  std::vector<cosqlite::leased_connection> leases;
  std::array<std::byte, 64> buffer{};
  std::vector<std::string> rows = std::vector<std::string>(5, "x");

  [[nodiscard]] limited_connection limited() const { return db->with(stop, limit); }
  [[nodiscard]] cosqlite::limited_pool limited_pool() const { return pool->with(stop, limit); }
  /// Dropped open, whatever it is.
  void drop() {
    pool.reset();
    blob.reset();
    point.reset();
    tx.reset();
    db.reset();
    leases.clear();
  }
};

enum class made_on { connection, transaction, savepoint, blob, pool };

struct case_of_call {
  const char* name;
  made_on on;
  task<> (*make)(world& w);
  bool writes = false;    ///< adds a row to t when it is done
  bool stoppable = true;  ///< an undo works also when the time is up
  bool one_call = true;   ///< false: it is several, of which close lets only the first through
};

template <class A>
task<> await(A call) {
  [[maybe_unused]] const bool local = true;
  static_cast<void>(co_await std::move(call));
}
template <class A>
task<> await_void(A call) {
  [[maybe_unused]] const bool local = true;
  co_await std::move(call);
}

constexpr const char* insert_x = "INSERT INTO t(v) VALUES ('x')";

const case_of_call calls[] = {
    {"execute", made_on::connection, [](world& w) { return await(w.limited().execute(insert_x)); }, true},
    {"query", made_on::connection, [](world& w) { return await(w.limited().query("SELECT * FROM t")); }},
    {"query<T>", made_on::connection,
     [](world& w) { return await(w.limited().query<std::string>("SELECT v FROM t")); }},
    {"query_one", made_on::connection, [](world& w) { return await(w.limited().query_one<int>("SELECT 1")); }},
    {"query_optional", made_on::connection,
     [](world& w) { return await(w.limited().query_optional<int>("SELECT 1")); }},
    {"stream", made_on::connection,
     [](world& w) -> task<> {
       auto rows = w.limited().stream<std::string>("SELECT v FROM t");
       static_cast<void>(co_await rows.next());
     }},
    {"untyped stream", made_on::connection,
     [](world& w) -> task<> {
       auto rows = w.limited().stream("SELECT v FROM t");
       static_cast<void>(co_await rows.next());
     }},
    {"execute_many", made_on::connection,
     [](world& w) { return await(w.limited().execute_many("INSERT INTO t(v) VALUES (?)", w.rows)); }, true},
    {"execute_script", made_on::connection, [](world& w) { return await_void(w.limited().execute_script(insert_x)); },
     true},
    {"prepare", made_on::connection, [](world& w) { return await(w.limited().prepare("SELECT * FROM t")); }},
    {"run", made_on::connection,
     [](world& w) { return await(w.limited().run([](sqlite3* raw) { return ask(raw, "SELECT 1"); })); }},
    {"begin", made_on::connection, [](world& w) { return await(w.limited().begin()); }},
    {"transact", made_on::connection,
     [](world& w) -> task<> {
       const auto body = [](transaction& tx) { return await(tx.execute(insert_x)); };
       co_await w.limited().transact(body);
     },
     true, true, false},
    {"open_blob", made_on::connection,
     [](world& w) { return await(w.limited().open_blob({.table = "f", .column = "data", .rowid = 1})); }},
    {"backup", made_on::connection, [](world& w) { return await(w.limited().backup(w.path + ".copy")); }, false, true,
     false},
    {"vacuum_into", made_on::connection, [](world& w) { return await_void(w.limited().vacuum_into(w.path + ".copy")); },
     false, true, false},
    {"checkpoint", made_on::connection, [](world& w) { return await(w.limited().checkpoint()); }},
    {"serialize", made_on::connection, [](world& w) { return await(w.limited().serialize()); }},
    {"dump", made_on::connection,
     [](world& w) -> task<> {
       auto lines = w.limited().dump();
       static_cast<void>(co_await lines.next());
     },
     false, true, false},
    {"transaction's execute", made_on::transaction, [](world& w) { return await(w.tx->execute(insert_x)); }},
    {"transaction's query", made_on::transaction, [](world& w) { return await(w.tx->query("SELECT * FROM t")); }},
    {"commit", made_on::transaction, [](world& w) { return await_void(w.tx->commit()); }},
    {"rollback", made_on::transaction, [](world& w) { return await_void(w.tx->rollback()); }, false, false},
    {"savepoint", made_on::transaction, [](world& w) { return await(w.tx->savepoint()); }},
    {"savepoint's execute", made_on::savepoint, [](world& w) { return await(w.point->execute(insert_x)); }},
    {"nested savepoint", made_on::savepoint, [](world& w) { return await(w.point->nested()); }},
    {"release", made_on::savepoint, [](world& w) { return await_void(w.point->release()); }},
    {"savepoint's rollback", made_on::savepoint, [](world& w) { return await_void(w.point->rollback()); }, false,
     false},
    {"blob read", made_on::blob, [](world& w) { return await_void(w.blob->with(w.stop, w.limit).read(w.buffer, 0)); }},
    {"blob write", made_on::blob,
     [](world& w) { return await_void(w.blob->with(w.stop, w.limit).write(w.buffer, 0)); }},
    {"blob reopen", made_on::blob, [](world& w) { return await_void(w.blob->with(w.stop, w.limit).reopen(1)); }},
    {"blob chunks", made_on::blob,
     [](world& w) -> task<> {
       auto pieces = w.blob->with(w.stop, w.limit).chunks(16);
       static_cast<void>(co_await pieces.next());
     }},
    {"pool's query", made_on::pool, [](world& w) { return await(w.limited_pool().query("SELECT * FROM t")); }},
    {"pool's query_one", made_on::pool, [](world& w) { return await(w.limited_pool().query_one<int>("SELECT 1")); }},
    {"pool's stream", made_on::pool,
     [](world& w) -> task<> {
       auto rows = w.limited_pool().stream<std::string>("SELECT v FROM t");
       static_cast<void>(co_await rows.next());
     }},
    {"pool's execute", made_on::pool, [](world& w) { return await(w.limited_pool().execute(insert_x)); }, true},
    {"pool's begin", made_on::pool, [](world& w) { return await(w.limited_pool().begin()); }},
    {"acquire_reader", made_on::pool, [](world& w) { return await(w.limited_pool().acquire_reader()); }},
    {"acquire_writer", made_on::pool, [](world& w) { return await(w.limited_pool().acquire_writer()); }},
};

task<> set_up(world& w, made_on on) {
  {
    connection db = co_await open_with_table(w.path);
    co_await db.execute_script(
        "INSERT INTO t(v) VALUES ('first'); CREATE TABLE f(data BLOB); INSERT INTO f VALUES (zeroblob(64))");
    if (on != made_on::pool) w.db.emplace(std::move(db));
  }
  if (on == made_on::pool) {
    cosqlite::pool_options one;
    one.readers = 1;
    w.pool.emplace(co_await cosqlite::pool::open(w.path, one));
    co_return;
  }
  if (on == made_on::transaction || on == made_on::savepoint) {
    // What ends a transaction obeys the limits that it was begun under.
    w.tx.emplace(co_await w.limited().begin());
    co_await w.tx->execute("INSERT INTO t(v) VALUES ('in the transaction')");
  }
  if (on == made_on::savepoint) w.point.emplace(co_await w.tx->savepoint());
  if (on == made_on::blob) {
    w.blob.emplace(
        co_await w.db->open_blob({.table = "f", .column = "data", .rowid = 1}, cosqlite::blob_mode::read_write));
  }
}

task<> lease_all(world& w) {
  w.leases.push_back(co_await w.pool->acquire_reader());
  w.leases.push_back(co_await w.pool->acquire_writer());
}

/// Keeps the worker from what is queued until it is told.
int stand_in_the_way(const std::atomic<bool>& go) {
  while (!go) std::this_thread::yield();
  return 0;
}
task<> hold(world& w, std::atomic<bool>& go) {
  const auto wait = [&go](sqlite3*) { return stand_in_the_way(go); };
  if (w.tx) {
    const int held = co_await w.tx->run(wait);
    static_cast<void>(held);
  } else {
    const int held = co_await w.db->run(wait);
    static_cast<void>(held);
  }
}

task<> hold_connection(connection& db, std::atomic<bool>& go) {
  const auto wait = [&go](sqlite3*) { return stand_in_the_way(go); };
  const int held = co_await db.run(wait);
  static_cast<void>(held);
}

task<> close_world(world& w) {
  [[maybe_unused]] const bool local = true;
  if (w.db) co_await w.db->close();
  if (w.pool) co_await w.pool->close();
}

/// The connection, or pool, works and has no transaction open.
task<> check_usable(world& w) {
  [[maybe_unused]] const bool local = true;
  w.blob.reset();
  w.point.reset();
  w.tx.reset();
  w.leases.clear();
  if (w.db) {
    transaction tx = co_await w.db->begin();
    co_await tx.rollback();
  }
  if (w.pool) {
    CHECK(co_await w.pool->query_one<int>("SELECT 1") == 1);
    transaction tx = co_await w.pool->begin();
    co_await tx.rollback();
  }
  co_await close_world(w);
}

/// A call, the loop that it is made on, and how it comes out.
struct trial {
  explicit trial(const case_of_call& c, way_out by, std::chrono::milliseconds patience) : what(c), how(by) {
    w.path = file.path();
    w.stop = stop.get_token();
    // A transaction's limit counts from its BEGIN.
    const bool early = what.on == made_on::transaction || what.on == made_on::savepoint;
    if (how == way_out::timeout) w.limit = early ? std::chrono::milliseconds(300) : patience;
    loop.run(set_up(w, what.on));
  }

  void begin() { subject.emplace(start(what.make(w), outcome)); }
  void end() {
    switch (how) {
      case way_out::destroy: subject->destroy(); break;
      case way_out::stop: stop.request_stop(); break;
      case way_out::timeout: std::this_thread::sleep_for(w.limit); break;
      case way_out::close: closing.emplace(start(close_world(w), closed)); break;
      case way_out::drop: w.drop(); break;
      case way_out::stopped_loop:
        subject->destroy();
        w.drop();
        break;
    }
  }
  void turn_until(const std::optional<std::string>& done) {
    loop.run(until([&done] { return done.has_value(); }));
  }
  [[nodiscard]] bool is_destroyed() const { return how == way_out::destroy || how == way_out::stopped_loop; }
  [[nodiscard]] bool is_gone() const { return how == way_out::drop || how == way_out::stopped_loop; }
  [[nodiscard]] std::int64_t rows() const {
    const raw_database raw(file.path());
    sqlite3_busy_timeout(raw.get(), 10'000);
    return raw.number("SELECT count(*) FROM t");
  }

  const case_of_call& what;
  way_out how;
  temp_database file;
  std::stop_source stop;
  support::test_loop loop;
  world w;
  std::optional<std::string> outcome;
  std::optional<std::string> closed;
  std::optional<abandonable> subject;
  std::optional<abandonable> closing;
};

void try_queued(const case_of_call& what, way_out how) {
  INFO(what.name << " queued, ended by " << names_of_ways_out[static_cast<int>(how)]);
  std::atomic<bool> go = false;
  trial t(what, how, std::chrono::milliseconds(20));
  std::optional<std::string> let_go;
  std::optional<abandonable> blocker;
  if (what.on == made_on::pool) {
    t.loop.run(lease_all(t.w));
  } else {
    blocker.emplace(start(hold(t.w, go), let_go));
  }
  t.begin();
  CHECK_FALSE(t.outcome.has_value());
  t.end();
  // The worker is still held: the call ends all the same.
  const bool stopped = (how == way_out::stop || how == way_out::timeout) && what.stoppable;
  if (stopped) {
    t.turn_until(t.outcome);
    CHECK(t.outcome == (how == way_out::stop ? "cancelled" : "timeout"));
  }
  go = true;
  t.w.leases.clear();
  if (how == way_out::stopped_loop) return;  // its loop closes without having turned
  if (!t.is_destroyed()) t.turn_until(t.outcome);
  if (!stopped && !t.is_gone() && !t.is_destroyed() && what.one_call && how != way_out::close)
    CHECK(t.outcome == "finished");
  if (how == way_out::close && what.one_call && what.on != made_on::pool) CHECK(t.outcome == "finished");
  if (how == way_out::drop) CHECK(t.outcome != "finished");
  if (how == way_out::close) t.turn_until(t.closed);
  if (!t.is_gone() && how != way_out::close) t.loop.run(check_usable(t.w));
  t.w.drop();
  if (blocker) t.turn_until(let_go);
  if (t.is_destroyed() || stopped || how == way_out::drop) CHECK(t.rows() == 1);
}

task<> mark(world& w, std::atomic<bool>& done) {
  const auto set = [&done](sqlite3*) { done = true; };
  if (w.tx) {
    co_await w.tx->run(set);
  } else {
    co_await w.db->run(set);
  }
}

/// Waits, while the loop stands still, until the worker has done the call.
void wait_until_done(trial& t, std::optional<abandonable>& marker, std::optional<std::string>& marked,
                     std::atomic<bool>& done) {
  const std::string name = t.what.name;
  if (name == "begin") {
    const raw_database other(t.file.path());
    while (other.try_to("BEGIN IMMEDIATE") == SQLITE_OK) other.execute("ROLLBACK");
    return;
  }
  if (name == "commit" || name == "rollback") {
    // What follows the transaction tells that it has ended.
    const auto after = [](connection& db, std::atomic<bool>& ended) -> task<> {
      const auto set = [&ended](sqlite3*) { ended = true; };
      co_await db.run(set);
    };
    marker.emplace(start(after(*t.w.db, done), marked));
  } else {
    marker.emplace(start(mark(t.w, done), marked));
  }
  while (!done) std::this_thread::yield();
}

void try_done(const case_of_call& what, way_out how) {
  INFO(what.name << " done but not delivered, ended by " << names_of_ways_out[static_cast<int>(how)]);
  std::atomic<bool> done = false;
  trial t(what, how, std::chrono::milliseconds(100));
  std::optional<abandonable> marker;
  std::optional<std::string> marked;
  t.begin();
  wait_until_done(t, marker, marked, done);
  CHECK_FALSE(t.outcome.has_value());
  t.end();
  if (how == way_out::stopped_loop) return;
  if (!t.is_destroyed()) {
    t.turn_until(t.outcome);
    CHECK(t.outcome == "finished");
  }
  if (how == way_out::close) t.turn_until(t.closed);
  if (!t.is_gone() && how != way_out::close) t.loop.run(check_usable(t.w));
  t.w.drop();
  // What was done is done, whether or not anybody has heard of it.
  const bool committed = what.writes || std::string_view(what.name) == "commit";
  CHECK(t.rows() >= (committed ? 2 : 1));
}

}  // namespace

TEST_CASE("every call that is queued ends in every way without having run") {
  for (const case_of_call& what : calls) {
    for (const way_out how : ways_out) try_queued(what, how);
  }
}

TEST_CASE("every call that is done but not delivered stays done, whatever ends it") {
  for (const case_of_call& what : calls) {
    // What takes several calls is done only when the loop has turned; what a pool does is done by its connections.
    if (!what.one_call || what.on == made_on::pool) continue;
    for (const way_out how : ways_out) try_done(what, how);
  }
}

namespace {

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
  if (c.on == made_on::transaction) {
    w.tx.emplace(co_await w.limited().begin());
    co_await w.tx->execute(insert_x);
  }
  if (c.on == made_on::blob) {
    w.blob.emplace(
        co_await w.db->open_blob({.table = "f", .column = "data", .rowid = 1}, cosqlite::blob_mode::read_write));
  }
}

/// The worker has got past the call, although the lock is still held.
task<> pass(world& w) {
  const auto nothing = [](sqlite3*) { return 1; };
  if (w.tx) {
    const int rc = co_await w.tx->run(nothing);
    CHECK(rc == 1);
  } else {
    const int rc = co_await w.db->run(nothing);
    CHECK(rc == 1);
  }
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
  CHECK_FALSE(outcome.has_value());
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
    std::atomic<bool> go = false;
    std::optional<std::string> let_go;
    abandonable blocker = start(hold_connection(db, go), let_go);
    std::vector<std::optional<std::string>> outcomes(3);
    std::vector<abandonable> subjects;
    const auto limited = db.with(std::chrono::milliseconds(30));
    for (auto& outcome : outcomes) subjects.push_back(start(quick_query(limited), outcome));
    go = true;
    co_await until([&] { return std::ranges::all_of(outcomes, [](const auto& one) { return one.has_value(); }); });
    for (const auto& outcome : outcomes) CHECK(outcome == "timeout");
    // The worker does not go on waiting.
    const int rc = co_await db.run([](sqlite3*) { return 7; });
    CHECK(rc == 7);
    other.execute("ROLLBACK");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
  });
}

TEST_CASE("a COMMIT that has happened stays, although its coroutine is destroyed before it hears of it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    {
      std::optional<std::string> outcome;
      abandonable subject = start(quick_transaction(db.with(std::stop_token())), outcome);
      const raw_database other(file.path());
      // BEGIN and INSERT need the loop; COMMIT is seen from outside at the latest when it has been delivered.
      while (other.number("SELECT count(*) FROM t") == 0) co_await cosqlite::sleep_for(std::chrono::microseconds(50));
      subject.destroy();
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

TEST_CASE("a deadline says where the time went") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto soon = std::chrono::milliseconds(20);
    const auto running = co_await failure_of<timeout_error>(db.with(soon).query(endless_read));
    CHECK(running.spent_in() == timeout_error::stage::run);
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    const auto locked = co_await failure_of<timeout_error>(db.with(soon).execute("INSERT INTO t(v) VALUES ('x')"));
    CHECK(locked.spent_in() == timeout_error::stage::lock);
    other.execute("ROLLBACK");
    std::stop_source stop;
    std::optional<std::string> outcome;
    abandonable blocker = start(endless_query(db.with(stop.get_token())), outcome);
    const auto queued = co_await failure_of<timeout_error>(db.with(soon).query("SELECT 1"));
    CHECK(queued.spent_in() == timeout_error::stage::queue);
    stop.request_stop();
    co_await until([&] { return outcome.has_value(); });
  });
}

TEST_CASE("a lock that another process holds does not keep a call whose stop was requested") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    for (auto* work : {&quick_execute, &quick_transaction, &quick_many}) {
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

TEST_CASE("a token that was stopped before the call refuses it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::stop_source stop;
    stop.request_stop();
    co_await failure_of<cosqlite::cancelled_error>(db.with(stop.get_token()).execute("INSERT INTO t(v) VALUES ('x')"));
    co_await failure_of<cosqlite::cancelled_error>(db.with(stop.get_token()).begin());
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
  });
}

TEST_CASE("transactions, savepoints and statements obey deadlines and stop tokens") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto soon = std::chrono::milliseconds(15);
    {
      transaction tx = co_await db.begin();
      co_await failure_of<timeout_error>(tx.with(soon).query(endless_read));
      std::stop_source stop;
      stop.request_stop();
      co_await failure_of<cosqlite::cancelled_error>(tx.with(stop.get_token()).query("SELECT 1"));
      // A read that was stopped leaves the transaction as it is.
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      co_await tx.commit();
    }
    cosqlite::statement s = co_await db.prepare(endless_read);
    co_await failure_of<timeout_error>(s.with(soon).query());
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
  });
}

namespace {

task<> read_one(limited_connection db, int i, int& finished, int& cancelled) {
  bool stopped = false;
  try {
    if (co_await db.query_one<int>("SELECT ?", i) != i) throw std::logic_error("somebody else's answer");
  } catch (const cosqlite::cancelled_error&) {
    stopped = true;
  }
  ++(stopped ? cancelled : finished);
}

constexpr int many_cancels = support::sanitized ? 5'000 : 100'000;

}  // namespace

TEST_CASE("random cancels from two threads never stop the wrong call") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::mt19937 random(7);
    int finished = 0;
    int cancelled = 0;
    for (int i = 0; i < many_cancels; i += 2) {
      std::stop_source stop;
      std::optional<std::jthread> elsewhere;
      std::vector<task<>> pair;
      pair.push_back(read_one(db.with(stop.get_token()), i, finished, cancelled));
      pair.push_back(read_one(db.with(std::stop_token()), i + 1, finished, cancelled));
      if (i % 64 == 0) {
        elsewhere.emplace([&stop] { stop.request_stop(); });
      } else if (random() % 4 == 0) {
        stop.request_stop();
      }
      const auto stopping = [](std::stop_source s, unsigned turns) -> task<> {
        for (unsigned n = 0; n < turns; ++n) co_await cosqlite::sleep_for(no_time);
        s.request_stop();
      };
      pair.push_back(stopping(stop, random() % 2));
      const int before = cancelled;
      co_await cosqlite::when_all(std::move(pair));
      // Only the one whose stop was requested may have been.
      if (cancelled > before + 1) throw std::logic_error("the wrong call was stopped");
    }
    CHECK(finished + cancelled == many_cancels);
    CHECK(finished >= many_cancels / 2);
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
  });
}
