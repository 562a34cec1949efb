#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cosqlite::detail {

/// \p name as an identifier in SQL.
[[nodiscard]] std::string quoted_name(std::string_view name);
/// \p text as a string literal in SQL. It must have no NUL in it.
[[nodiscard]] std::string quoted_text(std::string_view text);
/// What \p s says inside its quotes, of any of SQL's four kinds; itself when it has none.
[[nodiscard]] std::string unquoted(const std::string& s);

/// ASCII letters in lower case, as SQLite compares names.
[[nodiscard]] std::string lower_case(std::string_view s);
[[nodiscard]] bool same_name(std::string_view a, std::string_view b);
[[nodiscard]] std::string trimmed(std::string_view s);

/// Where the token of SQL at \p i ends: a quoted piece, a comment, or a character.
[[nodiscard]] std::size_t token_end(std::string_view sql, std::size_t i);

}  // namespace cosqlite::detail
