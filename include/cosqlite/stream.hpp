/// \file
/// Rows that arrive while you read: a stream holds a batch or two, however many rows the query has.
#pragma once

#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/detail/prefetch.hpp>
#include <cosqlite/detail/results.hpp>
#include <cosqlite/row.hpp>

#include <coroutine>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace cosqlite {

namespace detail {

/// The part of a stream that does not depend on the row type: two fetches under way at most, in order.
class COSQLITE_API stream_source {
 public:
  /// \p origin carries SQL and arguments; \p fetch says how a batch is built.
  stream_source(const call_site& site, operation_ref origin, const operation_type& fetch);
  stream_source(stream_source&& other) noexcept;
  stream_source& operator=(stream_source&& other) noexcept;
  ~stream_source();

  /// Whether the following batch is there, so that nobody needs to wait.
  [[nodiscard]] bool ready() noexcept;
  /// Sees to it that \p waiter resumes when the batch has come. False: it has.
  bool wait(std::coroutine_handle<> waiter, const lineage* of_waiter = nullptr) noexcept;
  /// Makes the batch that has come the current one. False: the rows have ended. Throws what the statement met.
  bool take();
  [[nodiscard]] operation& current() noexcept { return *current_; }
  /// The call that wait() waits for.
  [[nodiscard]] const operation_ref& awaited() const noexcept { return first_; }
  /// Ends it now: what is under way is stopped, the statement is reset, its lock let go.
  void close() noexcept;

 private:
  operation_ref fetch(std::coroutine_handle<> waiter, bool& suspended, const lineage* of_waiter = nullptr);
  [[nodiscard]] ref<executor> home() const noexcept;

  call_site site_;
  ref<executor> where_;
  ref<cursor> cursor_;
  const operation_type* type_;
  operation_ref current_;
  operation_ref first_;
  operation_ref second_;
  bool ended_ = false;
};

/// So many rows ahead of the reader are fetched from the worker's cache.
inline constexpr std::size_t rows_fetched_ahead = 8;

/// Waits for a stream's batch only where its rows have run out. Destroying it while it waits, with its coroutine,
/// leaves the rows to the following `next()`.
template <class Stream>
class next_row {
 public:
  explicit next_row(Stream& stream) noexcept : stream_(&stream) {}
  next_row(next_row&&) noexcept = default;
  next_row& operator=(next_row&&) = delete;
  ~next_row() {
    if (awaited_) [[unlikely]]
      stop_waiting(*awaited_);
  }
  [[nodiscard]] bool await_ready() const noexcept { return stream_->has_row() || stream_->source().ready(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) noexcept {
    if (!stream_->source().wait(waiter, lineage_of(waiter))) return false;
    awaited_ = stream_->source().awaited();
    return true;
  }
  auto await_resume() {
    awaited_ = {};
    return stream_->pop();
  }

 private:
  Stream* stream_;
  operation_ref awaited_;  // the stream may be gone when the coroutine is destroyed
};

/// `co_await stream`: waits for the first batch, so that errors show here, and gives the stream itself.
template <class Stream>
class first_batch {
 public:
  explicit first_batch(Stream&& stream) noexcept : stream_(std::move(stream)) {}
  [[nodiscard]] bool await_ready() noexcept { return stream_.source().ready(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) noexcept {
    return stream_.source().wait(waiter, lineage_of(waiter));
  }
  Stream await_resume() {
    stream_.prime();
    return std::move(stream_);
  }

 private:
  Stream stream_;
};

}  // namespace detail

/// A stream of rows, each as a \p T. Use it from its connection's loop:
/// \code
/// auto users = db.stream<user>("SELECT id, name FROM users");
/// while (auto u = co_await users.next()) use(*u);
/// \endcode
/// The statement starts at the first `next()`; the worker reads ahead by a batch or two and then waits for you.
/// `next()` does not suspend while its batch lasts. While the stream is open the connection holds a read lock; other
/// calls on it run between batches. Destroying the stream early, or close(), resets the statement at once. One `next()`
/// at a time.
template <class T>
class typed_stream {
 public:
  typed_stream(const detail::call_site& site, detail::operation_ref origin)
      : source_(site, std::move(origin), detail::all_rows<T>::fetch) {}
  typed_stream(typed_stream&& other) noexcept
      : source_(std::move(other.source_)), at_(std::exchange(other.at_, 0)), end_(std::exchange(other.end_, 0)) {}
  typed_stream& operator=(typed_stream&& other) noexcept {
    source_ = std::move(other.source_);
    at_ = std::exchange(other.at_, 0);
    end_ = std::exchange(other.end_, 0);
    return *this;
  }
  ~typed_stream() = default;

