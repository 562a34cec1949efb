#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace {

/// A type of the user's, stored as the text "x,y".
struct point {
  int x = 0;
  int y = 0;
  bool operator==(const point&) const = default;
};

/// Stored as a BLOB of 16 bytes.
struct uuid {
  std::array<std::byte, 16> data{};
  bool operator==(const uuid&) const = default;
};

enum class level : std::uint8_t { low = 1, high = 2 };
enum class colour { red, green, blue };
enum class strange : std::int8_t { minus = -3 };

/// Only ever written, and only ever read.
struct written_only {};
struct read_only {
  std::int64_t doubled = 0;
};

}  // namespace

template <>
struct cosqlite::adapter<point> {
  static std::string to_sqlite(const point& p) { return std::to_string(p.x) + "," + std::to_string(p.y); }
  static point from_sqlite(const value_view& v) {
    const auto text = v.get<std::string_view>();
    const std::size_t comma = text.find(',');
    if (comma == std::string_view::npos) v.refuse("a point");
    point p;
    p.x = std::stoi(std::string(text.substr(0, comma)));
    p.y = std::stoi(std::string(text.substr(comma + 1)));
    return p;
  }
};

template <>
struct cosqlite::adapter<uuid> {
  static std::span<const std::byte> to_sqlite(const uuid& id) { return id.data; }
  static uuid from_sqlite(const value_view& v) {
    const auto blob = v.get<std::span<const std::byte>>();
    uuid id;
    if (blob.size() != id.data.size()) v.refuse("a UUID");
    std::ranges::copy(blob, id.data.begin());
    return id;
  }
};

template <>
struct cosqlite::adapter<colour> : cosqlite::enum_text<colour> {
  static constexpr std::pair<colour, std::string_view> names[] = {
      {colour::red, "red"}, {colour::green, "green"}, {colour::green, "verde"}};
};

template <>
struct cosqlite::adapter<written_only> {
  static std::optional<int> to_sqlite(const written_only&) { return std::nullopt; }
};

template <>
struct cosqlite::adapter<read_only> {
  static read_only from_sqlite(const value_view& v) { return {v.get<std::int64_t>() * 2}; }
};

namespace {

using cosqlite::connection;
using cosqlite::conversion_error;
using cosqlite::task;
using support::contains;
using support::failure_of;
using support::on_loop;

struct place {
  int id;
  point at;
  std::optional<point> before;
  level how;
  colour tint;
  std::filesystem::path file;
  std::optional<uuid> key;
  bool operator==(const place&) const = default;
};

constexpr std::string_view table =
    "CREATE TABLE places(id INTEGER PRIMARY KEY, at TEXT NOT NULL, before TEXT, how INTEGER NOT NULL, tint TEXT NOT NULL, "
    "file TEXT NOT NULL, key BLOB) STRICT";

std::vector<place> two_places() {
  std::vector<place> all;
  all.push_back(place{1, point{1, 2}, std::nullopt, level::low, colour::red, "/tmp/a b", uuid{}});
  all.push_back(place{2, point{-3, 4}, point{5, 6}, level::high, colour::green, "ü", std::nullopt});
  return all;
}

}  // namespace

TEST_CASE("adapted types work in structs, optionals, tuples, scalars and rows of execute_many") {
  support::temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute(table);
    const std::vector<place> places = two_places();
    co_await db.execute_many("INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?)", places);
    const std::vector<place> found = co_await db.query<place>("SELECT * FROM places ORDER BY id");
    CHECK(found == places);
    using row = std::tuple<point, std::optional<point>, colour>;
    const row second = co_await db.query_one<row>("SELECT at, before, tint FROM places WHERE at = ?", places[1].at);
    CHECK(second == row(point{-3, 4}, point{5, 6}, colour::green));
    const std::vector<point> points = co_await db.query<point>("SELECT at FROM places ORDER BY id");
    CHECK(points.size() == 2);
    const std::optional<point> none = co_await db.query_optional<point>("SELECT at FROM places WHERE id = 9");
    CHECK_FALSE(none.has_value());
    const cosqlite::rows untyped = co_await db.query("SELECT at, file FROM places WHERE id = 2");
    CHECK(untyped[0].get<point>("at") == point{-3, 4});
    CHECK(untyped[0].get<std::filesystem::path>(1) == std::filesystem::path("ü"));
    auto stream = db.stream<place>("SELECT * FROM places");
    const std::optional<place> first = co_await stream.next();
    REQUIRE(first.has_value());
    CHECK(first->at == point{1, 2});
  });
}

