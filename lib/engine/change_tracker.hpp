#pragma once

#include "engine/abilities.hpp"
#include "engine/hook_set.hpp"
#include "engine/notifier.hpp"

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cosqlite::detail {

/// A table that rows were seen in; never moves.
struct table_name {
  std::string schema;
  std::string table;
  std::size_t number;
};

/// The tables that one connection has seen; only grows. Shared with those who still read changes after it has closed.
using table_names = std::deque<table_name>;

/// Who is told of changes: keeps those of the open transaction until they are committed. Worker thread.
class row_sink {
 public:
  /// How much of a transaction a sink has seen.
  struct position {
    std::size_t kept = 0;
    std::size_t dropped = 0;
  };

  virtual bool wants(const table_name& table) noexcept = 0;
  virtual void add(const row_event& row, const table_name& table, sqlite3* db) noexcept = 0;
  [[nodiscard]] virtual position now() const noexcept = 0;
  virtual void go_back(position to) noexcept = 0;
  virtual void publish() noexcept = 0;
  /// The schema may be about to change; undone with the transaction as rows are.
  virtual void schema_changes() noexcept {}
  /// Another database has taken the place of the one that was watched: nothing that was read before counts.
  virtual void contents_replaced() noexcept = 0;
  virtual void end() noexcept = 0;

 protected:
  ~row_sink() = default;
};

/// Learns what was committed. SQLite tells of rows and of whole transactions; of savepoints and of statements that are
/// undone by themselves it does not tell: the text of the statements and their count of changes do. Worker thread.
class change_tracker final : public extension, public call_listener, public transaction_listener {
 public:
  explicit change_tracker(worker& at);
  ~change_tracker() override;
  void returned_to_pool() noexcept override;

  /// \p owner keeps the sink alive until it is removed or has ended; with \p leased that is when a lease ends.
  void add(row_sink& sink, ref<executor> owner, row_source_kind source, bool leased);
  void remove(row_sink& sink) noexcept;
  [[nodiscard]] const std::shared_ptr<table_names>& tables() const noexcept { return tables_; }
  [[nodiscard]] row_source_kind source() const noexcept { return source_; }
  [[nodiscard]] bool has_sinks() const noexcept { return !sinks_.empty(); }
  /// What \p sink wants has changed.
  void ask_again(row_sink& sink) noexcept;
  /// How the table of the row at hand is to be read, inside the preupdate hook.
  [[nodiscard]] const row_shape& shape_of(const table_name& table);
  /// Between the two one statement runs many times, in a transaction or savepoint that is undone when one run fails:
  /// none of them is looked at by itself.
  void runs_begin() noexcept;
  void runs_end() noexcept;

  void contents_replaced() noexcept;

  void call_ended() noexcept override;
  void statement_begins(sqlite3_stmt* stmt) noexcept override;
  void row_changes(const row_event& row) noexcept override;
  void commits() noexcept override;
  void rolled_back() noexcept override;

 private:
  enum class control_kind : std::uint8_t { none, savepoint, release, rollback_to };
  struct listener {
    row_sink* sink = nullptr;
    ref<executor> owner;
    row_source_kind source = row_source_kind::none;
    bool leased = false;
    row_sink::position statement;
    std::vector<row_sink::position> savepoints;
    std::vector<signed char> wanted;  // by the table's number: -1 not asked yet
  };

  void listen() noexcept;
  void settle() noexcept;
  void end_statement(const sqlite3_stmt* next = nullptr) noexcept;
  [[nodiscard]] bool is_running(const sqlite3_stmt* stmt) const noexcept;
  [[nodiscard]] bool was_undone() const noexcept;
  void note_control(sqlite3_stmt* stmt) noexcept;
  [[nodiscard]] bool others_write(const sqlite3_stmt* stmt) const noexcept;
  void apply_control() noexcept;
  void forget_savepoints() noexcept;
  void go_back(std::size_t savepoint) noexcept;
  void mark_statement() noexcept;
  const table_name& name_of(const row_event& row);

  worker& at_;
  hook_set& hooks_;
  row_source_kind source_ = row_source_kind::none;
  std::vector<listener> sinks_;
  std::shared_ptr<table_names> tables_ = std::make_shared<table_names>();
  const table_name* last_table_ = nullptr;
  const char* last_text_ = nullptr;               // where SQLite keeps its name, while that cannot change
  std::vector<std::optional<row_shape>> shapes_;  // by the table's number, while the schema cannot change
  std::vector<std::string> savepoints_;
  bool saw_all_savepoints_ = true;
  control_kind control_ = control_kind::none;
  std::string control_name_;
  bool committing_ = false;
  sqlite3_stmt* statement_ = nullptr;
  int steps_before_ = 0;         // of the statement, when it began
  std::size_t rows_ = 0;         // that the statement has changed,
  std::size_t direct_rows_ = 0;  // and of those not by triggers
};

}  // namespace cosqlite::detail
