// How callbacks come and go, whatever their kind.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/hooks.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using cosqlite::authorization;
using cosqlite::connection;
using cosqlite::subscription;
using cosqlite::task;
using support::journal;
using support::lines;
using support::refusal;
using support::temp_database;
using support::with_database;

TEST_CASE("what a hook throws where nothing can fail is kept, and the callback stays") {
  with_database([](connection& db) -> task<> {
    std::atomic<int> calls{0};
    const auto throws = [&calls](const cosqlite::row_update&) {
      ++calls;
      throw refusal("ignored");
    };
    const subscription s = co_await db.on_update(throws);
    CHECK(!s.failure());
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    co_await db.execute("INSERT INTO t VALUES (2, 'y')");
    CHECK(calls == 2);
    REQUIRE(s.failure());
    CHECK_THROWS_AS(std::rethrow_exception(s.failure()), refusal);
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 2);
  });
}

TEST_CASE("a callback that is removed while a call runs is not called again, and its object dies on the worker") {
  with_database([](connection& db) -> task<> {
    std::promise<void> inside;
    std::promise<void> removed;
    std::atomic<int> calls{0};
    std::promise<std::thread::id> died;
    struct mark {
      explicit mark(std::promise<std::thread::id>* p) : promise(p) {}
      mark(const mark&) = delete;
      mark& operator=(const mark&) = delete;
      ~mark() { promise->set_value(std::this_thread::get_id()); }
      std::promise<std::thread::id>* promise;
    };
    auto held = std::make_shared<mark>(&died);
    auto slow = [&, held](const cosqlite::row_update&) {
      if (++calls != 1) return;
      inside.set_value();
      removed.get_future().wait();
    };
    held.reset();
    subscription s = co_await db.on_update(cosqlite::by_move(slow));
    const auto insert = [](connection* to) -> task<> {
      const char* sql = "INSERT INTO t(a) VALUES ('a'), ('b'), ('c')";
      co_await to->execute(sql);
    };
    const auto remove = [&](subscription* which) -> task<> {
      const int once = 1;
      co_await cosqlite::sleep_for(std::chrono::milliseconds(once));
      inside.get_future().wait();
      which->remove();
      removed.set_value();
    };
    co_await cosqlite::when_all(insert(&db), remove(&s));
    CHECK(calls == 1);
    co_await db.execute("INSERT INTO t(a) VALUES ('d')");
    CHECK(calls == 1);
    const std::thread::id worker = co_await db.run([](sqlite3*) { return std::this_thread::get_id(); });
    CHECK(died.get_future().get() == worker);
  });
}

TEST_CASE("a callback may take itself away, or another one, while it runs") {
  with_database([](connection& db) -> task<> {
    journal seen;
    subscription once;
    subscription other;
    const auto first = [&](const cosqlite::row_update&) {
      seen.add("first");
      once.remove();
      other.remove();
    };
    const auto second = [&](const cosqlite::row_update&) { seen.add("second"); };
    const auto third = [&](const cosqlite::row_update&) { seen.add("third"); };
    once = co_await db.on_update(first);
    other = co_await db.on_update(second);
    const subscription stays = co_await db.on_update(third);
    co_await db.execute("INSERT INTO t(a) VALUES ('a'), ('b')");
    const lines expected{"first", "third", "third"};
    CHECK(seen.take() == expected);
    CHECK(!once.is_active());
    co_await db.execute("INSERT INTO t(a) VALUES ('c')");
    CHECK(seen.take() == lines{"third"});
  });
}

