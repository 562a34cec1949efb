// What the programs made of the guide's blocks stand on; see extract.py.
#pragma once

#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define SNIPPETS_OLD_GCC 1
#else
#define SNIPPETS_OLD_GCC 0
#endif

namespace snippets {

inline constexpr const char* any_output = nullptr;

/// The tables that the guide's fragments may use.
inline constexpr const char* tables = R"(
  CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, age INTEGER);
  INSERT INTO users VALUES (1, 'Ada', 'ada@example.org', 36), (2, 'Grace', 'grace@example.org', 45),
    (3, 'Linus', NULL, NULL);
  CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, balance INTEGER NOT NULL CHECK (balance >= 0));
  INSERT INTO accounts VALUES (1, 'Ada', 100), (2, 'Grace', 50);
  CREATE TABLE log (id INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, line TEXT NOT NULL);
  CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB);
  INSERT INTO files VALUES (1, 'notes', zeroblob(100000));
)";

inline std::function<void()> program(int (*main)()) {
  return [main] {
    if (main() != 0) throw std::runtime_error("the program's exit code is not 0");
  };
}

inline cosqlite::task<> with_database(cosqlite::task<> (*block)(cosqlite::connection&)) {
  auto db = co_await cosqlite::open("app.db");
  co_await db.execute_script(tables);
  co_await block(db);
  co_await db.close();
}

inline std::function<void()> body(cosqlite::task<> (*block)(cosqlite::connection&)) {
  return [block] { cosqlite::run(with_database(block)); };
}

inline std::function<void()> c_body(void (*block)(sqlite3*)) {
  return [block] {
    sqlite3* db = nullptr;
    if (sqlite3_open("app.db", &db) != SQLITE_OK || sqlite3_exec(db, tables, nullptr, nullptr, nullptr) != SQLITE_OK) {
      throw std::runtime_error("the sample database cannot be made");
    }
    block(db);
    sqlite3_close(db);
  };
}

/// Runs a page's blocks one after another, each in a folder of its own, and says which of them fail.
class page {
 public:
  void run(std::string_view place, const std::function<void()>& block, const char* expected) {
    std::string folder = (std::filesystem::temp_directory_path() / "cosqlite-snippet-XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr || chdir(folder.c_str()) != 0)
      throw std::runtime_error("no temporary folder");
    std::ostringstream printed;
    std::streambuf* const terminal = std::cout.rdbuf(printed.rdbuf());
    std::string trouble;
    try {
      block();
    } catch (const std::exception& e) {
      trouble = e.what();
    }
    std::cout.rdbuf(terminal);
    if (trouble.empty() && expected != nullptr && printed.str() != expected) trouble = "it prints\n" + printed.str();
    std::cout << (trouble.empty() ? "ok      " : "FAILED  ") << place << (trouble.empty() ? "" : ": " + trouble)
              << std::endl;
    if (!trouble.empty()) ++failures_;
    std::error_code ignored;
    std::filesystem::current_path(std::filesystem::temp_directory_path(), ignored);
    std::filesystem::remove_all(folder, ignored);
  }

  void skip(std::string_view place, const std::function<void()>&, const char*) {
    std::cout << "compiled " << place << std::endl;
  }

  int failures() const { return failures_; }

 private:
  int failures_ = 0;
};

}  // namespace snippets
