#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cosqlite::detail {

/// What a statement does to savepoints, or that it changes the schema, by its text.
struct savepoint_statement {
  enum class verb : std::uint8_t { none, begin, release, roll_back_to, schema };
  verb what = verb::none;
  std::string name;  ///< in lower case, without quotes
};

/// Reads the text of a statement that SQLite has compiled.
savepoint_statement read_savepoint_statement(std::string_view sql);

}  // namespace cosqlite::detail
