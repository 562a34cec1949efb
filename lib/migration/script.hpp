#pragma once

#include <string>
#include <string_view>

namespace cosqlite::detail {

/// What a look at the text of a step tells.
struct script_facts {
  int statements = 0;
  bool foreign_keys_off = false;  ///< its first line says so
  std::string fault;              ///< why it cannot run as a step; empty: it can
};

/// Looks for what cannot run inside the transaction of a step.
[[nodiscard]] script_facts examine_script(std::string_view sql);

}  // namespace cosqlite::detail
