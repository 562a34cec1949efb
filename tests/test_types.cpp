#include "support/catch.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

using namespace cosqlite;
using support::failure_of;
using support::on_loop;

namespace {

enum class colour : std::uint8_t { red = 1, green = 2, blue = 200 };
enum class deep : std::int64_t { lowest = std::numeric_limits<std::int64_t>::min() };

struct one_member {
  std::string only;
};

struct mixed {
  std::int64_t id = 0;
  std::string name;
  std::optional<double> score;
  bytes data;
  bool flag = false;
  colour shade = colour::red;
  value any;
};

struct wide32 {
  int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24,
      a25, a26, a27, a28, a29, a30, a31;
  std::string a32;
};

struct wide64 {
  int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24,
      a25, a26, a27, a28, a29, a30, a31, a32, a33, a34, a35, a36, a37, a38, a39, a40, a41, a42, a43, a44, a45, a46, a47,
      a48, a49, a50, a51, a52, a53, a54, a55, a56, a57, a58, a59, a60, a61, a62, a63;
  std::string a64;
};

// A struct for every number of members up to 33.
template <int N>
struct of;
// clang-format off
#define COSQLITE_TEST_STRUCT(n, ...) template <> struct of<n> { int __VA_ARGS__; };
COSQLITE_TEST_STRUCT(1, a1)
COSQLITE_TEST_STRUCT(2, a1, a2)
COSQLITE_TEST_STRUCT(3, a1, a2, a3)
COSQLITE_TEST_STRUCT(4, a1, a2, a3, a4)
COSQLITE_TEST_STRUCT(5, a1, a2, a3, a4, a5)
COSQLITE_TEST_STRUCT(6, a1, a2, a3, a4, a5, a6)
COSQLITE_TEST_STRUCT(7, a1, a2, a3, a4, a5, a6, a7)
COSQLITE_TEST_STRUCT(8, a1, a2, a3, a4, a5, a6, a7, a8)
COSQLITE_TEST_STRUCT(9, a1, a2, a3, a4, a5, a6, a7, a8, a9)
COSQLITE_TEST_STRUCT(10, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10)
COSQLITE_TEST_STRUCT(11, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11)
COSQLITE_TEST_STRUCT(12, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12)
COSQLITE_TEST_STRUCT(13, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13)
COSQLITE_TEST_STRUCT(14, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14)
COSQLITE_TEST_STRUCT(15, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15)
COSQLITE_TEST_STRUCT(16, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16)
COSQLITE_TEST_STRUCT(17, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17)
COSQLITE_TEST_STRUCT(18, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18)
COSQLITE_TEST_STRUCT(19, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19)
COSQLITE_TEST_STRUCT(20, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20)
COSQLITE_TEST_STRUCT(21, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21)
COSQLITE_TEST_STRUCT(22, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22)
COSQLITE_TEST_STRUCT(23, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23)
COSQLITE_TEST_STRUCT(24, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24)
COSQLITE_TEST_STRUCT(25, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25)
COSQLITE_TEST_STRUCT(26, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25, a26)
COSQLITE_TEST_STRUCT(27, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25, a26, a27)
COSQLITE_TEST_STRUCT(28, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25, a26, a27, a28)
COSQLITE_TEST_STRUCT(29, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25, a26, a27, a28, a29)
COSQLITE_TEST_STRUCT(30, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25, a26, a27, a28, a29, a30)
COSQLITE_TEST_STRUCT(31, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31)
COSQLITE_TEST_STRUCT(32, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32)
COSQLITE_TEST_STRUCT(33, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20,
    a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, a33)
#undef COSQLITE_TEST_STRUCT
// clang-format on

/// Whether a row of N numbers is read into a struct of N members, each in its place.
template <int N>
task<bool> reads_into_struct(connection& db) {
  std::string sql = "SELECT 1";
  for (int i = 2; i <= N; ++i) sql += ", " + std::to_string(i);
  const rows all = co_await db.query(sql);
  std::array<int, N> expected;
  std::iota(expected.begin(), expected.end(), 1);
  co_return std::bit_cast<std::array<int, N>>(all[0].as<of<N>>()) == expected;
}

template <int... N>
task<std::vector<int>> wrong_structs(connection& db, std::integer_sequence<int, N...>) {
  using check = task<bool> (*)(connection&);
  static constexpr check checks[] = {&reads_into_struct<N + 1>...};
  std::vector<int> wrong;
  for (int i = 0; i < static_cast<int>(sizeof...(N)); ++i) {
    const bool right = co_await checks[i](db);
    if (!right) wrong.push_back(i + 1);
  }
  co_return wrong;
}

bytes bytes_of(std::string_view text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return bytes(first, first + text.size());
}

std::string select_numbers(int n) {
  std::string sql = "SELECT 1";
  for (int i = 2; i < n; ++i) sql += ", " + std::to_string(i);
  return sql + ", 'last'";
}

/// Sends it through SQLite and back.
template <class T>
task<T> there_and_back(connection& db, const T& v) {
  const T& sent = v;
  co_return co_await db.query_one<T>("SELECT ?", sent);
}

template <class T>
task<> limits_survive(connection& db) {
  for (const T v : {std::numeric_limits<T>::min(), T{0}, T{1}, std::numeric_limits<T>::max()}) {
    const T back = co_await there_and_back(db, v);
    CHECK(back == v);
  }
}

}  // namespace

