// Scalar SQL functions in C++: what they take, what they give, and what they throw.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using cosqlite::bytes;
using cosqlite::connection;
using cosqlite::task;
using cosqlite::value;
using cosqlite::value_type;
using cosqlite::value_view;
using support::contains;
using support::failure_of;
using support::on_loop;
using namespace std::chrono_literals;

enum class colour : int { red = 1, green = 2 };

struct celsius {
  double degrees;
};

struct private_error {
  int number;
};

int triple(int v) { return 3 * v; }
int doubled_noexcept(int v) noexcept { return 2 * v; }

}  // namespace

template <>
struct cosqlite::adapter<celsius> {
  static double to_sqlite(const celsius& v) { return v.degrees; }
  static celsius from_sqlite(const value_view& v) { return {v.get<double>()}; }
};

TEST_CASE("a function takes and gives every type") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("int_of", [](int v) { return v + 1; });
    co_await db.create_function("wide", [](std::int64_t v) { return v - 1; });
    co_await db.create_function("small", [](std::uint8_t v) { return v; });
    co_await db.create_function("negate", [](bool v) { return !v; });
    co_await db.create_function("half", [](double v) { return v / 2; });
    co_await db.create_function("shout", [](std::string_view v) { return std::string(v) + "!"; });
    co_await db.create_function("twice", [](const std::string& v) { return v + v; });
    co_await db.create_function("sized", [](std::span<const std::byte> v) { return v.size(); });
    co_await db.create_function("reversed", [](bytes v) { return bytes(v.rbegin(), v.rend()); });
    co_await db.create_function("or_minus_one", [](std::optional<int> v) { return v.value_or(-1); });
    co_await db.create_function("only_even", [](int v) { return v % 2 == 0 ? std::optional<int>(v) : std::nullopt; });
    co_await db.create_function("same", [](value v) { return v; });
    co_await db.create_function("type_of", [](value_view v) { return cosqlite::to_string(v.type()); });
    co_await db.create_function("next_colour", [](colour c) { return c == colour::red ? colour::green : colour::red; });
    co_await db.create_function("warmer", [](celsius c) { return celsius{c.degrees + 1}; });
    co_await db.create_function("no_result", [](int) {});
    co_await db.create_function("answer", [] { return 42; });
    co_await db.create_function("empty_text", [] { return std::string_view(); });
    co_await db.create_function("zeros", [](int n) { return cosqlite::zeroblob(static_cast<std::uint64_t>(n)); });
    co_await db.create_function("pointer", &triple);
    co_await db.create_function("reference", triple);
    co_await db.create_function("no_throw", doubled_noexcept);
    std::function<int(int, int)> add = [](int a, int b) { return a + b; };
    co_await db.create_function("plus", add);

    CHECK(co_await db.query_one<int>("SELECT int_of(6)") == 7);
    CHECK(co_await db.query_one<std::int64_t>("SELECT wide(?)", INT64_MAX) == INT64_MAX - 1);
    CHECK(co_await db.query_one<int>("SELECT small(255)") == 255);
    CHECK(co_await db.query_one<bool>("SELECT negate(0)"));
    CHECK(co_await db.query_one<double>("SELECT half(5)") == 2.5);
    CHECK(co_await db.query_one<std::string>("SELECT shout('hey')") == "hey!");
    CHECK(co_await db.query_one<std::string>("SELECT twice('ab')") == "abab");
    CHECK(co_await db.query_one<int>("SELECT sized(x'010203') + sized(zeroblob(0))") == 3);
    CHECK(co_await db.query_one<std::string>("SELECT hex(reversed(x'010203'))") == "030201");
    CHECK(co_await db.query_one<int>("SELECT or_minus_one(NULL)") == -1);
    CHECK(co_await db.query_one<std::optional<int>>("SELECT only_even(3)") == std::nullopt);
    CHECK(co_await db.query_one<std::optional<int>>("SELECT only_even(4)") == 4);
    CHECK(co_await db.query_one<std::string>("SELECT typeof(same(1.5))") == "real");
    CHECK(co_await db.query_one<std::string>("SELECT typeof(same(NULL)) || typeof(same(x'00'))") == "nullblob");
    CHECK(co_await db.query_one<std::string>("SELECT type_of(7) || type_of('a') || type_of(NULL)") ==
          "INTEGERTEXTNULL");
    CHECK(co_await db.query_one<int>("SELECT next_colour(1)") == 2);
    CHECK(co_await db.query_one<double>("SELECT warmer(20)") == 21.0);
    CHECK(co_await db.query_one<bool>("SELECT no_result(1) IS NULL"));
    CHECK(co_await db.query_one<int>("SELECT answer()") == 42);
    CHECK(co_await db.query_one<std::string>("SELECT typeof(empty_text())") == "text");
    CHECK(co_await db.query_one<std::string>("SELECT hex(zeros(2))") == "0000");
    CHECK(co_await db.query_one<int>("SELECT pointer(2) + reference(3) + no_throw(4) + plus(1, 2)") == 26);
  });
}

