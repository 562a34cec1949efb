/// \file
/// How a connection is opened.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

struct uv_loop_s;
typedef struct uv_loop_s uv_loop_t;

namespace cosqlite {

/// What a connection may do with its file.
enum class access : std::uint8_t { read_only, read_write, read_write_create };

/// The journal mode to set on opening; `keep` leaves the file as it is.
enum class journal : std::uint8_t { keep, wal, del, truncate, persist, memory, off };

/// PRAGMA synchronous.
enum class sync : std::uint8_t { off, normal, full, extra };

/// Everything that `open` can be told. A plain aggregate, trivially destructible: strings are borrowed until `open`
/// returns.
struct open_options {
  uv_loop_t* loop = nullptr;                     ///< where results arrive; nullptr: this_loop()
  access mode = access::read_write_create;       ///< a missing file is created only with read_write_create
  std::chrono::milliseconds busy_timeout{5000};  ///< how long a statement waits for others' locks
  journal journal_mode = journal::wal;           ///< ignored for read-only connections and in-memory databases
  sync synchronous = sync::full;                 ///< full: what a commit has acknowledged survives a power loss
  bool foreign_keys = true;                      ///< enforce foreign keys
  bool defensive = true;                         ///< SQL cannot corrupt the file on purpose
  bool trusted_schema = true;    ///< views and triggers may use any function; off breaks FTS5 before SQLite 3.44
  bool uri = false;              ///< treat the path as a URI file name
  bool load_extensions = false;  ///< allow connection::load_extension
  bool query_only = false;       ///< refuse every write
  bool attach = false;           ///< allow ATTACH (of up to ten databases)
  bool quick_check = false;      ///< run PRAGMA quick_check before anything else; a damaged file is a corrupt_error
  bool strict_limits = false;    ///< the small limits that SQLite's documentation advises for hostile input
  std::string_view vfs = {};     ///< name of the VFS; empty: the default
  std::size_t statement_cache = 128;                ///< prepared statements kept
  std::size_t statement_cache_bytes = 1024 * 1024;  ///< bytes of their SQL text kept
  bool coalesce = true;                             ///< let calls that wait together share a transaction
  std::size_t coalesce_calls = 1024;                ///< the most calls in one group
  std::chrono::microseconds coalesce_time{5000};    ///< a group takes no further call once it has run for so long
  std::chrono::microseconds poll{50};               ///< longest polling hand-over between the threads; 0: always park
  bool optimize_on_close = false;                   ///< run PRAGMA optimize when the connection is closed

  /// For a file of doubtful origin: read-only, schema not trusted, checked before use, small limits.
  [[nodiscard]] static open_options untrusted_file() noexcept {
    open_options o;
    o.mode = access::read_only;
    o.journal_mode = journal::keep;
    o.trusted_schema = false;
    o.quick_check = true;
    o.strict_limits = true;
    return o;
  }
};

}  // namespace cosqlite
