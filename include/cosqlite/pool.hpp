/// \file
/// A pool of connections to one file: one that writes, several that read.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/changes.hpp>
#include <cosqlite/connection.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/lineage.hpp>
#include <cosqlite/observe.hpp>
#include <cosqlite/options.hpp>
#include <cosqlite/task.hpp>
#include <cosqlite/transaction.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <stop_token>
#include <string>
#include <utility>

namespace cosqlite {

/// How a pool is opened. A plain aggregate, trivially destructible.
struct pool_options {
  std::size_t readers = 4;    ///< the most reading connections; opened as they are needed
  open_options connection{};  ///< for the writer; readers take over what applies to them
  /// A stream or leased transaction on a reader that is older is ended, so that the write-ahead log can be cut; its
  /// next call throws. 0: no limit.
  std::chrono::milliseconds max_read_age{0};
  std::size_t checkpoint_pages = 1000;  ///< pages in the write-ahead log from which the writer moves them into the file
};

/// A look at a pool. Times and counts are sums since it was opened.
struct pool_stats {
  std::size_t readers = 0;           ///< reading connections that are open
  std::size_t leased = 0;            ///< connections that are leased now, the writer included
  std::size_t in_use = 0;            ///< connections that run a call now or are leased
  std::size_t waiting = 0;           ///< calls that wait for a connection
  std::uint64_t reads = 0;           ///< calls that readers have run
  std::uint64_t writes = 0;          ///< calls that the writer has run
  std::chrono::nanoseconds wait{0};  ///< time that calls have waited before they ran
  std::chrono::nanoseconds run{0};   ///< time that calls have run
  std::uint64_t cache_hits = 0;      ///< statements found in a cache
  std::uint64_t cache_misses = 0;    ///< statements that had to be prepared
  std::uint64_t groups = 0;          ///< groups of calls that shared a transaction
  std::uint64_t grouped_calls = 0;   ///< calls in them
  std::size_t wal_pages = 0;         ///< pages in the write-ahead log after the last commit
  std::uint64_t checkpoints = 0;     ///< checkpoints that the writer has run by itself
};

namespace detail {

class pool_core;

}  // namespace detail

class leased_connection;

namespace detail {

COSQLITE_API call<leased_connection> acquire(const call_site& site, const std::source_location& where);

}  // namespace detail

/// A leased connection's calls under a deadline or a stop token.
class limited_lease : public connection_calls<limited_lease> {
 public:
  explicit limited_lease(detail::call_site site) noexcept : site_(std::move(site)), where_(site_.where) {}
  [[nodiscard]] detail::call_site site() const noexcept { return site_; }

 private:
  detail::call_site site_;
  detail::ref<detail::executor> where_;
};

/// A whole connection of a pool, for one user. Has every call of `connection`. Dropping it gives it back clean: what
/// was open is rolled back, statements are reset, streams ended, hooks removed, and settings that PRAGMAs changed
/// (foreign_keys, trusted_schema, query_only, synchronous, busy_timeout) set as they were. One that cannot be cleaned
/// is replaced. Move-only.
class COSQLITE_API leased_connection : public connection_calls<leased_connection> {
 public:
  leased_connection(detail::ref<detail::executor> where, std::unique_ptr<detail::possession> held,
                    detail::operation_ref give_back) noexcept;
  leased_connection(leased_connection&&) noexcept;
  leased_connection& operator=(leased_connection&&) noexcept;
  ~leased_connection();

  /// As `connection::with`: the same calls under a deadline.
  [[nodiscard]] limited_lease with(std::chrono::nanoseconds timeout) const;
  /// The same calls under a stop token.
  [[nodiscard]] limited_lease with(std::stop_token stop) const;
  /// The same calls under both.
  [[nodiscard]] limited_lease with(std::stop_token stop, std::chrono::nanoseconds timeout) const;

  /// Gives it back now; later calls throw. Never blocks.
  void release() noexcept;
  [[nodiscard]] detail::call_site site() const noexcept;

 private:
  detail::ref<detail::executor> where_;
  std::unique_ptr<detail::possession> held_;
  detail::operation_ref give_back_;  // for when it is dropped, where there may be no memory for a new call
};

/// What a pool and its `with` views share: reads go to a free reader, writes to the writer, in order. `changes()` has
/// what the writer commits, whoever asked for it.
template <class Self>
class pool_calls : public transaction_calls<Self>, public change_calls<Self> {
 public:
  /// As in `queries`, on a reader. A statement that writes is a `readonly_error`: use `execute`, `begin` or `transact`.
  template <int NoRowType = 0, class... A>  // so that query<T>(…) can only mean the typed one
  [[nodiscard]] call<rows> query(sql_text sql, const A&... arguments) {
    return readers().query(sql, arguments...);
  }
  /// As in `queries`, on a reader.
  template <class T, class... A>
  [[nodiscard]] call<std::vector<T>> query(sql_text sql, const A&... arguments) {
    return readers().template query<T>(sql, arguments...);
  }
  /// As in `queries`, on a reader.
  template <class T, class... A>
  [[nodiscard]] call<T> query_one(sql_text sql, const A&... arguments) {
    return readers().template query_one<T>(sql, arguments...);
  }
  /// As in `queries`, on a reader.
  template <class T, class... A>
  [[nodiscard]] call<std::optional<T>> query_optional(sql_text sql, const A&... arguments) {
    return readers().template query_optional<T>(sql, arguments...);
  }
  /// A stream keeps a reader to itself until it ends.
  template <int NoRowType = 0, class... A>  // so that stream<T>(…) can only mean the typed one
  [[nodiscard]] row_stream stream(sql_text sql, const A&... arguments) {
    return readers().stream(sql, arguments...);
  }
  /// A typed stream, which keeps a reader to itself until it ends.
  template <class T, class... A>
  [[nodiscard]] typed_stream<T> stream(sql_text sql, const A&... arguments) {
    return readers().template stream<T>(sql, arguments...);
  }
  /// As in `queries`, on the writer.
  template <class... A>
  [[nodiscard]] call<execute_result> execute(sql_text sql, const A&... arguments) {
    return writer().execute(sql, arguments...);
  }
  /// As in `queries`, on the writer.
  template <std::ranges::input_range R>
  [[nodiscard]] call<execute_result> execute_many(sql_text sql, R&& rows) {
    return writer().execute_many(sql, std::forward<R>(rows));
  }
  /// As in `queries`, on the writer.
  [[nodiscard]] call<> execute_script(sql_text sql) { return writer().execute_script(sql); }

