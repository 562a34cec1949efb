/// \file
/// The text of a statement together with the place in the program where it was used.
#pragma once

#include <concepts>
#include <source_location>
#include <string_view>

namespace cosqlite {

/// SQL text as a parameter: made from any string, it remembers the caller's line for error reports. Borrows the text,
/// which every call copies before it returns.
class sql_text {
 public:
  /// From any string, at the caller's line.
  template <std::convertible_to<std::string_view> S>
  sql_text(const S& text, std::source_location where = std::source_location::current()) noexcept
      : text_(text), where_(where) {}

  /// The SQL.
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  /// Where it was written.
  [[nodiscard]] const std::source_location& where() const noexcept { return where_; }

 private:
  std::string_view text_;
  std::source_location where_;
};

}  // namespace cosqlite
