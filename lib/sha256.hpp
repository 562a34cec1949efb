#pragma once

#include <string>
#include <string_view>

namespace cosqlite::detail {

/// SHA-256 (FIPS 180-4) of \p text, in 64 hexadecimal digits.
[[nodiscard]] std::string sha256(std::string_view text);

}  // namespace cosqlite::detail
