#pragma once

#include "support/abandonable.hpp"
#include "support/ask.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

/// Every kind of call, and what it can be made on: for tests that must hold for all of them.
namespace support::calls {

enum class way_out { destroy, stop, timeout, close, drop, stopped_loop };
inline constexpr way_out ways_out[] = {way_out::destroy, way_out::stop, way_out::timeout,
                                       way_out::close,   way_out::drop, way_out::stopped_loop};
inline constexpr const char* names_of_ways_out[] = {"destroy", "stop", "timeout", "close", "drop", "stopped loop"};

inline constexpr std::int64_t other_row = 200;  ///< of f, on another page than the first
inline constexpr std::size_t deep = 100'000;    ///< an offset in the first blob that is not on its first page

/// What the calls under test are made on. One row is in t, and blobs in f.
struct world {
  std::string path;
  std::stop_token stop;
  std::chrono::nanoseconds limit{0};
  std::optional<cosqlite::connection> db;
  std::optional<cosqlite::transaction> tx;
  std::optional<cosqlite::savepoint> point;
  std::optional<cosqlite::statement> statement;
  std::optional<cosqlite::blob> blob;
  std::optional<cosqlite::pool> pool;
  std::vector<cosqlite::leased_connection> leases;
  cosqlite::bytes image;
  std::array<std::byte, 64> buffer{};
  std::vector<std::string> rows = std::vector<std::string>(5, "x");