TEST_CASE("every kind of callback may take itself away while it runs, and its object goes once the call has ended") {
  with_database([](connection& db) -> task<> {
    std::atomic<int> calls{0};
    subscription s[7];
    auto token = std::make_shared<int>(0);
    const std::weak_ptr<int> alive = token;
    auto remove = [&calls, &s, token](std::size_t i) {
      ++calls;
      s[i].remove();
    };
    token.reset();
    auto on_authorize = [remove](const authorization&) { remove(0); };
    auto on_trace = [remove](const cosqlite::trace_event&) { remove(1); };
    auto on_preupdate = [remove](const cosqlite::preupdate&) { remove(2); };
    auto on_commit = [remove] { remove(3); };
    auto on_rollback = [remove] { remove(4); };
    auto on_wal = [remove](const cosqlite::wal_commit&) { remove(5); };
    auto on_progress = [remove] { remove(6); };
    const long closures_here = alive.use_count();
    s[0] = co_await db.authorize(on_authorize);
    s[1] = co_await db.trace(on_trace);
    s[2] = co_await db.on_preupdate(on_preupdate);
    s[3] = co_await db.on_commit(on_commit);
    s[4] = co_await db.on_rollback(on_rollback);
    s[5] = co_await db.on_wal_commit(on_wal);
    s[6] = co_await db.on_progress(1, on_progress);
    const std::string insert = "INSERT INTO t(a) SELECT value FROM json_each('[1,2,3]')";
    for (int i = 0; i < 2; ++i) {
      co_await db.execute(insert);
      co_await db.execute_script("BEGIN; DELETE FROM t; ROLLBACK");
    }
    CHECK(calls == 7);
    for (const subscription& each : s) CHECK(!each.is_active());
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 6);
    CHECK(alive.use_count() == closures_here);
  });
}

TEST_CASE("several callbacks of each kind are all called, in the order in which they came") {
  with_database([](connection& db) -> task<> {
    journal seen;
    std::vector<subscription> kept;
    const char* const names[] = {"one", "two"};
    for (const char* name : names) {
      const auto on_preupdate = [&seen, name](const cosqlite::preupdate&) { seen.add(std::string("row ") + name); };
      const auto on_commit = [&seen, name] { seen.add(std::string("commit ") + name); };
      const auto on_rollback = [&seen, name] { seen.add(std::string("rollback ") + name); };
      const auto on_wal = [&seen, name](const cosqlite::wal_commit& w) {
        seen.add("wal " + std::string(w.schema) + " " + name);
      };
      const auto on_trace = [&seen, name](const cosqlite::trace_event&) { seen.add(std::string("trace ") + name); };
      kept.push_back(co_await db.on_preupdate(on_preupdate));
      kept.push_back(co_await db.on_commit(on_commit));
      kept.push_back(co_await db.on_rollback(on_rollback));
      kept.push_back(co_await db.on_wal_commit(on_wal));
      kept.push_back(co_await db.trace(on_trace));
    }
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    const lines committed{"trace one",  "trace two",  "row one",      "row two",
                          "commit one", "commit two", "wal main one", "wal main two"};
    CHECK(seen.take() == committed);
    co_await db.execute_script("BEGIN; DELETE FROM t WHERE id = 1; ROLLBACK");
    const lines undone{"trace one", "trace two", "trace one", "trace two",    "row one",
                       "row two",   "trace one", "trace two", "rollback one", "rollback two"};
    CHECK(seen.take() == undone);
    kept.clear();
    co_await db.execute("INSERT INTO t VALUES (2, 'x')");
    CHECK(seen.take().empty());
  });
}

TEST_CASE("a callback cannot call the connection") {
  with_database([](connection& db) -> task<> {
    std::atomic<bool> refused{false};
    const auto reenters = [&](const cosqlite::row_update&) {
      const auto body = [](connection* to) -> task<> {
        const char* sql = "SELECT 1";
        co_await to->query(sql);
      };
      try {
        cosqlite::run(body(&db));
      } catch (const cosqlite::misuse_error&) {
        refused = true;
      }
    };
    const subscription s = co_await db.on_update(reenters);
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    CHECK(refused);
  });
}