TEST_CASE("integers of every width survive at their limits") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await limits_survive<std::int8_t>(db);
    co_await limits_survive<std::uint8_t>(db);
    co_await limits_survive<std::int16_t>(db);
    co_await limits_survive<std::uint16_t>(db);
    co_await limits_survive<std::int32_t>(db);
    co_await limits_survive<std::uint32_t>(db);
    co_await limits_survive<std::int64_t>(db);
    co_await limits_survive<long long>(db);
    CHECK(co_await there_and_back<std::uint64_t>(db, 9223372036854775807u) == 9223372036854775807u);
    CHECK(co_await there_and_back(db, true));
    CHECK(!co_await there_and_back(db, false));
    CHECK(co_await there_and_back(db, 'x') == 'x');
    co_await db.close();
  });
}

TEST_CASE("an unsigned integer that SQLite cannot hold is refused when the call is built") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK_THROWS_AS(db.query_one<int>("SELECT ?", std::uint64_t{9223372036854775808u}), conversion_error);
    CHECK_THROWS_AS(db.query_one<int>("SELECT ?", std::numeric_limits<std::uint64_t>::max()), conversion_error);
    co_await db.close();
  });
}

TEST_CASE("NaN is refused, infinities and the limits of double survive") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK_THROWS_AS(db.query_one<double>("SELECT ?", std::nan("")), conversion_error);
    CHECK_THROWS_AS(db.query_one<float>("SELECT ?", std::numeric_limits<float>::quiet_NaN()), conversion_error);
    for (const double v : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::max(), std::numeric_limits<double>::lowest(),
                           std::numeric_limits<double>::denorm_min(), 0.1, -0.0, 1e300}) {
      CHECK(co_await there_and_back(db, v) == v);
    }
    CHECK(co_await there_and_back(db, 1.5f) == 1.5f);
    co_await db.close();
  });
}

TEST_CASE("a REAL reads as an integer only when it is one, exactly") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<std::int64_t>("SELECT 3.0") == 3);
    CHECK(co_await db.query_one<std::int64_t>("SELECT 9007199254740992.0") == 9007199254740992);
    CHECK(co_await db.query_one<int>("SELECT -0.0") == 0);
    for (const char* sql : {"SELECT 1e300 AS x", "SELECT -1e300 AS x", "SELECT 0.5 AS x", "SELECT 9e999 AS x",
                            "SELECT 9223372036854775807 + 1 AS x"}) {
      const auto e = co_await failure_of<conversion_error>(db.query_one<std::int64_t>(sql));
      CHECK(e.column() == 0);
      CHECK(e.from() == "REAL");
      CHECK(e.to() == "a 64-bit integer");
      CHECK(support::contains(e.what(), "x"));
    }
    const auto e = co_await failure_of<conversion_error>(db.query_one<std::int16_t>("SELECT 70000.0"));
    CHECK(e.to() == "a 16-bit integer");
    co_await db.close();
  });
}

