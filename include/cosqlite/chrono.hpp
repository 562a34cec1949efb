/// \file
/// Dates and times of std::chrono: as text that SQLite's own date functions read, and by choice as integers or Julian
/// days.
///
/// | C++ type | stored as | read from |
/// |---|---|---|
/// | `sys_time`, `system_clock::time_point` | TEXT `2026-03-01 12:30:00[.123]` in UTC | texts, Julian days |
/// | `sys_days`, `year_month_day` | TEXT `2026-03-01` | the same; the day in UTC |
/// | `hh_mm_ss` | TEXT `12:30:00[.123]` | the same; the time of day in UTC |
/// | `duration` | INTEGER (REAL) count of its own unit | the same, and TEXT `[±]HH:MM[:SS[.123]]` |
/// | `unix_time<Duration>` | INTEGER (REAL) count since 1970 | the same |
/// | `julian_day<Duration>` | REAL | REAL, INTEGER |
///
/// A text is written with as many digits as the type has, so that texts of one type sort as the times do.
///
/// Texts that are read: `YYYY-MM-DD`, `YYYY-MM-DD HH:MM`, `… HH:MM:SS`, `… HH:MM:SS.FFF` with any number of digits, `T`
/// instead of the blank, any of them (but a date alone) followed by `Z` or `±HH:MM`, a time alone (on 2000-01-01), and
/// a Julian day in digits: what SQLite's date functions read, without 'now' and without days that their month does not
/// have. A Julian day is taken to the millisecond, as SQLite does. Digits beyond the type's precision are cut off,
/// towards the past, as `datetime()` and `date()` do. Anything else, and times that the type cannot hold, is a
/// `conversion_error`.
#pragma once

#include <cosqlite/adapter.hpp>
#include <cosqlite/detail/decode.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/value.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <ratio>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cosqlite {

/// A point in time that is stored as a number: INTEGER, the count of \p Duration since 1970-01-01 00:00 UTC (REAL when
/// Duration counts in floating point). SQLite reads whole seconds with `datetime(x, 'unixepoch')`.
template <class Duration = std::chrono::seconds>
class unix_time {
 public:
  using time_point = std::chrono::sys_time<Duration>;
  constexpr unix_time() noexcept = default;
  /// From a point in time of std::chrono, and back.
  constexpr unix_time(time_point t) noexcept : time_(t) {}
  /// The point in time.
  [[nodiscard]] constexpr time_point time() const noexcept { return time_; }
  constexpr operator time_point() const noexcept { return time_; }
  friend constexpr auto operator<=>(const unix_time&, const unix_time&) = default;

 private:
  time_point time_{};
};

/// A point in time that is stored as a Julian day: REAL, days since noon of 24 November 4714 BC in UTC, good to the
/// millisecond. SQLite's date functions read it as it is.
template <class Duration = std::chrono::milliseconds>
class julian_day {
 public:
  using time_point = std::chrono::sys_time<Duration>;
  constexpr julian_day() noexcept = default;
  /// From a point in time of std::chrono, and back.
  constexpr julian_day(time_point t) noexcept : time_(t) {}
  /// The point in time.
  [[nodiscard]] constexpr time_point time() const noexcept { return time_; }
  constexpr operator time_point() const noexcept { return time_; }
  friend constexpr auto operator<=>(const julian_day&, const julian_day&) = default;

 private:
  time_point time_{};
};

namespace detail {

inline constexpr std::int64_t attoseconds_a_second = 1'000'000'000'000'000'000;

/// A point in time since 1970, or a span of time: `attoseconds` counts upwards, from 0 to below 10^18.
struct instant {
  std::int64_t seconds = 0;
  std::int64_t attoseconds = 0;
};

/// A date or time as text, without memory of its own on the heap.
class time_text {
 public:
  operator std::string_view() const noexcept { return {text_, size_}; }
  void put(char c) noexcept { text_[size_++] = c; }
  COSQLITE_API void put_number(std::int64_t n, int digits) noexcept;