  [[nodiscard]] cosqlite::limited_connection limited() const { return db->with(stop, limit); }
  [[nodiscard]] cosqlite::limited_transaction limited_tx() { return tx->with(stop, limit); }
  [[nodiscard]] cosqlite::limited_pool limited_pool() const { return pool->with(stop, limit); }
  [[nodiscard]] cosqlite::limited_lease limited_lease() const { return leases.front().with(stop, limit); }
  [[nodiscard]] cosqlite::limited_blob limited_blob() const { return blob->with(stop, limit); }
  [[nodiscard]] cosqlite::statement limited_statement() const { return statement->with(stop, limit); }
  /// All that was made on the connection or the pool.
  void let_go() {
    blob.reset();
    statement.reset();
    point.reset();
    tx.reset();
    leases.clear();
  }
  /// Dropped open, whatever it is.
  void drop() {
    pool.reset();
    blob.reset();
    statement.reset();
    point.reset();
    tx.reset();
    db.reset();
    leases.clear();
  }
};

enum class made_on { connection, transaction, savepoint, statement, blob, pool, lease };

struct case_of_call {
  const char* name;
  made_on on;
  cosqlite::task<> (*make)(world& w);
  bool writes = false;      ///< adds rows to t when it is done
  bool stoppable = true;    ///< an undo works also when the time is up
  bool one_call = true;     ///< false: it is several, of which close lets only the first through
  bool borrows = false;     ///< destroying it waits for the worker
  bool from_begin = false;  ///< its limits are those that its transaction was begun under
  bool instant = false;     ///< has nothing to do in SQLite that it could be met at
};

template <class A>
cosqlite::task<> await(A call) {
  [[maybe_unused]] const bool local = true;
  static_cast<void>(co_await std::move(call));
}
template <class A>
cosqlite::task<> await_void(A call) {
  [[maybe_unused]] const bool local = true;
  co_await std::move(call);
}
/// The first of a stream.
template <class S>
cosqlite::task<> first_of(S stream) {
  [[maybe_unused]] const bool local = true;
  static_cast<void>(co_await stream.next());
}

inline int ask_for_one(sqlite3* raw) { return ask(raw, "SELECT 1"); }

inline cosqlite::task<> insert_in(cosqlite::transaction& tx) {
  [[maybe_unused]] const bool local = true;
  co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
}

inline constexpr const char* insert_x = "INSERT INTO t(v) VALUES ('x')";
inline constexpr const char* insert_value = "INSERT INTO t(v) VALUES (?)";
inline constexpr const char* select_all = "SELECT v FROM t";
inline constexpr const char* select_trapped = "SELECT v FROM trapped";
inline constexpr cosqlite::blob_location first_blob{.table = "f", .column = "data", .rowid = 1};
inline constexpr cosqlite::blob_location other_blob{.table = "f", .column = "data", .rowid = other_row};
inline constexpr auto for_writing = cosqlite::blob_mode::read_write;

inline const case_of_call all[] = {
    {.name = "execute",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().execute(insert_x)); },
     .writes = true},
    {.name = "query", .on = made_on::connection, .make = [](world& w) { return await(w.limited().query(select_all)); }},
    {.name = "query<T>",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().query<std::string>(select_all)); }},
    {.name = "query_one",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().query_one<std::string>(select_all)); }},
    {.name = "query_optional",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().query_optional<std::string>(select_all)); }},
    {.name = "stream",
     .on = made_on::connection,
     .make = [](world& w) { return first_of(w.limited().stream<std::string>(select_all)); }},
    {.name = "untyped stream",
     .on = made_on::connection,
     .make = [](world& w) { return first_of(w.limited().stream(select_all)); }},
    {.name = "execute_many",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().execute_many(insert_value, w.rows)); },
     .writes = true,
     .borrows = true},
    {.name = "execute_script",
     .on = made_on::connection,
     .make = [](world& w) { return await_void(w.limited().execute_script(insert_x)); },
     .writes = true},
    {.name = "prepare",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().prepare(select_trapped)); }},
    {.name = "run", .on = made_on::connection, .make = [](world& w) { return await(w.limited().run(&ask_for_one)); }},
    {.name = "begin", .on = made_on::connection, .make = [](world& w) { return await(w.limited().begin()); }},
    {.name = "transact",
     .on = made_on::connection,
     .make = [](world& w) { return await_void(w.limited().transact(&insert_in)); },
     .writes = true,
     .one_call = false},
    {.name = "open_blob",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().open_blob(first_blob)); }},
    {.name = "open_blob for writing",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().open_blob(first_blob, for_writing)); }},
    {.name = "backup",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().backup(w.path + ".copy")); },
     .one_call = false},
    {.name = "vacuum_into",
     .on = made_on::connection,
     .make = [](world& w) { return await_void(w.limited().vacuum_into(w.path + ".copy")); },
     .one_call = false},
    {.name = "checkpoint", .on = made_on::connection, .make = [](world& w) { return await(w.limited().checkpoint()); }},
    {.name = "optimize",
     .on = made_on::connection,
     .make = [](world& w) { return await_void(w.limited().optimize()); }},
    {.name = "serialize", .on = made_on::connection, .make = [](world& w) { return await(w.limited().serialize()); }},
    {.name = "deserialize",
     .on = made_on::connection,
     .make = [](world& w) { return await_void(w.limited().deserialize(std::move(w.image))); }},
    {.name = "dump",
     .on = made_on::connection,
     .make = [](world& w) { return first_of(w.limited().dump()); },
     .one_call = false},
    {.name = "query_plan",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().query_plan(select_trapped)); }},
    {.name = "create_function",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().create_function("twice", [](int n) { return 2 * n; })); }},
    {.name = "limit",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().limit(cosqlite::limit_kind::length)); },
     .instant = true},
    {.name = "stats",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().stats()); },
     .instant = true},
    {.name = "changes",
     .on = made_on::connection,
     .make = [](world& w) { return await(w.limited().changes()); },
     .instant = true},

    {.name = "statement's execute",
     .on = made_on::statement,
     .make = [](world& w) { return await(w.limited_statement().execute("x")); },
     .writes = true},
    {.name = "statement's query",
     .on = made_on::statement,
     .make = [](world& w) { return await(w.limited_statement().query("x")); },
     .writes = true},
    {.name = "statement's query<T>",
     .on = made_on::statement,
     .make = [](world& w) { return await(w.limited_statement().query<std::string>("x")); },
     .writes = true},
    {.name = "statement's query_one",
     .on = made_on::statement,
     .make = [](world& w) { return await(w.limited_statement().query_one<std::string>("x")); },
     .writes = true},
    {.name = "statement's query_optional",
     .on = made_on::statement,
     .make = [](world& w) { return await(w.limited_statement().query_optional<std::string>("x")); },
     .writes = true},
    {.name = "statement's stream",
     .on = made_on::statement,
     .make = [](world& w) { return first_of(w.limited_statement().stream<std::string>("x")); },
     .writes = true},
    {.name = "statement's untyped stream",
     .on = made_on::statement,
     .make = [](world& w) { return first_of(w.limited_statement().stream("x")); },
     .writes = true},

    {.name = "transaction's execute",
     .on = made_on::transaction,
     .make = [](world& w) { return await(w.limited_tx().execute(insert_x)); }},
    {.name = "transaction's query",
     .on = made_on::transaction,
     .make = [](world& w) { return await(w.limited_tx().query(select_all)); }},
    {.name = "transaction's query_one",
     .on = made_on::transaction,
     .make = [](world& w) { return await(w.limited_tx().query_one<std::string>(select_all)); }},
    {.name = "transaction's stream",
     .on = made_on::transaction,
     .make = [](world& w) { return first_of(w.limited_tx().stream<std::string>(select_all)); }},
    {.name = "transaction's execute_many",
     .on = made_on::transaction,
     .make = [](world& w) { return await(w.limited_tx().execute_many(insert_value, w.rows)); },
     .borrows = true},
    {.name = "transaction's execute_script",
     .on = made_on::transaction,
     .make = [](world& w) { return await_void(w.limited_tx().execute_script(insert_x)); }},
    {.name = "transaction's open_blob",
     .on = made_on::transaction,
     .make = [](world& w) { return await(w.limited_tx().open_blob(other_blob)); }},
    {.name = "transaction's run",
     .on = made_on::transaction,
     .make = [](world& w) { return await(w.tx->run(&ask_for_one)); },
     .from_begin = true},
    {.name = "commit",
     .on = made_on::transaction,
     .make = [](world& w) { return await_void(w.tx->commit()); },
     .writes = true,
     .from_begin = true},
    {.name = "rollback",
     .on = made_on::transaction,
     .make = [](world& w) { return await_void(w.tx->rollback()); },
     .stoppable = false,
     .from_begin = true},
    {.name = "savepoint",
     .on = made_on::transaction,
     .make = [](world& w) { return await(w.tx->savepoint()); },
     .from_begin = true},
    {.name = "savepoint's execute",
     .on = made_on::savepoint,
     .make = [](world& w) { return await(w.point->execute(insert_x)); },
     .from_begin = true},
    {.name = "savepoint's query",
     .on = made_on::savepoint,
     .make = [](world& w) { return await(w.point->query(select_all)); },
     .from_begin = true},
    {.name = "nested savepoint",
     .on = made_on::savepoint,
     .make = [](world& w) { return await(w.point->nested()); },
     .from_begin = true},
    {.name = "release",
     .on = made_on::savepoint,
     .make = [](world& w) { return await_void(w.point->release()); },
     .from_begin = true},
    {.name = "savepoint's rollback",
     .on = made_on::savepoint,
     .make = [](world& w) { return await_void(w.point->rollback()); },
     .stoppable = false,
     .from_begin = true},

    {.name = "blob read",
     .on = made_on::blob,
     .make = [](world& w) { return await_void(w.limited_blob().read(w.buffer, deep)); },
     .borrows = true},
    {.name = "sequential blob read",
     .on = made_on::blob,
     .make =
         [](world& w) {
           w.blob->seek(deep);
           return await(w.limited_blob().read(w.buffer));
         },
     .borrows = true},
    {.name = "blob write",
     .on = made_on::blob,
     .make = [](world& w) { return await_void(w.limited_blob().write(w.buffer, deep)); },
     .borrows = true},
    {.name = "sequential blob write",
     .on = made_on::blob,
     .make = [](world& w) { return await_void(w.limited_blob().write(w.buffer)); },
     .borrows = true},
    {.name = "blob reopen",
     .on = made_on::blob,
     .make = [](world& w) { return await_void(w.limited_blob().reopen(other_row)); }},
    {.name = "blob chunks",
     .on = made_on::blob,
     .make = [](world& w) { return first_of(w.limited_blob().chunks(16 * 1024)); }},
    {.name = "blob close",
     .on = made_on::blob,
     .make = [](world& w) { return await_void(w.blob->close()); },
     .stoppable = false,
     .instant = true},

    {.name = "pool's query",
     .on = made_on::pool,
     .make = [](world& w) { return await(w.limited_pool().query(select_all)); }},
    {.name = "pool's query<T>",
     .on = made_on::pool,
     .make = [](world& w) { return await(w.limited_pool().query<std::string>(select_all)); }},
    {.name = "pool's query_one",
     .on = made_on::pool,
     .make = [](world& w) { return await(w.limited_pool().query_one<std::string>(select_all)); }},
    {.name = "pool's query_optional",
     .on = made_on::pool,
     .make = [](world& w) { return await(w.limited_pool().query_optional<std::string>(select_all)); }},
    {.name = "pool's stream",
     .on = made_on::pool,
     .make = [](world& w) { return first_of(w.limited_pool().stream<std::string>(select_all)); }},
    {.name = "pool's untyped stream",
     .on = made_on::pool,
     .make = [](world& w) { return first_of(w.limited_pool().stream(select_all)); }},
    {.name = "pool's execute",
     .on = made_on::pool,
     .make = [](world& w) { return await(w.limited_pool().execute(insert_x)); },
     .writes = true},
    {.name = "pool's execute_many",
     .on = made_on::pool,
     .make = [](world& w) { return await(w.limited_pool().execute_many(insert_value, w.rows)); },
     .writes = true,
     .borrows = true},
    {.name = "pool's execute_script",
     .on = made_on::pool,
     .make = [](world& w) { return await_void(w.limited_pool().execute_script(insert_x)); },
     .writes = true},
    {.name = "pool's begin", .on = made_on::pool, .make = [](world& w) { return await(w.limited_pool().begin()); }},
    {.name = "pool's transact",
     .on = made_on::pool,
     .make = [](world& w) { return await_void(w.limited_pool().transact(&insert_in)); },
     .writes = true,
     .one_call = false},
    {.name = "acquire_reader",
     .on = made_on::pool,
     .make = [](world& w) { return await(w.limited_pool().acquire_reader()); }},
    {.name = "acquire_writer",
     .on = made_on::pool,
     .make = [](world& w) { return await(w.limited_pool().acquire_writer()); },
     .instant = true},
    {.name = "lease's execute",
     .on = made_on::lease,
     .make = [](world& w) { return await(w.limited_lease().execute(insert_x)); },
     .writes = true},
    {.name = "lease's query",
     .on = made_on::lease,
     .make = [](world& w) { return await(w.limited_lease().query(select_all)); }},
    {.name = "lease's begin", .on = made_on::lease, .make = [](world& w) { return await(w.limited_lease().begin()); }},
};