TEST_CASE("an integer that does not fit the type is an error, not another number") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await failure_of<conversion_error>(db.query_one<std::int8_t>("SELECT 128"));
    co_await failure_of<conversion_error>(db.query_one<std::uint8_t>("SELECT -1"));
    co_await failure_of<conversion_error>(db.query_one<std::int32_t>("SELECT 2147483648"));
    co_await failure_of<conversion_error>(db.query_one<std::uint64_t>("SELECT -1"));
    co_await failure_of<conversion_error>(db.query_one<double>("SELECT 9223372036854775807"));
    CHECK(co_await db.query_one<double>("SELECT 7") == 7.0);
    co_await db.close();
  });
}

TEST_CASE("text keeps empty strings, NUL characters and bytes that are no UTF-8") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::string with_nul("abc\0def", 7);
    const std::string no_utf8("\xff\xfe\x80 ok \xc3", 8);
    const std::string empty = co_await there_and_back(db, std::string());
    CHECK(empty.empty());
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", std::string_view()) == "text");
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", "") == "text");
    CHECK(co_await there_and_back(db, with_nul) == with_nul);
    CHECK(co_await there_and_back(db, no_utf8) == no_utf8);
    const rows all = co_await db.query("SELECT ?, ?", with_nul, no_utf8);
    CHECK(all[0].get<std::string_view>(0) == with_nul);
    CHECK(all[0].get<std::string_view>(1) == no_utf8);
    const std::string large(3'000'000, 'l');
    CHECK(co_await there_and_back(db, large) == large);
    co_await db.close();
  });
}

TEST_CASE("bytes keep empty blobs apart from NULL") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const bytes some = bytes_of(std::string_view("\0\x01\xff", 3));
    CHECK(co_await there_and_back(db, some) == some);
    const bytes none;
    CHECK((co_await there_and_back(db, none)).empty());
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", none) == "blob");
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", std::span<const std::byte>()) == "blob");
    const std::array<std::byte, 2> two{std::byte{1}, std::byte{2}};
    CHECK(co_await db.query_one<std::string>("SELECT hex(?)", two) == "0102");
    CHECK((co_await db.query_one<bytes>("SELECT x''")).empty());
    const rows all = co_await db.query("SELECT x'', x'0a'");
    CHECK(all[0].get<std::span<const std::byte>>(0).empty());
    CHECK(all[0].type(0) == value_type::blob);
    CHECK(all[0].get<bytes>(1).size() == 1);
    const std::optional<bytes> maybe = co_await db.query_one<std::optional<bytes>>("SELECT x''");
    CHECK(maybe.has_value());
    co_await db.close();
  });
}

TEST_CASE("zeroblob binds that many zero bytes") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto back = co_await db.query_one<bytes>("SELECT ?", zeroblob(1000));
    CHECK(back == bytes(1000));
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", zeroblob(0)) == "blob");
    CHECK(co_await db.query_one<std::int64_t>("SELECT length(?)", zeroblob(50'000'000)) == 50'000'000);
    co_await failure_of<error>(db.query_one<std::int64_t>("SELECT length(?)", zeroblob(std::uint64_t{1} << 40)));
    co_await db.close();
  });
}

