#pragma once

#include "support/catch.hpp"

#include <sqlite3.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace support {

/// A folder of its own with the path of a database in it; all of it goes with the object.
class temp_database {
 public:
  temp_database() {
    std::string folder = (std::filesystem::temp_directory_path() / "cosqlite-XXXXXX").string();
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
  }
  temp_database(const temp_database&) = delete;
  temp_database& operator=(const temp_database&) = delete;
  ~temp_database() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::string path() const { return (folder_ / "test.db").string(); }
  const std::filesystem::path& folder() const { return folder_; }
  bool exists() const { return std::filesystem::exists(folder_ / "test.db"); }
  void write(std::string_view content) const {
    std::ofstream(path(), std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
  }

 private:
  std::filesystem::path folder_;
};

/// SQLite's own interface to a file, beside the library: what another program would see and do.
class raw_database {
 public:
  explicit raw_database(const std::string& path) {
    REQUIRE(sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr) == SQLITE_OK);
  }
  raw_database(const raw_database&) = delete;
  raw_database& operator=(const raw_database&) = delete;
  ~raw_database() { sqlite3_close(db_); }

  sqlite3* get() const { return db_; }
  /// SQLite's extended code.
  int try_to(const char* sql) const {
    const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
    return rc == SQLITE_OK ? rc : sqlite3_extended_errcode(db_);
  }
  void execute(const char* sql) const {
    const int rc = try_to(sql);
    INFO(sql << ": " << sqlite3_errmsg(db_));
    REQUIRE(rc == SQLITE_OK);
  }
  /// The first column of the first row.
  std::string text(const char* sql) const {
    sqlite3_stmt* stmt = nullptr;
    REQUIRE(sqlite3_prepare_v2(db_, sql, -1, &stmt, nullptr) == SQLITE_OK);
    const int rc = sqlite3_step(stmt);
    const auto* found = rc == SQLITE_ROW ? reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0)) : nullptr;
    std::string result(found ? found : "");
    sqlite3_finalize(stmt);
    INFO(sql << ": " << sqlite3_errmsg(db_));
    REQUIRE((rc == SQLITE_ROW || rc == SQLITE_DONE));
    return result;
  }
  std::int64_t number(const char* sql) const { return std::stoll(text(sql)); }

 private:
  sqlite3* db_ = nullptr;
};

}  // namespace support