TEST_CASE("a subscription may outlive its connection, and a detached callback stays") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    std::atomic<int> calls{0};
    const auto counts = [&calls](const cosqlite::row_update&) { ++calls; };
    subscription kept;
    {
      connection db = co_await cosqlite::open(file.path());
      co_await db.execute("CREATE TABLE t(a)");
      kept = co_await db.on_update(counts);
      (co_await db.on_update(counts)).detach();
      co_await db.execute("INSERT INTO t VALUES (1)");
      CHECK(calls == 2);
      co_await db.close();
    }
    CHECK(!kept.is_active());
    kept.remove();
  });
}

TEST_CASE("a lease that is given back leaves no hooks behind") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute("CREATE TABLE t(a)");
    std::atomic<int> calls{0};
    const auto counts = [&calls](const cosqlite::row_update&) { ++calls; };
    {
      cosqlite::leased_connection writer = co_await p.acquire_writer();
      (co_await writer.on_update(counts)).detach();
      co_await writer.execute("INSERT INTO t VALUES (1)");
    }
    co_await p.execute("INSERT INTO t VALUES (2)");
    CHECK(calls == 1);
    co_await p.close();
  });
}

TEST_CASE("hooks on the writer of a pool see every lease and outlive it") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute("CREATE TABLE t(a)");
    std::atomic<int> calls{0};
    const auto counts = [&calls](const cosqlite::row_update&) { ++calls; };
    const subscription s = co_await p.writer().on_update(counts);
    {
      cosqlite::leased_connection writer = co_await p.acquire_writer();
      co_await writer.execute("INSERT INTO t VALUES (1)");
    }
    co_await p.execute("INSERT INTO t VALUES (2)");
    CHECK(calls == 2);
    CHECK(s.is_active());
    co_await p.close();
  });
}

TEST_CASE("what a callback of any kind throws that nothing can fail of is kept, the first of it, whatever its type") {
  with_database([](connection& db) -> task<> {
    const auto trace = [](const cosqlite::trace_event&) { throw refusal("trace"); };
    const auto row = [](const cosqlite::preupdate&) { throw refusal("row"); };
    const auto undone = [] { throw 42; };
    const auto wal = [](const cosqlite::wal_commit&) { throw refusal("wal"); };
    subscription s[4];
    s[0] = co_await db.trace(trace);
    s[1] = co_await db.on_preupdate(row);
    s[2] = co_await db.on_rollback(undone);
    s[3] = co_await db.on_wal_commit(wal);
    for (int i = 0; i < 2; ++i) {
      co_await db.execute("INSERT INTO t(a) VALUES ('x')");
      co_await db.execute_script("BEGIN; DELETE FROM t; ROLLBACK");
    }
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 2);
    for (const subscription& each : s) {
      CHECK(each.is_active());
      REQUIRE(each.failure());
    }
    CHECK_THROWS_AS(std::rethrow_exception(s[0].failure()), refusal);
    CHECK_THROWS_AS(std::rethrow_exception(s[1].failure()), refusal);
    CHECK_THROWS_AS(std::rethrow_exception(s[2].failure()), int);
    CHECK_THROWS_AS(std::rethrow_exception(s[3].failure()), refusal);
  });
}

TEST_CASE("what a callback throws that can fail the call reaches the caller, whatever its type") {
  with_database([](connection& db) -> task<> {
    const auto caught_from = [](connection* to) -> task<int> {
      const std::string sql = "INSERT INTO t(a) VALUES ('x')";
      try {
        co_await to->execute(sql);
      } catch (int number) {
        co_return number;
      }
      co_return 0;
    };
    const auto authorize = [](const authorization&) { throw 1; };
    const auto progress = [] { throw 2; };
    const auto commit = [] { throw 3; };
    {
      const subscription s = co_await db.authorize(authorize);
      CHECK((co_await caught_from(&db)) == 1);
    }
    {
      const subscription s = co_await db.on_progress(1, progress);
      CHECK((co_await caught_from(&db)) == 2);
    }
    {
      const subscription s = co_await db.on_commit(commit);
      CHECK((co_await caught_from(&db)) == 3);
    }
    CHECK((co_await caught_from(&db)) == 0);
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 1);
  });
}
