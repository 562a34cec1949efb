#pragma once

#include <sqlite3.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <source_location>
#include <string>
#include <string_view>

namespace cosqlite::detail {

/// A database file that is written beside its place and takes its name when it is complete. Until then it is unlinked
/// with the object.
class new_file {
 public:
  /// Throws when \p path cannot be the place of a copy of \p source (a file of \p db).
  new_file(std::string_view path, const std::source_location& where);
  new_file(const new_file&) = delete;
  new_file& operator=(const new_file&) = delete;
  ~new_file();

  /// Where to write it.
  [[nodiscard]] const std::string& temporary() const noexcept { return temporary_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Throws when the place is taken by \p source itself, by something that is no database, or by a database that is in
  /// use.
  void check_place(const char* source) const;
  /// Nobody else may read more than they may of \p source.
  void take_permissions_of(const char* source) const noexcept;
  /// Gives the file its name, in place of the database that is there. What is written has been synced. Throws when that
  /// one is in use for longer than \p patience, or until \p stopped.
  void publish(std::chrono::milliseconds patience, const std::function<bool()>& stopped);

 private:
  std::string path_;
  std::string temporary_;
  std::source_location where_;
  bool published_ = false;
};

/// Whether both names lead to the same file.
[[nodiscard]] bool is_same_file(const char* a, const char* b) noexcept;
/// fsync of the file \p path, which no connection of this process has open.
void sync_file(const std::string& path, const std::source_location& where);

}  // namespace cosqlite::detail
