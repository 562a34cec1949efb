// The library beside others: its awaitables in a coroutine type that it does not know, on a loop that the program owns,
// and under a main loop that belongs to something else.
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/foreign.hpp"
#include "support/own_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <poll.h>
#include <uv.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using foreign::coroutine;
using support::own_loop;
using support::temp_database;
using namespace std::chrono_literals;

namespace {

cosqlite::open_options on(own_loop& loop) {
  cosqlite::open_options o;
  o.loop = loop.get();
  return o;
}

/// What a program without coroutines would write around one: starts at once, tells a callback how it ended, owns
/// itself.
struct with_callback {
  struct promise_type {
    // The coroutine's own parameters are given to its promise: the last one is the callback.
    template <class... A>
    explicit promise_type(A&... arguments) : ended(std::get<sizeof...(A) - 1>(std::tie(arguments...))) {}
    with_callback get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() { ended({}); }
    void unhandled_exception() { ended(std::current_exception()); }

    std::function<void(std::exception_ptr)> ended;
  };
};

using on_end = std::function<void(std::exception_ptr)>;

coroutine every_kind_of_call(own_loop& loop, std::string path, std::vector<std::string>& log) {
  auto db = co_await cosqlite::open(path, on(loop));
  co_await db.execute_script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE)");
  const auto inserted = co_await db.execute("INSERT INTO t (name) VALUES (?)", "one");
  log.push_back("rowid " + std::to_string(inserted.last_insert_rowid));

  auto tx = co_await db.begin();
  co_await tx.execute("INSERT INTO t (name) VALUES (?)", "two");
  auto inner = co_await tx.savepoint();
  co_await inner.execute("INSERT INTO t (name) VALUES (?)", "three");
  co_await inner.rollback();
  co_await tx.commit();

  auto names = db.stream<std::string>("SELECT name FROM t ORDER BY id");
  while (auto name = co_await names.next()) log.push_back(*name);

  auto body = [](cosqlite::transaction& t) -> cosqlite::task<std::int64_t> {
    const auto done = co_await t.execute("INSERT INTO t (name) VALUES (?)", "four");
    co_return done.last_insert_rowid;
  };
  const std::int64_t four = co_await db.transact(body);
  log.push_back("transact " + std::to_string(four));

  auto statement = co_await db.prepare("SELECT name FROM t WHERE id = ?");
  const auto name = co_await statement.query_one<std::string>(four);
  log.push_back(name);
  co_await cosqlite::sleep_for(1ms);
  auto [rows, count] =
      co_await cosqlite::when_all(db.query("SELECT * FROM t"), db.query_one<int>("SELECT count(*) FROM t"));
  log.push_back(std::to_string(rows.size()) + " = " + std::to_string(count));
  co_await db.close();
}

coroutine violate_constraint(own_loop& loop, std::string path) {
  auto db = co_await cosqlite::open(path, on(loop));
  co_await db.execute("CREATE TABLE t (name TEXT UNIQUE)");
  co_await db.execute("INSERT INTO t VALUES ('one')");
  co_await db.execute("INSERT INTO t VALUES ('one')");
}

coroutine wait_for_slow_query(cosqlite::connection& db, bool& resumed) {
  const auto n = co_await db.query_one<std::int64_t>(
      "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000000000) SELECT max(n) FROM c");
  resumed = n > 0;
}

with_callback count_rows(cosqlite::connection& db, std::int64_t& result, on_end) {
  const auto rows = co_await db.query_one<std::int64_t>("SELECT count(*) FROM t");
  result = rows;
}

with_callback fail_with_callback(cosqlite::connection& db, on_end) {
  const auto rows = co_await db.query("SELECT * FROM missing");
  (void)rows;
}

cosqlite::task<int> one_of_ours(cosqlite::connection& db, foreign::event& event) {
  co_await event;
  const int n = co_await db.query_one<int>("SELECT 6 * 7");
  co_return n;
}

coroutine await_one_of_ours(cosqlite::connection& db, foreign::event& event, int& result) {
  const int n = co_await one_of_ours(db, event);
  result = n;
}

