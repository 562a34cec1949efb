/// \file
/// The schema's history: numbered steps, each applied once, in order, in a transaction of its own.
#pragma once

#include <cosqlite/chrono.hpp>
#include <cosqlite/connection.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/task.hpp>
#include <cosqlite/transaction.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

namespace cosqlite {

namespace detail {

struct migration_plan;

}  // namespace detail

/// Steps that are wrong in themselves, that do not fit the database's history, or that failed. When a statement of a
/// step failed, `code()`, `sql()` and `offset()` are that statement's, and `also()` holds its own error.
class COSQLITE_API migration_error : public error {
 public:
  migration_error(const std::string& message, details d, std::int64_t version)
      : error(message, std::move(d)), version_(version) {}
  migration_error(const migration_error&) = default;
  migration_error& operator=(const migration_error&) = default;
  ~migration_error() override;
  /// The version of the step that it is about; 0 when it is about none.
  [[nodiscard]] std::int64_t version() const noexcept { return version_; }

 private:
  std::int64_t version_;
};

/// How a step stands in a database.
enum class migration_state : std::uint8_t {
  pending,       ///< not applied yet; `up` will
  applied,       ///< applied, and the same as then
  changed,       ///< applied, but its name or text is another now
  missing,       ///< applied, but no longer among the steps
  newer,         ///< applied by a newer program: its version is above all that are known here
  out_of_order,  ///< not applied, although a later step is
};

/// The name of a state: "pending", "applied", "changed", "missing", "newer" or "out of order".
[[nodiscard]] COSQLITE_API std::string_view to_string(migration_state state) noexcept;

/// One step, as a database knows it.
struct migration_status {
  std::int64_t version = 0;                          ///< its number
  std::string name;                                  ///< as it is called here, or in the database
  migration_state state = migration_state::pending;  ///< how it stands
  bool reversible = false;                           ///< it has a way down
  /// When it was applied; nothing: not yet.
  std::optional<std::chrono::sys_time<std::chrono::milliseconds>> applied_at;
  std::chrono::microseconds duration{0};  ///< how long it took, without the commit
};

/// Whether a step runs with foreign keys as the connection has them, or without; see `migrator`.
enum class foreign_key_use : std::uint8_t { as_opened, off };

/// Brings a database to the version that a program wants, from steps in SQL or C++:
/// \code
/// cosqlite::migrator steps;
/// steps.add(1, "users", "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT", "DROP TABLE users");
/// co_await steps.up(db);
/// \endcode
/// Any number of programs may call `up` on one file at the same moment: each step runs in an IMMEDIATE transaction of
/// its own that looks again, under the lock, which step is next, so that it runs exactly once. A step that fails, or
/// whose process is killed, leaves nothing of itself; those before it stay.
///
/// Which steps were applied stands in the table `cosqlite_migrations`, with name, checksum (SHA-256 of the text of
/// `up`, with LF for CR LF; empty for C++), the time in UTC and the duration. A database that does not fit the steps is
/// refused with a `migration_error` that says which step, why, and what to do: a step whose name or text has changed
/// since, one that is missing, one numbered below what is applied already, and a database of a newer program.
///
/// The text of a step is several statements without BEGIN, COMMIT and the like, VACUUM, or `PRAGMA foreign_keys`, which
/// a transaction ignores. A table that others refer to is rebuilt (made anew, copied, dropped, renamed) with foreign
/// keys off: put `-- cosqlite: foreign_keys off` in the text's first line, or pass `foreign_key_use::off`. They are
/// then off for this transaction alone, and PRAGMA foreign_key_check must find nothing before it commits.
///
/// A value: copying it copies the steps. The connection must live, and stay on its loop, until a task is done; tasks
/// start when awaited and resume on the connection's loop. Versions are positive; gaps are fine.
class COSQLITE_API migrator {
 public:
  /// A step in C++. It makes its changes through the transaction and leaves commit and rollback alone. What it throws
  /// undoes the step and reaches whoever awaits `up`, unchanged.
  using step = std::function<task<>(transaction&)>;

