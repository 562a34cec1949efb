/// \file
/// A database as SQL text, and back.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/detail/read_ahead.hpp>
#include <cosqlite/stream.hpp>
#include <cosqlite/task.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <ranges>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace cosqlite {

/// What a dump contains. A plain aggregate; strings are copied before `dump` returns.
struct dump_options {
  std::string_view like = {};  ///< only tables and views whose name is LIKE this, with what belongs to them; empty: all
  std::string_view schema = "main";  ///< "main", "temp", or the name of an attached database
};

class dump_stream;

namespace detail {

class restore_state;

COSQLITE_API dump_stream dump(const call_site& site, dump_options options, std::source_location where);

/// A restore under way on the loop's side: collects text, runs it, ends the transaction.
class COSQLITE_API restore_session {
 public:
  explicit restore_session(std::unique_ptr<restore_state> state) noexcept;
  restore_session(restore_session&&) noexcept;
  restore_session& operator=(restore_session&&) noexcept;
  ~restore_session();

  void add(std::string_view sql);
  /// Whether enough has been collected for a call.
  [[nodiscard]] bool is_due() const noexcept;
  [[nodiscard]] call<> flush();
  [[nodiscard]] call<> commit();

 private:
  std::unique_ptr<restore_state> state_;
};

COSQLITE_API call<restore_session> begin_restore(const call_site& site, std::source_location where);
COSQLITE_API call_site restore_site(call_site site) noexcept;

template <class S>
concept sql_stream = requires(S& s) {
  { s.next().await_resume() } -> std::convertible_to<std::optional<std::string>>;
};
template <class S>
concept sql_range =
    std::ranges::input_range<S> && std::convertible_to<std::ranges::range_reference_t<S>, std::string_view> &&
    !std::convertible_to<S, std::string_view>;

/// What stays with its owner, or is moved into the restore.
template <class S>
class lent_or_owned {
 public:
  explicit lent_or_owned(S&& s) : held_(std::move(s)) {}
  S& get() noexcept { return held_; }

 private:
  S held_;
};
template <class S>
class lent_or_owned<S&> {
 public:
  explicit lent_or_owned(S& s) noexcept : held_(&s) {}
  S& get() noexcept { return *held_; }

 private:
  S* held_;
};

template <class S>
task<> restore(call_site site, [[maybe_unused]] ref<executor> keep_alive, lent_or_owned<S> from,
               std::source_location where) {
  site = restore_site(std::move(site));
  restore_session session = co_await begin_restore(site, where);
  if constexpr (sql_stream<std::remove_reference_t<S>>) {
    for (;;) {
      std::optional<std::string> sql = co_await from.get().next();
      if (!sql) break;
      session.add(*sql);
      if (session.is_due()) co_await session.flush();
    }
  } else {
    for (auto&& sql : from.get()) {
      session.add(std::string_view(sql));
      if (session.is_due()) co_await session.flush();
    }
  }
  co_await session.flush();
  co_await session.commit();
}

}  // namespace detail

/// The statements of a dump, one at a time:
/// \code
/// auto statements = db.dump();
/// while (auto sql = co_await statements.next()) file << *sql << '\n';
/// \endcode
/// All of them come from one read transaction, which is the stream's: other calls on the connection wait until the
/// stream has come to its end or is dropped. (To go on working meanwhile, dump through a connection of its own.)
class COSQLITE_API dump_stream {
 public:
  explicit dump_stream(detail::read_ahead from) noexcept : from_(std::move(from)) {}

  /// The following statement, with its semicolon, or nothing after the last. The stream has ended when it throws.
  [[nodiscard]] auto next() noexcept { return detail::next_row<dump_stream>(*this); }
  /// Gives up the rest.
  void close() noexcept {
    left_.clear();
    at_ = 0;
    from_.close();
  }

 private:
  friend detail::next_row<dump_stream>;
  [[nodiscard]] bool has_row() const noexcept { return at_ < left_.size(); }
  [[nodiscard]] detail::read_ahead& source() noexcept { return from_; }
  std::optional<std::string> pop();

  detail::read_ahead from_;
  std::vector<std::string> left_;
  std::size_t at_ = 0;
};

/// What a connection offers for SQL text.
template <class Self>
class dump_calls {
 public:
  /// Everything in the database as SQL: tables with their rowids, indexes, triggers, views, the counters of
  /// AUTOINCREMENT, ANALYZE's statistics, user_version and application_id, and the contents of virtual tables: FTS3,
  /// FTS4, FTS5, R-Tree and Geopoly. Values are exact (infinities, every digit of a real, NULs in text, bytes that are
  /// no UTF-8). It can be run by `restore`, by `execute_script` and by SQLite's own shell, needs no writable_schema,
  /// and works in defensive mode. The rows of a contentless FTS table are not in the database, so one that has rows is
  /// an `unsupported_error`, as are those of a virtual table of another module that keeps tables of its own: use
  /// `backup`, or leave it out with `like`.
  [[nodiscard]] dump_stream dump(dump_options options = {},
                                 std::source_location where = std::source_location::current()) {
    return detail::dump(here(), options, where);
  }

  /// Runs \p statements, a range of SQL texts or a stream like that of `dump`, as one transaction: all or nothing.
  /// Pieces need not end where statements do. BEGIN, COMMIT and END in it are passed over. Foreign keys are not
  /// enforced meanwhile. A named range or stream is borrowed until the task is done, a temporary is moved in. Under
  /// `with(…)` one deadline covers the whole. Starts when it is awaited.
  template <class S>
    requires(detail::sql_stream<std::remove_reference_t<S>> || detail::sql_range<S>)
  [[nodiscard]] task<> restore(S&& statements, std::source_location where = std::source_location::current()) {
    detail::call_site site = here();
    detail::ref<detail::executor> keep(site.where);
    return detail::restore<S>(std::move(site), std::move(keep), detail::lent_or_owned<S>(std::forward<S>(statements)),
                              where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
