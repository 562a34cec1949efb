#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/database.hpp"
#include "support/drain.hpp"
#include "support/endless.hpp"
#include "support/foreign.hpp"
#include "support/foreign_calls.hpp"
#include "support/on_loop.hpp"
#include "support/plug.hpp"
#include <cosqlite/cosqlite.hpp>

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <optional>
#include <thread>

#include <sys/wait.h>

using namespace cosqlite;
using namespace std::chrono_literals;
using foreign::hold;
using foreign::insert;
using support::child_process;
using support::drain;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::plug;
using support::raw_database;
using support::temp_database;

namespace {

task<connection> open_new(std::string path) {
  connection db = co_await open(std::move(path));
  co_await db.execute("CREATE TABLE t(a)");
  co_return db;
}

foreign::coroutine insert_expecting_closed(connection& db, int v, bool& refused) {
  try {
    co_await db.execute("INSERT INTO t VALUES(?)", v);
  } catch (const closed_error&) {
    refused = true;
  }
}

}  // namespace

TEST_CASE("a connection opens, answers and closes") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    CHECK(db.is_open());
    CHECK(co_await db.query_one<int>("SELECT 40 + 2") == 42);
    co_await db.close();
    CHECK(!db.is_open());
    CHECK(file.exists());
  });
}

TEST_CASE("an unopened connection refuses every call") {
  on_loop([]() -> task<> {
    connection db;
    CHECK(!db.is_open());
    co_await failure_of<closed_error>(db.execute("SELECT 1"));
    co_await failure_of<closed_error>(db.prepare("SELECT 1"));
    co_await failure_of<closed_error>(db.begin());
    auto rows = db.stream("SELECT 1");
    co_await failure_of<closed_error>(rows.next());
    db.interrupt();
    co_await db.close();
  });
}

TEST_CASE("after close every call throws closed_error, and closing again is no error") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    statement s = co_await db.prepare("SELECT count(*) FROM t");
    co_await db.close();
    co_await db.close();
    const auto e = co_await failure_of<closed_error>(db.execute("SELECT 1"));
    CHECK(e.sql() == "SELECT 1");
    co_await failure_of<closed_error>(db.query("SELECT 1"));
    co_await failure_of<closed_error>(db.execute_script("SELECT 1"));
    co_await failure_of<closed_error>(db.run([](sqlite3*) { return 1; }));
    co_await failure_of<closed_error>(db.begin());
    co_await failure_of<closed_error>(db.with(1s).execute("SELECT 1"));
    co_await failure_of<closed_error>(s.query_one<int>());
    auto rows = s.stream();
    co_await failure_of<closed_error>(rows.next());
  });
}

TEST_CASE("closing at the same time from many coroutines ends all of them") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    const auto one = [&]() -> task<> {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_await db.close();
    };
    std::vector<task<>> all;
    for (int i = 0; i < 20; ++i) all.push_back(one());
    co_await when_all(std::move(all));
    CHECK(!db.is_open());
  });
}

TEST_CASE("close lets what was queued finish") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    plug p;
    foreign::coroutine held = hold(p, db);
    std::vector<foreign::coroutine> inserts;
    for (int i = 0; i < 50; ++i) inserts.push_back(insert(db, i));
    p.release();
    co_await db.close();
    for (auto& one : inserts) {
      CHECK(one.done());
      one.rethrow();
    }
    held.rethrow();
  });
  CHECK(raw_database(file.path()).number("SELECT count(*) FROM t") == 50);
}