inline cosqlite::task<cosqlite::connection> open_with_tables(std::string path, cosqlite::open_options o = {}) {
  cosqlite::connection db = co_await cosqlite::open(std::move(path), o);
  co_await db.execute_script(
      "DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS f; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t(v) VALUES ('first'); CREATE TABLE f(data BLOB); "
      "INSERT INTO f VALUES (zeroblob(64))");
  co_return db;
}

/// Makes blobs that do not fit into a page, and keeps few pages in memory.
inline cosqlite::task<> add_blobs(cosqlite::connection& db) {
  [[maybe_unused]] const bool local = true;
  co_await db.execute_script(
      "PRAGMA cache_size = 1; UPDATE f SET data = zeroblob(200000); INSERT INTO f WITH RECURSIVE c(i) AS (VALUES(2) "
      "UNION ALL SELECT i + 1 FROM c WHERE i < 200) SELECT zeroblob(500) FROM c");
}

inline cosqlite::task<> set_up_pool(world& w, const case_of_call& what) {
  cosqlite::pool_options one;
  one.readers = 1;
  one.connection.poll = std::chrono::microseconds(0);
  one.connection.synchronous = cosqlite::sync::off;
  w.pool.emplace(co_await cosqlite::pool::open(w.path, one));
  if (what.on == made_on::lease) w.leases.push_back(co_await w.pool->acquire_writer());
}

