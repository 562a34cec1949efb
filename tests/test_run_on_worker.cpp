#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/foreign.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <memory>
#include <string>
#include <thread>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::temp_database;

TEST_CASE("run calls the function on the worker thread, with the connection's handle") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::thread::id loop_thread = std::this_thread::get_id();
    std::thread::id first;
    co_await db.run([&first](sqlite3* raw) {
      first = std::this_thread::get_id();
      sqlite3_exec(raw, "CREATE TABLE t(a); INSERT INTO t VALUES(1), (2)", nullptr, nullptr, nullptr);
    });
    CHECK(first != loop_thread);
    const auto second = co_await db.run([](sqlite3*) { return std::this_thread::get_id(); });
    CHECK(second == first);
    CHECK(std::this_thread::get_id() == loop_thread);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 2);
    co_await db.close();
  });
}

TEST_CASE("run gives the function's result, move-only ones too, and takes the function along") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto pointer = co_await db.run([](sqlite3*) { return std::make_unique<std::string>("made there"); });
    CHECK(*pointer == "made there");
    const std::string captured(100, 'c');
    auto named = [captured](sqlite3*) { return captured.size(); };
    CHECK(co_await db.run(named) == 100);
    int living = 0;
    {
      auto owner = [guard = std::make_shared<foreign::guard>(living)](sqlite3*) { return guard.use_count() > 0; };
      CHECK(co_await db.run(by_move(owner)));
    }
    CHECK(living == 0);
    co_await db.close();
  });
}

TEST_CASE("the error that a function throws arrives with its type") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await failure_of<std::invalid_argument>(db.run([](sqlite3*) { throw std::invalid_argument("mine"); }));
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    co_await db.close();
  });
}

TEST_CASE("a function on the worker that calls a connection is refused, not locked up") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    connection other = co_await open(file.path());
    bool refused = false;
    bool other_refused = false;
    co_await db.run([&](sqlite3*) {
      auto call = [](connection& c, bool& said_no) -> foreign::coroutine {
        try {
          co_await c.execute("SELECT 1");
        } catch (const misuse_error&) {
          said_no = true;
        }
      };
      const foreign::coroutine own = call(db, refused);
      const foreign::coroutine foreign_one = call(other, other_refused);
    });
    CHECK(refused);
    CHECK(other_refused);
    co_await db.close();
    co_await other.close();
  });
}

TEST_CASE("run is stopped by a deadline within SQLite") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const int rc = co_await db.with(10ms).run(
        [](sqlite3* raw) { return sqlite3_exec(raw, endless_read, nullptr, nullptr, nullptr); });
    CHECK(rc == SQLITE_INTERRUPT);
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    co_await db.close();
  });
}

TEST_CASE("statements that a function leaves behind do not keep the file open") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    co_await db.run([](sqlite3* raw) {
      sqlite3_stmt* left = nullptr;
      sqlite3_prepare_v2(raw, "SELECT * FROM sqlite_schema", -1, &left, nullptr);
      sqlite3_step(left);
    });
    co_await db.close();
  });
  CHECK(!std::filesystem::exists(file.path() + "-wal"));
}

TEST_CASE("run in a transaction belongs to it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    transaction tx = co_await db.begin();
    co_await tx.run(
        [](sqlite3* raw) { return sqlite3_exec(raw, "INSERT INTO t VALUES(1)", nullptr, nullptr, nullptr); });
    co_await tx.rollback();
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    transaction second = co_await db.begin();
    co_await second.run([](sqlite3* raw) { return sqlite3_exec(raw, "COMMIT", nullptr, nullptr, nullptr); });
    co_await failure_of<transaction_error>(second.execute("INSERT INTO t VALUES(2)"));
    co_await second.rollback();
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}
