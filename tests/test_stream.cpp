#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/drain.hpp"
#include "support/foreign.hpp"
#include "support/on_loop.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <optional>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::drain;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

struct item {
  int id = 0;
  std::string name;
};

open_options impatient() {
  open_options o;
  o.busy_timeout = 0ms;
  return o;
}

open_options with_rollback_journal() {
  open_options o = impatient();
  o.journal_mode = journal::del;
  return o;
}

std::string count_to(int n) {
  return "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < " + std::to_string(n) + ") SELECT n FROM c";
}

void fill(const std::string& path, int rows) {
  raw_database raw(path);
  raw.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)");
  raw.execute(("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < " + std::to_string(rows) +
               ") INSERT INTO t SELECT n, 'name ' || n FROM c")
                  .c_str());
}

/// What a timer does: it is late when the loop does not turn.
task<> fire(bool& fired) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  co_await sleep_for(1ms);
  fired = true;
}

long resident_kilobytes() {
  std::ifstream status("/proc/self/statm");
  long total = 0;
  long resident = 0;
  status >> total >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

}  // namespace

TEST_CASE("a typed stream gives every row once, in order") {
  temp_database file;
  fill(file.path(), 5000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    auto items = db.stream<item>("SELECT id, name FROM t ORDER BY id");
    int expected = 0;
    while (auto one = co_await items.next()) {
      ++expected;
      REQUIRE(one->id == expected);
      REQUIRE(one->name == "name " + std::to_string(expected));
    }
    CHECK(expected == 5000);
    CHECK(!(co_await items.next()).has_value());
    co_await db.close();
  });
}

TEST_CASE("an untyped stream gives rows by position and by name") {
  temp_database file;
  fill(file.path(), 2000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    auto rows = db.stream("SELECT id, name FROM t WHERE id > ? ORDER BY id", 10);
    std::int64_t sum = 0;
    while (auto r = co_await rows.next()) {
      REQUIRE(r->size() == 2);
      REQUIRE(r->get<std::string_view>("name") == "name " + std::to_string(r->get<int>(0)));
      sum += r->get<int>("id");
    }
    CHECK(sum == 2000 * 2001 / 2 - 55);
    co_await db.close();
  });
}

TEST_CASE("a stream without rows ends at once") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    auto rows = db.stream("SELECT 1 WHERE 0");
    CHECK(!(co_await rows.next()).has_value());
    CHECK(!(co_await rows.next()).has_value());
    auto ints = db.stream<int>("SELECT 1 WHERE 0");
    CHECK(!(co_await ints.next()).has_value());
    co_await db.close();
  });
}

TEST_CASE("co_await on a stream waits for its first batch, so that errors show there") {
  temp_database file;
  fill(file.path(), 100);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    auto items = co_await db.stream<int>("SELECT id FROM t");
    int count = 0;
    while (co_await items.next()) ++count;
    CHECK(count == 100);
    auto rows = co_await db.stream("SELECT id FROM t");
    CHECK((co_await rows.next())->get<int>(0) == 1);
    const auto e = co_await failure_of<error>(db.stream("SELECT naem FROM t"));
    CHECK(support::contains(e.what(), "naem"));
    co_await db.close();
  });
}

TEST_CASE("a stream that is dropped early lets go of its lock before the next call") {
  temp_database file;
  fill(file.path(), 20000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), with_rollback_journal());
    raw_database other(file.path());
    {
      auto rows = db.stream("SELECT * FROM t");
      CHECK((co_await rows.next())->get<int>(0) == 1);
      CHECK(other.try_to("DELETE FROM t WHERE id = 20000") == SQLITE_BUSY);
    }
    co_await db.execute("SELECT 1");
    CHECK(other.try_to("DELETE FROM t WHERE id = 19999") == SQLITE_OK);
    auto rows = db.stream<int>("SELECT id FROM t");
    CHECK(co_await rows.next() == 1);
    rows.close();
    CHECK(!(co_await rows.next()).has_value());
    co_await db.execute("SELECT 1");
    CHECK(other.try_to("DELETE FROM t WHERE id = 19998") == SQLITE_OK);
    co_await db.close();
  });
}