inline cosqlite::task<> set_up(world& w, const case_of_call& what) {
  const made_on on = what.on;
  {
    // They let go of a shared snapshot at once when there is nothing to do.
    cosqlite::open_options o;
    o.poll = std::chrono::microseconds(0);
    o.synchronous = cosqlite::sync::off;  // there are thousands of files
    cosqlite::connection db = co_await open_with_tables(w.path, o);
    if (on == made_on::blob || what.name == std::string_view("transaction's open_blob")) co_await add_blobs(db);
    if (std::string_view(what.name) == "deserialize") w.image = co_await db.serialize();
    if (on != made_on::pool && on != made_on::lease) w.db.emplace(std::move(db));
  }
  if (!w.db) {
    co_await set_up_pool(w, what);
    co_return;
  }
  if (on == made_on::transaction || on == made_on::savepoint) {
    if (what.from_begin) {
      w.tx.emplace(co_await w.limited().begin());
    } else {
      w.tx.emplace(co_await w.db->begin());
    }
    co_await w.tx->execute("INSERT INTO t(v) VALUES ('in the transaction')");
  }
  if (on == made_on::savepoint) w.point.emplace(co_await w.tx->savepoint());
  if (on == made_on::statement) w.statement.emplace(co_await w.db->prepare("INSERT INTO t(v) VALUES (?) RETURNING v"));
  if (on == made_on::blob) w.blob.emplace(co_await w.db->open_blob(first_blob, for_writing));
}

