// Aggregate and window functions in C++.

#include "support/catch.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using cosqlite::task;
using cosqlite::value_view;
using support::contains;
using support::failure_of;
using support::on_loop;

struct median {
  void step(std::optional<double> v) {
    if (v) seen.push_back(*v);
  }
  std::optional<double> finalize() {
    if (seen.empty()) return std::nullopt;
    const auto middle = seen.begin() + static_cast<std::ptrdiff_t>(seen.size() / 2);
    std::nth_element(seen.begin(), middle, seen.end());
    return *middle;
  }
  std::vector<double> seen;
};

struct running_sum {
  void step(std::int64_t v) { sum += v; }
  void inverse(std::int64_t v) { sum -= v; }
  std::int64_t value() const { return sum; }
  std::int64_t finalize() const { return sum; }
  std::int64_t sum = 0;
};

struct counted {
  void step(std::span<const value_view> all) { arguments += all.size(); }
  std::size_t finalize() const noexcept { return arguments; }
  std::size_t arguments = 0;
};

/// Throws where it is told to, and counts how many of it there are.
struct fragile {
  static inline int alive = 0;
  static inline std::string_view bad;

  fragile() { throw_in("constructor"), ++alive; }
  fragile(const fragile&) = delete;
  fragile& operator=(const fragile&) = delete;
  ~fragile() { --alive; }
  void step(int) { throw_in("step"); }
  void inverse(int) { throw_in("inverse"); }
  int value() const { return throw_in("value"), 1; }
  int finalize() const { return throw_in("finalize"), 1; }

  static void throw_in(std::string_view method) {
    if (method == bad) throw std::domain_error(std::string(method));
  }
};

constexpr const char* three_rows = "(SELECT 1 AS v UNION ALL SELECT 2 UNION ALL SELECT 3)";
constexpr const char* sliding = " OVER (ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)";

}  // namespace

TEST_CASE("a struct with step and finalize is an aggregate, one object a group") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_aggregate<median>("median");
    co_await db.execute_script(
        "CREATE TABLE t(k, v); INSERT INTO t VALUES('a',1),('a',9),('a',5),('b',2.5),('c',NULL);");
    using row = std::pair<std::string, std::optional<double>>;
    const auto groups = co_await db.query<row>("SELECT k, median(v) FROM t GROUP BY k ORDER BY k");
    CHECK(groups == std::vector<row>{{"a", 5.0}, {"b", 2.5}, {"c", std::nullopt}});
    const auto nobody = co_await db.query_one<std::optional<double>>("SELECT median(v) FROM t WHERE 0");
    CHECK(nobody == std::nullopt);
    const auto filtered =
        co_await db.query_one<double>("SELECT median(DISTINCT v) FILTER (WHERE k = 'a' AND v > 5) FROM t");
    CHECK(filtered == 9.0);
  });
}

TEST_CASE("value and inverse make it a window function") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_aggregate<running_sum>("running_sum");
    const std::string rows(three_rows);
    const auto windows =
        co_await db.query<std::int64_t>("SELECT running_sum(v)" + std::string(sliding) + " FROM " + rows);
    CHECK(windows == std::vector<std::int64_t>{1, 3, 5});
    const auto all = co_await db.query_one<std::int64_t>("SELECT running_sum(v) FROM " + rows);
    CHECK(all == 6);
    co_await db.create_aggregate<median>("median");
    const auto e =
        co_await failure_of<cosqlite::error>(db.query("SELECT median(v)" + std::string(sliding) + " FROM " + rows));
    CHECK(contains(e.what(), "median() may not be used as a window function"));
  });
}

TEST_CASE("an aggregate may take any number of arguments") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_aggregate<counted>("counted");
    const int n = co_await db.query_one<int>("SELECT counted(v, v, 'x') FROM " + std::string(three_rows));
    CHECK(n == 9);
  });
}

TEST_CASE("what a method throws reaches the coroutine, SQLite's message names the method, and nothing leaks") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_aggregate<fragile>("fragile");
    for (const std::string_view method : {"constructor", "step", "inverse", "value", "finalize"}) {
      CAPTURE(method);
      const bool window = method == "inverse" || method == "value";
      const std::string sql =
          "SELECT fragile(v)" + std::string(window ? sliding : "") + " FROM " + std::string(three_rows);
      fragile::bad = method;
      const auto e = co_await failure_of<std::domain_error>(db.query(sql));
      CHECK(e.what() == method);
      auto ask = [&sql](sqlite3* raw) {
        sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr);
        return std::string(sqlite3_errmsg(raw));
      };
      const std::string message = co_await db.run(ask);
      const std::string named = method == "constructor" ? "step" : std::string(method);
      CHECK(message == "fragile, " + named + ": " + std::string(method));
      fragile::bad = {};
      const int good = co_await db.query_one<int>("SELECT fragile(v) FROM " + std::string(three_rows));
      CHECK(good == 1);
    }
    CHECK(fragile::alive == 0);
  });
}

TEST_CASE("a group that is abandoned half way is destroyed") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_aggregate<fragile>("fragile");
    co_await db.create_function("fail_at", [](int v, int bad) {
      if (v == bad) throw std::out_of_range("here");
      return v;
    });
    const auto e = co_await failure_of<std::out_of_range>(
        db.query("SELECT fragile(fail_at(v, 3)) FROM " + std::string(three_rows)));
    CHECK(e.what() == std::string_view("here"));
    CHECK(fragile::alive == 0);
  });
}

TEST_CASE("a wrong argument of an aggregate is named; it is removed like any function") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_aggregate<median>("median");
    const auto e = co_await failure_of<cosqlite::conversion_error>(db.query("SELECT median('x')"));
    CHECK(contains(e.what(), "argument 1 of the SQL function median is TEXT"));
    co_await db.remove_function("median");
    const auto gone = co_await failure_of<cosqlite::error>(db.query("SELECT median(1)"));
    CHECK(contains(gone.what(), "no such function: median"));
  });
}

TEST_CASE("a call that is stopped in the middle of a group tells that, not what the group's end throws") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_aggregate<fragile>("fragile");
    fragile::bad = "finalize";
    const std::string endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT fragile(1) FROM n";
    co_await failure_of<cosqlite::timeout_error>(db.with(std::chrono::milliseconds(500)).query(endless));
    co_await db.query("SELECT 1");
    {
      // Its window is still open when the stream is left.
      auto rows = db.stream<int>(
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) "
          "SELECT fragile(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM n");
      CHECK(co_await rows.next() == 1);
    }
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    fragile::bad = {};
    CHECK(fragile::alive == 0);
  });
}

TEST_CASE("an exception that is no std::exception reaches the coroutine too, and SQLite's message names the method") {
  struct thrower {
    void step(int) {}
    void inverse(int) { throw 7; }
    int value() const { return 1; }
    int finalize() const { return 1; }
  };
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_aggregate<thrower>("thrower");
    const std::string sql = "SELECT thrower(v)" + std::string(sliding) + " FROM " + std::string(three_rows);
    int caught = 0;
    try {
      co_await db.query(sql);
    } catch (int number) {
      caught = number;
    }
    CHECK(caught == 7);
    auto ask = [&sql](sqlite3* raw) {
      sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr);
      return std::string(sqlite3_errmsg(raw));
    };
    const std::string message = co_await db.run(ask);
    CHECK(message == "thrower, inverse: an exception that is no std::exception");
  });
}