TEST_CASE("optional holds NULL, anything else refuses it") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<std::optional<int>>("SELECT NULL") == std::nullopt);
    CHECK(co_await db.query_one<std::optional<int>>("SELECT 4") == 4);
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", std::optional<int>()) == "null");
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", std::optional<int>(3)) == "integer");
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", nullptr) == "null");
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", std::nullopt) == "null");
    const char* const null_text = nullptr;
    CHECK(co_await db.query_one<std::string>("SELECT typeof(?)", null_text) == "null");
    const auto e = co_await failure_of<conversion_error>(db.query_one<int>("SELECT NULL AS missing"));
    CHECK(e.from() == "NULL");
    CHECK(support::contains(e.what(), "missing"));
    co_await failure_of<conversion_error>(db.query_one<std::string>("SELECT NULL"));
    co_await failure_of<conversion_error>(db.query_one<bytes>("SELECT NULL"));
    co_await failure_of<conversion_error>(db.query_one<bool>("SELECT NULL"));
    const std::optional<std::optional<int>> none = co_await db.query_optional<std::optional<int>>("SELECT 1 WHERE 0");
    CHECK(!none.has_value());
    const std::optional<std::optional<int>> null = co_await db.query_optional<std::optional<int>>("SELECT NULL");
    REQUIRE(null.has_value());
    CHECK(!null->has_value());
    co_await db.close();
  });
}

TEST_CASE("nothing is converted silently between text, numbers and blobs") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto e = co_await failure_of<conversion_error>(db.query_one<int>("SELECT '12'"));
    CHECK(e.from() == "TEXT");
    CHECK(e.to() == "a 32-bit integer");
    co_await failure_of<conversion_error>(db.query_one<std::string>("SELECT 12"));
    co_await failure_of<conversion_error>(db.query_one<std::string>("SELECT x'41'"));
    co_await failure_of<conversion_error>(db.query_one<bytes>("SELECT 'a'"));
    co_await failure_of<conversion_error>(db.query_one<double>("SELECT '1.5'"));
    co_await db.close();
  });
}

TEST_CASE("enums bind and read as their numbers") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<int>("SELECT ?", colour::blue) == 200);
    CHECK(co_await there_and_back(db, colour::green) == colour::green);
    CHECK(co_await there_and_back(db, deep::lowest) == deep::lowest);
    co_await failure_of<conversion_error>(db.query_one<colour>("SELECT 256"));
    co_await db.close();
  });
}

TEST_CASE("tuples and pairs read by position") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto [a, b, c] =
        co_await db.query_one<std::tuple<int, std::string, std::optional<double>>>("SELECT 1, 'two', NULL");
    CHECK(a == 1);
    CHECK(b == "two");
    CHECK(!c.has_value());
    const auto all = co_await db.query<std::pair<int, std::string>>("VALUES (1, 'a'), (2, 'b')");
    REQUIRE(all.size() == 2);
    CHECK(all[1].second == "b");
    const auto e = co_await failure_of<misuse_error>(db.query_one<std::tuple<int, int>>("SELECT 1, 2, 3"));
    CHECK(support::contains(e.what(), "3 columns"));
    CHECK(support::contains(e.what(), "2"));
    co_await failure_of<misuse_error>(db.query_one<int>("SELECT 1, 2"));
    co_await db.close();
  });
}

TEST_CASE("plain structs read by position, members of every kind") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto m = co_await db.query_one<mixed>("SELECT 7, 'seven', 0.5, x'0102', 1, 2, 'anything'");
    CHECK(m.id == 7);
    CHECK(m.name == "seven");
    CHECK(m.score == 0.5);
    CHECK(m.data.size() == 2);
    CHECK(m.flag);
    CHECK(m.shade == colour::green);
    CHECK(m.any == value("anything"));
    const auto one = co_await db.query_one<one_member>("SELECT 'x'");
    CHECK(one.only == "x");
    const auto e =
        co_await failure_of<conversion_error>(db.query_one<mixed>("SELECT 7, 8 AS wrong, 0.5, x'', 1, 2, 3"));
    CHECK(e.column() == 1);
    CHECK(support::contains(e.what(), "wrong"));
    co_await failure_of<misuse_error>(db.query_one<mixed>("SELECT 1, 2"));
    co_await db.close();
  });
}