cosqlite::task<std::int64_t> fill(uv_loop_t* loop, std::string path) {
  cosqlite::open_options options;
  options.loop = loop;
  auto db = co_await cosqlite::open(path, options);
  co_await db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)");
  for (int i = 0; i < 20; ++i) co_await db.execute("INSERT INTO t VALUES (?)", i);
  const auto sum = co_await db.query_one<std::int64_t>("SELECT sum(n) FROM t");
  co_await db.close();
  co_return sum;
}

cosqlite::task<> fill_into(uv_loop_t* loop, std::string path, std::int64_t& result) {
  const std::int64_t sum = co_await fill(loop, path);
  result = sum;
}

}  // namespace

TEST_CASE("every kind of call works in a coroutine type that the library does not know") {
  const temp_database file;
  own_loop loop;
  std::vector<std::string> log;
  coroutine c = every_kind_of_call(loop, file.path(), log);
  CHECK_FALSE(c.done());
  loop.run();
  REQUIRE(c.done());
  c.rethrow();
  CHECK(log == std::vector<std::string>{"rowid 1", "one", "two", "transact 3", "four", "3 = 3"});
}

TEST_CASE("an error reaches a foreign coroutine as the exception that it is") {
  const temp_database file;
  own_loop loop;
  coroutine c = violate_constraint(loop, file.path());
  loop.run();
  REQUIRE(c.done());
  CHECK_THROWS_AS(c.rethrow(), cosqlite::constraint_error);
}

TEST_CASE("a program built on callbacks gets results and errors through them") {
  const temp_database file;
  own_loop loop;
  cosqlite::run(fill(loop.get(), file.path()), loop.get());
  auto db = cosqlite::run(
      [](std::string path) -> cosqlite::task<cosqlite::connection> {
        auto opened = co_await cosqlite::open(path);
        co_return opened;
      }(file.path()),
      loop.get());

  std::int64_t rows = 0;
  int calls = 0;
  std::exception_ptr failure;
  count_rows(db, rows, [&](std::exception_ptr e) { calls += e ? 100 : 1; });
  fail_with_callback(db, [&](std::exception_ptr e) { failure = e; });
  loop.run();
  CHECK(rows == 20);
  CHECK(calls == 1);
  REQUIRE(failure);
  CHECK_THROWS_WITH(std::rethrow_exception(failure), Catch::Matchers::Contains("no such table: missing"));
}

TEST_CASE("destroying a foreign coroutine that waits on a call cancels the call and nothing else") {
  const temp_database file;
  own_loop loop;
  bool resumed = false;
  auto body = [&]() -> cosqlite::task<int> {
    auto db = co_await cosqlite::open(file.path(), on(loop));
    {
      coroutine c = wait_for_slow_query(db, resumed);
      co_await cosqlite::sleep_for(5ms);
      CHECK_FALSE(c.done());
    }
    const int after = co_await db.query_one<int>("SELECT 1");
    co_await db.close();
    co_return after;
  };
  CHECK(cosqlite::run(body(), loop.get()) == 1);
  CHECK_FALSE(resumed);
}

TEST_CASE("tasks wait on other libraries' awaitables, and other libraries' coroutines on tasks") {
  own_loop loop;
  foreign::event event;
  int result = 0;
  auto body = [&]() -> cosqlite::task<> {
    auto db = co_await cosqlite::open(":memory:", on(loop));
    coroutine c = await_one_of_ours(db, event, result);
    REQUIRE(event.awaited());
    event.fire();
    while (!c.done()) co_await cosqlite::sleep_for(1ms);
    c.rethrow();
    co_await db.close();
  };
  cosqlite::run(body(), loop.get());
  CHECK(result == 42);
}

