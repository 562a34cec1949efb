#pragma once

#include "engine/worker.hpp"
#include <cosqlite/detail/operation.hpp>

#include <sqlite3.h>

namespace cosqlite::detail {

/// Reads the current row. Throws on a failed allocation.
void read_cells(worker& at, sqlite3_stmt* stmt, cell* cells, int count);

/// Holds an acquired statement; resets it when it goes.
class statement_run {
 public:
  statement_run(worker& at, std::shared_ptr<prepared> p) noexcept : worker_(at), p_(std::move(p)) {}
  statement_run(const statement_run&) = delete;
  statement_run& operator=(const statement_run&) = delete;
  ~statement_run() { reset(); }
  [[nodiscard]] prepared& operator*() const noexcept { return *p_; }
  [[nodiscard]] prepared* operator->() const noexcept { return p_.get(); }
  void reset() noexcept {
    if (p_) worker_.put_back(*p_);
    p_ = nullptr;
  }
  /// Resets it now; throws what the statement met.
  void finish(operation& op);

 private:
  worker& worker_;
  std::shared_ptr<prepared> p_;
};

/// Runs the call with a statement that was acquired for it.
void run_prepared(worker& at, operation& op, std::shared_ptr<prepared> p);

}  // namespace cosqlite::detail
