#include "migrate/commands.hpp"

#include "migrate/database.hpp"
#include <cosqlite/chrono.hpp>
#include <cosqlite/connection.hpp>
#include <cosqlite/migration.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace migrate {

namespace {

using cosqlite::connection;
using cosqlite::migration_state;
using cosqlite::migration_status;
using cosqlite::migrator;
using cosqlite::task;
using statuses = std::vector<migration_status>;

migrator steps_of(const arguments& a) {
  if (!std::filesystem::is_directory(a.source)) {
    throw usage_error("there is no folder " + a.source.string() +
                      " of migrations: name it with --source, or begin one with `new`");
  }
  return migrator::from_directory(a.source);
}

std::string milliseconds(std::chrono::microseconds duration) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(duration.count()) / 1000);
  return text;
}

void print_step(std::string_view what, const migration_status& s) {
  std::cout << what << " " << s.version << "/" << s.name << " (" << milliseconds(s.duration) << ")" << std::endl;
}

/// Says \p what of each step as soon as it is done.
void print_steps(migrator& steps, std::string_view what) {
  steps.on_step([what](const migration_status& s) { print_step(what, s); });
}

std::string one_line(const migration_status& s) {
  std::string line = std::to_string(s.version) + "/" + std::string(to_string(s.state)) + " " + s.name;
  if (s.applied_at) {
    using written = cosqlite::adapter<std::chrono::sys_time<std::chrono::milliseconds>>;
    line.append("  ").append(written::to_sqlite(*s.applied_at));
  }
  return line;
}

bool fits(const migration_status& s) {
  return s.state == migration_state::applied || s.state == migration_state::pending;
}

/// The version of the step below the latest that is applied: where `down` leads without --to.
std::int64_t one_step_back(const statuses& all) {
  std::int64_t latest = 0;
  std::int64_t before = 0;
  for (const migration_status& s : all) {
    if (!s.applied_at) continue;
    before = latest;
    latest = s.version;
  }
  return before;
}

/// As far as --to says, or as far as it goes.
task<statuses> climb(const migrator& steps, connection& db, const arguments& a) {
  statuses done;
  if (a.dry_run && a.to) {
    done = co_await steps.dry_run(db, *a.to);
  } else if (a.dry_run) {
    done = co_await steps.dry_run(db);
  } else if (a.to) {
    done = co_await steps.up(db, *a.to);
  } else {
    done = co_await steps.up(db);
  }
  co_return done;
}

task<statuses> descend(const migrator& steps, connection& db, const arguments& a) {
  const statuses all = co_await steps.status(db);
  const std::int64_t target = a.to.value_or(one_step_back(all));
  statuses done;
  if (a.dry_run) {
    done = co_await steps.dry_run_down(db, target);
  } else {
    done = co_await steps.down(db, target);
  }
  co_return done;
}

void print_trial(std::string_view what, const statuses& done, bool dry_run) {
  if (!dry_run) return;
  for (const migration_status& s : done) print_step(what, s);
}

}  // namespace

task<bool> show_status(arguments a) {
  const migrator steps = steps_of(a);
  connection db = co_await open_database(a);
  const statuses all = co_await steps.status(db);
  for (const migration_status& s : all) std::cout << one_line(s) << "\n";
  if (all.empty()) std::cout << "no migrations in " << a.source.string() << "\n";
  const bool sound = std::ranges::all_of(all, &fits);
  if (!sound) std::cerr << "cosqlite-migrate: the steps do not fit this database; `up` says why\n";
  co_await db.close();
  co_return sound;
}

task<bool> go_up(arguments a) {
  migrator steps = steps_of(a);
  print_steps(steps, "Applied");
  connection db = co_await open_database(a);
  const statuses done = co_await climb(steps, db, a);
  print_trial("Can apply", done, a.dry_run);
  if (done.empty()) std::cout << "Nothing to apply\n";
  co_await db.close();
  co_return true;
}

task<bool> go_down(arguments a) {
  migrator steps = steps_of(a);
  print_steps(steps, "Took back");
  connection db = co_await open_database(a);
  const statuses done = co_await descend(steps, db, a);
  print_trial("Can take back", done, a.dry_run);
  if (done.empty()) std::cout << "Nothing to take back\n";
  co_await db.close();
  co_return true;
}

}  // namespace migrate
