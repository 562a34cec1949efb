#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <source_location>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;
using cosqlite::adapter;
using cosqlite::connection;
using cosqlite::conversion_error;
using cosqlite::julian_day;
using cosqlite::task;
using cosqlite::unix_time;
using cosqlite::value;
using cosqlite::value_view;
using std::chrono::days;
using std::chrono::hh_mm_ss;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;
using std::chrono::sys_time;
using std::chrono::year_month_day;
using support::on_loop;

namespace {

template <class T>
T read(const value& from) {
  return from.get<T>();
}

template <class T>
std::string written(const T& v) {
  return std::string(std::string_view(adapter<T>::to_sqlite(v)));
}

constexpr sys_seconds at(int y, unsigned m, unsigned d, int hour = 0, int minute = 0, int second = 0) {
  return sys_days(year_month_day(std::chrono::year(y), std::chrono::month(m), std::chrono::day(d))) + hours(hour) +
         minutes(minute) + seconds(second);
}

/// REQUIRE for loops of many thousands, over each of which Catch takes long: only what fails becomes an assertion.
void must(bool holds, std::string_view what, std::source_location where = std::source_location::current()) {
  if (holds) return;
  INFO("line " << where.line() << ", with " << what);
  REQUIRE(holds);
}

template <class T>
bool refused(const std::string& text) {
  try {
    static_cast<void>(read<T>(value(text)));
  } catch (const conversion_error&) {
    return true;
  }
  return false;
}

/// SQLite's own answer to a function of one text.
class oracle {
 public:
  explicit oracle(const char* expression) {
    REQUIRE(sqlite3_open(":memory:", &db_) == SQLITE_OK);
    const std::string sql = std::string("SELECT ") + expression;
    REQUIRE(sqlite3_prepare_v2(db_, sql.c_str(), -1, &stmt_, nullptr) == SQLITE_OK);
  }
  oracle(const oracle&) = delete;
  oracle& operator=(const oracle&) = delete;
  ~oracle() {
    sqlite3_finalize(stmt_);
    sqlite3_close(db_);
  }
  std::optional<std::string> operator()(const std::string& text) {
    sqlite3_bind_text(stmt_, 1, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return answer();
  }
  std::optional<std::string> operator()(double number) {
    sqlite3_bind_double(stmt_, 1, number);
    return answer();
  }

 private:
  std::optional<std::string> answer() {
    must(sqlite3_step(stmt_) == SQLITE_ROW, sqlite3_sql(stmt_));
    std::optional<std::string> found;
    if (sqlite3_column_type(stmt_, 0) != SQLITE_NULL)
      found = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, 0));
    sqlite3_reset(stmt_);
    return found;
  }

  sqlite3* db_ = nullptr;
  sqlite3_stmt* stmt_ = nullptr;
};

struct event {
  std::string name;
  sys_time<milliseconds> at;
  std::optional<sys_days> due;
  milliseconds took;
  unix_time<> created;
  bool operator==(const event&) const = default;
};

}  // namespace

TEST_CASE("points in time are written in UTC with the digits of their precision") {
  CHECK(written(at(2026, 3, 1, 12, 30, 5)) == "2026-03-01 12:30:05");
  CHECK(written(sys_time<minutes>(sys_days(std::chrono::year(2026) / 3 / 1) + 90min)) == "2026-03-01 01:30:00");
  CHECK(written(sys_time<milliseconds>(at(2026, 3, 1) + 7ms)) == "2026-03-01 00:00:00.007");
  CHECK(written(sys_time<microseconds>(at(1969, 12, 31, 23, 59, 59) + 1us)) == "1969-12-31 23:59:59.000001");
  CHECK(written(sys_time<nanoseconds>(at(2026, 3, 1) + 123456789ns)) == "2026-03-01 00:00:00.123456789");
  CHECK(written(sys_days(std::chrono::year(2024) / 2 / 29)) == "2024-02-29");
  CHECK(written(sys_time<std::chrono::weeks>(std::chrono::weeks(1))) == "1970-01-08");
  CHECK(written(year_month_day(std::chrono::year(-44) / 3 / 15)) == "-0044-03-15");
  CHECK(written(sys_time<std::chrono::duration<double>>(std::chrono::duration<double>(0.25))) ==
        "1970-01-01 00:00:00.250000");
  CHECK(written(hh_mm_ss<seconds>(3723s)) == "01:02:03");
  CHECK(written(hh_mm_ss<milliseconds>(86399999ms)) == "23:59:59.999");
}