/// Runs \p fn on the worker that the call under test is for.
template <class F>
cosqlite::task<> run_there(world& w, F fn) {
  [[maybe_unused]] const bool local = true;
  if (w.tx) {
    co_await w.tx->run(fn);
  } else if (!w.leases.empty()) {
    co_await w.leases.front().run(fn);
  } else {
    co_await w.db->run(fn);
  }
}

/// Keeps the worker from what is queued until it is told.
inline cosqlite::task<> hold(world& w, std::atomic<bool>& go) {
  const auto wait = [&go](sqlite3*) {
    while (!go) std::this_thread::yield();
  };
  co_await run_there(w, wait);
}

inline cosqlite::task<> close_world(world& w) {
  [[maybe_unused]] const bool local = true;
  if (w.db) co_await w.db->close();
  if (w.pool) co_await w.pool->close();
}

/// The connection, or pool, works and has no transaction open.
inline cosqlite::task<> check_usable(world& w) {
  [[maybe_unused]] const bool local = true;
  w.let_go();
  if (w.db) {
    cosqlite::transaction tx = co_await w.db->begin();
    co_await tx.rollback();
  }
  if (w.pool) {
    CHECK(co_await w.pool->query_one<int>("SELECT 1") == 1);
    cosqlite::transaction tx = co_await w.pool->begin();
    co_await tx.rollback();
  }
  co_await close_world(w);
}

/// A call, the loop that it is made on, and how it comes out.
struct trial {
  /// \p patience is the call's, where time ends it.
  explicit trial(const case_of_call& c, way_out by, std::chrono::milliseconds patience) : what(c), how(by) {
    w.path = file.path();
    w.stop = stop.get_token();
    if (how == way_out::timeout) w.limit = patience;
    // A transaction's limit counts from its BEGIN: most of it must be left for the call.
    while (!is_set_up_in_time()) w.limit *= 4;
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

  bool is_set_up_in_time() {
    const auto began = std::chrono::steady_clock::now();
    try {
      loop.run(set_up(w, what));
      if (!what.from_begin || how != way_out::timeout) return true;
      if (std::chrono::steady_clock::now() - began < w.limit / 2) return true;
    } catch (const cosqlite::timeout_error&) {
      CHECK(what.from_begin);
    }
    w.drop();
    return false;
  }

  const case_of_call& what;
  way_out how;
  temp_database file;
  std::stop_source stop;
  test_loop loop;
  world w;
  std::optional<std::string> outcome;
  std::optional<std::string> closed;
  std::optional<abandonable> subject;
  std::optional<abandonable> closing;
};

}  // namespace support::calls
