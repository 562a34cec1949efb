#pragma once

#include "engine/abilities.hpp"
#include "engine/row_shape.hpp"
#include "engine/worker.hpp"
#include <cosqlite/hooks.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cosqlite::detail {

/// An installed callback, shared by the subscription (loop) and the hook set (worker).
class hook_entry {
 public:
  hook_entry() = default;
  hook_entry(const hook_entry&) = delete;
  hook_entry& operator=(const hook_entry&) = delete;
  virtual ~hook_entry() = default;
  /// Destroys the callback; on the worker.
  virtual void forget() noexcept = 0;

  std::atomic<bool> active{true};
  bool leased = false;  ///< installed through a lease, and goes with it
  void note(std::exception_ptr e) noexcept;
  [[nodiscard]] std::exception_ptr failure() const;

 private:
  mutable std::mutex mutex_;
  std::exception_ptr failure_;
};

template <class Callback>
class hook final : public hook_entry {
 public:
  hook(std::shared_ptr<Callback> f, bool of_lease) noexcept : fn(std::move(f)) { leased = of_lease; }
  void forget() noexcept override { fn = nullptr; }

  std::shared_ptr<Callback> fn;
  trace_options traces{};
  int steps = 0;
  int steps_done = 0;
};

template <class Callback>
using hook_list = std::vector<std::shared_ptr<hook<Callback>>>;

/// Whether what \p op installs belongs to a lease: hooks cannot be had through a transaction.
inline bool is_leased(const operation& op) noexcept { return op.owner != 0; }

/// A row that changes, as SQLite reports it.
struct row_event {
  int operation;
  const char* schema;
  const char* table;
  sqlite3_int64 old_rowid;
  sqlite3_int64 new_rowid;
  bool has_values;
};

/// What the change tracker hears, before any subscriber does.
class transaction_listener {
 public:
  virtual void statement_begins(sqlite3_stmt* stmt) noexcept = 0;
  virtual void row_changes(const row_event& row) noexcept = 0;
  virtual void commits() noexcept = 0;
  virtual void rolled_back() noexcept = 0;

 protected:
  ~transaction_listener() = default;
};

/// Where the rows of the change tracker come from.
enum class row_source_kind : std::uint8_t { none, update_hook, preupdate_hook };

/// All hooks of one connection: SQLite has one slot for each kind, this has any number. Worker thread.
class hook_set final : public extension, public authorizer_listener, public progress_listener {
 public:
  explicit hook_set(worker& at) noexcept : at_(at) {}
  ~hook_set() override;
  void returned_to_pool() noexcept override;

  hook_list<authorize_callback> authorizers;
  hook_list<trace_callback> traces;
  hook_list<progress_callback> progresses;
  hook_list<update_callback> updates;
  hook_list<preupdate_callback> preupdates;
  hook_list<commit_callback> commits;
  hook_list<rollback_callback> rollbacks;
  hook_list<wal_callback> wals;

  /// Gives SQLite what the lists need now.
  void install() noexcept;
  void remove(const std::shared_ptr<hook_entry>& entry) noexcept;
  /// null: nobody listens any more.
  void set_listener(transaction_listener* listener, row_source_kind source) noexcept;
  /// While false the listener hears of rows, not of statements that begin.
  void tell_statements(bool on) noexcept;
  [[nodiscard]] bool uses_preupdate() const noexcept {
    return !preupdates.empty() || source_ == row_source_kind::preupdate_hook;
  }
  /// A session has the preupdate hook for itself.
  int sessions = 0;
  /// Throws when the preupdate hook cannot be had.
  void check_preupdate(const operation& op) const;
  /// Looks a table up; no callback hears of it.
  [[nodiscard]] row_shape shape_of(const char* schema, const char* table);
  /// While set: what a statement reads, as the authorizer hears it.
  std::vector<std::pair<std::string, std::string>>* tables_read = nullptr;

  int authorize(int action, const char* a, const char* b, const char* schema, const char* trigger) noexcept override;
  bool should_stop() noexcept override;

 private:
  void forget_all(bool leased_only) noexcept;
  void install_authorizer() noexcept;
  void install_progress() noexcept;
  void install_trace() noexcept;
  void install_wal() noexcept;
  void trace(unsigned kind, sqlite3_stmt* stmt, void* what) noexcept;
  [[nodiscard]] bool sees_deletes_by_authorizer() const noexcept { return source_ == row_source_kind::update_hook; }

  static int on_trace(unsigned kind, void* self, void* stmt, void* what) noexcept;
  static void on_update(void* self, int operation, const char* schema, const char* table, sqlite3_int64 rowid) noexcept;
  static void on_preupdate(void* self, sqlite3* db, int operation, const char* schema, const char* table,
                           sqlite3_int64 old_rowid, sqlite3_int64 new_rowid) noexcept;
  static int on_commit(void* self) noexcept;
  static void on_rollback(void* self) noexcept;
  static int on_wal(void* self, sqlite3* db, const char* schema, int pages) noexcept;

  worker& at_;
  transaction_listener* listener_ = nullptr;
  bool tells_statements_ = true;
  bool looks_up_ = false;
  row_source_kind source_ = row_source_kind::none;
  row_source_kind installed_source_ = row_source_kind::none;
  bool had_authorizers_ = false;
  bool has_wal_ = false;
  int autocheckpoint_ = 1000;
};

}  // namespace cosqlite::detail
