// Table-valued functions: ranges and generators as tables in SQL.

#include "support/catch.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using cosqlite::task;
using support::contains;
using support::failure_of;
using support::on_loop;
using namespace std::chrono_literals;

struct city {
  std::string name;
  int people;
  std::optional<double> height;
};

auto numbers(std::int64_t from, std::int64_t to) { return std::views::iota(from, to + 1); }

/// Gives the words of a text, one at each call.
class words {
 public:
  explicit words(std::string text) : text_(std::move(text)) {}
  std::optional<std::pair<int, std::string>> operator()() {
    const std::size_t from = text_.find_first_not_of(' ', at_);
    if (from == std::string::npos) return std::nullopt;
    at_ = std::min(text_.find(' ', from), text_.size());
    return std::pair(++count_, text_.substr(from, at_ - from));
  }

 private:
  std::string text_;
  std::size_t at_ = 0;
  int count_ = 0;
};

}  // namespace

TEST_CASE("a range of values is a table with one column") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_table_function("numbers", numbers);
    const auto all = co_await db.query<int>("SELECT value FROM numbers(3, 6)");
    CHECK(all == std::vector<int>{3, 4, 5, 6});
    const auto none = co_await db.query<int>("SELECT value FROM numbers(3, 2)");
    CHECK(none.empty());
    const auto joined =
        co_await db.query_one<int>("SELECT sum(b.value) FROM numbers(1, 3) AS a, numbers(1, a.value) AS b");
    CHECK(joined == 10);
    const auto other_way =
        co_await db.query_one<int>("SELECT sum(b.value) FROM numbers(1, a.value) AS b, numbers(1, 3) AS a");
    CHECK(other_way == 10);
    const auto endless =
        co_await db.query_one<std::int64_t>("SELECT value FROM numbers(1, 9000000000000000000) LIMIT 1 OFFSET 999");
    CHECK(endless == 1000);
    const auto hidden = co_await db.query_one<int>("SELECT arg2 FROM numbers(1, 7) LIMIT 1");
    CHECK(hidden == 7);
  });
}

TEST_CASE("structs and tuples are rows of several columns, whose names can be given") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto cities = [] { return std::vector<city>{{"Berlin", 3'700'000, 34.0}, {"Oslo", 700'000, std::nullopt}}; };
    co_await db.create_table_function("cities", cities, {.columns = "name, people, \"height"});
    const auto rows = co_await db.query("SELECT * FROM cities WHERE people > 1000000");
    CHECK(rows.size() == 1);
    CHECK(rows[0].get<std::string>("name") == "Berlin");
    CHECK(rows[0].get<double>("\"height") == 34.0);
    const auto unknown = co_await db.query_one<std::string>("SELECT name FROM cities WHERE \"\"\"height\" IS NULL");
    CHECK(unknown == "Oslo");

    auto pairs = [] { return std::map<int, std::string>{{1, "one"}, {2, "two"}}; };
    co_await db.create_table_function("pairs", pairs);
    const auto two = co_await db.query_one<std::string>("SELECT c2 FROM pairs WHERE c1 = 2");
    CHECK(two == "two");

    auto wrong = [&] { return db.create_table_function("wrong", cities, {.columns = "a, b"}); };
    CHECK_THROWS_WITH(wrong(), "the table-valued function wrong gives 3 columns, 2 names given");
  });
}

TEST_CASE("a generator function gives rows until it has none") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto make = [](std::string text) { return words(std::move(text)); };
    co_await db.create_table_function("words", make, {.columns = "number, word"});
    const auto third = co_await db.query_one<std::string>("SELECT word FROM words(' to be  or not ') WHERE number = 3");
    CHECK(third == "or");
    const auto none = co_await db.query("SELECT word FROM words('')");
    CHECK(none.size() == 0);
  });
}

