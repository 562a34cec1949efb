/// \file
/// Every exception that cosqlite throws. All derive from `error`; the classes below it exist so that the kinds people
/// handle can be caught by type. Messages never contain bound values.
#pragma once

#include <cosqlite/detail/export.hpp>

#include <cstdint>
#include <exception>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace cosqlite {

/// What is worth trying again after an error.
enum class retry : std::uint8_t {
  no,           ///< the same call would fail the same way
  statement,    ///< the statement alone may succeed when run again (another connection held a lock)
  transaction,  ///< the whole transaction must be run again from its beginning (its snapshot is stale)
};

/// An SQLite call that failed, or a call that cosqlite refused. Thrown on the loop thread, from the `co_await`.
class COSQLITE_API error : public std::runtime_error {
 public:
  /// What the error is about; every member may be left empty.
  struct details {
    details(int c = 1, std::string text = {}, std::source_location at = {}, int fault = -1)
        : code(c), sql(std::move(text)), offset(fault), where(at) {}
    int code;                    ///< extended result code
    std::string sql;             ///< text of the statement
    int offset;                  ///< byte offset of the fault in `sql`, or -1
    std::source_location where;  ///< the caller's line
    std::exception_ptr also;     ///< a second failure, met while handling the first
  };

  error(const std::string& message, details d);
  error(const error&) = default;
  error& operator=(const error&) = default;
  ~error() override;

  /// SQLite's extended result code, such as 2067.
  [[nodiscard]] int code() const noexcept { return details_.code; }
  /// The primary result code, such as 19.
  [[nodiscard]] int primary() const noexcept { return details_.code & 0xff; }
  /// The name of `code()`, such as "SQLITE_CONSTRAINT_UNIQUE".
  [[nodiscard]] std::string_view name() const noexcept;
  /// The text of the statement that failed; empty when no statement was involved.
  [[nodiscard]] const std::string& sql() const noexcept { return details_.sql; }
  /// The byte offset in `sql()` where SQLite found the fault, or -1.
  [[nodiscard]] int offset() const noexcept { return details_.offset; }
  /// Where the failing call was written; an empty file name when unknown.
  [[nodiscard]] const std::source_location& where() const noexcept { return details_.where; }
  /// Whether trying again can help, and what must be tried again.
  [[nodiscard]] retry retryable() const noexcept;
  /// A second failure that happened while this one was handled (a rollback that failed, say), or null.
  [[nodiscard]] std::exception_ptr also() const noexcept { return details_.also; }
  /// Attaches a second failure.
  void attach(std::exception_ptr second) noexcept { details_.also = std::move(second); }

 private:
  details details_;
};

/// Another connection holds a lock and the busy timeout has passed (SQLITE_BUSY, SQLITE_LOCKED and their kin).
class COSQLITE_API busy_error : public error {
 public:
  using error::error;
  ~busy_error() override;
};

/// A constraint of the schema was violated; `name()` says which kind.
class COSQLITE_API constraint_error : public error {
 public:
  using error::error;
  ~constraint_error() override;
};

/// The file, the connection or the pool's reader is read-only.
class COSQLITE_API readonly_error : public error {
 public:
  using error::error;
  ~readonly_error() override;
};

/// The file is damaged, or it is not an SQLite database at all.
class COSQLITE_API corrupt_error : public error {
 public:
  using error::error;
  ~corrupt_error() override;
};

/// The disk, or the page limit of the database, is full.
class COSQLITE_API full_error : public error {
 public:
  using error::error;
  ~full_error() override;
};

/// The operating system refused a read, a write, a sync, or to open the file.
class COSQLITE_API io_error : public error {
 public:
  using error::error;
  ~io_error() override;
};

/// The call was stopped on request: by a stop token, by `interrupt`, or by an abort of the connection.
class COSQLITE_API cancelled_error : public error {
 public:
  using error::error;
  ~cancelled_error() override;
};

/// The call's deadline passed; `spent_in()` says where the time went.
class COSQLITE_API timeout_error : public error {
 public:
  /// What a call was doing when its time was up.
  enum class stage : std::uint8_t {
    queue,  ///< waiting behind other calls; the statement never ran
    lock,   ///< waiting for a lock that another connection holds
    run,    ///< running
  };
  timeout_error(const std::string& message, details d, stage s) : error(message, std::move(d)), stage_(s) {}
  ~timeout_error() override;
  /// Where the time went.
  [[nodiscard]] stage spent_in() const noexcept { return stage_; }

 private:
  stage stage_;
};

/// The connection, pool, stream or blob was closed before the call.
class COSQLITE_API closed_error : public error {
 public:
  using error::error;
  ~closed_error() override;
};

/// The call itself is wrong: parameters that do not match, a second statement, a NUL in the SQL, use from the wrong
/// thread.
class COSQLITE_API misuse_error : public error {
 public:
  using error::error;
  ~misuse_error() override;
};

/// The transaction or savepoint has ended, by itself (SQLite rolled it back) or by an earlier call.
class COSQLITE_API transaction_error : public error {
 public:
  using error::error;
  ~transaction_error() override;
};

/// This build of SQLite does not have what the call needs.
class COSQLITE_API unsupported_error : public error {
 public:
  using error::error;
  ~unsupported_error() override;
};

/// The row under an incremental blob was changed or deleted; `blob::reopen` is the way on.
class COSQLITE_API blob_expired_error : public error {
 public:
  using error::error;
  ~blob_expired_error() override;
};

/// A value could not be read as, or written from, the C++ type that was asked for.
class COSQLITE_API conversion_error : public error {
 public:
  conversion_error(const std::string& message, details d, int column, std::string from, std::string to);
  conversion_error(const conversion_error&) = default;
  conversion_error& operator=(const conversion_error&) = default;
  ~conversion_error() override;
  /// The column (or argument) from 0, or -1 when there is none.
  [[nodiscard]] int column() const noexcept { return column_; }
  /// The storage class that was found.
  [[nodiscard]] const std::string& from() const noexcept { return from_; }
  /// The C++ type that was asked for.
  [[nodiscard]] const std::string& to() const noexcept { return to_; }

 private:
  int column_;
  std::string from_;
  std::string to_;
};

/// `query_one` found no row.
class COSQLITE_API no_row_error : public error {
 public:
  using error::error;
  ~no_row_error() override;
};

}  // namespace cosqlite
