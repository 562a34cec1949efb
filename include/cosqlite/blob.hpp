/// \file
/// Blobs that are read and written piece by piece, without ever standing in memory as a whole.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/detail/read_ahead.hpp>
#include <cosqlite/stream.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <stop_token>
#include <string_view>
#include <utility>

namespace cosqlite {

/// Which value to open: a BLOB (or TEXT) in a row of a table that has rowids. Borrowed: copied before `open_blob`
/// returns.
struct blob_location {
  std::string_view table;            ///< the table's name
  std::string_view column;           ///< the column's name
  std::int64_t rowid = 0;            ///< the row
  std::string_view schema = "main";  ///< "main", "temp", or the name of an attached database
};

/// What may be done with an open blob. `write` is another name for `read_write`.
enum class blob_mode : std::uint8_t { read, read_write, write = read_write };

class blob;
class chunk_stream;

namespace detail {

class blob_state;

COSQLITE_API call<blob> open_blob(const call_site& site, blob_location what, blob_mode mode,
                                  std::source_location where);
COSQLITE_API call<> read_blob_at(const call_site& site, std::shared_ptr<blob_state> b, std::span<std::byte> to,
                                 std::size_t offset, std::source_location where);
COSQLITE_API call<std::size_t> read_blob(const call_site& site, std::shared_ptr<blob_state> b, std::span<std::byte> to,
                                         std::source_location where);
COSQLITE_API call<> write_blob_at(const call_site& site, std::shared_ptr<blob_state> b, std::span<const std::byte> from,
                                  std::size_t offset, std::source_location where);
COSQLITE_API call<> write_blob(const call_site& site, std::shared_ptr<blob_state> b, std::span<const std::byte> from,
                               std::source_location where);
COSQLITE_API call<> reopen_blob(const call_site& site, std::shared_ptr<blob_state> b, std::int64_t rowid,
                                std::source_location where);
COSQLITE_API chunk_stream blob_chunks(const call_site& site, std::shared_ptr<blob_state> b, std::size_t size,
                                      std::source_location where);

}  // namespace detail

/// The pieces of a blob, in order, read ahead on the worker thread:
/// \code
/// auto pieces = b.chunks(64 * 1024);
/// while (auto piece = co_await pieces.next()) out.write(*piece);
/// \endcode
/// Each span is valid until the following `next()`. The worker reads ahead by a quarter of a megabyte or one piece,
/// whichever is more, and then waits. One `next()` at a time; the blob must stay open.
class COSQLITE_API chunk_stream {
 public:
  explicit chunk_stream(detail::read_ahead from, std::size_t chunk) noexcept : from_(std::move(from)), chunk_(chunk) {}

  /// The following piece, or nothing after the last. Throws what the read met (`blob_expired_error` above all); the
  /// stream has ended then.
  [[nodiscard]] auto next() noexcept { return detail::next_row<chunk_stream>(*this); }
  /// Gives up the remaining pieces.
  void close() noexcept {
    left_ = {};
    from_.close();
  }

 private:
  friend detail::next_row<chunk_stream>;
  [[nodiscard]] bool has_row() const noexcept { return !left_.empty(); }
  [[nodiscard]] detail::read_ahead& source() noexcept { return from_; }
  std::optional<std::span<const std::byte>> pop();

  detail::read_ahead from_;
  std::size_t chunk_;
  std::span<const std::byte> left_;
};

/// The calls that `blob` and what its `with` gives share.
template <class Self>
class blob_access {
 public:
  /// Reads `to.size()` bytes from \p offset. Bytes outside of the blob are a `misuse_error`, and nothing is read. The
  /// worker writes into \p to: keep it until the call is done (destroying the call waits for the worker).
  [[nodiscard]] call<> read(std::span<std::byte> to, std::size_t offset,
                            std::source_location where = std::source_location::current()) {
    return detail::read_blob_at(site(), state(), to, offset, where);
  }
  /// Reads on from `position()`, as much as fits \p to, and gives the number of bytes: 0 at the end.
  [[nodiscard]] call<std::size_t> read(std::span<std::byte> to,
                                       std::source_location where = std::source_location::current()) {
    return detail::read_blob(site(), state(), to, where);
  }
  /// Writes \p from at \p offset. A blob cannot grow: bytes outside of it are a `misuse_error`, and nothing is written.
  /// The worker reads \p from: keep it until the call is done (destroying the call waits for the worker).
  [[nodiscard]] call<> write(std::span<const std::byte> from, std::size_t offset,
                             std::source_location where = std::source_location::current()) {
    return detail::write_blob_at(site(), state(), from, offset, where);
  }
  /// Writes \p from at `position()` and moves the position behind it.
  [[nodiscard]] call<> write(std::span<const std::byte> from,
                             std::source_location where = std::source_location::current()) {
    return detail::write_blob(site(), state(), from, where);
  }
  /// The whole blob in pieces of \p size bytes (the last may be shorter), read ahead. 0 bytes: `misuse_error`.
  [[nodiscard]] chunk_stream chunks(std::size_t size = 64 * 1024,
                                    std::source_location where = std::source_location::current()) {
    return detail::blob_chunks(site(), state(), size, where);
  }
  /// Turns to the same column of another row, or of the same one after `blob_expired_error`. The position goes to 0.
  /// When it fails, the blob stays unusable until a reopen succeeds.
  [[nodiscard]] call<> reopen(std::int64_t rowid, std::source_location where = std::source_location::current()) {
    return detail::reopen_blob(site(), state(), rowid, where);
  }

