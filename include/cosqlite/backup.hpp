/// \file
/// Copies of a database, made while it is in use.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/task.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace cosqlite {

/// How a backup goes. A plain aggregate, trivially destructible: strings are copied before `backup` returns.
struct backup_options {
  int pages = 100;                     ///< copied in one step; 0 or less: everything in one call
  std::chrono::milliseconds pause{0};  ///< between two steps
  std::string_view from = "main";      ///< schema of the source
  std::string_view to = "main";        ///< schema of the destination; for a path always "main"
  int restarts = 3;                    ///< after so many, the rest is copied in one call, from one snapshot
  bool verify = false;                 ///< for a path: run PRAGMA quick_check on the copy before it takes its name
};

/// How far a backup has come.
struct backup_progress {
  int remaining = 0;  ///< pages still to be copied
  int total = 0;      ///< pages of the source
  int restarts = 0;   ///< how often it began anew because somebody else had written to the source
};

class connection;

namespace detail {

using progress_function = std::function<void(const backup_progress&)>;

COSQLITE_API task<backup_progress> backup_to_connection(const call_site& site, connection& to,
                                                        const backup_options& options, progress_function progress,
                                                        std::source_location where);
COSQLITE_API task<backup_progress> backup_to_path(const call_site& site, std::string_view path,
                                                  const backup_options& options, progress_function progress,
                                                  std::source_location where);
COSQLITE_API call<> vacuum_into(const call_site& site, std::string_view path, std::string_view schema,
                                std::source_location where);

}  // namespace detail

/// What a connection offers for copies of its database. For all backups: the copy runs in steps, each a call of its own
/// on the source, so that other calls run between them; what those change is in the copy. `progress(backup_progress)`
/// runs on the loop after each step; what it throws ends the backup. Under `with(…)` one deadline covers the whole. A
/// source that is busy is tried again until the deadline (without one: for its busy_timeout). When another connection
/// writes to the source, SQLite begins anew; after `restarts` times the rest is copied in one call. When a backup
/// fails, is stopped, or its task is destroyed, the destination is as it was before. Gives the last progress. Starts
/// when it is awaited.
template <class Self>
class backup_calls {
 public:
  /// Copies into an open database, on disk or in memory, of the same loop. \p to runs no call of its own meanwhile:
  /// they wait. Errors: `misuse_error` (onto itself, a destination on another loop or inside a transaction),
  /// `readonly_error` (also a destination in WAL mode or in memory that has another page size), `busy_error`,
  /// `full_error`; a stream or blob that is open on the destination.
  [[nodiscard]] task<backup_progress> backup(connection& to, backup_options options = {},
                                             std::source_location where = std::source_location::current()) {
    return detail::backup_to_connection(here(), to, options, {}, where);
  }
  /// The same, with `progress(backup_progress)` after each step.
  template <std::invocable<const backup_progress&> F>
  [[nodiscard]] task<backup_progress> backup(connection& to, backup_options options, F&& progress,
                                             std::source_location where = std::source_location::current()) {
    detail::check_callable<F>();
    return detail::backup_to_connection(here(), to, options, detail::unwrap_callable(std::forward<F>(progress)), where);
  }

  /// Copies into the file \p path: written beside it under another name, synced, and renamed when it is complete, so
  /// that \p path is absent (or what it was) or a complete database, whatever happens. An existing database there is
  /// replaced, unless somebody has it open (`busy_error`); a file that is no database is not touched (`corrupt_error`).
  [[nodiscard]] task<backup_progress> backup(std::string_view path, backup_options options = {},
                                             std::source_location where = std::source_location::current()) {
    return detail::backup_to_path(here(), path, options, {}, where);
  }
  /// The same, with `progress(backup_progress)` after each step.
  template <std::invocable<const backup_progress&> F>
  [[nodiscard]] task<backup_progress> backup(std::string_view path, backup_options options, F&& progress,
                                             std::source_location where = std::source_location::current()) {
    detail::check_callable<F>();
    return detail::backup_to_path(here(), path, options, detail::unwrap_callable(std::forward<F>(progress)), where);
  }

  /// VACUUM INTO: a compacted copy in the file \p path, in one call, under the same promise as `backup` to a path.
  [[nodiscard]] call<> vacuum_into(std::string_view path, std::string_view schema = "main",
                                   std::source_location where = std::source_location::current()) {
    return detail::vacuum_into(here(), path, schema, where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
