#include "migration/runner.hpp"

#include "migration/foreign_keys.hpp"
#include "migration/history.hpp"
#include "migration/verification.hpp"
#include <cosqlite/detail/awaitable.hpp>
#include <cosqlite/sleep.hpp>

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cosqlite::detail {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// What \p attempt gives, tried again for so long while others hold locks: other processes run the same steps, one
/// after another.
template <class Attempt>
task<await_result_t<std::invoke_result_t<Attempt&>>> patiently(milliseconds most, Attempt& attempt) {
  const auto until = steady_clock::now() + most;
  for (;;) {
    try {
      co_return co_await attempt();
    } catch (const busy_error&) {
      if (steady_clock::now() >= until) throw;
    }
    co_await sleep_for(milliseconds(10));
  }
}

task<migration_history> read_patiently(connection& db, const migration_plan& plan) {
  const auto attempt = [&db] { return read_history(db); };
  migration_history h = co_await patiently(plan.lock_timeout, attempt);
  co_return h;
}

task<transaction> begin_patiently(connection& db, const migration_plan& plan, std::source_location where) {
  const auto attempt = [&db, where] { return db.begin(tx_mode::immediate, where); };
  transaction tx = co_await patiently(plan.lock_timeout, attempt);
  co_return tx;
}

/// In a rollback journal's mode readers can hold a COMMIT up; it stays possible.
task<> commit_patiently(transaction& tx, const migration_plan& plan, std::source_location where) {
  const auto attempt = [&tx, where] { return tx.commit(where); };
  co_await patiently(plan.lock_timeout, attempt);
}

/// For the handler of an error: the same failure, as that of a step. That of whoever stops the call stays as it is.
[[noreturn]] void rethrow_as_failure(const migration_step& step, migration_direction way,
                                     const std::source_location& where) {
  try {
    throw;
  } catch (const cancelled_error&) {
    throw;
  } catch (const closed_error&) {
    throw;
  } catch (const error& e) {
    error::details d(e.code(), e.sql(), where, e.offset());
    d.also = std::current_exception();
    throw migration_error(migration_title(step.version, step.name) +
                              (way == migration_direction::up ? " failed" : " could not be taken back") +
                              ", nothing of it was kept: " + e.what(),
                          std::move(d), step.version);
  }
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
  } catch (const error&) {
    rethrow_as_failure(step, way, where);
  }
}

task<> check_keys(transaction& tx, const migration_step& step, migration_direction way, std::source_location where) {
  std::vector<orphan> orphans;
  try {
    orphans = co_await find_orphans(tx);
  } catch (const error&) {
    rethrow_as_failure(step, way, where);
  }
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
  if (work.foreign_keys_off) co_await check_keys(tx, step, way, where);
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

task<> commit_step(transaction& tx, const migration_plan& plan, const migration_step& step, migration_direction way,
                   std::source_location where) {
  try {
    co_await commit_patiently(tx, plan, where);
  } catch (const busy_error&) {
    throw;
  } catch (const error&) {
    rethrow_as_failure(step, way, where);
  }
}

using step_result = std::optional<migration_status>;

/// Runs the step that is next, by what the database says under the lock. Nothing: there is none any more.
task<step_result> run_next(transaction& tx, const migration_plan& plan, migration_target target,
                           std::source_location where) {
  const migration_history h = co_await read_history(tx);
  check_fit(plan, h, where);
  const migration_step* step = next_step(plan, h, target);
  step_result done;
  if (!step) {
    co_await tx.rollback();
    co_return done;
  }
  done = co_await run_in(tx, plan, h, *step, target.way, where);
  co_await commit_step(tx, plan, *step, target.way, where);
  co_return done;
}

/// A database that was migrated before the program had an application_id is given it.
task<step_result> adopt(transaction& tx, const migration_plan& plan, migration_target, std::source_location where) {
  const migration_history h = co_await read_history(tx);
  check_fit(plan, h, where);
  if (h.application_id == 0) co_await set_application_id(tx, plan.application_id);
  co_await commit_patiently(tx, plan, where);
  co_return std::nullopt;
}

/// Runs \p work in an IMMEDIATE transaction, which it ends itself unless it throws.
template <class Work>
task<step_result> in_transaction(Work work, connection& db, const migration_plan& plan, migration_target target,
                                 std::source_location where) {
  transaction tx = co_await begin_patiently(db, plan, where);
  std::exception_ptr failure;
  step_result done;
  try {
    done = co_await work(tx, plan, target, where);
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) co_await roll_back_and_rethrow(tx, std::move(failure));
  co_return done;
}

bool needs_adoption(const migration_plan& plan, const migration_history& h, migration_target target) {
  return target.way == migration_direction::up && plan.application_id != 0 && h.application_id == 0 &&
         !h.entries.empty();
}

}  // namespace

task<migration_statuses> migrate(migration_plan_ref plan, connection& db, migration_target target,
                                 std::source_location where) {
  migration_statuses done;
  migration_history h = co_await read_patiently(db, *plan);
  check_fit(*plan, h, where);
  check_target(*plan, h, target, where);
  while (next_step(*plan, h, target)) {
    step_result one = co_await in_transaction(&run_next, db, *plan, target, where);
    if (one) done.push_back(std::move(*one));
    if (one && plan->on_step) plan->on_step(done.back());
    h = co_await read_patiently(db, *plan);
    check_fit(*plan, h, where);
  }
  if (needs_adoption(*plan, h, target)) co_await in_transaction(&adopt, db, *plan, target, where);
  co_return done;
}

}  // namespace cosqlite::detail
