#include <cosqlite/chrono.hpp>
#include <cosqlite/error.hpp>

#include <charconv>
#include <cmath>
#include <system_error>

namespace cosqlite {

namespace detail {

namespace {

using std::chrono::day;
using std::chrono::month;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;

constexpr std::int64_t day_seconds = 86400;
constexpr double most_julian_days = 5373484.5;                 // 10000-01-01
constexpr std::int64_t julian_epoch_ms = 210'866'760'000'000;  // 1970-01-01 in milliseconds of the Julian day
constexpr std::int64_t first_second = -210'866'760'000;        // Julian day 0
constexpr std::int64_t end_second = 253'402'300'800;           // 10000-01-01
constexpr std::int64_t year_2000 = 946'684'800;                // 2000-01-01, the day of a time alone

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Reads on from the front of a text.
class scanner {
 public:
  explicit scanner(std::string_view text) noexcept : at_(text.data()), end_(at_ + text.size()) {}

  [[nodiscard]] bool done() const noexcept { return at_ == end_; }
  [[nodiscard]] char peek() const noexcept { return at_ == end_ ? '\0' : *at_; }
  [[nodiscard]] std::string_view rest() const noexcept { return {at_, static_cast<std::size_t>(end_ - at_)}; }
  void skip_spaces() noexcept {
    while (!done() && is_space(*at_)) ++at_;
  }
  /// SQLite lets any mixture of blanks and T stand between date and time.
  void skip_separator() noexcept {
    while (!done() && (is_space(*at_) || *at_ == 'T')) ++at_;
  }
  bool take(char c) noexcept {
    if (peek() != c || done()) return false;
    ++at_;
    return true;
  }
  /// Exactly \p digits digits, at most \p most.
  bool number(int digits, int most, int& to) noexcept {
    if (end_ - at_ < digits) return false;
    int n = 0;
    for (int i = 0; i < digits; ++i) {
      if (!is_digit(at_[i])) return false;
      n = n * 10 + (at_[i] - '0');
    }
    if (n > most) return false;
    at_ += digits;
    to = n;
    return true;
  }
  /// The digits after a point, as attoseconds; further digits are dropped.
  std::int64_t fraction() noexcept {
    if (end_ - at_ < 2 || *at_ != '.' || !is_digit(at_[1])) return 0;
    std::int64_t unit = attoseconds_a_second;
    std::int64_t sum = 0;
    for (++at_; !done() && is_digit(*at_); ++at_) {
      unit /= 10;
      sum += unit * (*at_ - '0');
    }
    return sum;
  }