TEST_CASE("a connection that is dropped open refuses what is queued and closes its file") {
  temp_database file;
  bool refused[3] = {};
  on_loop([&]() -> task<> {
    std::optional<connection> db = co_await open(file.path());
    co_await db->execute("CREATE TABLE t(a)");
    plug p;
    foreign::coroutine held = hold(p, *db);
    co_await p.held();
    std::vector<foreign::coroutine> inserts;
    for (int i = 0; i < 3; ++i) inserts.push_back(insert_expecting_closed(*db, i, refused[i]));
    db.reset();
    p.release();
    while (!inserts[2].done()) co_await sleep_for(1ms);
  });
  CHECK(refused[0]);
  CHECK(refused[1]);
  CHECK(refused[2]);
  CHECK(!std::filesystem::exists(file.path() + "-wal"));
  CHECK(raw_database(file.path()).number("SELECT count(*) FROM t") == 0);
}

TEST_CASE("dropping a connection stops the call that runs") {
  temp_database file;
  bool refused = false;
  on_loop([&]() -> task<> {
    std::optional<connection> db = co_await open(file.path());
    auto endless = [&](connection& c) -> foreign::coroutine {
      try {
        co_await c.query(endless_read);
      } catch (const closed_error&) {
        refused = true;
      }
    };
    foreign::coroutine call = endless(*db);
    co_await sleep_for(20ms);
    db.reset();
    while (!call.done()) co_await sleep_for(1ms);
  });
  CHECK(refused);
}

TEST_CASE("a connection dropped while a transaction is open rolls back") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES(1)");
    db = connection();
    co_await failure_of<closed_error>(tx.execute("INSERT INTO t VALUES(2)"));
    co_await failure_of<closed_error>(tx.commit());
  });
  CHECK(raw_database(file.path()).number("SELECT count(*) FROM t") == 0);
}

TEST_CASE("closing while a transaction is open rolls it back, and does not wait for it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    transaction tx = co_await db.begin();
    savepoint point = co_await tx.savepoint();
    co_await tx.execute("INSERT INTO t VALUES(1)");
    co_await db.close();
    co_await failure_of<closed_error>(tx.execute("INSERT INTO t VALUES(2)"));
    co_await failure_of<closed_error>(tx.commit());
  });
  CHECK(raw_database(file.path()).number("SELECT count(*) FROM t") == 0);
}

TEST_CASE("what was queued in a transaction before close still runs, and is rolled back with it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    transaction tx = co_await db.begin();
    auto write = [&]() -> foreign::coroutine {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_await tx.execute("INSERT INTO t VALUES(1)");
    };
    auto waiting = [&]() -> foreign::coroutine {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_await db.execute("INSERT INTO t VALUES(2)");
    };
    foreign::coroutine outside = waiting();
    foreign::coroutine inside = write();
    co_await db.close();
    CHECK(inside.done());
    inside.rethrow();
    CHECK(outside.done());
    outside.rethrow();
  });
  raw_database raw(file.path());
  CHECK(raw.number("SELECT count(*) FROM t") == 1);
  CHECK(raw.number("SELECT a FROM t") == 2);
}

TEST_CASE("closing ends streams that are open") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    auto rows =
        db.stream<int>("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000) SELECT n FROM c");
    CHECK(co_await rows.next() == 1);
    co_await db.close();
    co_await failure_of<closed_error>(drain(rows));
  });
}

TEST_CASE("moving a connection keeps it open, assigning over it drops the old one") {
  temp_database first;
  temp_database second;
  on_loop([&]() -> task<> {
    connection a = co_await open(first.path());
    connection b = std::move(a);
    CHECK(!a.is_open());
    CHECK(b.is_open());
    b = co_await open(second.path());
    co_await b.execute("CREATE TABLE t(a)");
    connection& self = b;
    b = std::move(self);
    CHECK(b.is_open());
    co_await b.close();
  });
}

TEST_CASE("a connection may be destroyed by the coroutine that its call resumes") {
  temp_database file;
  on_loop([&]() -> task<> {
    auto owner = [&]() -> task<int> {
      connection db = co_await open(file.path());
      co_return co_await db.query_one<int>("SELECT 5");
    };
    CHECK(co_await owner() == 5);
    CHECK(co_await owner() == 5);
  });
}