TEST_CASE("a stream read to its end holds no lock, even while the object lives") {
  temp_database file;
  fill(file.path(), 2000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), with_rollback_journal());
    auto rows = db.stream<int>("SELECT id FROM t");
    co_await drain(rows);
    CHECK(raw_database(file.path()).try_to("DELETE FROM t") == SQLITE_OK);
    co_await db.close();
  });
}

TEST_CASE("a stream that is stopped by its token lets go of its lock") {
  temp_database file;
  fill(file.path(), 200000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), with_rollback_journal());
    std::stop_source stop;
    auto rows = db.with(stop.get_token()).stream<int>("SELECT id FROM t");
    CHECK(co_await rows.next() == 1);
    stop.request_stop();
    const auto e = co_await failure_of<cancelled_error>(drain(rows));
    CHECK(e.sql() == "SELECT id FROM t");
    co_await db.execute("SELECT 1");
    CHECK(raw_database(file.path()).try_to("DELETE FROM t WHERE id = 7") == SQLITE_OK);
    CHECK(!(co_await rows.next()).has_value());
    co_await db.close();
  });
}

TEST_CASE("a slow reader holds no more than a few batches") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    std::atomic<int> produced = 0;
    co_await db.run([&produced](sqlite3* raw) {
      sqlite3_create_function_v2(
          raw, "tick", 1, SQLITE_UTF8, &produced,
          [](sqlite3_context* context, int, sqlite3_value** v) {
            ++*static_cast<std::atomic<int>*>(sqlite3_user_data(context));
            sqlite3_result_value(context, v[0]);
          },
          nullptr, nullptr, nullptr);
    });
    auto rows =
        db.stream<int>("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 1000000) SELECT tick(n) FROM c");
    for (int i = 1; i <= 3000; ++i) REQUIRE(co_await rows.next() == i);
    // However long one waits, the worker has stopped: two calls behind it have been served.
    co_await db.execute("SELECT 1");
    co_await db.execute("SELECT 1");
    CHECK(produced >= 3000);
    CHECK(produced <= 3000 + 3 * 512);
    rows.close();
    co_await db.close();
  });
}

TEST_CASE("streaming many rows holds no memory") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    long highest = 0;
    long before = 0;
    auto rows = db.stream(
        "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 300000) SELECT n, printf('%0100d', n) FROM c");
    int count = 0;
    while (co_await rows.next()) {
      ++count;
      if (count == 10000) before = resident_kilobytes();
      if (count % 20000 == 0) highest = std::max(highest, resident_kilobytes());
    }
    CHECK(count == 300000);
    CHECK((support::sanitized || highest - before < 4096));
    co_await db.close();
  });
}

TEST_CASE("an error in the middle comes after the rows before it, and names the statement") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::string sql =
        "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 5000) SELECT CASE WHEN n < 3000 THEN n ELSE "
        "abs(-9223372036854775807 - 1) END FROM c";
    auto rows = db.stream<int>(sql);
    int count = 0;
    std::optional<error> met;
    try {
      while (co_await rows.next()) ++count;
    } catch (const error& e) {
      met = e;
    }
    CHECK(count <= 2999);
    REQUIRE(met);
    CHECK(support::contains(met->what(), "integer overflow"));
    CHECK(met->sql() == sql);
    CHECK(support::contains(met->where().file_name(), "test_stream"));
    CHECK(!(co_await rows.next()).has_value());
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    co_await db.close();
  });
}

TEST_CASE("a conversion error in a stream names the column and lets go of the lock") {
  temp_database file;
  fill(file.path(), 5000);
  raw_database other(file.path());
  other.execute("UPDATE t SET name = NULL WHERE id = 3000");
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), with_rollback_journal());
    auto items = db.stream<item>("SELECT id, name FROM t ORDER BY id");
    const auto met = co_await failure_of<conversion_error>(drain(items));
    CHECK(met.column() == 1);
    CHECK(support::contains(met.what(), "name"));
    co_await db.execute("SELECT 1");
    CHECK(other.try_to("DELETE FROM t") == SQLITE_OK);
    co_await db.close();
  });
}

