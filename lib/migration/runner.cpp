#include "migration/runner.hpp"

#include "migration/foreign_keys.hpp"
#include "migration/history.hpp"
#include "migration/verification.hpp"
#include <cosqlite/sleep.hpp>

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cosqlite::detail {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How long others' locks are waited for: other processes run the same steps, one after another.
class patience {
 public:
  explicit patience(milliseconds most) noexcept : until_(steady_clock::now() + most) {}
  /// For the handler of a busy_error.
  void rethrow_when_over() const {
    if (steady_clock::now() >= until_) throw;
  }
  [[nodiscard]] static auto pause() { return sleep_for(milliseconds(10)); }

 private:
  steady_clock::time_point until_;
};

task<transaction> begin_patiently(connection& db, milliseconds most, std::source_location where) {
  const patience left(most);
  for (;;) {
    try {
      co_return co_await db.begin(tx_mode::immediate, where);
    } catch (const busy_error&) {
      left.rethrow_when_over();
    }
    co_await patience::pause();
  }
}

/// In a rollback journal's mode readers can hold a COMMIT up; it stays possible.
task<> commit_patiently(transaction& tx, milliseconds most, std::source_location where) {
  const patience left(most);
  for (;;) {
    try {
      co_await tx.commit(where);
      co_return;
    } catch (const busy_error&) {
      left.rethrow_when_over();
    }
    co_await patience::pause();
  }
}

/// For the handler of \p e: the same failure, as that of a step.
[[noreturn]] void rethrow_as_failure(const error& e, const migration_step& step, migration_direction way,
                                     const std::source_location& where) {
  error::details d(e.code(), e.sql(), where, e.offset());
  d.also = std::current_exception();
  throw migration_error(migration_title(step.version, step.name) +
                            (way == migration_direction::up ? " failed" : " could not be taken back") +
                            ", nothing of it was kept: " + e.what(),
                        std::move(d), step.version);
}

const migration_way& work_of(const migration_step& step, migration_direction way) {
  return way == migration_direction::up ? step.up : step.down;
}

task<> run_way(transaction& tx, const migration_step& step, migration_direction way, std::source_location where) {
  const migration_way& work = work_of(step, way);
  if (work.code) {
    co_await work.code(tx);
    co_return;
  }
  try {
    co_await tx.execute_script(work.sql);
  } catch (const cancelled_error&) {
    throw;
  } catch (const closed_error&) {
    throw;
  } catch (const error& e) {
    rethrow_as_failure(e, step, way, where);
  }
}

task<> check_keys(transaction& tx, const migration_step& step, std::source_location where) {
  const std::vector<orphan> orphans = co_await find_orphans(tx);
  if (orphans.empty()) co_return;
  refuse_migration(migration_title(step.version, step.name) +
                       ", run with foreign keys off, leaves them violated, and was undone: " + describe(orphans),
                   step.version, where);
}

task<> write_history(transaction& tx, const migration_plan& plan, const migration_history& h,
                     const migration_step& step, migration_direction way, std::chrono::microseconds duration) {
  if (way == migration_direction::down) {
    co_await remove_from_history(tx, step.version);
    co_return;
  }
  history_entry entry;
  entry.version = step.version;
  entry.name = step.name;
  entry.checksum = step.checksum;
  entry.duration = duration;
  co_await add_to_history(tx, std::move(entry));
  if (plan.application_id != 0 && h.application_id == 0) co_await set_application_id(tx, plan.application_id);
}

task<migration_status> run_in(transaction& tx, const migration_plan& plan, const migration_history& h,
                              const migration_step& step, migration_direction way, std::source_location where) {
  const migration_way& work = work_of(step, way);
  const auto started = steady_clock::now();
  unenforced_keys keys(tx.site());
  if (work.foreign_keys_off) co_await keys.begin(tx);
  if (!h.table_exists) co_await create_history(tx);
  co_await run_way(tx, step, way, where);
  if (!tx.is_open()) {
    refuse_migration(migration_title(step.version, step.name) +
                         " has ended its transaction itself: leave commit and rollback to the migrator",
                     step.version, where);
  }
  if (work.foreign_keys_off) co_await check_keys(tx, step, where);
  co_await keys.end(tx);
  migration_status done;
  done.version = step.version;
  done.name = step.name;
  done.reversible = step.down.exists();
  done.state = way == migration_direction::up ? migration_state::applied : migration_state::pending;
  done.duration = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - started);
  co_await write_history(tx, plan, h, step, way, done.duration);
  co_return done;
}

/// Runs the step that is next under the lock. Nothing: there is none any more.
task<std::optional<migration_status>> run_next(connection& db, const migration_plan& plan, migration_target target,
                                               std::source_location where) {
  transaction tx = co_await begin_patiently(db, plan.lock_timeout, where);
  std::exception_ptr failure;
  std::optional<migration_status> done;
  try {
    const migration_history h = co_await read_history(tx);
    check_fit(plan, h, where);
    if (const migration_step* step = next_step(plan, h, target)) {
      done = co_await run_in(tx, plan, h, *step, target.way, where);
      co_await commit_patiently(tx, plan.lock_timeout, where);
    } else {
      co_await tx.rollback();
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) co_await roll_back_and_rethrow(tx, std::move(failure));
  co_return done;
}

/// A database that was migrated before the program had an application_id.
task<> adopt(connection& db, const migration_plan& plan, const migration_history& h) {
  const bool needed = plan.application_id != 0 && h.application_id == 0 && !h.entries.empty();
  if (!needed) co_return;
  const std::string pragma = "PRAGMA main.application_id = " + std::to_string(plan.application_id);
  co_await db.execute(pragma);
}

}  // namespace

task<migration_statuses> migrate(migration_plan_ref plan, connection& db, migration_target target,
                                 std::source_location where) {
  migration_statuses done;
  migration_history h = co_await read_history(db);
  check_fit(*plan, h, where);
  check_target(*plan, h, target, where);
  while (next_step(*plan, h, target)) {
    std::optional<migration_status> one = co_await run_next(db, *plan, target, where);
    if (one) done.push_back(std::move(*one));
    h = co_await read_history(db);
    check_fit(*plan, h, where);
  }
  if (target.way == migration_direction::up) co_await adopt(db, *plan, h);
  co_return done;
}

}  // namespace cosqlite::detail