TEST_CASE("every form of a date and time is read") {
  const auto same =
      GENERATE(as<std::string>(), "2026-03-01 12:30", "2026-03-01 12:30:00", "2026-03-01T12:30",
               "2026-03-01T12:30:00.000", "2026-03-01 12:30Z", "2026-03-01T12:30:00Z", "2026-03-01 12:30 z  ",
               "2026-03-01 14:00+01:30", "2026-03-01T04:30:00.0-08:00", "2026-03-02 02:30 +14:00",
               "2461101.02083333333", " 2461101.02083333333 ", "2.46110102083333333e6");
  INFO(same);
  CHECK(read<sys_seconds>(value(same)) == at(2026, 3, 1, 12, 30));
}

TEST_CASE("a date alone is its midnight, a time alone is on 2000-01-01, and 24:00 is the next midnight") {
  CHECK(read<sys_seconds>("2026-03-01") == at(2026, 3, 1));
  CHECK(read<sys_seconds>("2026-03-01 ") == at(2026, 3, 1));
  CHECK(read<sys_seconds>("12:30") == at(2000, 1, 1, 12, 30));
  CHECK(read<sys_time<milliseconds>>("12:30:01.25") == at(2000, 1, 1, 12, 30, 1) + 250ms);
  CHECK(read<sys_seconds>("2026-03-01 24:00") == at(2026, 3, 2));
  CHECK(read<sys_days>("2026-03-01 23:59:59.999") == sys_days(std::chrono::year(2026) / 3 / 1));
  CHECK(read<sys_days>("2026-03-01 23:30-01:00") == sys_days(std::chrono::year(2026) / 3 / 2));
  CHECK(read<year_month_day>("2026-03-01") == std::chrono::year(2026) / 3 / 1);
  CHECK(read<hh_mm_ss<seconds>>("2026-03-01 23:30").to_duration() == 23h + 30min);
  CHECK(read<hh_mm_ss<milliseconds>>("09:05:01.5").to_duration() == 9h + 5min + 1500ms);
}

TEST_CASE("digits beyond the precision are cut off towards the past") {
  CHECK(read<sys_seconds>("1969-12-31 23:59:59.999") == sys_seconds(-1s));
  CHECK(read<sys_time<milliseconds>>("1969-12-31 23:59:59.9999999999999999999999") == sys_time<milliseconds>(-1ms));
  CHECK(read<sys_time<nanoseconds>>("1970-01-01 00:00:00.0000000019") == sys_time<nanoseconds>(1ns));
  CHECK(read<sys_time<hours>>("1969-12-31 22:59") == sys_time<hours>(-2h));
}

TEST_CASE("what is no date or time is a conversion error that does not repeat it") {
  const auto bad =
      GENERATE(as<std::string>(), "", " ", "now", "2026-3-1", "2026-03", "2026-13-01", "2026-00-01", "2026-02-30",
               "2025-02-29", "2026-04-31", "2026-03-01x", "2026-03-01 12", "2026-03-01 12:60", "2026-03-01 25:00",
               "2026-03-01 12:30:60", "2026-03-01 12:30:00.", "2026-03-01 12:30:00.5.5", "2026-03-01 12:30+1:00",
               "2026-03-01 12:30+15:00", "2026-03-01 12:30+01:60", "2026-03-01 12:30+01", "2026-03-01 12:30ZZ",
               "20260301", "2026-03-01Z", "inf", "nan", "0x10", "-1", "5373484.5", "1e400", "12:30:", "+2026-03-01");
  INFO(bad);
  CHECK_THROWS_AS(read<sys_seconds>(value(bad)), conversion_error);
  try {
    static_cast<void>(read<sys_seconds>(value("secret-text")));
  } catch (const conversion_error& e) {
    CHECK(e.from() == "TEXT");
    CHECK_FALSE(support::contains(e.what(), "secret"));
  }
}

