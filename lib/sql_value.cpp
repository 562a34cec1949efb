#include "sql_value.hpp"

#include "sql_quoting.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace cosqlite::detail {

namespace {

/// As a whole number times or over powers of two, each of which SQLite reads and multiplies exactly.
void append_exactly(std::string& to, double v) {
  int exponent = 0;
  const double fraction = std::frexp(v, &exponent);
  const auto mantissa = static_cast<std::int64_t>(std::ldexp(fraction, 53));
  exponent -= 53;
  to += "(CAST(" + std::to_string(mantissa) + " AS REAL)";
  const char* sign = exponent < 0 ? "/" : "*";
  for (int left = std::abs(exponent); left > 0; left -= std::min(left, 52)) {
    to += sign + std::to_string(std::int64_t{1} << std::min(left, 52)) + ".0";
  }
  to += ")";
}

void append_blob(std::string& to, const unsigned char* data, std::size_t size) {
  constexpr char digits[] = "0123456789abcdef";
  to += "x'";
  for (std::size_t i = 0; i < size; ++i) {
    to += digits[data[i] >> 4];
    to += digits[data[i] & 15];
  }
  to += '\'';
}

}  // namespace

void real_writer::append(std::string& to, double v) {
  if (std::isinf(v)) {
    to += v > 0 ? "9e999" : "-9e999";
    return;
  }
  std::array<char, 64> text;
  const auto shortest = std::to_chars(text.data(), text.data() + text.size(), v);
  std::string_view digits(text.data(), static_cast<std::size_t>(shortest.ptr - text.data()));
  std::string candidate(digits);
  if (candidate.find_first_of(".e") == std::string::npos) candidate += ".0";
  if (reads_back(candidate, v)) {
    to += candidate;
    return;
  }
  append_exactly(to, v);
}

bool real_writer::reads_back(const std::string& text, double v) {
  if (!stmt_) return true;
  sqlite3_bind_text(stmt_, 1, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
  const bool same = sqlite3_step(stmt_) == SQLITE_ROW &&
                    std::bit_cast<std::uint64_t>(sqlite3_column_double(stmt_, 0)) == std::bit_cast<std::uint64_t>(v);
  sqlite3_reset(stmt_);
  return same;
}

/// SQL cannot hold a NUL: another mark stands for it, and is put back when the statement runs.
void append_text(std::string& to, std::string_view text) {
  if (text.find('\0') == std::string_view::npos) {
    to += quoted_text(text);
    return;
  }
  std::string mark = "\x01";
  while (text.find(mark) != std::string_view::npos) mark.insert(0, "{nul" + std::to_string(mark.size()) + "}");
  std::string marked;
  for (const char c : text) {
    if (c == '\0') {
      marked += mark;
    } else {
      marked += c;
    }
  }
  to += "replace(" + quoted_text(marked) + "," + quoted_text(mark) + ",char(0))";
}

void append_value(std::string& to, sqlite3_stmt* stmt, int i, real_writer& reals) {
  switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER: to += std::to_string(sqlite3_column_int64(stmt, i)); break;
    case SQLITE_FLOAT: reals.append(to, sqlite3_column_double(stmt, i)); break;
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt, i));
      if (!text) throw std::bad_alloc();
      append_text(to, {text, static_cast<std::size_t>(sqlite3_column_bytes(stmt, i))});
      break;
    }
    case SQLITE_BLOB: {
      const auto* data = static_cast<const unsigned char*>(sqlite3_column_blob(stmt, i));
      const int size = sqlite3_column_bytes(stmt, i);
      if (!data && size > 0) throw std::bad_alloc();
      append_blob(to, data, static_cast<std::size_t>(size));
      break;
    }
    default: to += "NULL"; break;
  }
}

}  // namespace cosqlite::detail
