#pragma once

#include "engine/abilities.hpp"
#include "engine/change_tracker.hpp"
#include <cosqlite/changes.hpp>

#include <memory>
#include <string>
#include <vector>

namespace cosqlite::detail {

/// The changes of one stream on their way from the worker to the loop.
class change_queue final : public notifier, public row_sink {
 public:
  struct row_values {
    std::vector<value> before;
    std::vector<value> after;
  };
  struct record {
    const table_name* table = nullptr;  // null: a gap of `rowid` changes
    row_operation operation{};
    std::int64_t old_rowid = 0;
    std::int64_t rowid = 0;
    std::uint64_t commit = 0;
    std::unique_ptr<row_values> values;
  };

  change_queue(worker& at, change_tracker& tracker, const changes_options& options, std::vector<std::string> tables);

  // --- loop thread
  [[nodiscard]] bool has_batch() const noexcept { return read_ < batch_.size(); }
  std::optional<change> take();

  // --- worker thread
  bool wants(const table_name& table) noexcept override;
  void add(const row_event& row, const table_name& table, sqlite3* db) noexcept override;
  [[nodiscard]] position now() const noexcept override { return {pending_.size(), dropped_}; }
  void go_back(position to) noexcept override;
  void publish() noexcept override;
  void end() noexcept override;

 private:
  ~change_queue() override = default;
  [[nodiscard]] bool has_something() const noexcept override { return !ready_.empty(); }
  void add_gap(std::uint64_t missed);

  changes_options options_;
  std::vector<std::string> wanted_;
  std::shared_ptr<table_names> tables_;
  std::vector<record> pending_;  // of the open transaction
  std::size_t dropped_ = 0;
  std::uint64_t commits_ = 0;
  std::vector<record> ready_;  // under the mutex
  std::vector<record> batch_;  // the reader's
  std::size_t read_ = 0;
};

}  // namespace cosqlite::detail