TEST_CASE("a NUL in a text ends no date early") {
  CHECK_THROWS_AS(read<sys_seconds>(value(std::string("2026-03-01\0", 11))), conversion_error);
  CHECK_THROWS_AS(read<sys_seconds>(value(std::string("2026-03-01 12:30\0 ", 18))), conversion_error);
}

TEST_CASE("times that the type or SQLite cannot hold are refused") {
  CHECK(read<sys_time<nanoseconds>>("2262-04-11 23:47:16.854775807") == sys_time<nanoseconds>(nanoseconds::max()));
  CHECK_THROWS_AS(read<sys_time<nanoseconds>>("2262-04-11 23:47:16.854775808"), conversion_error);
  CHECK_THROWS_AS(read<sys_time<nanoseconds>>("9999-12-31"), conversion_error);
  CHECK_THROWS_AS((read<sys_time<std::chrono::duration<std::int32_t>>>("2038-01-19 03:14:08")), conversion_error);
  CHECK_THROWS_AS(written(sys_seconds(seconds::max())), conversion_error);
  CHECK_THROWS_AS(written(at(10000, 1, 1)), conversion_error);
  CHECK(written(at(9999, 12, 31, 23, 59, 59)) == "9999-12-31 23:59:59");
  CHECK_THROWS_AS(written(hh_mm_ss<seconds>(24h)), conversion_error);
  CHECK_THROWS_AS(written(hh_mm_ss<seconds>(-1s)), conversion_error);
  CHECK_THROWS_AS(written(std::chrono::year(2025) / 2 / 29), conversion_error);
  CHECK_THROWS_AS(adapter<julian_day<>>::to_sqlite(julian_day<>(sys_time<milliseconds>(milliseconds::max()))),
                  conversion_error);
}

