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

/// Runs the query and watches what it reads.
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

/// What a live query knows on the loop's thread.
class COSQLITE_API live_state {
 public:
  live_state(const call_site& site, operation_ref origin);
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

 private:
  call_site site_;
  ref<executor> where_;
  operation_ref origin_;
  std::shared_ptr<live_source> source_;
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
  call<Rows> run(state->make_run(*type));
  Rows fresh = co_await std::move(run);
  state->set_run(true);
  rows.emplace(std::move(fresh));
  co_return rows;
}

}  // namespace detail

/// A query whose result is kept up to date:
/// \code
/// auto open_orders = db.observe<order>("SELECT * FROM orders WHERE open");
/// while (auto rows = co_await open_orders.next()) show(*rows);
/// \endcode
/// The first `next()` gives the rows at once. Each later one waits until a commit on this connection has touched a
/// table that the query reads, and then gives all rows anew; several commits before it is called make one refresh.
/// "Touched" is by table, not by row: the rows may be the same as before. Commits of other connections and processes
/// are not noticed. Nothing once the connection has closed. Move-only; use it from the connection's loop; dropping it
/// ends the watching.
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
    return {start(sql, arguments...), detail::observed_rows<T>::type};
  }
  /// A live query of untyped rows.
  template <int NoRowType = 0, class... A>  // so that observe<T>(…) can only mean the typed one
  [[nodiscard]] live_query<rows> observe(sql_text sql, const A&... arguments) {
    return {start(sql, arguments...), detail::observe_operation()};
  }

 private:
  template <class... A>
  std::shared_ptr<detail::live_state> start(const sql_text& sql, const A&... arguments) {
    const detail::call_site site = static_cast<Self&>(*this).site();
    detail::operation_ref origin = detail::make_operation(site, detail::observe_operation(), sql);
    (detail::bind(origin->args, arguments), ...);
    return std::make_shared<detail::live_state>(site, std::move(origin));
  }
};

}  // namespace cosqlite
