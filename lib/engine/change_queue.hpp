#pragma once

#include "engine/abilities.hpp"
#include "engine/change_list.hpp"
#include "engine/change_tracker.hpp"
#include <cosqlite/changes.hpp>

#include <memory>
#include <string>
#include <vector>

namespace cosqlite::detail {

/// The changes of one stream on their way from the worker to the loop.
class change_queue final : public notifier, public row_sink {
 public:
  change_queue(worker& at, change_tracker& tracker, const changes_options& options, std::vector<std::string> tables);

  // --- loop thread
  [[nodiscard]] bool has_batch() const noexcept { return read_ < batch_.parts.size(); }
  std::optional<change> take();

  // --- worker thread
  bool wants(const table_name& table) noexcept override;
  void add(const row_event& row, const table_name& table, sqlite3* db) noexcept override;
  [[nodiscard]] position now() const noexcept override { return {pending_.size(), dropped_}; }
  void go_back(position to) noexcept override;
  void publish() noexcept override;
  void contents_replaced() noexcept override;
  void end() noexcept override;

 private:
  ~change_queue() override = default;
  [[nodiscard]] bool has_something() const noexcept override { return !ready_.parts.empty(); }
  void publish(bool as_gap) noexcept;
  change_list::details details_of(const row_event& row, const table_name& table, sqlite3* db);

  /// A transaction, or a gap.
  struct part {
    std::uint64_t commit;
    std::size_t rows;
    std::uint64_t missed;
  };
  struct published {
    change_list rows;
    std::vector<part> parts;

    void add_gap(std::uint64_t commit, std::uint64_t missed);
  };

  change_tracker& tracker_;  // which ends this before it goes itself
  changes_options options_;
  std::vector<std::string> wanted_;
  std::shared_ptr<table_names> tables_;
  change_list pending_;  // of the open transaction
  std::size_t dropped_ = 0;
  std::uint64_t commits_ = 0;
  published ready_;  // under the mutex
  published batch_;  // the reader's
  std::size_t read_ = 0;
};

}  // namespace cosqlite::detail
