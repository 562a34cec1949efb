#include "support/catch.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <string_view>

using namespace cosqlite;
using support::contains;
using support::failure_of;
using support::on_loop;

namespace {

struct celsius {
  double degrees = 0;
};

}  // namespace

template <>
struct cosqlite::adapter<celsius> {
  static double to_sqlite(const celsius& c) { return c.degrees; }
  static celsius from_sqlite(const value_view& v) { return celsius{v.get<double>()}; }
};

TEST_CASE("arguments bind by position") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<std::string>("SELECT ? || '-' || ? || '-' || ?", 1, "two", std::string("three")) ==
          "1-two-three");
    CHECK(co_await db.query_one<std::string>("SELECT ?2 || ?1", "a", "b") == "ba");
    CHECK(co_await db.query_one<int>("SELECT ?1 + ?1 + ?3", 5, 0, 7) == 17);
    co_await db.close();
  });
}

TEST_CASE("named arguments bind in any order, with or without their prefix") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<std::string>("SELECT :a || @b || $c", named("$c", "3"), named(":a", "1"),
                                             named("@b", "2")) == "123");
    CHECK(co_await db.query_one<std::string>("SELECT :a || @b || $c", named("c", "3"), named("b", "2"),
                                             named("a", "1")) == "123");
    CHECK(co_await db.query_one<int>("SELECT :a + :a * 10", named(":a", 3)) == 33);
    CHECK(co_await db.query_one<int>("SELECT ?1 - ?2", named("?2", 1), named("?1", 10)) == 9);
    CHECK(co_await db.query_one<std::optional<int>>("SELECT :a", named("a", std::optional<int>())) == std::nullopt);
    std::string_view borrowed = "text";
    CHECK(co_await db.query_one<std::string>("SELECT :a", named(":a", borrowed)) == "text");
    co_await db.close();
  });
}

TEST_CASE("positional and named arguments mix: those without a name are for their own position") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<std::string>("SELECT ? || :b || ?", "1", named(":b", "2"), "3") == "123");
    CHECK(co_await db.query_one<std::string>("SELECT :a || ?", named(":a", "1"), "2") == "12");
    const auto e =
        co_await failure_of<misuse_error>(db.query_one<std::string>("SELECT ? || :b", named(":b", "2"), "1"));
    CHECK(contains(e.what(), "bound twice"));
    co_await db.close();
  });
}

TEST_CASE("a parameter bound twice would leave another one NULL, and is refused") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto e = co_await failure_of<misuse_error>(db.query("SELECT :a, :b", named(":a", 1), named(":a", 2)));
    CHECK(contains(e.what(), ":a"));
    std::vector<std::pair<named_argument<int>, named_argument<int>>> rows;
    rows.emplace_back(named(":a", 1), named(":a", 2));
    co_await failure_of<misuse_error>(db.execute_many("SELECT :a, :b", rows));
    co_await db.close();
  });
}

TEST_CASE("the number of arguments must be that of the parameters") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto few = co_await failure_of<misuse_error>(db.query("SELECT ?, ?", 1));
    CHECK(contains(few.what(), "2 parameters"));
    CHECK(contains(few.what(), "1 given"));
    co_await failure_of<misuse_error>(db.query("SELECT ?, ?", 1, 2, 3));
    co_await failure_of<misuse_error>(db.query("SELECT 1", 1));
    co_await failure_of<misuse_error>(db.query("SELECT ?"));
    const auto unknown = co_await failure_of<misuse_error>(db.query("SELECT :a", named(":b", 1)));
    CHECK(contains(unknown.what(), ":b"));
    // ?3 alone makes three parameters, of which the first two are used by nothing.
    const auto gap = co_await failure_of<misuse_error>(db.query("SELECT ?3", 1));
    CHECK(contains(gap.what(), "3 parameters"));
    CHECK(co_await db.query_one<int>("SELECT ?3", 1, 2, 3) == 3);
    const auto beyond = co_await failure_of<error>(db.query("SELECT ?999999999", 1));
    CHECK(contains(beyond.what(), "variable number must be between"));
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    co_await db.close();
  });
}

TEST_CASE("strings of every kind bind as text") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const char array[] = "array";
    const char* pointer = "pointer";
    const std::string_view part = std::string_view("a view of it").substr(2, 4);
    CHECK(co_await db.query_one<std::string>("SELECT ?", array) == "array");
    CHECK(co_await db.query_one<std::string>("SELECT ?", pointer) == "pointer");
    CHECK(co_await db.query_one<std::string>("SELECT ?", part) == "view");
    CHECK(co_await db.query_one<std::string>("SELECT ?", std::string("string")) == "string");
    co_await db.close();
  });
}

TEST_CASE("an adapter teaches a type, alone and inside optional, tuples and structs") {
  struct reading {
    int id = 0;
    std::optional<celsius> temperature;
  };
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const celsius warm{21.5};
    const auto back = co_await db.query_one<celsius>("SELECT ?", warm);
    CHECK(back.degrees == 21.5);
    const auto none = co_await db.query_one<std::optional<celsius>>("SELECT NULL");
    CHECK(!none.has_value());
    const auto r = co_await db.query_one<reading>("SELECT 1, 3.5");
    CHECK(r.temperature->degrees == 3.5);
    const auto t = co_await db.query_one<std::tuple<celsius, int>>("SELECT 1.0, 2");
    CHECK(std::get<0>(t).degrees == 1.0);
    co_await failure_of<conversion_error>(db.query_one<celsius>("SELECT NULL"));
    co_await failure_of<conversion_error>(db.query_one<celsius>("SELECT 'cold'"));
    const value v(2.5);
    CHECK(co_await db.query_one<double>("SELECT ?", v) == 2.5);
    co_await db.close();
  });
}

TEST_CASE("as many arguments as one likes") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<int>("SELECT ?+?+?+?+?+?+?+?+?+?+?+?+?+?+?+?+?+?+?+?", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                     11, 12, 13, 14, 15, 16, 17, 18, 19, 20) == 210);
    co_await db.close();
  });
}