 private:
  char text_[54] = {};
  std::size_t size_ = 0;
};

COSQLITE_API bool parse_instant(std::string_view text, instant& to) noexcept;
COSQLITE_API bool parse_span(std::string_view text, instant& to) noexcept;
COSQLITE_API bool from_julian_day(double day, instant& to) noexcept;
COSQLITE_API double to_julian_day(const instant& at);
/// The instant in \p v, of any form but a count. Throws conversion_error.
COSQLITE_API instant read_instant(const value_view& v);
COSQLITE_API instant read_julian_day(const value_view& v);
COSQLITE_API instant read_span(const value_view& v);
/// Text of an instant, with \p digits of its fraction. Throws conversion_error outside SQLite's years.
COSQLITE_API time_text write_instant(const instant& at, int digits);
COSQLITE_API time_text write_date(std::int64_t days_since_1970);
COSQLITE_API time_text write_clock(const instant& since_midnight, int digits);
[[noreturn]] COSQLITE_API void throw_unwritable_time(std::string_view what);

inline constexpr std::string_view unrepresentable_time = "a point in time of this precision";

template <class Duration>
inline constexpr bool floating_duration = std::chrono::treat_as_floating_point_v<typename Duration::rep>;

/// Digits after the second that \p Duration tells apart; 6 where no number of digits is exact.
template <class Duration>
inline constexpr int fraction_digits =
    floating_duration<Duration> ? 6 : static_cast<int>(std::chrono::hh_mm_ss<Duration>::fractional_width);

/// Whether \p Duration counts whole days, so that its points in time are dates.
template <class Duration>
inline constexpr bool counts_days = !floating_duration<Duration> && Duration::period::den == 1 &&
                                    Duration::period::num % std::chrono::days::period::num == 0;

/// \p since as seconds and attoseconds; false when the seconds overflow.
template <class Duration>
constexpr bool to_instant(Duration since, instant& to) noexcept {
  using period = typename Duration::period;
  if constexpr (floating_duration<Duration>) {
    // Rounded to the microsecond: what a double of our time can tell.
    const auto us = static_cast<long double>(since.count()) * period::num / period::den * 1e6L;
    if (!(us > -9.2e18L && us < 9.2e18L)) return false;
    const auto n = static_cast<std::int64_t>(us < 0 ? us - 0.5L : us + 0.5L);
    to.seconds = n / 1'000'000 - (n % 1'000'000 < 0 ? 1 : 0);
    to.attoseconds = (n - to.seconds * 1'000'000) * (attoseconds_a_second / 1'000'000);
    return true;
  } else {
    constexpr std::int64_t num = period::num;
    constexpr std::int64_t den = period::den;
    const auto count = static_cast<std::int64_t>(since.count());
    if constexpr (den == 1) {
      to.attoseconds = 0;
      return !__builtin_mul_overflow(count, num, &to.seconds);
    } else {
      std::int64_t n = 0;
      if (__builtin_mul_overflow(count, num, &n)) return false;
      to.seconds = n / den - (n % den < 0 ? 1 : 0);
      const std::int64_t rest = n - to.seconds * den;
      if constexpr (attoseconds_a_second % den == 0) {
        to.attoseconds = rest * (attoseconds_a_second / den);
      } else {
        to.attoseconds = static_cast<std::int64_t>(static_cast<long double>(rest) / den * 1e18L);
      }
      return true;
    }
  }
}

/// \p from in units of \p Duration, rounded down; false when it does not fit.
template <class Duration>
constexpr bool from_instant(const instant& from, Duration& to) noexcept {
  using rep = typename Duration::rep;
  using period = typename Duration::period;
  if constexpr (floating_duration<Duration>) {
    const long double s = static_cast<long double>(from.seconds) + static_cast<long double>(from.attoseconds) / 1e18L;
    to = Duration(static_cast<rep>(s * period::den / period::num));
    return true;
  } else {
    constexpr std::int64_t num = period::num;
    constexpr std::int64_t den = period::den;
    std::int64_t n = 0;
    if (__builtin_mul_overflow(from.seconds, den, &n)) return false;
    if constexpr (den > 1) {
      std::int64_t rest = 0;
      if constexpr (attoseconds_a_second % den == 0) {
        rest = from.attoseconds / (attoseconds_a_second / den);
      } else {
        // No decimal text is exact for such a unit: the nearest is the one that was written.
        rest = static_cast<std::int64_t>(static_cast<long double>(from.attoseconds) / 1e18L * den + 0.5L);
      }
      if (__builtin_add_overflow(n, rest, &n)) return false;
    }
    if constexpr (num > 1) n = n / num - (n % num < 0 ? 1 : 0);
    if (!std::in_range<rep>(n)) return false;
    to = Duration(static_cast<rep>(n));
    return true;
  }
}

template <class Duration>
Duration duration_of(const instant& from, const value_view& v, std::string_view what) {
  Duration d{};
  if (!from_instant(from, d)) throw_out_of_range(v.raw(), v.column(), what);
  return d;
}

template <class Duration>
instant instant_of(Duration since) {
  instant at;
  if (!to_instant(since, at)) throw_unwritable_time("a point in time");
  return at;
}

}  // namespace detail

