#include "migrate/new_step.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

namespace migrate {

namespace {

/// The number in front of a file's name; 0: none.
std::int64_t number_of(const std::string& file) {
  std::int64_t n = 0;
  std::from_chars(file.data(), file.data() + file.size(), n);
  return n;
}

std::int64_t last_number(const std::filesystem::path& folder) {
  std::int64_t last = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    last = std::max(last, number_of(entry.path().filename().string()));
  }
  return last;
}

/// 20260301123000: the time in UTC.
std::int64_t number_of_now() {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto today = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date(today);
  const std::chrono::hh_mm_ss clock(now - today);
  const std::int64_t day = (static_cast<int>(date.year()) * 100LL + static_cast<unsigned>(date.month())) * 100 +
                           static_cast<unsigned>(date.day());
  return ((day * 100 + clock.hours().count()) * 100 + clock.minutes().count()) * 100 + clock.seconds().count();
}

bool is_time(std::int64_t number) { return number >= 1970'01'01'00'00'00 && number <= 9999'12'31'23'59'59; }

std::int64_t next_number(numbering how, std::int64_t last) {
  const bool by_time = how == numbering::timestamp || (how == numbering::as_before && is_time(last));
  return by_time ? std::max(number_of_now(), last + 1) : last + 1;
}

std::string safe_name(std::string name) {
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (c == ' ') {
      c = '_';
    } else if (!plain) {
      throw usage_error("a step's name is made of letters, digits, _ and -");
    }
  }
  return name;
}

/// Never over a file that is there.
void write_new(const std::filesystem::path& path, const std::string& text) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wx"), &std::fclose);
  if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() || std::fflush(file.get()) != 0) {
    throw std::runtime_error("cannot write " + path.string() + ": " + std::generic_category().message(errno));
  }
  std::cout << "Created " << path.string() << "\n";
}

}  // namespace

void make_step(const arguments& a) {
  const std::string name = safe_name(a.name);
  std::filesystem::create_directories(a.source);
  std::string number = std::to_string(next_number(a.number, last_number(a.source)));
  if (number.size() < 4) number.insert(0, 4 - number.size(), '0');
  const std::string stem = number + "_" + name;
  write_new(a.source / (stem + ".up.sql"), "-- " + name + "\n");
  write_new(a.source / (stem + ".down.sql"),
            "-- takes " + name + " back; leave it empty or delete it where there is no way back\n");
}

}  // namespace migrate