TEST_CASE("views may refer to the arguments, and references to what the function holds") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto letters = [](const std::string& text) {
      return text | std::views::transform([](char c) { return std::string(1, c); });
    };
    co_await db.create_table_function("letters", letters);
    const auto all = co_await db.query<std::string>("SELECT value FROM letters('xyz')");
    CHECK(all == std::vector<std::string>{"x", "y", "z"});
    auto held = std::make_shared<const std::vector<bool>>(std::vector<bool>{true, false, true});
    auto flags = [held]() -> const std::vector<bool>& { return *held; };
    co_await db.create_table_function("flags", flags);
    const int set = co_await db.query_one<int>("SELECT sum(value) FROM flags");
    CHECK(set == 2);
  });
}

TEST_CASE("optional arguments may be left out, others not") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto steps = [](int from, int to, std::optional<int> by) {
      std::vector<int> all;
      for (int i = from; i <= to; i += by.value_or(1)) all.push_back(i);
      return all;
    };
    co_await db.create_table_function("steps", steps);
    const auto by_three = co_await db.query<int>("SELECT value FROM steps(1, 9, 4)");
    CHECK(by_three == std::vector<int>{1, 5, 9});
    const auto by_one = co_await db.query<int>("SELECT value FROM steps(1, 3)");
    CHECK(by_one == std::vector<int>{1, 2, 3});
    const auto e = co_await failure_of<cosqlite::error>(db.query("SELECT value FROM steps(1)"));
    CHECK(contains(e.what(), "the table-valued function steps needs its argument 2"));
    const auto wrong = co_await failure_of<cosqlite::conversion_error>(db.query("SELECT value FROM steps('one', 2)"));
    CHECK(contains(wrong.what(), "argument 1 of the SQL function steps is TEXT"));
    const auto many = co_await failure_of<cosqlite::error>(db.query("SELECT value FROM steps(1, 2, 3, 4)"));
    CHECK(contains(many.what(), "too many arguments on steps()"));
  });
}

TEST_CASE("what the function, or its range, throws reaches the coroutine as the same object") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto fail = [](int at) {
      if (at == 0) throw std::domain_error("at once");
      return std::views::iota(1, 10) | std::views::transform([at](int i) {
               if (i == at) throw std::domain_error("on the way");
               return i;
             });
    };
    co_await db.create_table_function("fail", fail);
    const auto at_once = co_await failure_of<std::domain_error>(db.query("SELECT value FROM \"fail\"(0)"));
    CHECK(at_once.what() == std::string_view("at once"));
    const auto later = co_await failure_of<std::domain_error>(db.query("SELECT value FROM \"fail\"(3)"));
    CHECK(later.what() == std::string_view("on the way"));
    const int good = co_await db.query_one<int>("SELECT count(*) FROM \"fail\"(99)");
    CHECK(good == 9);
  });
}

TEST_CASE("a long walk ends at the deadline of its call") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_table_function("numbers", numbers);
    auto limited = db.with(20ms);
    const auto e = co_await failure_of<cosqlite::timeout_error>(
        limited.query("SELECT sum(value) FROM numbers(1, 9000000000000000000)"));
    CHECK(e.spent_in() == cosqlite::timeout_error::stage::run);
  });
}

TEST_CASE("a table-valued function is replaced and removed, also while one is being read") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto one = [] { return std::views::iota(1, 5001); };
    co_await db.create_table_function("t", one);
    auto rows = db.stream<int>("SELECT value FROM t");
    int sum = (co_await rows.next()).value_or(0);
    auto two = [] { return std::vector<int>{2}; };
    co_await db.create_table_function("t", two);
    while (const auto v = co_await rows.next()) sum += *v;
    CHECK(sum == 12502500);
    const int replaced = co_await db.query_one<int>("SELECT value FROM t");
    CHECK(replaced == 2);
    co_await db.remove_table_function("t");
    const auto e = co_await failure_of<cosqlite::error>(db.query("SELECT value FROM t"));
    CHECK(contains(e.what(), "no such table: t"));
    co_await failure_of<cosqlite::misuse_error>(db.remove_table_function("t"));
  });
}
