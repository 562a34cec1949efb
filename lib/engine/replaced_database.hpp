#pragma once

namespace cosqlite::detail {

class worker;

/// Tells those who watch \p at, if any, that a backup or an image has taken the place of its database.
void tell_of_replacement(const worker& at) noexcept;

}  // namespace cosqlite::detail
