// Reads the two files of the Unicode Character Database that the example imports.
#pragma once

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace unicode {

/// A line of UnicodeData.txt: a character, or the first or last one of a range such as <CJK Ideograph, First>.
struct character {
  std::int64_t code;
  std::string name;
  std::string category;
  std::int64_t combining_class;
  std::string bidi_class;
  std::string decomposition;
  std::string numeric_value;
  std::string old_name;
  std::optional<std::int64_t> upper;
  std::optional<std::int64_t> lower;
};

/// A line of Blocks.txt.
struct block {
  std::int64_t first;
  std::int64_t last;
  std::string name;
};

/// A file that is missing or is not what it should be; the message begins with file:line.
class input_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The lines of a text file, with their numbers for error messages.
class line_reader {
 public:
  explicit line_reader(std::filesystem::path path) : path_(std::move(path)), in_(path_, std::ios::binary) {
    std::error_code failure(in_ ? 0 : errno, std::generic_category());
    if (!failure) size_ = std::filesystem::file_size(path_, failure);
    if (failure == std::errc::no_such_file_or_directory) {
      throw input_error(path_.string() + ": there is no such file (Debian's package unicode-data has it)");
    }
    if (failure) throw input_error(path_.string() + ": cannot be read: " + failure.message());
  }

  /// The following line, or nothing at the end of the file.
  std::optional<std::string_view> next() {
    if (!std::getline(in_, line_)) {
      if (in_.bad()) throw input_error(path_.string() + ": reading failed");
      return std::nullopt;
    }
    ++number_;
    if (in_.eof()) fail("the file ends in the middle of a line");
    read_ += line_.size() + 1;
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    return line_;
  }

  /// How much has been read, from 0 to 1.
  double progress() const {
    return size_ == 0 ? 1.0 : std::min(1.0, static_cast<double>(read_) / static_cast<double>(size_));
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw input_error(path_.string() + ":" + std::to_string(number_) + ": " + what);
  }

 private:
  std::filesystem::path path_;
  std::ifstream in_;
  std::string line_;
  std::size_t number_ = 0;
  std::uintmax_t read_ = 0;
  std::uintmax_t size_ = 0;
};

inline std::int64_t number(const line_reader& from, std::string_view text, int base, const char* what) {
  std::int64_t value = -1;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failure != std::errc() || end != text.data() + text.size() || value < 0) {
    from.fail(std::string("\"") + std::string(text) + "\" is no " + what);
  }
  return value;
}

inline std::int64_t code_point(const line_reader& from, std::string_view text) {
  const std::int64_t code = number(from, text, 16, "code point");
  if (code > 0x10FFFF) from.fail("\"" + std::string(text) + "\" is beyond the last code point, 10FFFF");
  return code;
}

inline std::optional<std::int64_t> optional_code_point(const line_reader& from, std::string_view text) {
  if (text.empty()) return std::nullopt;
  return code_point(from, text);
}

/// UnicodeData.txt, read a batch at a time.
class character_reader {
 public:
  explicit character_reader(const std::filesystem::path& path) : lines_(path) {}

  /// The following characters, at most `limit`; none at the end.
  std::vector<character> next(std::size_t limit) {
    std::vector<character> batch;
    batch.reserve(limit);
    while (batch.size() < limit) {
      const auto line = lines_.next();
      if (!line) {
        check_end();
        break;
      }
      batch.push_back(parse(*line));
    }
    return batch;
  }

  double progress() const { return lines_.progress(); }

 private:
  static constexpr std::size_t field_count = 15;

  std::array<std::string_view, field_count> split(std::string_view line) const {
    std::array<std::string_view, field_count> fields;
    std::size_t found = 0;
    for (std::string_view rest = line;;) {
      const std::size_t end = rest.find(';');
      if (found < field_count) fields[found] = rest.substr(0, end);
      ++found;
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
    if (found != field_count) lines_.fail("15 fields expected, found " + std::to_string(found));
    return fields;
  }

  character parse(std::string_view line) {
    const auto field = split(line);
    character c;
    c.code = code_point(lines_, field[0]);
    c.name = field[1];
    c.category = field[2];
    c.combining_class = number(lines_, field[3], 10, "combining class");
    c.bidi_class = field[4];
    c.decomposition = field[5];
    c.numeric_value = field[8];
    c.old_name = field[10];
    c.upper = optional_code_point(lines_, field[12]);
    c.lower = optional_code_point(lines_, field[13]);
    if (c.name.empty()) lines_.fail("the name is empty");
    if (c.category.size() != 2) lines_.fail("\"" + c.category + "\" is no general category");
    check_order(c);
    return c;
  }

  void check_order(const character& c) {
    if (c.code <= last_code_) lines_.fail("the code points do not ascend");
    if (in_range_ != c.name.ends_with(", Last>")) lines_.fail("a range's First and Last do not stand side by side");
    last_code_ = c.code;
    in_range_ = c.name.ends_with(", First>");
  }

  void check_end() const {
    if (last_code_ < 0) lines_.fail("the file is empty");
    if (in_range_) lines_.fail("the file ends inside a range");
  }

  line_reader lines_;
  std::int64_t last_code_ = -1;
  bool in_range_ = false;
};

/// All of Blocks.txt.
inline std::vector<block> read_blocks(const std::filesystem::path& path) {
  line_reader lines(path);
  std::vector<block> blocks;
  while (const auto line = lines.next()) {
    if (line->empty() || line->front() == '#') continue;
    const std::size_t dots = line->find("..");
    const std::size_t name = line->find("; ");
    if (dots == std::string_view::npos || name == std::string_view::npos || dots > name) {
      lines.fail("a block looks like \"0000..007F; Basic Latin\"");
    }
    block b;
    b.first = code_point(lines, line->substr(0, dots));
    b.last = code_point(lines, line->substr(dots + 2, name - dots - 2));
    b.name = line->substr(name + 2);
    if (b.last < b.first) lines.fail("the block ends before it begins");
    blocks.push_back(std::move(b));
  }
  if (blocks.empty()) lines.fail("the file has no blocks");
  return blocks;
}

}  // namespace unicode