TEST_CASE("a text with a NUL in it, and one of a megabyte, pass unharmed") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("same", [](std::string_view v) { return std::string(v); });
    const std::string odd("a\0b", 3);
    const std::string large(1 << 20, 'x');
    CHECK(co_await db.query_one<std::string>("SELECT same(?)", odd) == odd);
    CHECK(co_await db.query_one<std::string>("SELECT same(?)", large) == large);
  });
}

TEST_CASE("a last parameter of views takes all further arguments") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("glue", [](std::string_view between, std::span<const value_view> parts) {
      std::string all;
      for (const value_view& part : parts) {
        if (!all.empty()) all += between;
        all += part.is_null() ? "-" : part.get<std::string>();
      }
      return all;
    });
    CHECK(co_await db.query_one<std::string>("SELECT glue(',', 'a', NULL, 'c')") == "a,-,c");
    CHECK(co_await db.query_one<std::string>("SELECT glue(',')") == "");
    CHECK(co_await db.query_one<std::string>("SELECT glue('', '1','2','3','4','5','6','7','8','9','10')") ==
          "12345678910");
    const auto e = co_await failure_of<cosqlite::misuse_error>(db.query("SELECT glue()"));
    CHECK(contains(e.what(), "glue takes at least 1 argument, 0 given"));
  });
}

TEST_CASE("a wrong argument is an error that names the function and the argument") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("area", [](int width, int height) { return width * height; });
    const auto text = co_await failure_of<cosqlite::conversion_error>(db.query("SELECT area(2, 'three')"));
    CHECK(
        contains(text.what(), "argument 2 of the SQL function area is TEXT, which cannot be read as a 32-bit integer"));
    CHECK_FALSE(contains(text.what(), "three"));
    CHECK(text.column() == 1);
    CHECK(text.sql() == "SELECT area(2, 'three')");
    const auto null = co_await failure_of<cosqlite::conversion_error>(db.query("SELECT area(NULL, 2)"));
    CHECK(contains(null.what(), "argument 1 of the SQL function area is NULL"));
    const auto large = co_await failure_of<cosqlite::conversion_error>(db.query("SELECT area(1, 5000000000)"));
    CHECK(
        contains(large.what(), "argument 2 of the SQL function area is INTEGER, which does not fit a 32-bit integer"));
    const auto count = co_await failure_of<cosqlite::error>(db.query("SELECT area(1)"));
    CHECK(contains(count.what(), "wrong number of arguments to function area()"));
    CHECK(co_await db.query_one<int>("SELECT area(2, 3)") == 6);
  });
}

TEST_CASE("what a function throws reaches the awaiting coroutine as the same object") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    const auto original = std::make_exception_ptr(private_error{7});
    co_await db.create_function("fail", [&original](int) -> int { std::rethrow_exception(original); });
    const private_error* thrown = nullptr;
    try {
      std::rethrow_exception(original);
    } catch (const private_error& e) {
      thrown = &e;
    }
    bool same = false;
    try {
      co_await db.query("SELECT fail(1)");
    } catch (const private_error& e) {
      same = &e == thrown;
    }
    CHECK(same);
    CHECK(co_await db.query_one<int>("SELECT 5") == 5);
  });
}

