/// \file
/// What a connection and its statements have done so far.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>

#include <cstdint>
#include <source_location>
#include <string>
#include <vector>

namespace cosqlite {

/// Counters of a connection, from its opening on.
struct connection_stats {
  std::uint64_t calls = 0;           ///< calls that ran
  std::uint64_t groups = 0;          ///< groups of calls that shared a transaction
  std::uint64_t grouped_calls = 0;   ///< calls in them
  std::uint64_t followed_reads = 0;  ///< reads that found the read transaction of the one before still open and current
  std::uint64_t lost_groups = 0;     ///< groups that were rolled back and run again one by one
  std::uint64_t busy_waits = 0;      ///< times that a lock of another connection was waited for
  std::size_t statements = 0;        ///< statements in the cache
  std::uint64_t cache_hits = 0;      ///< statements found in the cache
  std::uint64_t cache_misses = 0;    ///< statements that had to be prepared
  // From sqlite3_db_status.
  std::int64_t pages_read_from_cache = 0;  ///< page cache hits
  std::int64_t pages_read_from_file = 0;   ///< page cache misses
  std::int64_t pages_written = 0;          ///< pages written to the file or its log
  std::int64_t pages_spilled = 0;          ///< pages written in the middle of a transaction for want of memory
  std::int64_t cache_memory = 0;           ///< bytes of the page cache
  std::int64_t schema_memory = 0;          ///< bytes of the parsed schema
  std::int64_t statement_memory = 0;       ///< bytes of prepared statements
  std::int64_t lookaside_used = 0;         ///< lookaside slots in use
  bool deferred_foreign_keys = false;      ///< deferred foreign keys are violated now
};

/// Counters of one prepared statement.
struct statement_stats {
  std::string sql;                        ///< its text, without values
  bool read_only = false;                 ///< it writes nothing
  bool running = false;                   ///< stepped and not yet reset
  std::int64_t runs = 0;                  ///< times that it was run
  std::int64_t steps = 0;                 ///< instructions of SQLite's virtual machine
  std::int64_t full_scan_steps = 0;       ///< rows stepped through in scans of whole tables: an index may be missing
  std::int64_t sorts = 0;                 ///< sorts that no index has saved
  std::int64_t automatic_index_rows = 0;  ///< rows put into indexes made for one run: an index is missing
  std::int64_t reprepares = 0;            ///< times that it was compiled anew
  std::int64_t memory = 0;                ///< bytes
};

namespace detail {

COSQLITE_API call<connection_stats> connection_statistics(const call_site& site, std::source_location where);
COSQLITE_API call<std::vector<statement_stats>> statement_statistics(const call_site& site, std::source_location where);
COSQLITE_API call<bool> in_transaction(const call_site& site, std::source_location where);
COSQLITE_API call<std::int64_t> total_changes(const call_site& site, std::source_location where);
COSQLITE_API call<std::int64_t> data_version(const call_site& site, std::source_location where);

}  // namespace detail

/// The state and the counters of a connection. They are read on its worker, in their turn among the other calls.
template <class Self>
class statistics_calls {
 public:
  /// Of the connection.
  [[nodiscard]] call<connection_stats> stats(std::source_location where = std::source_location::current()) {
    return detail::connection_statistics(here(), where);
  }
  /// Of every statement that is prepared now.
  [[nodiscard]] call<std::vector<cosqlite::statement_stats>> statement_stats(
      std::source_location where = std::source_location::current()) {
    return detail::statement_statistics(here(), where);
  }
  /// Whether a transaction is open: one that was begun with a raw BEGIN, since a `transaction` makes this call wait.
  [[nodiscard]] call<bool> in_transaction(std::source_location where = std::source_location::current()) {
    return detail::in_transaction(here(), where);
  }
  /// Rows inserted, updated and deleted since the connection was opened, triggers' included.
  [[nodiscard]] call<std::int64_t> total_changes(std::source_location where = std::source_location::current()) {
    return detail::total_changes(here(), where);
  }
  /// A number that changes when another connection has committed to the file; this connection's own commits do not
  /// count.
  [[nodiscard]] call<std::int64_t> data_version(std::source_location where = std::source_location::current()) {
    return detail::data_version(here(), where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