TEST_CASE("structs of every number of members up to 33 are read, each member in its place") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::vector<int> wrong = co_await wrong_structs(db, std::make_integer_sequence<int, 33>());
    CHECK(wrong == std::vector<int>{});
    co_await db.close();
  });
}

TEST_CASE("integers survive a RETURNING whose first column is REAL") {
  // SQLite 3.40 gives every column of such a RETURNING as REAL.
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(r REAL, n INTEGER, name TEXT)");
    using row = std::tuple<double, std::int64_t, std::string>;
    const auto back = co_await db.query_one<row>("INSERT INTO t VALUES(0.5, 7, 'x') RETURNING r, n, name");
    CHECK(back == row(0.5, 7, "x"));
    co_await db.close();
  });
}

TEST_CASE("structs of 32 and of 64 members read and bind") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto narrow = co_await db.query_one<wide32>(select_numbers(32));
    CHECK(narrow.a1 == 1);
    CHECK(narrow.a17 == 17);
    CHECK(narrow.a31 == 31);
    CHECK(narrow.a32 == "last");
    const auto wide = co_await db.query_one<wide64>(select_numbers(64));
    CHECK(wide.a1 == 1);
    CHECK(wide.a33 == 33);
    CHECK(wide.a63 == 63);
    CHECK(wide.a64 == "last");
    std::string columns = "c1";
    std::string marks = "?";
    for (int i = 2; i <= 64; ++i) {
      columns += ", c" + std::to_string(i);
      marks += ", ?";
    }
    co_await db.execute("CREATE TABLE t(" + columns + ")");
    const std::vector<wide64> two(2, wide);
    co_await db.execute_many("INSERT INTO t VALUES(" + marks + ")", two);
    CHECK((co_await db.query<wide64>("SELECT * FROM t"))[1].a64 == "last");
    CHECK(co_await db.query_one<int>("SELECT c47 FROM t LIMIT 1") == 47);
    co_await db.close();
  });
}

TEST_CASE("value holds any storage class, both ways") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    for (const value& v : std::vector<value>{value(), value(7), value(2.5), value("text"), value(bytes(3))}) {
      CHECK(co_await there_and_back(db, v) == v);
    }
    const value v = co_await db.query_one<value>("SELECT 12");
    CHECK(v.get<int>() == 12);
    CHECK(v.get<double>() == 12.0);
    CHECK_THROWS_AS(v.get<std::string>(), conversion_error);
    CHECK(value().get<std::optional<int>>() == std::nullopt);
    co_await db.close();
  });
}

TEST_CASE("rows give views that live as long as they do") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    rows all = co_await db.query("VALUES ('first', x'01', 1), ('second', NULL, 2.5)");
    const rows kept = std::move(all);
    REQUIRE(kept.size() == 2);
    CHECK(kept.columns() == 3);
    CHECK(kept[0].get<std::string_view>(0) == "first");
    CHECK(kept[1].get<std::string_view>(0) == "second");
    CHECK(kept[1].is_null(1));
    CHECK(kept[1].type(2) == value_type::real);
    CHECK(kept[0][2].get<int>() == 1);
    CHECK_THROWS_AS(kept[0].get<int>(3), misuse_error);
    CHECK_THROWS_AS(kept[0].get<int>(-1), misuse_error);
    CHECK_THROWS_AS(kept[0].get<int>("nowhere"), misuse_error);
    CHECK_THROWS_AS(kept[0].get<int>(0), conversion_error);
    CHECK_THROWS_AS(kept.at(2), std::out_of_range);
    co_await db.close();
  });
}

TEST_CASE("a conversion error of a row names the column too") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const rows all = co_await db.query("SELECT 1 AS a, 'x' AS b");
    try {
      static_cast<void>(all[0].get<int>("b"));
      FAIL("nothing was thrown");
    } catch (const conversion_error& e) {
      CHECK(e.column() == 1);
      CHECK(e.from() == "TEXT");
    }
    co_await db.close();
  });
}
