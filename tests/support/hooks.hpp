#pragma once

#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// What callbacks on the worker thread have seen.
class journal {
 public:
  void add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

using lines = std::vector<std::string>;

template <class F>
void with_database(F body, const char* schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)") {
  const temp_database file;
  on_loop([&]() -> cosqlite::task<> {
    cosqlite::connection db = co_await cosqlite::open(file.path());
    co_await db.execute_script(schema);
    co_await body(db);
    co_await db.close();
  });
}

struct refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace support