TEST_CASE("a function that throws undoes its statement, in a group of writes as well") {
  on_loop([]() -> task<> {
    support::temp_database file;
    auto db = co_await cosqlite::open(file.path());
    co_await db.execute("CREATE TABLE t(v INTEGER)");
    co_await db.create_function("small", [](int v) {
      if (v > 2) throw std::out_of_range("too large");
      return v;
    });
    auto insert = [&db](int v) -> task<bool> {
      bool stored = true;
      try {
        co_await db.execute("INSERT INTO t SELECT small(value) FROM json_each('[1,2,' || ? || ']')", v);
      } catch (const std::out_of_range&) {
        stored = false;
      }
      co_return stored;
    };
    auto plain = [&db](int v) -> task<bool> {
      const auto r = co_await db.execute("INSERT INTO t VALUES(?)", v);
      co_return r.changes == 1;
    };
    std::vector<task<bool>> all;
    for (int i = 0; i < 6; ++i) all.push_back(i % 2 == 0 ? plain(100 + i) : insert(i));
    const auto stored = co_await cosqlite::when_all(std::move(all));
    CHECK(stored == std::vector<bool>{true, true, true, false, true, false});
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 6);
  });
}

TEST_CASE("SQLite's own message for a function that throws names it") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("fail", []() -> int { throw std::runtime_error("no luck"); });
    const std::string message = co_await db.run([](sqlite3* raw) {
      sqlite3_exec(raw, "SELECT fail()", nullptr, nullptr, nullptr);
      return std::string(sqlite3_errmsg(raw));
    });
    CHECK(message == "fail: no luck");
  });
}

TEST_CASE("a function is redefined, also for statements that were prepared before") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("version", [] { return 1; });
    auto prepared = co_await db.prepare("SELECT version()");
    CHECK(co_await prepared.query_one<int>() == 1);
    CHECK(co_await db.query_one<int>("SELECT version()") == 1);
    co_await db.create_function("VERSION", [] { return 2; });
    CHECK(co_await db.query_one<int>("SELECT version()") == 2);
    CHECK(co_await prepared.query_one<int>() == 2);
    CHECK(co_await prepared.query_one<int>() == 2);
    // A more fitting number of arguments than that of the built-in function.
    CHECK(co_await db.query_one<std::string>("SELECT lower('ABC')") == "abc");
    co_await db.create_function("lower", [](std::string_view) { return "mine"; });
    CHECK(co_await db.query_one<std::string>("SELECT lower('ABC')") == "mine");
  });
}

TEST_CASE("functions of one name and several argument counts stand side by side and are removed together") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("f", [] { return 0; });
    co_await db.create_function("f", [](int) { return 1; });
    CHECK(co_await db.query_one<int>("SELECT 10 * f(9) + f()") == 10);
    co_await db.remove_function("F");
    const auto e = co_await failure_of<cosqlite::error>(db.query("SELECT f()"));
    CHECK(contains(e.what(), "no such function: f"));
    co_await failure_of<cosqlite::error>(db.query("SELECT f(1)"));
    const auto none = co_await failure_of<cosqlite::misuse_error>(db.remove_function("f"));
    CHECK(contains(none.what(), "no function of its own named f"));
    co_await db.create_function("f", [] { return 3; });
    CHECK(co_await db.query_one<int>("SELECT f()") == 3);
  });
}

TEST_CASE("a function cannot be replaced under a running statement; a new one can be added") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("f", [](int v) { return v; });
    auto rows =
        db.stream<int>("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT f(i) FROM n");
    auto first = co_await rows.next();
    CHECK(first == 1);
    const auto e = co_await failure_of<cosqlite::busy_error>(db.create_function("f", [](int) { return 0; }));
    CHECK(contains(e.what(), "close its streams first"));
    co_await failure_of<cosqlite::busy_error>(db.remove_function("f"));
    co_await db.create_function("g", [](int v) { return -v; });
    std::int64_t sum = 1;
    while (auto v = co_await rows.next()) sum += *v;
    CHECK(sum == 12502500);
    co_await db.create_function("f", [](int) { return 0; });
    CHECK(co_await db.query_one<int>("SELECT f(1) + g(1)") == -1);
  });
}