TEST_CASE("Julian days and counts since 1970 are read as such, and not mistaken for each other") {
  CHECK(read<sys_seconds>(value(2440587.5)) == sys_seconds());
  CHECK(read<sys_seconds>(value(2440588)) == sys_seconds(12h));
  CHECK_THROWS_AS(read<sys_seconds>(value(1'700'000'000)), conversion_error);
  CHECK_THROWS_AS(read<sys_seconds>(value(-1.0)), conversion_error);
  CHECK_THROWS_AS(read<sys_seconds>(value(std::numeric_limits<double>::infinity())), conversion_error);
  CHECK(read<unix_time<>>(value(1'700'000'000)).time() == sys_seconds(1'700'000'000s));
  CHECK(read<unix_time<milliseconds>>(value(-1)).time() == sys_time<milliseconds>(-1ms));
  CHECK_THROWS_AS(read<unix_time<>>("2026-03-01"), conversion_error);
  CHECK(read<julian_day<>>(value(2440587.5)).time() == sys_seconds());
  CHECK_THROWS_AS(read<julian_day<>>("2440587.5"), conversion_error);
  CHECK(adapter<julian_day<seconds>>::to_sqlite(sys_seconds(12h)) == 2440588.0);
}

TEST_CASE("durations are counts of their unit, read also from clock text") {
  CHECK(adapter<milliseconds>::to_sqlite(1500ms) == 1500);
  CHECK(read<milliseconds>(value(1500)) == 1500ms);
  CHECK(read<std::chrono::duration<double>>(value(1.5)) == 1.5s);
  CHECK(read<seconds>("01:02:03") == 3723s);
  CHECK(read<milliseconds>("-00:00:00.25") == -250ms);
  CHECK(read<minutes>("+14:30") == 870min);
  CHECK_THROWS_AS(read<seconds>("2026-03-01"), conversion_error);
  CHECK_THROWS_AS(read<seconds>("01:02:03Z"), conversion_error);
  CHECK_THROWS_AS((read<std::chrono::duration<std::int16_t>>(value(40'000))), conversion_error);
}

TEST_CASE("what is written is read again, whatever the precision") {
  std::mt19937_64 random(7);
  std::uniform_int_distribution<std::int64_t> second(-62'000'000'000, 250'000'000'000);
  std::uniform_int_distribution<std::int64_t> nano(std::numeric_limits<std::int64_t>::min(),
                                                   std::numeric_limits<std::int64_t>::max());
  using third = std::chrono::duration<std::int64_t, std::ratio<1, 3>>;
  using picoseconds = std::chrono::duration<std::int64_t, std::pico>;
  for (int i = 0; i < 20'000; ++i) {
    const sys_seconds s(seconds(second(random)));
    const sys_time<nanoseconds> n(nanoseconds(nano(random)));
    const sys_time<microseconds> u(microseconds(s.time_since_epoch()) + microseconds(i));
    const sys_time<third> t(third(s.time_since_epoch().count() * 3 + i % 3));
    const sys_time<picoseconds> p(picoseconds(nano(random)));
    const julian_day<> j(std::chrono::floor<milliseconds>(u));
    must(read<sys_seconds>(value(written(s))) == s, written(u));
    must(read<sys_time<nanoseconds>>(value(written(n))) == n, written(u));
    must(read<sys_time<microseconds>>(value(written(u))) == u, written(u));
    must(read<sys_time<third>>(value(written(t))) == t, written(u));
    must(read<sys_time<picoseconds>>(value(written(p))) == p, written(u));
    must(read<julian_day<>>(value(adapter<julian_day<>>::to_sqlite(j))) == j, written(u));
  }
}

TEST_CASE("SQLite's date functions read what is written, and mean the same") {
  oracle canonical("strftime('%Y-%m-%d %H:%M:%f', ?1)");
  oracle julian("strftime('%Y-%m-%d %H:%M:%f', ?1)");
  std::mt19937_64 random(8);
  std::uniform_int_distribution<std::int64_t> ms(-62'000'000'000'000, 253'402'300'799'999);
  for (int i = 0; i < 5'000; ++i) {
    const sys_time<milliseconds> t{milliseconds(ms(random))};
    must(canonical(written(t)) == written(t), written(t));
    must(julian(adapter<julian_day<>>::to_sqlite(t)) == written(t), written(t));
  }
}

TEST_CASE("times of every precision are written so that SQLite reads them, in the years 0000 to 9999") {
  oracle sqlite("strftime('%Y-%m-%d %H:%M:%f', ?1)");
  std::mt19937_64 random(10);
  std::uniform_int_distribution<std::int64_t> second(at(0, 1, 1).time_since_epoch().count(),
                                                     at(9999, 12, 31, 23, 59, 59).time_since_epoch().count());
  std::uniform_int_distribution<std::int64_t> fraction(0, 999'999);
  // SQLite rounds to the millisecond, in floating point.
  const auto near = [](const std::optional<std::string>& theirs, sys_time<microseconds> ours) {
    return theirs && std::chrono::abs(read<sys_time<microseconds>>(value(*theirs)) - ours) <= 1ms;
  };
  for (int i = 0; i < 5'000; ++i) {
    const sys_time<microseconds> us = sys_seconds(seconds(second(random))) + microseconds(fraction(random));
    const auto s = std::chrono::floor<seconds>(us);
    const auto m = std::chrono::floor<minutes>(us);
    const auto d = std::chrono::floor<days>(us);
    must(near(sqlite(written(us)), us), written(us));
    must(sqlite(written(s)) == written(s) + ".000", written(us));
    must(sqlite(written(m)) == written(m) + ".000", written(us));
    must(sqlite(written(d)) == written(d) + " 00:00:00.000", written(us));
    must(sqlite(written(year_month_day(d))) == written(d) + " 00:00:00.000", written(us));
    const std::chrono::duration<double> real = us.time_since_epoch();
    must(near(sqlite(written(sys_time<std::chrono::duration<double>>(real))), us), written(us));
    const hh_mm_ss<microseconds> clock(us - d);
    must(near(sqlite(written(clock)), at(2000, 1, 1) + (us - d)), written(us));
    if (us < sys_time<microseconds>(9'000'000'000s) && us > sys_time<microseconds>(-9'000'000'000s)) {
      must(near(sqlite(written(sys_time<nanoseconds>(us))), us), written(us));
    }
  }
}

TEST_CASE("counts since 1970 mean the same to SQLite, in the years 0000 to 9999") {
  oracle sqlite("datetime(CAST(?1 AS INTEGER), 'unixepoch')");
  std::mt19937_64 random(12);
  std::uniform_int_distribution<std::int64_t> second(at(0, 1, 1).time_since_epoch().count(),
                                                     at(9999, 12, 31, 23, 59, 59).time_since_epoch().count());
  for (int i = 0; i < 5'000; ++i) {
    const sys_seconds s(seconds(second(random)));
    must(sqlite(std::to_string(adapter<unix_time<>>::to_sqlite(s))) == written(s), written(s));
  }
}

TEST_CASE("the ends of February, of March and of the year are SQLite's, in every year from 0000 to 9999") {
  oracle sqlite("strftime('%s', ?1)");
  int leap_days = 0;
  for (int y = 0; y <= 9999; ++y) {
    std::string year = std::to_string(y);
    year.insert(0, 4 - year.size(), '0');
    for (const char* day : {"-01-01", "-02-28", "-03-01", "-12-31"}) {
      const std::string text = year + day;
      const sys_days ours = read<sys_days>(value(text));
      must(sqlite(text) == std::to_string(ours.time_since_epoch().count() * 86400LL), text);
      must(written(ours) == text, text);
    }
    const std::string leap = year + "-02-29";
    if (std::chrono::year(y).is_leap()) {
      ++leap_days;
      const sys_days ours = read<sys_days>(value(leap));
      must(sqlite(leap) == std::to_string(ours.time_since_epoch().count() * 86400LL), leap);
      must(written(ours) == leap, leap);
    } else {
      must(refused<sys_days>(leap), leap);
    }
  }
  CHECK(leap_days == 2425);
}

TEST_CASE("random texts are read as SQLite reads them") {
  // Not milliseconds: SQLite rounds them, in floating point.
  oracle sqlite("strftime('%Y-%m-%d %H:%M', julianday(?1))");
  oracle to_the_millisecond("strftime('%Y-%m-%d %H:%M:%f', julianday(?1))");
  std::mt19937 random(9);
  const auto pick = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  const auto digits = [&](int n, int most) {
    std::string s = std::to_string(pick(most + 1));
    while (static_cast<int>(s.size()) < n) s.insert(0, "0");
    return pick(40) == 0 ? s.substr(1) : s;
  };
  const std::string junk = "0123456789-:. TZz+x\t\0e";
  int accepted = 0;
  int fractions = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::string text;
    if (pick(12) == 0) text += pick(2) ? "-" : " ";
    if (pick(8) != 0) {
      text += digits(4, 9999);
      text += '-';
      text += digits(2, 13);
      text += '-';
      text += digits(2, 31);
    }
    if (pick(4) != 0) {
      text += pick(3) ? " " : pick(2) ? "T" : "";
      text += digits(2, 25);
      text += ':';
      text += digits(2, 60);
      if (pick(3) != 0) text.append(":").append(digits(2, 60));
      if (pick(3) == 0) text.append(".").append(digits(1 + pick(5), 9));
      if (pick(3) == 0) text += pick(2) ? "Z" : " z ";
      if (pick(4) == 0) text.append(pick(2) ? "+" : " -").append(digits(2, 15)).append(":").append(digits(2, 60));
    }
    for (int k = pick(6) == 0 ? 1 + pick(2) : 0; k > 0 && !text.empty(); --k) {
      const auto place = static_cast<std::size_t>(pick(static_cast<int>(text.size())));
      const char c = junk[static_cast<std::size_t>(pick(static_cast<int>(junk.size())))];
      if (pick(2)) {
        text[place] = c;
      } else {
        text.insert(place, 1, c);
      }
    }
    if (text.find('\0') != std::string::npos) continue;
    // The documented differences: days that the month does not have, and years before the first, where versions of
    // SQLite differ.
    const bool may_differ = text.starts_with('-');
    std::optional<std::string> theirs = sqlite(text);
    std::optional<std::string> ours;
    try {
      ours = written(read<sys_time<minutes>>(value(text)));
      ours->resize(ours->size() - 3);
    } catch (const conversion_error&) {
    }
    if (may_differ) continue;
    if (theirs && !ours) {
      const std::size_t y = text.find_first_not_of(' ');
      const bool dated = text.size() >= y + 10 && text[y + 4] == '-' && text[y + 7] == '-';
      must(dated, text);
      const year_month_day date(std::chrono::year(std::stoi(text.substr(y, 4))),
                                std::chrono::month(static_cast<unsigned>(std::stoi(text.substr(y + 5, 2)))),
                                std::chrono::day(static_cast<unsigned>(std::stoi(text.substr(y + 8, 2)))));
      must(!date.ok(), text);
      continue;
    }
    must(ours.has_value() == theirs.has_value(), text);
    // SQLite rounds 59.9999 seconds up into the next minute.
    if (ours && text.find('.') == std::string::npos) {
      must(*ours == *theirs, text);
    } else if (ours) {
      const auto rounded = read<sys_time<microseconds>>(value(to_the_millisecond(text).value()));
      must(std::chrono::abs(read<sys_time<microseconds>>(value(text)) - rounded) <= 1100us, text);
      ++fractions;
    }
    if (ours) ++accepted;
  }
  CHECK(accepted > 10'000);
  CHECK(fractions > 2'000);
}

TEST_CASE("times travel through tables: in structs, optionals, tuples and rows of execute_many") {
  on_loop([]() -> task<> {
    support::temp_database file;
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute_script(
        "CREATE TABLE events(name TEXT NOT NULL, at TEXT NOT NULL, due TEXT, took INTEGER NOT NULL, created INTEGER NOT NULL) STRICT");
    const std::vector<event> events{
        event{"one", sys_time<milliseconds>(at(2026, 3, 1, 12, 30) + 7ms), sys_days(std::chrono::year(2026) / 4 / 1),
              15ms, at(2026, 1, 1)},
        event{"two", sys_time<milliseconds>(at(1960, 3, 1)), std::nullopt, 0ms, at(1960, 1, 1)}};
    co_await db.execute_many("INSERT INTO events VALUES (?, ?, ?, ?, ?)", events);
    const std::vector<event> found = co_await db.query<event>("SELECT * FROM events ORDER BY name");
    CHECK(found == events);
    using pair = std::tuple<std::optional<sys_days>, unix_time<>>;
    const pair second = co_await db.query_one<pair>("SELECT due, created FROM events WHERE at < ?", sys_seconds());
    CHECK_FALSE(std::get<0>(second).has_value());
    CHECK(std::get<1>(second).time() == at(1960, 1, 1));
    const std::string month = co_await db.query_one<std::string>(
        "SELECT strftime('%m', at, '+1 month') || ' ' || datetime(created, 'unixepoch') FROM events WHERE name = 'one'");
    CHECK(month == "04 2026-01-01 00:00:00");
    const sys_days none = co_await db.query_one<sys_days>("SELECT ?", sys_days());
    CHECK(none == sys_days());
  });
}

TEST_CASE("a bad date names its column, and the call") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    const conversion_error e = co_await support::failure_of<conversion_error>(
        db.query<std::tuple<int, sys_seconds>>("SELECT 1, 'yesterday' AS started"));
    CHECK(e.column() == 1);
    CHECK(support::contains(e.what(), "column 1 (started), which is TEXT"));
    CHECK(support::contains(e.sql(), "yesterday"));
    const cosqlite::rows untyped = co_await db.query("SELECT 1, 'yesterday' AS started");
    CHECK_THROWS_AS(untyped[0].get<sys_seconds>(1), conversion_error);
    const conversion_error null =
        co_await support::failure_of<conversion_error>(db.query_one<sys_seconds>("SELECT NULL"));
    CHECK(support::contains(null.what(), "std::optional"));
  });
}
