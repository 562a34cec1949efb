#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

/// A bar on the terminal; where the output goes elsewhere, one line at the end.
class progress_bar {
 public:
  explicit progress_bar(std::string what) : what_(std::move(what)), live_(isatty(STDOUT_FILENO) == 1) {}

  void show(std::uint64_t done, std::uint64_t total, const std::string& note = {}) {
    const int percent = total == 0 ? 100 : static_cast<int>(done * 100 / total);
    if (percent == shown_ && note == note_) return;
    shown_ = percent;
    note_ = note;
    if (!live_ && percent < 100) return;
    constexpr std::size_t width = 40;
    const std::size_t filled = static_cast<std::size_t>(percent) * width / 100;
    std::printf("%s%s [%s%s] %3d %%%s%s", live_ ? "\r" : "", what_.c_str(), std::string(filled, '#').c_str(),
                std::string(width - filled, '.').c_str(), percent, note.c_str(), percent == 100 ? "\n" : "");
    std::fflush(stdout);
  }
  /// Leaves the line of a bar that does not come to its end.
  void leave() const {
    if (live_ && shown_ >= 0 && shown_ < 100) std::printf("\n");
  }

 private:
  std::string what_;
  std::string note_;
  bool live_;
  int shown_ = -1;
};
