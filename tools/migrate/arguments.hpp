#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace migrate {

/// The command line is wrong, or something that it names is not there.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// How a new step is numbered.
enum class numbering : std::uint8_t { as_before, sequential, timestamp };

struct arguments {
  std::string command;
  std::string name;
  std::string database;
  std::filesystem::path source = "migrations";
  std::optional<std::int64_t> to;
  numbering number = numbering::as_before;
  bool dry_run = false;
  bool create = false;
  bool help = false;
  bool version = false;
};

/// What --help prints.
extern const std::string_view usage;

/// Throws usage_error.
[[nodiscard]] arguments parse(int count, char** values);

}  // namespace migrate