  /// The following row, or nothing after the last. Throws what the statement met; the stream has ended then.
  [[nodiscard]] auto next() noexcept { return detail::next_row<typed_stream>(*this); }
  /// Gives up the remaining rows.
  void close() noexcept {
    at_ = end_ = 0;
    source_.close();
  }
  /// Waits for the first batch and gives the stream: `auto s = co_await db.stream<user>(…)`.
  auto operator co_await() && noexcept { return detail::first_batch<typed_stream>(std::move(*this)); }

 private:
  friend detail::next_row<typed_stream>;
  friend detail::first_batch<typed_stream>;
  [[nodiscard]] bool has_row() const noexcept { return at_ < end_; }
  [[nodiscard]] detail::stream_source& source() noexcept { return source_; }
  void prime() {
    end_ = source_.take() ? batch().size() : 0;
    at_ = 0;
  }
  std::optional<T> pop() {
    if (at_ == end_) prime();
    if (at_ == end_) return std::nullopt;
    std::vector<T>& rows = batch();
    if (at_ + detail::rows_fetched_ahead < end_) detail::fetch_line(&rows[at_ + detail::rows_fetched_ahead]);
    return std::optional<T>(std::move(rows[at_++]));
  }
  std::vector<T>& batch() noexcept { return detail::result_of<std::vector<T>>(source_.current()); }

  detail::stream_source source_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
};

/// A stream of rows whose values are read one at a time:
/// \code
/// auto rows = db.stream("SELECT * FROM log");
/// while (auto r = co_await rows.next()) use(r->get<std::string>("line"));
/// \endcode
/// Each `row` is valid until the following `next()`. Otherwise like typed_stream.
class row_stream {
 public:
  row_stream(const detail::call_site& site, detail::operation_ref origin)
      : source_(site, std::move(origin), detail::fetch_operation) {}
  row_stream(row_stream&& other) noexcept
      : source_(std::move(other.source_)), at_(std::exchange(other.at_, 0)), end_(std::exchange(other.end_, 0)) {}
  row_stream& operator=(row_stream&& other) noexcept {
    source_ = std::move(other.source_);
    at_ = std::exchange(other.at_, 0);
    end_ = std::exchange(other.end_, 0);
    return *this;
  }
  ~row_stream() = default;

  /// The following row, or nothing after the last. Throws what the statement met; the stream has ended then.
  [[nodiscard]] auto next() noexcept { return detail::next_row<row_stream>(*this); }
  /// Gives up the remaining rows.
  void close() noexcept {
    at_ = end_ = 0;
    source_.close();
  }
  /// Waits for the first batch and gives the stream.
  auto operator co_await() && noexcept { return detail::first_batch<row_stream>(std::move(*this)); }

 private:
  friend detail::next_row<row_stream>;
  friend detail::first_batch<row_stream>;
  [[nodiscard]] bool has_row() const noexcept { return at_ < end_; }
  [[nodiscard]] detail::stream_source& source() noexcept { return source_; }
  void prime() {
    end_ = source_.take() ? batch().size() : 0;
    at_ = 0;
  }
  std::optional<row> pop() {
    if (at_ == end_) prime();
    if (at_ == end_) return std::nullopt;
    const detail::row_batch& rows = batch();
    if (at_ + detail::rows_fetched_ahead < end_) detail::fetch_line(rows.at(at_ + detail::rows_fetched_ahead));
    return row(rows.at(at_++), rows.names().get());
  }
  detail::row_batch& batch() noexcept { return detail::result_of<detail::row_batch>(source_.current()); }

  detail::stream_source source_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
};

}  // namespace cosqlite
