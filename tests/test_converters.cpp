#include "support/catch.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <any>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

using cosqlite::connection;
using cosqlite::conversion_error;
using cosqlite::converters;
using cosqlite::rows;
using cosqlite::task;
using cosqlite::value;
using cosqlite::value_view;
using std::chrono::sys_seconds;
using support::contains;
using support::on_loop;

namespace {

struct point {
  int x = 0;
  int y = 0;
};

point parse_point(std::string_view text) {
  const std::size_t comma = text.find(',');
  point p;
  p.x = std::stoi(std::string(text.substr(0, comma)));
  p.y = std::stoi(std::string(text.substr(comma + 1)));
  return p;
}

converters usual() {
  converters convert;
  convert.add<sys_seconds>("timestamp").add<bool>("BOOLEAN");
  convert.add("point", [](const value_view& v) { return std::any(parse_point(v.get<std::string_view>())); });
  convert.add<double>("DECIMAL");
  return convert;
}

constexpr std::string_view table =
    "CREATE TABLE visits(id INTEGER PRIMARY KEY, at TIMESTAMP, place Point NOT NULL, paid  boolean, price decimal(10, 2), note)";

}  // namespace

TEST_CASE("columns are converted by the types that they are declared with") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    co_await db.execute(table);
    co_await db.execute("INSERT INTO visits VALUES (1, '2026-03-01 12:00', '3,4', 1, 2.5, x'00')");
    const converters convert = usual();
    const rows found = co_await db.query("SELECT * FROM visits");
    const cosqlite::row r = found[0];
    CHECK(r.declared_type(1) == "TIMESTAMP");
    const sys_seconds noon = std::chrono::sys_days(std::chrono::year(2026) / 3 / 1) + std::chrono::hours(12);
    CHECK(std::any_cast<sys_seconds>(convert(r, 1)) == noon);
    CHECK(std::any_cast<point>(convert(r, "place")).y == 4);
    CHECK(std::any_cast<bool>(convert(r, 3)));
    CHECK(std::any_cast<double>(convert(r, 4)) == 2.5);
    CHECK(std::any_cast<value>(convert(r, 0)) == value(1));
    CHECK(std::any_cast<value>(convert(r, 5)).type() == cosqlite::value_type::blob);
    CHECK(r.get<value>(1) == value("2026-03-01 12:00"));
    const std::vector<std::any> whole = convert.read(r);
    REQUIRE(whole.size() == 6);
    CHECK(std::any_cast<point>(whole[2]).x == 3);
    const std::vector<std::vector<std::any>> all = convert.read(found);
    REQUIRE(all.size() == 1);
    CHECK(std::any_cast<sys_seconds>(all[0][1]) == noon);
  });
}

TEST_CASE("NULL is no value, expressions have no type, and a name in brackets gives them one") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    co_await db.execute(table);
    co_await db.execute("INSERT INTO visits VALUES (1, NULL, '3,4', NULL, NULL, NULL)");
    const converters convert = usual();
    const rows found =
        co_await db.query("SELECT at, max(place), max(place) AS \"spot [point]\", place AS \"t [text]\" FROM visits");
    const cosqlite::row r = found[0];
    CHECK_FALSE(convert(r, 0).has_value());
    CHECK(r.declared_type(1).empty());
    CHECK(std::any_cast<value>(convert(r, 1)) == value("3,4"));
    CHECK(std::any_cast<point>(convert(r, 2)).x == 3);
    CHECK(std::any_cast<point>(convert(r, 3)).x == 3);
  });
}

TEST_CASE("a whole type wins over its first word") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    co_await db.execute("CREATE TABLE t(a UNSIGNED  big INT, b UNSIGNED SMALL INT, c \"DECIMAL(10,2)\")");
    co_await db.execute("INSERT INTO t VALUES (1, 2, 3)");
    cosqlite::basic_converters<std::string> convert;
    convert.add("unsigned big int", [](const value_view&) { return "big"; })
        .add("UNSIGNED", [](const value_view&) { return "unsigned"; })
        .add("DECIMAL", [](const value_view&) { return "decimal"; });
    const rows found = co_await db.query("SELECT * FROM t");
    const std::vector<std::string> all = convert.read(found[0]);
    CHECK(all == std::vector<std::string>{"big", "unsigned", "decimal"});
  });
}

TEST_CASE("converters can give a variant of the user's, and say what becomes of the rest") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    using any_of_ours = std::variant<std::monostate, std::int64_t, std::string, sys_seconds>;
    cosqlite::basic_converters<any_of_ours> convert;
    convert.add<sys_seconds>("TIMESTAMP");
    const rows found = co_await db.query("SELECT 5, NULL, CAST('x' AS TEXT)");
    CHECK_THROWS_AS(convert(found[0], 0), conversion_error);
    convert.otherwise([](const value_view& v) -> any_of_ours {
      if (v.type() == cosqlite::value_type::integer) return v.get<std::int64_t>();
      return v.get<std::string>();
    });
    const std::vector<any_of_ours> all = convert.read(found[0]);
    CHECK(all == std::vector<any_of_ours>{std::int64_t{5}, std::monostate(), std::string("x")});
  });
}

TEST_CASE("declared types follow a schema that changes") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    co_await db.execute("CREATE TABLE t(a TIMESTAMP)");
    co_await db.execute("INSERT INTO t VALUES ('2026-03-01')");
    const rows before = co_await db.query("SELECT * FROM t");
    CHECK(before[0].declared_type(0) == "TIMESTAMP");
    co_await db.execute_script("DROP TABLE t; CREATE TABLE t(a DATE); INSERT INTO t VALUES ('2026-03-01')");
    const rows after = co_await db.query("SELECT * FROM t");
    CHECK(after[0].declared_type(0) == "DATE");
    CHECK(before[0].declared_type(0) == "TIMESTAMP");
    CHECK_THROWS_AS(after[0].declared_type(1), cosqlite::misuse_error);
  });
}

TEST_CASE("what a converter refuses names the column") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    co_await db.execute("CREATE TABLE t(a, b TIMESTAMP)");
    co_await db.execute("INSERT INTO t VALUES (1, 'yesterday')");
    const converters convert = usual();
    const rows found = co_await db.query("SELECT * FROM t");
    try {
      static_cast<void>(convert(found[0], 1));
      FAIL("nothing was thrown");
    } catch (const conversion_error& e) {
      CHECK(e.column() == 1);
      CHECK_FALSE(contains(e.what(), "yesterday"));
    }
  });
}