TEST_CASE("two streams of one statement run at once, calls between them") {
  temp_database file;
  fill(file.path(), 3000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    auto a = db.stream<int>("SELECT id FROM t ORDER BY id");
    auto b = db.stream<int>("SELECT id FROM t ORDER BY id");
    int n = 0;
    for (;;) {
      const auto x = co_await a.next();
      const auto y = co_await b.next();
      REQUIRE(x == y);
      if (!x) break;
      REQUIRE(*x == ++n);
      if (n % 500 == 0) CHECK(co_await db.query_one<int>("SELECT id FROM t ORDER BY id LIMIT 1") == 1);
    }
    CHECK(n == 3000);
    co_await db.close();
  });
}

TEST_CASE("a stream in a transaction sees its changes, and ends with it") {
  temp_database file;
  fill(file.path(), 3000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    transaction tx = co_await db.begin();
    co_await tx.execute("UPDATE t SET name = 'changed'");
    {
      auto names = tx.stream<std::string>("SELECT name FROM t");
      int count = 0;
      while (auto name = co_await names.next()) {
        REQUIRE(*name == "changed");
        ++count;
      }
      CHECK(count == 3000);
    }
    auto left_open = tx.stream<int>("SELECT id FROM t");
    CHECK(co_await left_open.next() == 1);
    co_await tx.rollback();
    co_await failure_of<transaction_error>(drain(left_open));
    CHECK(co_await db.query_one<std::string>("SELECT name FROM t LIMIT 1") == "name 1");
    co_await db.close();
  });
}

TEST_CASE("writes between the batches of a stream are allowed") {
  temp_database file;
  fill(file.path(), 3000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE log(id)");
    auto ids = db.stream<int>("SELECT id FROM t ORDER BY id");
    while (auto id = co_await ids.next()) {
      if (*id % 100 == 0) co_await db.execute("INSERT INTO log VALUES(?)", *id);
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM log") == 30);
    co_await db.close();
  });
}

TEST_CASE("a reader that never waits for rows does not keep timers waiting") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    bool fired = false;
    spawn(fire(fired));
    auto rows = db.stream<int>("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c");
    while (!fired) co_await rows.next();
    rows.close();
    co_await db.close();
  });
}

TEST_CASE("a loop of short calls does not keep timers waiting") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    bool fired = false;
    spawn(fire(fired));
    while (!fired) co_await db.query_one<int>("SELECT 1");
    co_await db.close();
  });
}

TEST_CASE("a stream may be moved while it is open, and the one moved from has ended") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    auto a = db.stream<int>(count_to(5000));
    CHECK(co_await a.next() == 1);
    auto b = std::move(a);
    CHECK(co_await b.next() == 2);
    CHECK(!(co_await a.next()).has_value());
    auto c = db.stream<int>(count_to(10));
    CHECK(co_await c.next() == 1);
    c = std::move(b);
    CHECK(co_await c.next() == 3);
    co_await db.close();
  });
}

TEST_CASE("a stream outlives its connection object and then says that it is closed") {
  temp_database file;
  fill(file.path(), 20000);
  on_loop([&]() -> task<> {
    std::optional<connection> db = co_await open(file.path());
    auto rows = db->stream<int>("SELECT id FROM t");
    CHECK(co_await rows.next() == 1);
    db.reset();
    co_await failure_of<closed_error>(drain(rows));
  });
}

TEST_CASE("a coroutine destroyed while it waits for a batch ends its stream") {
  temp_database file;
  fill(file.path(), 5000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), with_rollback_journal());
    auto reader = [&]() -> foreign::coroutine {
      auto rows = db.stream<int>("SELECT id FROM t");
      while (co_await rows.next()) {
      }
    };
    for (int i = 0; i < 20; ++i) {
      foreign::coroutine one = reader();
      if (i % 2 == 1) co_await sleep_for(0ms);
    }
    co_await db.execute("SELECT 1");
    CHECK(raw_database(file.path()).try_to("DELETE FROM t") == SQLITE_OK);
    co_await db.close();
  });
}