TEST_CASE("a program that owns its loop keeps it: its own handles are served during calls and stay after them") {
  const temp_database file;
  own_loop loop;
  int ticks = 0;
  uv_timer_t timer;
  uv_timer_init(loop.get(), &timer);
  timer.data = &ticks;
  uv_timer_start(&timer, [](uv_timer_t* t) { ++*static_cast<int*>(t->data); }, 0, 1);

  SECTION("with run() on that loop") {
    for (int round = 0; round < 3; ++round) {
      const int before = ticks;
      auto body = [&]() -> cosqlite::task<std::int64_t> {
        const std::int64_t sum = co_await fill(loop.get(), file.path());
        while (ticks <= before) co_await cosqlite::sleep_for(1ms);
        co_return sum;
      };
      CHECK(cosqlite::run(body(), loop.get()) == 190 * (round + 1));
      CHECK(uv_is_active(reinterpret_cast<uv_handle_t*>(&timer)) != 0);
    }
  }
  SECTION("with uv_run() of its own") {
    std::int64_t sum = 0;
    std::exception_ptr failure;
    auto body = [&]() -> cosqlite::task<> {
      co_await fill_into(loop.get(), file.path(), sum);
      while (ticks == 0) co_await cosqlite::sleep_for(1ms);
      uv_timer_stop(&timer);
    };
    cosqlite::spawn(body(), [&](std::exception_ptr e) { failure = e; });
    loop.run();
    CHECK_FALSE(failure);
    CHECK(sum == 190);
    CHECK(ticks > 0);
  }
  uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
}

TEST_CASE("the loop ends by itself when calls are done, although the connection is still open") {
  own_loop loop;
  auto db = cosqlite::run(
      [](uv_loop_t*) -> cosqlite::task<cosqlite::connection> {
        auto opened = co_await cosqlite::open(":memory:");
        co_return opened;
      }(loop.get()),
      loop.get());
  CHECK(uv_run(loop.get(), UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_alive(loop.get()) == 0);
  CHECK(db.is_open());
}

TEST_CASE("a desktop-style loop drives calls with UV_RUN_NOWAIT between its frames") {
  const temp_database file;
  own_loop loop;
  std::int64_t sum = 0;
  std::exception_ptr failure;
  bool done = false;
  auto body = [&]() -> cosqlite::task<> {
    co_await fill_into(loop.get(), file.path(), sum);
    done = true;
  };
  cosqlite::spawn(body(), [&](std::exception_ptr e) { failure = e, done = true; });
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  int frames = 0;
  while (!done && std::chrono::steady_clock::now() < deadline) {
    uv_run(loop.get(), UV_RUN_NOWAIT);
    ++frames;
  }
  CHECK_FALSE(failure);
  CHECK(sum == 190);
  CHECK(frames > 1);
}

TEST_CASE("another main loop can sleep on the backend descriptor and is woken by results") {
  const temp_database file;
  own_loop loop;
  std::int64_t sum = 0;
  std::exception_ptr failure;
  bool done = false;
  auto body = [&]() -> cosqlite::task<> {
    co_await fill_into(loop.get(), file.path(), sum);
    done = true;
  };
  cosqlite::spawn(body(), [&](std::exception_ptr e) { failure = e, done = true; });
  int timeouts = 0;
  while (!done && timeouts == 0) {
    std::array<pollfd, 1> watched{pollfd{uv_backend_fd(loop.get()), POLLIN, 0}};
    const int timeout = uv_backend_timeout(loop.get());
    const int ready = poll(watched.data(), watched.size(), timeout < 0 ? 30'000 : timeout);
    if (ready == 0 && timeout < 0) ++timeouts;
    uv_run(loop.get(), UV_RUN_NOWAIT);
  }
  CHECK(timeouts == 0);
  CHECK_FALSE(failure);
  CHECK(sum == 190);
}

TEST_CASE("several loops in one program: each connection's results arrive on its own") {
  own_loop first;
  own_loop second;
  uv_loop_t* seen_by_first = nullptr;
  uv_loop_t* seen_by_second = nullptr;
  auto look = [](uv_loop_t* loop, uv_loop_t*& seen) -> cosqlite::task<> {
    cosqlite::open_options options;
    options.loop = loop;
    auto db = co_await cosqlite::open(":memory:", options);
    co_await db.execute("SELECT 1");
    seen = cosqlite::this_loop();
    co_await db.close();
  };
  cosqlite::spawn(look(first.get(), seen_by_first));
  cosqlite::spawn(look(second.get(), seen_by_second));
  second.run();
  CHECK(seen_by_first == nullptr);
  CHECK(seen_by_second == second.get());
  first.run();
  CHECK(seen_by_first == first.get());
}