  /// A live query that reads on a reader, whenever a commit on the writer has touched what it reads. It waits for the
  /// writer when it begins, and when a change of the schema makes it read other tables; otherwise only for a reader.
  template <int NoRowType = 0, class... A>  // so that observe<T>(…) can only mean the typed one
  [[nodiscard]] live_query<rows> observe(sql_text sql, const A&... arguments) {
    return {detail::start_live(self().read_site(), self().site(), sql, arguments...), detail::observe_operation()};
  }
  /// The same, of \p T.
  template <class T, class... A>
  [[nodiscard]] live_query<std::vector<T>> observe(sql_text sql, const A&... arguments) {
    return {detail::start_live(self().read_site(), self().site(), sql, arguments...), detail::observed_rows<T>::type};
  }

  /// Leases a whole reading connection; waits for one. A coroutine that has leased them all and then waits without a
  /// limit for another gets a `misuse_error`.
  [[nodiscard]] call<leased_connection> acquire_reader(std::source_location where = std::source_location::current()) {
    return detail::acquire(self().read_site(), where);
  }
  /// Leases the writing connection; others' writes wait until it is given back. Those of the coroutine that has it,
  /// made through the pool without a limit, are a `misuse_error`.
  [[nodiscard]] call<leased_connection> acquire_writer(std::source_location where = std::source_location::current()) {
    return detail::acquire(self().site(), where);
  }

 private:
  Self& self() noexcept { return static_cast<Self&>(*this); }
  limited_connection readers() { return limited_connection(self().read_site()); }
  limited_connection writer() { return limited_connection(self().site()); }
};

/// A pool under a deadline or a stop token; made by `pool::with`.
class limited_pool : public pool_calls<limited_pool> {
 public:
  limited_pool(detail::call_site read, detail::call_site write) noexcept
      : read_(std::move(read)), write_(std::move(write)), readers_(read_.where), writer_(write_.where) {}
  [[nodiscard]] detail::call_site read_site() const noexcept { return read_; }
  [[nodiscard]] detail::call_site site() const noexcept { return write_; }

 private:
  detail::call_site read_;
  detail::call_site write_;
  detail::ref<detail::executor> readers_;
  detail::ref<detail::executor> writer_;
};

/// One writing connection and up to `readers` reading ones (read-only, query_only) on one file in WAL mode. A read sees
/// every write whose await has returned. Writes run in the order in which they were awaited. Only the writer
/// checkpoints. A pool on ":memory:" or "" has its one connection do everything. Move-only; use
/// it from its loop's thread.
class COSQLITE_API pool : public pool_calls<pool> {
 public:
  /// Opens the writer (and so creates the file where it may); readers follow when they are needed.
  [[nodiscard]] static task<pool> open(std::string path, pool_options options = {},
                                       std::source_location where = std::source_location::current());

  pool(pool&&) noexcept;
  pool& operator=(pool&&) noexcept;
  /// Dropping it open cancels what is under way and closes its connections in the background.
  ~pool();

  /// The same calls, each with \p timeout from the moment it is awaited: it covers the wait for a connection too.
  [[nodiscard]] limited_pool with(std::chrono::nanoseconds timeout) const;
  /// The same calls, stopped when \p stop is requested, from any thread.
  [[nodiscard]] limited_pool with(std::stop_token stop) const;
  /// The same calls under both.
  [[nodiscard]] limited_pool with(std::stop_token stop, std::chrono::nanoseconds timeout) const;

  /// What the pool does now and has done. Gives it at once.
  [[nodiscard]] pool_stats stats() const;
  /// Whether calls are taken.
  [[nodiscard]] bool is_open() const noexcept;
  /// Refuses new calls, lets queued ones finish, ends leases once their queued calls have run, and closes every
  /// connection.
  [[nodiscard]] task<> close();

  /// The writing connection, for what belongs to it: hooks, `changes()`, functions. Calls through it queue with all
  /// writes.
  [[nodiscard]] connection& writer() noexcept;

  [[nodiscard]] detail::call_site read_site() const noexcept;
  [[nodiscard]] detail::call_site site() const noexcept;

 private:
  explicit pool(std::unique_ptr<detail::pool_core> core) noexcept;

  std::unique_ptr<detail::pool_core> core_;
};

}  // namespace cosqlite