TEST_CASE("a stream under a deadline has that deadline for each batch") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    auto rows =
        db.with(20ms).stream<int>("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c WHERE n < 0");
    const auto e = co_await failure_of<timeout_error>(rows.next());
    CHECK(e.spent_in() == timeout_error::stage::run);
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    co_await db.close();
  });
}

TEST_CASE("a stream of INSERT ... RETURNING has written when its first row is there") {
  temp_database file;
  fill(file.path(), 10);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    {
      auto ids = db.stream<int>("INSERT INTO t(id) " +
                                count_to(2000).replace(count_to(2000).rfind("SELECT n"), 8, "SELECT n + 10") +
                                " RETURNING id");
      CHECK(co_await ids.next() == 11);
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 2010);
    co_await db.close();
  });
}

TEST_CASE("a stream of INSERT ... RETURNING that is dropped while it reads ahead has written all the same") {
  temp_database file;
  fill(file.path(), 10);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    // Behind its first batch the worker is held until the stream has been dropped, and then asked at every step.
    std::atomic<int> rows = 0;
    std::atomic<bool> dropped = false;
    const auto hold = [&](const trace_event& e) {
      if (e.kind != trace_kind::row || ++rows != 20) return;
      while (!dropped) std::this_thread::yield();
    };
    trace_options with_rows;
    with_rows.rows = true;
    const auto nothing = [] {};
    const subscription traced = co_await db.trace(hold, with_rows);
    const subscription asked = co_await db.on_progress(1, nothing);
    {
      auto ids = db.stream<int>("INSERT INTO t(id) " +
                                count_to(2000).replace(count_to(2000).rfind("SELECT n"), 8, "SELECT n + 10") +
                                " RETURNING id");
      CHECK(co_await ids.next() == 11);
      while (rows < 20) co_await sleep_for(0ms);
    }
    dropped = true;
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 2010);
    co_await db.close();
  });
}

TEST_CASE("a coroutine that is destroyed while it waits for a row leaves the stream to others") {
  temp_database file;
  fill(file.path(), 3000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    auto items = db.stream<int>("SELECT id FROM t ORDER BY id");
    {
      auto waiting = [&items]() -> foreign::coroutine {
        [[maybe_unused]] const bool gcc_needs_a_local = true;
        static_cast<void>(co_await items.next());
      };
      const foreign::coroutine destroyed = waiting();
      CHECK_FALSE(destroyed.done());
    }
    int expected = 0;
    while (auto id = co_await items.next()) REQUIRE(*id == ++expected);
    CHECK(expected == 3000);
    std::optional<typed_stream<int>> gone(db.stream<int>("SELECT id FROM t ORDER BY id"));
    {
      auto waiting = [&gone]() -> foreign::coroutine {
        [[maybe_unused]] const bool gcc_needs_a_local = true;
        static_cast<void>(co_await gone->next());
      };
      const foreign::coroutine outlives_the_stream = waiting();
      gone.reset();
      CHECK_FALSE(outlives_the_stream.done());
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 3000);
    co_await db.close();
  });
}

TEST_CASE("what a stream had read ahead can be read when its connection has closed, and then it ends with an error") {
  temp_database file;
  fill(file.path(), 3000);
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    auto items = db.stream<int>("SELECT id FROM t ORDER BY id");
    int expected = 0;
    while (expected < 5) {
      auto id = co_await items.next();
      REQUIRE(id == ++expected);
    }
    co_await db.close();
    // Long enough for the loop to be due for other work.
    co_await sleep_for(5ms);
    bool refused = false;
    try {
      while (auto id = co_await items.next()) {
        REQUIRE(*id == ++expected);
        co_await sleep_for(0ms);
      }
    } catch (const closed_error&) {
      refused = true;
    }
    CHECK(refused);
    CHECK(expected < 3000);
  });
}