/// Points in time of the system clock, of any precision; those in whole days are dates.
template <class Duration>
struct adapter<std::chrono::time_point<std::chrono::system_clock, Duration>> {
  using time_point = std::chrono::time_point<std::chrono::system_clock, Duration>;

  static detail::time_text to_sqlite(const time_point& t) {
    const detail::instant at = detail::instant_of(t.time_since_epoch());
    if constexpr (detail::counts_days<Duration>) {
      return detail::write_date(at.seconds / 86400);
    } else {
      return detail::write_instant(at, detail::fraction_digits<Duration>);
    }
  }
  static time_point from_sqlite(const value_view& v) {
    return time_point(detail::duration_of<Duration>(detail::read_instant(v), v, detail::unrepresentable_time));
  }
};

/// A date.
template <>
struct adapter<std::chrono::year_month_day> {
  COSQLITE_API static detail::time_text to_sqlite(const std::chrono::year_month_day& date);
  COSQLITE_API static std::chrono::year_month_day from_sqlite(const value_view& v);
};

/// A time of day, from 00:00 to before 24:00.
template <class Duration>
struct adapter<std::chrono::hh_mm_ss<Duration>> {
  using clock_time = std::chrono::hh_mm_ss<Duration>;

  static detail::time_text to_sqlite(const clock_time& t) {
    return detail::write_clock(detail::instant_of(t.to_duration()), detail::fraction_digits<Duration>);
  }
  static clock_time from_sqlite(const value_view& v) {
    detail::instant at = detail::read_instant(v);
    at.seconds = (at.seconds % 86400 + 86400) % 86400;
    return clock_time(detail::duration_of<Duration>(at, v, "a time of day of this precision"));
  }
};

/// A span of time: the count of its own unit.
template <class Rep, class Period>
struct adapter<std::chrono::duration<Rep, Period>> {
  using duration = std::chrono::duration<Rep, Period>;

  static Rep to_sqlite(const duration& d) noexcept { return d.count(); }
  static duration from_sqlite(const value_view& v) {
    if (v.type() != value_type::text) return duration(v.get<Rep>());
    return detail::duration_of<duration>(detail::read_span(v), v, "a duration of this precision");
  }
};

template <class Duration>
struct adapter<unix_time<Duration>> {
  static auto to_sqlite(const unix_time<Duration>& t) noexcept { return t.time().time_since_epoch().count(); }
  static unix_time<Duration> from_sqlite(const value_view& v) {
    return std::chrono::sys_time<Duration>(Duration(v.get<typename Duration::rep>()));
  }
};

template <class Duration>
struct adapter<julian_day<Duration>> {
  static double to_sqlite(const julian_day<Duration>& t) {
    return detail::to_julian_day(detail::instant_of(t.time().time_since_epoch()));
  }
  static julian_day<Duration> from_sqlite(const value_view& v) {
    using time_point = std::chrono::sys_time<Duration>;
    return time_point(detail::duration_of<Duration>(detail::read_julian_day(v), v, detail::unrepresentable_time));
  }
};

}  // namespace cosqlite