 private:
  [[nodiscard]] detail::call_site site() { return static_cast<Self&>(*this).site(); }
  [[nodiscard]] const std::shared_ptr<detail::blob_state>& state() { return static_cast<Self&>(*this).state_; }
};

/// A blob under a deadline or a stop token.
class limited_blob : public blob_access<limited_blob> {
 public:
  limited_blob(detail::call_site site, std::shared_ptr<detail::blob_state> state) noexcept
      : site_(std::move(site)), where_(site_.where), state_(std::move(state)) {}
  [[nodiscard]] detail::call_site site() const noexcept { return site_; }

 private:
  friend class blob_access<limited_blob>;
  detail::call_site site_;
  detail::ref<detail::executor> where_;
  std::shared_ptr<detail::blob_state> state_;
};

/// An open blob.
///
/// **Locks.** An open blob reads from one snapshot and holds a read lock until it is closed: a checkpoint cannot pass
/// it, tables cannot be dropped, and where another connection has written meanwhile, writes on this connection fail
/// with SQLITE_BUSY_SNAPSHOT. Close it soon; dropping it closes it at once, before anything else runs.
///
/// **Writing.** Outside of a transaction each `write` is a transaction of its own, durable when the call is done; no
/// write lock is held between calls. Inside one (`transaction::open_blob`) the writes belong to it. Large blobs are
/// written faster inside a transaction: SQLite keeps its place in the blob there, and there is one commit.
///
/// **COMMIT and ROLLBACK.** A blob that was opened on a transaction ends with it: it is closed by commit and rollback,
/// and every further call throws `transaction_error`. It never keeps the transaction from committing. A blob that was
/// opened on the connection outlives transactions.
///
/// **Expiry.** When the row is changed or deleted on the same connection, other than through blobs, every further call
/// throws `blob_expired_error`, until `reopen`. (SQLite expires all blobs of a row, whichever column was changed.)
/// Changes by other connections are not seen by an open reader; a write outside of a transaction goes to the row as it
/// is then, and finds the blob expired when the row has gone or the blob has another size.
///
/// Calls under a `with` of the connection stay so for the blob. Move-only; use it from its loop's thread.
class COSQLITE_API blob : public blob_access<blob> {
 public:
  blob(detail::call_site site, std::shared_ptr<detail::blob_state> state) noexcept;
  blob(blob&&) noexcept;
  blob& operator=(blob&&) noexcept;
  ~blob();

  /// Bytes. Fixed while it is open; `reopen` may change it.
  [[nodiscard]] std::size_t size() const noexcept;
  /// The row that it is open on.
  [[nodiscard]] std::int64_t rowid() const noexcept;
  /// Where the sequential `read` and `write` go on.
  [[nodiscard]] std::size_t position() const noexcept;
  /// Sets the position; not while a sequential call is under way. One behind the end shows at the following call.
  void seek(std::size_t position) noexcept;
  /// Closes it. Closing twice is no error; later calls throw `closed_error`.
  [[nodiscard]] call<> close(std::source_location where = std::source_location::current());

  /// The same calls, each under a deadline from its own await.
  [[nodiscard]] limited_blob with(std::chrono::nanoseconds timeout) const;
  /// The same calls, each under a stop token.
  [[nodiscard]] limited_blob with(std::stop_token stop) const;
  /// The same calls, each under both.
  [[nodiscard]] limited_blob with(std::stop_token stop, std::chrono::nanoseconds timeout) const;

  [[nodiscard]] detail::call_site site() const noexcept { return site_; }

 private:
  friend class blob_access<blob>;
  void drop() noexcept;

  detail::call_site site_;
  detail::ref<detail::executor> where_;
  std::shared_ptr<detail::blob_state> state_;
};

/// What connection and transaction offer for blobs.
template <class Self>
class blob_calls {
 public:
  /// Opens a blob: `co_await db.open_blob({.table = "files", .column = "data", .rowid = 7})`. Errors: no such table,
  /// column or row; a value that is neither BLOB nor TEXT; a view, a virtual table or one WITHOUT ROWID; for writing
  /// also a column that is indexed or part of a foreign key, and a database that is read-only. To make room for a blob,
  /// store `zeroblob(n)` first.
  [[nodiscard]] call<blob> open_blob(blob_location what, blob_mode mode = blob_mode::read,
                                     std::source_location where = std::source_location::current()) {
    return detail::open_blob(static_cast<Self&>(*this).site(), what, mode, where);
  }
};

}  // namespace cosqlite
