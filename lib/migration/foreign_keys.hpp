#pragma once

#include <cosqlite/migration.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cosqlite::detail {

/// Enforcement of foreign keys, off from `begin` until `end` or its destruction, within one transaction. PRAGMA
/// foreign_keys does nothing inside a transaction, and outside other calls on the connection could run between it and
/// BEGIN or COMMIT; the switch behind it works at once, and no constraint is pending right after BEGIN or right before
/// COMMIT.
class unenforced_keys {
 public:
  explicit unenforced_keys(call_site site) noexcept;
  unenforced_keys(const unenforced_keys&) = delete;
  unenforced_keys& operator=(const unenforced_keys&) = delete;
  ~unenforced_keys();

  [[nodiscard]] task<> begin(transaction& tx);
  [[nodiscard]] task<> end(transaction& tx);

 private:
  call_site site_;
  ref<executor> where_;
  bool armed_ = false;
};

/// A row that refers to a row that does not exist, as PRAGMA foreign_key_check tells.
struct orphan {
  std::string table;
  std::optional<std::int64_t> rowid;
  std::string parent;
  std::int64_t key = 0;
};

[[nodiscard]] task<std::vector<orphan>> find_orphans(connection& at);
[[nodiscard]] task<std::vector<orphan>> find_orphans(transaction& at);
/// How many, and the first of them. There must be one.
[[nodiscard]] std::string describe(const std::vector<orphan>& orphans);

}  // namespace cosqlite::detail
