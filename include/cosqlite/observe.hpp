/// \file
/// Live queries: a query whose rows come anew whenever a commit has touched what it reads.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/changes.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/detail/results.hpp>
#include <cosqlite/row.hpp>
#include <cosqlite/sql.hpp>
#include <cosqlite/task.hpp>

#include <memory>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

namespace cosqlite {

namespace detail {

class live_source;
class live_reading;

/// Runs the query, and watches what it reads or tells what that is.
COSQLITE_API void run_observed(worker& at, operation& op);
/// The same for untyped rows.
COSQLITE_API const operation_type& observe_operation() noexcept;

template <class T>
struct observed_rows {
  static constexpr operation_type type{.run = &run_observed,
                                       .row = &all_rows<T>::row,
                                       .begin = &all_rows<T>::begin,
                                       .destroy_result = &destroy_result<std::vector<T>>};
};

/// What a live query knows on the loop's thread. It reads at one place and watches another, which may be the same.
class COSQLITE_API live_state {
 public:
  live_state(const call_site& read, const call_site& write, operation_ref origin);
  live_state(const live_state&) = delete;
  live_state& operator=(const live_state&) = delete;
  ~live_state();

  /// A run of the query, with the arguments of the first.
  [[nodiscard]] operation_ref make_run(const operation_type& type);
  /// Whether the rows have been given, so that the next ones must wait for a commit.
  [[nodiscard]] bool has_run() const noexcept { return has_run_; }
  void set_run(bool done) noexcept { has_run_ = done; }
  [[nodiscard]] wait_for_notifier wait() const noexcept;
  /// Whether the connection has closed.
  [[nodiscard]] bool has_ended() const noexcept;
  /// Whether watch() must come before the next run. Otherwise each run watches by itself.
  [[nodiscard]] bool must_watch() const noexcept;
  /// Finds out what the query reads, and watches it.
  static task<> watch(std::shared_ptr<live_state> state);
  /// Whether the run that has just ended read nothing but what was watched.
  [[nodiscard]] bool is_up_to_date() noexcept;

 private:
  [[nodiscard]] bool reads_elsewhere() const noexcept { return read_.where != write_.where; }

  call_site read_;
  call_site write_;
  ref<executor> reads_at_;
  ref<executor> writes_at_;
  operation_ref origin_;
  std::shared_ptr<live_source> source_;
  std::shared_ptr<live_reading> watched_;
  std::shared_ptr<live_reading> wanted_;   // to be watched instead
  std::shared_ptr<live_reading> reading_;  // of the run that goes on
  bool has_run_ = false;
};

/// Awaits a state's notifier.
class live_wait {
 public:
  explicit live_wait(const live_state& state) noexcept : wait_(state.wait()) {}
  [[nodiscard]] bool await_ready() const noexcept { return wait_.ready(); }
  bool await_suspend(std::coroutine_handle<> waiter) { return wait_.suspend(waiter); }
  void await_resume() { wait_.finish(); }

 private:
  wait_for_notifier wait_;
};

template <class Rows>
task<std::optional<Rows>> next_rows(std::shared_ptr<live_state> state, const operation_type* type) {
  std::optional<Rows> rows;
  if (state->has_run()) co_await live_wait(*state);
  if (state->has_ended()) co_return rows;
  state->set_run(false);
  do {
    if (state->must_watch()) co_await live_state::watch(state);
    call<Rows> run(state->make_run(*type));
    rows.emplace(co_await std::move(run));
  } while (!state->is_up_to_date());
  state->set_run(true);
  co_return rows;
}

/// A live query that reads at \p read what is written at \p write.
template <class... A>
std::shared_ptr<live_state> start_live(const call_site& read, const call_site& write, const sql_text& sql,
                                       const A&... arguments) {
  operation_ref origin = make_operation(read, observe_operation(), sql);
  (detail::bind(origin->args, arguments), ...);
  return std::make_shared<live_state>(read, write, std::move(origin));
}

}  // namespace detail

/// A query whose result is kept up to date:
/// \code
/// auto open_orders = db.observe<order>("SELECT * FROM orders WHERE open");
/// while (auto rows = co_await open_orders.next()) show(*rows);
/// \endcode
/// The first `next()` gives the rows at once. Each later one waits until a commit on this connection has touched a
/// table that the query reads, or has changed the schema (or a backup or `deserialize` has replaced the database), and
/// then gives all rows anew; several commits before it is called make one refresh. What is read is found by SQLite's
/// authorizer: through views, subqueries and joins too, and what triggers and foreign keys change counts. "Touched" is
/// by table, not by row: the rows may be the same as before. Commits of other connections and processes are not
/// noticed. Nothing once the connection has closed. Move-only; use it from the connection's loop; dropping it ends the
/// watching.
template <class Rows>
class live_query {
 public:
  live_query(std::shared_ptr<detail::live_state> state, const detail::operation_type& type) noexcept
      : state_(std::move(state)), type_(&type) {}

  /// The rows, as `std::vector<T>` or `rows`. Throws what the query meets; the following `next()` then tries again at
  /// once. One at a time.
  [[nodiscard]] task<std::optional<Rows>> next() { return detail::next_rows<Rows>(state_, type_); }

 private:
  std::shared_ptr<detail::live_state> state_;
  const detail::operation_type* type_;
};

/// The live queries of a connection.
template <class Self>
class observe_calls {
 public:
  /// A live query of \p T, by the rules of `query<T>`. SQL and arguments are copied. Needs the preupdate hook or falls
  /// back to the update hook, as `changes()` does.
  template <class T, class... A>
  [[nodiscard]] live_query<std::vector<T>> observe(sql_text sql, const A&... arguments) {
    return {detail::start_live(here(), here(), sql, arguments...), detail::observed_rows<T>::type};
  }
  /// A live query of untyped rows.
  template <int NoRowType = 0, class... A>  // so that observe<T>(…) can only mean the typed one
  [[nodiscard]] live_query<rows> observe(sql_text sql, const A&... arguments) {
    return {detail::start_live(here(), here(), sql, arguments...), detail::observe_operation()};
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