TEST_CASE("an open that nobody awaits leaves nothing behind") {
  temp_database file;
  support::test_loop loop;
  {
    open_options o;
    o.loop = loop.get();
    auto never = open(file.path(), o);
  }
  CHECK(loop.close() == 0);
  CHECK(!file.exists());
}

TEST_CASE("of two opens on a loop one may be dropped and the other awaited") {
  temp_database file;
  on_loop([&]() -> task<> {
    auto kept = open(file.path());
    {
      auto dropped = open(file.path());
    }
    connection db = co_await std::move(kept);
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    co_await db.close();
  });
}

TEST_CASE("many connections on one loop work side by side") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection first = co_await open(file.path());
    co_await first.execute("CREATE TABLE t(a)");
    auto work = [&](int n) -> task<> {
      connection db = co_await open(file.path());
      for (int i = 0; i < 5; ++i) co_await db.execute("INSERT INTO t VALUES(?)", n);
      co_await db.close();
    };
    std::vector<task<>> all;
    for (int n = 0; n < 16; ++n) all.push_back(work(n));
    co_await when_all(std::move(all));
    CHECK(co_await first.query_one<int>("SELECT count(*) FROM t") == 80);
  });
}

TEST_CASE("several loops in several threads have connections to the same file") {
  temp_database file;
  raw_database(file.path()).execute("PRAGMA journal_mode=wal; CREATE TABLE t(a)");
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int n = 0; n < 4; ++n) {
    threads.emplace_back([&file, &failures, n] {
      try {
        const auto body = [&]() -> task<> {
          connection db = co_await open(file.path());
          for (int i = 0; i < 25; ++i) {
            co_await db.execute("INSERT INTO t VALUES(?)", n);
            if (co_await db.query_one<int>("SELECT count(*) FROM t WHERE a = ?", n) != i + 1) ++failures;
          }
          if (n % 2 == 0) co_await db.close();
        };
        run(body());
      } catch (...) {
        ++failures;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(failures == 0);
  CHECK(raw_database(file.path()).number("SELECT count(*) FROM t") == 100);
}

TEST_CASE("a connection is refused on a thread that is not its loop's") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    std::string message;
    std::thread other([&] {
      auto body = [&]() -> task<> {
        const auto e = co_await failure_of<misuse_error>(db.execute("SELECT 1"));
        message = e.what();
      };
      run(body());
    });
    for (int i = 0; i < 20; ++i) co_await db.execute("SELECT 1");
    other.join();
    CHECK(support::contains(message, "thread"));
    co_await db.close();
  });
}

TEST_CASE("a loop that stops with calls pending delivers them when it runs again") {
  temp_database file;
  support::test_loop loop;
  std::optional<connection> db(loop.run(open_new(file.path())));
  {
    plug p;
    foreign::coroutine held = hold(p, *db);
    foreign::coroutine queued = insert(*db, 1);
    foreign::coroutine dropped = insert(*db, 2);
    {
      const foreign::coroutine gone = std::move(dropped);
    }
    uv_run(loop.get(), UV_RUN_NOWAIT);
    CHECK(!queued.done());
    p.release();
    while (!queued.done()) uv_run(loop.get(), UV_RUN_ONCE);
    queued.rethrow();
  }
  db.reset();
  CHECK(loop.close() == 0);
  CHECK(raw_database(file.path()).number("SELECT group_concat(a) FROM t") == 1);
}

TEST_CASE("coroutines and connection may go while calls are pending and the loop stands still") {
  temp_database file;
  support::test_loop loop;
  std::optional<connection> db(loop.run(open_new(file.path())));
  plug p;
  {
    std::vector<foreign::coroutine> all;
    all.push_back(hold(p, *db));
    for (int i = 0; i < 10; ++i) all.push_back(insert(*db, i));
    loop.run(p.held());
  }
  db.reset();
  p.release();
  CHECK(loop.close() == 0);
  CHECK(raw_database(file.path()).number("SELECT count(*) FROM t") == 0);
}