  migrator();
  migrator(const migrator&);
  migrator(migrator&&) noexcept;
  migrator& operator=(const migrator&);
  migrator& operator=(migrator&&) noexcept;
  ~migrator();

  /// Adds a step in SQL; without \p down_sql there is no way back from it. Throws `migration_error` when the version is
  /// taken or not positive, when the name is empty, and for text that cannot run as a step.
  void add(std::int64_t version, std::string name, std::string up_sql, std::string down_sql = "",
           foreign_key_use keys = foreign_key_use::as_opened);
  /// Adds a step in C++. Its text cannot be compared: `changed` sees its name only.
  void add(std::int64_t version, std::string name, step up, step down = {},
           foreign_key_use keys = foreign_key_use::as_opened);
  /// Adds a step in SQL, from string literals.
  void add(std::int64_t version, std::string name, const char* up_sql, const char* down_sql = "",
           foreign_key_use keys = foreign_key_use::as_opened);

  /// The steps in the files `0001_name.up.sql` and, where there is a way back, `0001_name.down.sql` of \p folder. Files
  /// that begin with a digit or end in .sql and are not named so, two files of one version, and a way down without a
  /// way up are a `migration_error`; other files are passed over. `io_error` when the folder cannot be read. Reads
  /// files: call it at start-up.
  [[nodiscard]] static migrator from_directory(const std::filesystem::path& folder);

  /// Refuses databases whose PRAGMA application_id is neither \p id nor 0, and gives \p id to those where it is 0.
  void application_id(std::int32_t id);
  /// How long a step waits for other writers, who may be running the same steps: ten minutes at first. Then:
  /// `busy_error`.
  void lock_timeout(std::chrono::milliseconds most);
  /// Is told of each step as soon as it is committed, on the loop; not of those of dry runs. What it throws ends `up` or
  /// `down`; the step stays.
  void on_step(std::function<void(const migration_status&)> observer);
  /// Run on each connection that a `dry_run` opens to its copy: to register the functions and collations that the steps
  /// use.
  void prepare_copy(std::function<task<>(connection&)> prepare);

  /// Applies all pending steps, in order. Gives those that this call has applied.
  [[nodiscard]] task<std::vector<migration_status>> up(
      connection& db, std::source_location where = std::source_location::current()) const;
  /// Applies pending steps up to version \p to, which must be one of them, or at which the database must be.
  [[nodiscard]] task<std::vector<migration_status>> up(
      connection& db, std::int64_t to, std::source_location where = std::source_location::current()) const;
  /// Takes steps back, the latest first, until the database is at version \p to; 0 takes all back. Refused before
  /// anything is done when one of them has no way down. Gives those that this call has taken back.
  [[nodiscard]] task<std::vector<migration_status>> down(
      connection& db, std::int64_t to, std::source_location where = std::source_location::current()) const;
  /// All steps that are known here or to the database, by version. Changes nothing and refuses nothing.
  [[nodiscard]] task<std::vector<migration_status>> status(
      connection& db, std::source_location where = std::source_location::current()) const;
  /// What `up` would do, tried out on a copy of the database in a temporary folder: the steps, then PRAGMA
  /// integrity_check and foreign_key_check. Gives the steps; throws what `up` would throw, or a `migration_error` for
  /// what the checks found. Needs as much room for temporary files as the database takes.
  [[nodiscard]] task<std::vector<migration_status>> dry_run(
      connection& db, std::source_location where = std::source_location::current()) const;
  /// The same for `up(db, to)`.
  [[nodiscard]] task<std::vector<migration_status>> dry_run(
      connection& db, std::int64_t to, std::source_location where = std::source_location::current()) const;
  /// What `down` would do, tried out in the same way.
  [[nodiscard]] task<std::vector<migration_status>> dry_run_down(
      connection& db, std::int64_t to, std::source_location where = std::source_location::current()) const;

 private:
  detail::migration_plan& plan();

  std::shared_ptr<detail::migration_plan> plan_;
};

}  // namespace cosqlite
