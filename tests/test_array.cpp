// Lists as arguments of SQL.

#include "support/catch.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace {

using cosqlite::array;
using cosqlite::bytes;
using cosqlite::task;
using cosqlite::value;
using support::contains;
using support::failure_of;
using support::on_loop;

}  // namespace

TEST_CASE("a list of any type is a table") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    const std::vector<int> integers{3, 1, 2};
    const auto i = co_await db.query<int>("SELECT value FROM carray(?)", array(integers));
    CHECK(i == integers);
    const std::vector<double> reals{0.5, -1.5};
    const auto d = co_await db.query<double>("SELECT value FROM carray(?)", array(reals));
    CHECK(d == reals);
    const std::vector<std::string_view> texts{"a", "", "a longer one"};
    const auto t = co_await db.query<std::string>("SELECT value FROM carray(?)", array(texts));
    CHECK(t == std::vector<std::string>{"a", "", "a longer one"});
    const std::vector<bytes> blobs{bytes{std::byte{1}, std::byte{0}}, bytes{}};
    const auto b = co_await db.query<bytes>("SELECT value FROM carray(?)", array(blobs));
    CHECK(b == blobs);
    const std::vector<std::optional<int>> holes{1, std::nullopt};
    const auto h = co_await db.query<std::optional<int>>("SELECT value FROM carray(?)", array(holes));
    CHECK(h == holes);
    const std::vector<value> mixed{value(1), value("x"), value()};
    const auto m = co_await db.query<std::string>("SELECT typeof(value) FROM carray(?)", array(mixed));
    CHECK(m == std::vector<std::string>{"integer", "text", "null"});
    const auto v = co_await db.query_one<int>("SELECT sum(value) FROM carray(?)", array(std::views::iota(1, 11)));
    CHECK(v == 55);
    const auto e = co_await db.query_one<int>("SELECT count(*) FROM carray(?)", array(std::vector<int>()));
    CHECK(e == 0);
  });
}

TEST_CASE("an IN over 100,000 ids is one query") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.execute("CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT)");
    co_await db.execute("INSERT INTO items SELECT value, 'item ' || value FROM carray(?)",
                        array(std::views::iota(0, 200'000)));
    std::vector<std::int64_t> ids(100'000);
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(2 * i);
    const auto found =
        co_await db.query<std::int64_t>("SELECT id FROM items WHERE id IN carray(?) ORDER BY id", array(ids));
    CHECK(found == ids);
    const auto joined =
        co_await db.query_one<int>("SELECT count(*) FROM carray(?) AS a JOIN items AS i ON i.id = a.value", array(ids));
    CHECK(joined == 100'000);
  });
}

TEST_CASE("one statement runs with many lists, by position and by name, and in execute_many") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    auto statement = co_await db.prepare("SELECT sum(value) FROM carray(:list)");
    for (int n = 1; n < 4; ++n) {
      const int sum = co_await statement.query_one<int>(cosqlite::named(":list", array(std::vector<int>(3, n))));
      CHECK(sum == 3 * n);
    }
    co_await db.execute("CREATE TABLE t(v)");
    std::vector<std::tuple<cosqlite::array_argument>> lists;
    lists.emplace_back(array(std::vector<int>{1, 2}));
    lists.emplace_back(array(std::vector<int>{3}));
    const auto r = co_await db.execute_many("INSERT INTO t SELECT value FROM carray(?)", lists);
    CHECK(r.changes == 3);
  });
}

TEST_CASE("carray takes only lists, and says so") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    for (const char* sql : {"SELECT * FROM carray(1)", "SELECT * FROM carray(NULL)", "SELECT * FROM carray('x')"}) {
      const auto e = co_await failure_of<cosqlite::error>(db.query(sql));
      CHECK(contains(e.what(), "is no list: bind cosqlite::array(range)"));
    }
    const auto missing = co_await failure_of<cosqlite::error>(db.query("SELECT * FROM carray"));
    CHECK(contains(missing.what(), "carray needs its list"));
    const std::vector<double> bad{0.0 / 1.0, std::numeric_limits<double>::quiet_NaN()};
    CHECK_THROWS_AS(array(bad), cosqlite::conversion_error);
  });
}