TEST_CASE("adapted types bind as single arguments, in ranges of them, by name and in optionals") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    const std::vector<point> points{point{1, 1}, point{2, 2}};
    co_await db.execute_many("INSERT INTO t VALUES (?)", points);
    co_await db.execute_many("INSERT INTO t VALUES (?)",
                             points | std::views::transform([](point p) { return point{p.x, 9}; }));
    const std::optional<point> nothing;
    co_await db.execute("INSERT INTO t VALUES (?), (:p)", nothing, cosqlite::named(":p", points[0]));
    const auto all = co_await db.query_one<std::string>("SELECT group_concat(ifnull(a, 'null'), ' ') FROM t");
    CHECK(all == "1,1 2,2 1,9 2,9 null 1,1");
    const bool null = co_await db.query_one<bool>("SELECT ? IS NULL", written_only());
    CHECK(null);
    const read_only twice = co_await db.query_one<read_only>("SELECT 21");
    CHECK(twice.doubled == 42);
  });
}

TEST_CASE("what an adapter refuses is a conversion error that names the column") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    using row = std::tuple<int, point>;
    const conversion_error e = co_await failure_of<conversion_error>(db.query<row>("SELECT 1, ? AS spot", "secret"));
    CHECK(contains(e.what(), "cannot read column 1 (spot), which is TEXT, as a point"));
    CHECK_FALSE(contains(e.what(), "secret"));
    CHECK(e.column() == 1);
    const conversion_error type = co_await failure_of<conversion_error>(db.query<row>("SELECT 1, 5 AS spot"));
    CHECK(contains(type.what(), "column 1 (spot), which is INTEGER, as text"));
    const conversion_error null = co_await failure_of<conversion_error>(db.query<row>("SELECT 1, NULL"));
    CHECK(contains(null.what(), "std::optional"));
    const conversion_error length = co_await failure_of<conversion_error>(db.query_one<uuid>("SELECT x'00'"));
    CHECK(contains(length.what(), "as a UUID"));
  });
}

TEST_CASE("what an adapter throws comes back unchanged") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    std::string thrown;
    try {
      const point p = co_await db.query_one<point>("SELECT 'a,b'");
      static_cast<void>(p);
    } catch (const std::invalid_argument& e) {
      thrown = e.what();
    }
    CHECK(thrown == "stoi");
    const int one = co_await db.query_one<int>("SELECT 1");
    CHECK(one == 1);
  });
}

TEST_CASE("enumerations are integers, unless their adapter names them") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    const auto types = co_await db.query_one<std::string>("SELECT typeof(?1) || ?1 || typeof(?2) || ?2 || ?3",
                                                          level::high, colour::green, strange::minus);
    CHECK(types == "integer2textgreen-3");
    const colour synonym = co_await db.query_one<colour>("SELECT 'verde'");
    CHECK(synonym == colour::green);
    const conversion_error unknown =
        co_await failure_of<conversion_error>(db.query_one<colour>("SELECT 'mauve' AS tint"));
    CHECK(contains(unknown.what(), "column 0 (tint), which is TEXT, as one of 'red' 'green' 'verde'"));
    CHECK_THROWS_AS(db.execute("SELECT ?", colour::blue), conversion_error);
    const conversion_error number = co_await failure_of<conversion_error>(db.query_one<colour>("SELECT 0"));
    CHECK(contains(number.what(), "the name of an enumeration's value"));
    const conversion_error wide = co_await failure_of<conversion_error>(db.query_one<level>("SELECT 300"));
    CHECK(contains(wide.what(), "does not fit"));
  });
}

TEST_CASE("paths keep their bytes, and text that is no file name is refused") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    const std::filesystem::path odd = "a/\xff/\xc3\xbc b";
    const auto back = co_await db.query_one<std::filesystem::path>("SELECT ?", odd);
    CHECK(back == odd);
    const conversion_error e =
        co_await failure_of<conversion_error>(db.query_one<std::filesystem::path>("SELECT CAST(x'610062' AS TEXT)"));
    CHECK(contains(e.what(), "NUL"));
  });
}