TEST_CASE("the options of a function reach SQLite") {
  on_loop([]() -> task<> {
    support::temp_database file;
    cosqlite::open_options careful;
    careful.trusted_schema = false;
    auto db = co_await cosqlite::open(file.path(), careful);
    co_await db.execute("CREATE TABLE t(v INTEGER)");
    co_await db.execute("INSERT INTO t VALUES(1)");
    co_await db.create_function("pure", [](int v) { return v; }, {.deterministic = true});
    co_await db.create_function("impure", [](int v) { return v; });
    co_await db.create_function("direct", [](int v) { return v; }, {.direct_only = true});
    co_await db.create_function("harmless", [](int v) { return v; }, {.innocuous = true});
    co_await db.execute("CREATE VIEW plain AS SELECT impure(v) FROM t");
    co_await db.execute("CREATE VIEW harmless_view AS SELECT harmless(v) FROM t");
    co_await failure_of<cosqlite::error>(db.query("SELECT * FROM plain"));
    CHECK(co_await db.query_one<int>("SELECT * FROM harmless_view") == 1);
    CHECK(co_await db.query_one<int>("SELECT direct(v) FROM t") == 1);
    co_await failure_of<cosqlite::error>(db.execute("CREATE INDEX bad ON t(impure(v))"));
    co_await failure_of<cosqlite::error>(db.query("SELECT * FROM (SELECT 1) WHERE EXISTS (SELECT * FROM plain)"));
    careful.trusted_schema = true;
    auto trusting = co_await cosqlite::open(file.path(), careful);
    co_await trusting.create_function("impure", [](int v) { return v; }, {.direct_only = true});
    const auto e = co_await failure_of<cosqlite::error>(trusting.query("SELECT * FROM plain"));
    CHECK(contains(e.what(), "unsafe use of impure()"));
    co_await trusting.create_function("pure", [](int v) { return v; }, {.deterministic = true});
    co_await trusting.execute("CREATE INDEX good ON t(pure(v))");
  });
}

TEST_CASE("a bad name is refused, and what was given with it is destroyed once") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto held = std::make_shared<int>(1);
    auto fn = [held] { return *held; };
    co_await failure_of<cosqlite::misuse_error>(db.create_function(std::string(300, 'f'), fn));
    CHECK_THROWS_AS(db.create_function(std::string("a\0b", 3), fn), cosqlite::misuse_error);
    CHECK_THROWS_AS(db.create_function("", fn), cosqlite::misuse_error);
    co_await db.create_function("good", fn);
    CHECK(held.use_count() == 3);
    co_await db.remove_function("good");
    CHECK(held.use_count() == 2);
  });
}

TEST_CASE("functions are destroyed with their connection, on its thread") {
  struct tracker {
    std::thread::id* destroyed_on;
    ~tracker() { *destroyed_on = std::this_thread::get_id(); }
  };
  std::thread::id where;
  on_loop([&]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    {
      auto held = std::make_shared<tracker>(&where);
      auto fn = [held] { return 1; };
      co_await db.create_function("f", cosqlite::by_move(fn));
    }
    const auto worker = co_await db.run([](sqlite3*) { return std::this_thread::get_id(); });
    co_await db.close();
    CHECK(where == worker);
    CHECK(where != std::this_thread::get_id());
  });
}

TEST_CASE("functions are made through a connection under a deadline too") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.with(10s).create_function("f", [] { return 1; });
    CHECK(co_await db.with(10s).query_one<int>("SELECT f()") == 1);
    std::stop_source stop;
    stop.request_stop();
    co_await failure_of<cosqlite::cancelled_error>(db.with(stop.get_token()).create_function("g", [] { return 1; }));
    co_await failure_of<cosqlite::error>(db.query("SELECT g()"));
  });
}

TEST_CASE("a function of a closed connection is refused") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.close();
    co_await failure_of<cosqlite::closed_error>(db.create_function("f", [] { return 1; }));
  });
}

TEST_CASE("a function that calls its own connection gets an error, not a deadlock") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    std::string message;
    auto fn = [&db, &message]() -> int {
      auto body = [](connection& c, std::string& m) -> task<> {
        const auto e = co_await failure_of<cosqlite::misuse_error>(c.query("SELECT 1"));
        m = e.what();
      };
      cosqlite::run(body(db, message));
      return 1;
    };
    co_await db.create_function("f", fn);
    co_await db.query("SELECT f()");
    CHECK(contains(message, "worker thread cannot await a connection"));
  });
}

TEST_CASE("NaN is no result") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_function("nan", [] { return std::nan(""); });
    co_await failure_of<cosqlite::conversion_error>(db.query("SELECT nan()"));
  });
}
