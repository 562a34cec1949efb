#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cosqlite::detail {

/// The text between the parentheses of a CREATE VIRTUAL TABLE, split at its commas, without the module's name.
struct module_call {
  std::string module;  ///< in lower case
  std::vector<std::string> arguments;
};

[[nodiscard]] module_call module_of(std::string_view sql);

/// The value of `key=value` among the arguments.
[[nodiscard]] std::optional<std::string> option_of(const module_call& call, std::string_view key);

}  // namespace cosqlite::detail
