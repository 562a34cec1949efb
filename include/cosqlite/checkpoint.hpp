/// \file
/// Moving the write-ahead log into the database file, and keeping the planner's statistics fresh.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>

#include <cstdint>
#include <source_location>
#include <string>

namespace cosqlite {

/// How far a checkpoint goes. `passive` waits for nobody; `full` waits for writers and readers of old data; `restart`
/// also until readers are done with the log, so that it starts anew; `truncate` also cuts the log file to nothing.
enum class checkpoint_mode : std::uint8_t { passive, full, restart, truncate };

/// The outcome of a checkpoint.
struct checkpoint_result {
  bool busy = false;     ///< others were in the way: not everything could be moved, or the log not be restarted
  int log = 0;           ///< pages in the log; -1 when the database is not in WAL mode
  int checkpointed = 0;  ///< of those, now in the database file; -1 when not in WAL mode
};

namespace detail {

COSQLITE_API call<checkpoint_result> checkpoint(const call_site& site, checkpoint_mode mode, std::string schema,
                                                std::source_location where);
COSQLITE_API call<> optimize(const call_site& site, std::source_location where);

}  // namespace detail

/// Maintenance of a connection's file.
template <class Self>
class checkpoint_calls {
 public:
  /// Moves pages of the write-ahead log into the file. \p schema: an attached database; empty: all. Waiting for others
  /// counts against busy_timeout and then shows as `busy`.
  /// \warning SQLite 3.7.0 to 3.51.2 (but for 3.44.6 and 3.50.7) can corrupt a file when one connection checkpoints at
  /// the very moment when another begins to write a log anew. On these versions (`sqlite_wal_reset_vulnerable()`) call
  /// this only on the connection that writes, as a pool does, and let no other process checkpoint the file.
  [[nodiscard]] call<checkpoint_result> checkpoint(checkpoint_mode mode = checkpoint_mode::passive,
                                                   std::string schema = {},
                                                   std::source_location where = std::source_location::current()) {
    return detail::checkpoint(here(), mode, std::move(schema), where);
  }
  /// Runs PRAGMA optimize: refreshes the statistics that the query planner needs, where that is worth while. Good
  /// before closing (or open_options::optimize_on_close) and every few hours.
  [[nodiscard]] call<> optimize(std::source_location where = std::source_location::current()) {
    return detail::optimize(here(), where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