TEST_CASE("an idle connection does not keep its loop alive") {
  temp_database file;
  support::test_loop loop;
  std::optional<connection> db(loop.run(open_new(file.path())));
  CHECK(uv_run(loop.get(), UV_RUN_DEFAULT) == 0);
  db.reset();
}

TEST_CASE("interrupt stops the call that runs and leaves the next one alone") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    db.interrupt();
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    auto endless = [&]() -> task<> { co_await failure_of<cancelled_error>(db.query(endless_read)); };
    auto next = [&]() -> task<int> {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_return co_await db.query_one<int>("SELECT 3");
    };
    auto stop = [&]() -> task<> {
      co_await sleep_for(20ms);
      db.interrupt();
    };
    auto [a, b, c] = co_await when_all(endless(), next(), stop());
    CHECK(b == 3);
    co_await db.close();
  });
}

TEST_CASE("a child made by fork is refused, and the parent goes on") {
  temp_database file;
  support::test_loop loop;
  std::optional<connection> db;
  std::optional<statement> prepared;
  const auto prepare = [&]() -> task<> {
    db = co_await open(file.path());
    co_await db->execute("CREATE TABLE t(a)");
    prepared = co_await db->prepare("SELECT count(*) FROM t");
  };
  loop.run(prepare());
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    bool refused = false;
    {
      auto body = [&]() -> foreign::coroutine {
        try {
          co_await db->execute("INSERT INTO t VALUES(1)");
        } catch (const misuse_error&) {
          refused = true;
        }
      };
      foreign::coroutine call = body();
      refused = refused && call.done();
      prepared.reset();
      db.reset();
    }
    _exit(refused ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  const auto go_on = [&]() -> task<> {
    co_await db->execute("INSERT INTO t VALUES(2)");
    CHECK(co_await prepared->query_one<int>() == 1);
    co_await db->close();
  };
  loop.run(go_on());
}

namespace {

task<> write_once(std::string path) {
  connection db = co_await open(std::move(path));
  co_await db.execute("CREATE TABLE IF NOT EXISTS t(a)");
  co_await db.execute("INSERT INTO t VALUES(1)");
  co_await db.close();
}

/// Runs \p body in a fork of this process; what it exits with.
template <class F>
int in_fork(F body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

// Run by the test below as a program of its own, so that nothing else is open in it.
TEST_CASE("child: forks", "[.child]") {
  const temp_database file;
  const auto write = [&file] {
    run(write_once(file.path()));
    return 7;
  };
  CHECK(in_fork(write) == 7);  // before anything was opened
  CHECK(write() == 7);
  CHECK(in_fork(write) == 7);  // after all has been closed
  const auto open_across_a_fork = [&]() -> task<> {
    connection db = co_await open(file.path());
    const auto refused = [&file] {
      try {
        run(write_once(file.path()));
      } catch (const misuse_error& e) {
        return support::contains(e.what(), "forked") ? 8 : 9;
      }
      return 10;
    };
    CHECK(in_fork(refused) == 8);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 3);
    co_await db.close();
  };
  run(open_across_a_fork());
}

TEST_CASE("a child made by fork opens connections of its own when none was open") {
  CHECK(child_process("child: forks").wait() == 0);
}

// Run by the test below as a program of its own.
TEST_CASE("child: exits with calls pending", "[.child]") {
  static temp_database* const file = new temp_database;  // exit() comes before its end
  run([](std::string path) -> task<> {
    connection idle = co_await open(path);
    connection busy = co_await open(path);
    auto endless = [](connection& db) -> foreign::coroutine {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_await db.query(endless_read);
    };
    const foreign::coroutine call = endless(busy);
    co_await sleep_for(5ms);
    std::exit(0);
  }(file->path()));
}

TEST_CASE("a program that exits without closing ends at once") {
  CHECK(child_process("child: exits with calls pending").wait() == 0);
}