 private:
  const char* at_;
  const char* end_;
};

/// HH:MM[:SS[.FFF]] as seconds since midnight; 24:00 is the end of the day.
bool scan_clock(scanner& s, instant& to) noexcept {
  int hours = 0;
  int minutes = 0;
  int seconds = 0;
  if (!s.number(2, 24, hours) || !s.take(':') || !s.number(2, 59, minutes)) return false;
  to.attoseconds = 0;
  if (s.take(':')) {
    if (!s.number(2, 59, seconds)) return false;
    to.attoseconds = s.fraction();
  }
  to.seconds = hours * 3600 + minutes * 60 + seconds;
  return true;
}

/// Nothing, Z, or ±HH:MM, up to the end of the text; gives the seconds to take off.
bool scan_zone(scanner& s, std::int64_t& offset) noexcept {
  offset = 0;
  s.skip_spaces();
  if (s.done()) return true;
  if (!s.take('Z') && !s.take('z')) {
    const bool west = s.peek() == '-';
    int hours = 0;
    int minutes = 0;
    if (!s.take('+') && !s.take('-')) return false;
    if (!s.number(2, 14, hours) || !s.take(':') || !s.number(2, 59, minutes)) return false;
    offset = hours * 3600 + minutes * 60;
    if (west) offset = -offset;
  }
  s.skip_spaces();
  return s.done();
}

bool scan_clock_and_zone(scanner& s, std::int64_t midnight, instant& to) noexcept {
  instant clock;
  std::int64_t offset = 0;
  if (!scan_clock(s, clock) || !scan_zone(s, offset)) return false;
  to.seconds = midnight + clock.seconds - offset;
  to.attoseconds = clock.attoseconds;
  return true;
}

bool scan_date(scanner& s, std::int64_t& midnight) noexcept {
  const bool before_christ = s.take('-');
  int y = 0;
  int m = 0;
  int d = 0;
  if (!s.number(4, 9999, y) || !s.take('-') || !s.number(2, 12, m) || !s.take('-') || !s.number(2, 31, d)) return false;
  const year_month_day date(year(before_christ ? -y : y), month(static_cast<unsigned>(m)),
                            day(static_cast<unsigned>(d)));
  if (!date.ok()) return false;
  midnight = sys_days(date).time_since_epoch().count() * day_seconds;
  return true;
}

bool parse_julian_day(std::string_view text, instant& to) noexcept {
  scanner s(text);
  s.skip_spaces();
  s.take('+');
  std::string_view number = s.rest();
  while (!number.empty() && is_space(number.back())) number.remove_suffix(1);
  // No "inf", "nan" or hexadecimal: digits, a point, an exponent.
  if (number.empty() || number.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return false;
  double day_number = 0;
  const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), day_number);
  return failure == std::errc() && end == number.data() + number.size() && from_julian_day(day_number, to);
}

bool in_range(const instant& at) noexcept { return at.seconds >= first_second && at.seconds < end_second; }

void put_date(time_text& t, const year_month_day& date) noexcept {
  const int y = static_cast<int>(date.year());
  if (y < 0) t.put('-');
  t.put_number(y < 0 ? -y : y, 4);
  t.put('-');
  t.put_number(static_cast<unsigned>(date.month()), 2);
  t.put('-');
  t.put_number(static_cast<unsigned>(date.day()), 2);
}

void put_clock(time_text& t, std::int64_t seconds, std::int64_t attoseconds, int digits) noexcept {
  t.put_number(seconds / 3600, 2);
  t.put(':');
  t.put_number(seconds / 60 % 60, 2);
  t.put(':');
  t.put_number(seconds % 60, 2);
  if (digits <= 0) return;
  t.put('.');
  for (int i = digits; i < 18; ++i) attoseconds /= 10;
  t.put_number(attoseconds, digits);
}

}  // namespace

void time_text::put_number(std::int64_t n, int digits) noexcept {
  for (int i = digits; i-- > 0; n /= 10) text_[size_ + static_cast<std::size_t>(i)] = static_cast<char>('0' + n % 10);
  size_ += static_cast<std::size_t>(digits);
}

bool parse_instant(std::string_view text, instant& to) noexcept {
  scanner dated(text);
  std::int64_t midnight = 0;
  if (scan_date(dated, midnight)) {
    dated.skip_separator();
    if (!dated.done()) return scan_clock_and_zone(dated, midnight, to) && in_range(to);
    to.seconds = midnight;
    to.attoseconds = 0;
    return in_range(to);
  }
  scanner timed(text);
  return scan_clock_and_zone(timed, year_2000, to) || parse_julian_day(text, to);
}

bool parse_span(std::string_view text, instant& to) noexcept {
  scanner s(text);
  const bool negative = s.take('-');
  if (!negative) s.take('+');
  if (!scan_clock(s, to) || !s.done()) return false;
  if (!negative) return true;
  to.seconds = -to.seconds;
  if (to.attoseconds == 0) return true;
  --to.seconds;
  to.attoseconds = attoseconds_a_second - to.attoseconds;
  return true;
}

bool from_julian_day(double day_number, instant& to) noexcept {
  if (!(day_number >= 0.0 && day_number < most_julian_days)) return false;
  const std::int64_t ms = static_cast<std::int64_t>(day_number * 86'400'000.0 + 0.5) - julian_epoch_ms;
  to.seconds = ms / 1000 - (ms % 1000 < 0 ? 1 : 0);
  to.attoseconds = (ms - to.seconds * 1000) * (attoseconds_a_second / 1000);
  return true;
}

double to_julian_day(const instant& at) {
  if (!in_range(at)) throw_unwritable_time("a Julian day");
  const std::int64_t ms = at.seconds * 1000 + at.attoseconds / (attoseconds_a_second / 1000) + julian_epoch_ms;
  return static_cast<double>(ms) / 86'400'000.0;
}

instant read_julian_day(const value_view& v) {
  constexpr std::string_view what = "a Julian day (0 up to 5373484.5)";
  instant at;
  if (v.type() != value_type::real && v.type() != value_type::integer) v.refuse(what);
  const double number = v.type() == value_type::real ? v.raw().real : static_cast<double>(v.raw().integer);
  if (!from_julian_day(number, at)) throw_out_of_range(v.raw(), v.column(), what);
  return at;
}

instant read_instant(const value_view& v) {
  instant at;
  if (v.type() == value_type::text) [[likely]] {
    if (!parse_instant(v.raw().text(), at)) {
      v.refuse("a date or time (YYYY-MM-DD [HH:MM[:SS[.FFF]]] [Z or ±HH:MM], or a Julian day)");
    }
    return at;
  }
  if (v.type() == value_type::blob) v.refuse("a date or time");
  const double number = v.type() == value_type::real ? v.raw().real : static_cast<double>(v.raw().integer);
  if (!from_julian_day(number, at)) {
    v.refuse("a Julian day (0 up to 5373484.5); for a count since 1970 read cosqlite::unix_time");
  }
  return at;
}

instant read_span(const value_view& v) {
  instant span;
  if (!parse_span(v.raw().text(), span)) v.refuse("a duration ([+-]HH:MM[:SS[.FFF]], or a count)");
  return span;
}

time_text write_date(std::int64_t days) {
  if (days < first_second / day_seconds || days >= end_second / day_seconds) throw_unwritable_time("a date");
  time_text t;
  put_date(t, year_month_day(sys_days(std::chrono::days(static_cast<int>(days)))));
  return t;
}

time_text write_instant(const instant& at, int digits) {
  if (!in_range(at)) throw_unwritable_time("a point in time");
  const std::int64_t days = at.seconds / day_seconds - (at.seconds % day_seconds < 0 ? 1 : 0);
  time_text t;
  put_date(t, year_month_day(sys_days(std::chrono::days(static_cast<int>(days)))));
  t.put(' ');
  put_clock(t, at.seconds - days * day_seconds, at.attoseconds, digits);
  return t;
}

time_text write_clock(const instant& since_midnight, int digits) {
  if (since_midnight.seconds < 0 || since_midnight.seconds >= day_seconds) {
    throw conversion_error(
        "cannot bind a time of day below 00:00 or from 24:00 on; bind a duration, or take whole days off", {20}, -1,
        "a time of day", "TEXT");
  }
  time_text t;
  put_clock(t, since_midnight.seconds, since_midnight.attoseconds, digits);
  return t;
}

void throw_unwritable_time(std::string_view what) {
  throw conversion_error("cannot bind " + std::string(what) +
                             " before 24 November 4714 BC or after the year 9999: SQLite's date functions end there",
                         {20}, -1, std::string(what), "TEXT");
}

}  // namespace detail

detail::time_text adapter<std::chrono::year_month_day>::to_sqlite(const std::chrono::year_month_day& date) {
  if (!date.ok()) {
    throw conversion_error("cannot bind a year_month_day that is no date (its ok() is false)", {20}, -1,
                           "year_month_day", "TEXT");
  }
  return detail::write_date(std::chrono::sys_days(date).time_since_epoch().count());
}

std::chrono::year_month_day adapter<std::chrono::year_month_day>::from_sqlite(const value_view& v) {
  return std::chrono::year_month_day(adapter<std::chrono::sys_days>::from_sqlite(v));
}

}  // namespace cosqlite
