#include "migration_script.hpp"
#include "sha256.hpp"
#include <cosqlite/migration.hpp>
#include <cosqlite/sleep.hpp>

#include <sqlite3.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>

namespace cosqlite {

namespace detail {

/// One way of a step: text or a function.
struct migration_way {
  std::string sql;
  migrator::step code;
  bool foreign_keys_off = false;
  [[nodiscard]] bool exists() const noexcept { return !sql.empty() || code; }
};

struct migration_step {
  std::int64_t version = 0;
  std::string name;
  std::string checksum;
  migration_way up;
  migration_way down;
};

struct migration_plan {
  std::map<std::int64_t, migration_step> steps;
  std::int32_t application_id = 0;
  std::chrono::milliseconds lock_timeout{std::chrono::minutes(10)};
  std::function<task<>(connection&)> prepare_copy;

  [[nodiscard]] std::int64_t newest() const noexcept { return steps.empty() ? 0 : steps.rbegin()->first; }
};

namespace {

using time_of_day = std::chrono::sys_time<std::chrono::milliseconds>;
using plan_ref = std::shared_ptr<const migration_plan>;
using statuses = std::vector<migration_status>;
enum class direction : std::uint8_t { up, down };

constexpr int mismatch = SQLITE_ERROR;

std::string title(std::int64_t version, std::string_view name) {
  return "migration " + std::to_string(version) + " (" + std::string(name) + ")";
}

[[noreturn]] void refuse(const std::string& message, std::int64_t version, const std::source_location& where = {}) {
  throw migration_error(message, error::details(mismatch, {}, where), version);
}

std::string hexadecimal(std::int64_t n) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%08x", static_cast<unsigned>(n));
  return text;
}

// --------------------------------------------------------------------------------------------------------- the history

/// A row of cosqlite_migrations.
struct history_entry {
  std::int64_t version = 0;
  std::string name;
  std::string checksum;
  time_of_day applied_at;
  std::chrono::microseconds duration{0};
};

struct history {
  bool table_exists = false;
  std::int64_t application_id = 0;
  std::vector<history_entry> entries;  // by version
  [[nodiscard]] std::int64_t version() const noexcept { return entries.empty() ? 0 : entries.back().version; }
};

constexpr std::string_view table_query =
    "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'cosqlite_migrations'";
constexpr std::string_view entries_query =
    "SELECT version, name, checksum, applied_at, duration_us FROM main.cosqlite_migrations ORDER BY version";
constexpr std::string_view create_table =
    "CREATE TABLE IF NOT EXISTS main.cosqlite_migrations(version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, "
    "applied_at TEXT NOT NULL, duration_us INTEGER NOT NULL) STRICT";

/// \p at is a connection or a transaction.
template <class Queries>
task<history> read_history(Queries& at) {
  history h;
  h.application_id = co_await at.template query_one<std::int64_t>("PRAGMA main.application_id");
  const auto tables = co_await at.template query_one<std::int64_t>(table_query);
  h.table_exists = tables != 0;
  if (h.table_exists) h.entries = co_await at.template query<history_entry>(entries_query);
  co_return h;
}

migration_state judge(const migration_plan& plan, const history_entry& applied) {
  const auto known = plan.steps.find(applied.version);
  if (known == plan.steps.end())
    return applied.version > plan.newest() ? migration_state::newer : migration_state::missing;
  const migration_step& step = known->second;
  return step.name == applied.name && step.checksum == applied.checksum ? migration_state::applied
                                                                        : migration_state::changed;
}

/// Steps and history side by side, by version.
statuses compare(const migration_plan& plan, const history& h) {
  std::map<std::int64_t, migration_status> all;
  for (const auto& [version, step] : plan.steps) {
    migration_status& s = all[version];
    s.version = version;
    s.name = step.name;
    s.reversible = step.down.exists();
    s.state = version < h.version() ? migration_state::out_of_order : migration_state::pending;
  }
  for (const history_entry& e : h.entries) {
    migration_status& s = all[e.version];
    s.version = e.version;
    s.name = e.name;
    s.state = judge(plan, e);
    s.applied_at = e.applied_at;
    s.duration = e.duration;
  }
  statuses list;
  for (auto& [version, s] : all) list.push_back(std::move(s));
  return list;
}

std::string short_checksum(const std::string& sum) {
  return sum.empty() ? "none, it was C++" : sum.substr(0, 12) + "…";
}

std::string what_changed(const migration_plan& plan, const history& h, const migration_status& s) {
  const migration_step& now = plan.steps.at(s.version);
  const auto then = std::ranges::find(h.entries, s.version, &history_entry::version);
  const std::string which = title(s.version, s.name);
  if (now.name != then->name) {
    return which + " is called \"" + now.name + "\" now: give it the name back that it was applied under";
  }
  return which + " was changed after it had been applied (checksum then: " + short_checksum(then->checksum) +
         ", now: " + (now.checksum.empty() ? "none, it is C++" : short_checksum(now.checksum)) +
         "): restore its text, and make the change in a new step";
}

/// Why nothing may be done while a step stands so; empty: it may.
std::string objection(const migration_plan& plan, const history& h, const migration_status& s) {
  const std::string which = title(s.version, s.name);
  switch (s.state) {
    case migration_state::changed: return what_changed(plan, h, s);
    case migration_state::missing: return which + " was applied, but is not among the steps any more: put it back";
    case migration_state::newer:
      return "the database is newer than this program: " + which + " is applied, and the latest known here is " +
             std::to_string(plan.newest()) + ": use a program of that version or later";
    case migration_state::out_of_order:
      return which + " is not applied, but version " + std::to_string(h.version()) + " is: give it a number above " +
             std::to_string(h.version());
    case migration_state::pending:
    case migration_state::applied: break;
  }
  return {};
}

void check_fit(const migration_plan& plan, const history& h, const std::source_location& where) {
  if (plan.application_id != 0 && h.application_id != 0 && h.application_id != plan.application_id) {
    refuse("this is the database of another application: its application_id is " + hexadecimal(h.application_id) +
               ", not " + hexadecimal(plan.application_id) + "; is the path right?",
           0, where);
  }
  for (const migration_status& s : compare(plan, h)) {
    if (const std::string why = objection(plan, h, s); !why.empty()) refuse(why, s.version, where);
  }
}

void check_target(const migration_plan& plan, const history& h, direction way, std::int64_t to,
                  const std::source_location& where) {
  const std::int64_t now = h.version();
  if (to != 0 && to != now && !plan.steps.contains(to))
    refuse("there is no migration of version " + std::to_string(to), to, where);
  if (way == direction::up && now > to) {
    refuse("the database is at version " + std::to_string(now) + ", past " + std::to_string(to) + ": `down` leads back",
           to, where);
  }
  if (way == direction::up) return;
  if (now < to) {
    refuse(
        "the database is at version " + std::to_string(now) + ", before " + std::to_string(to) + ": `up` leads there",
        to, where);
  }
  for (const auto& [version, step] : plan.steps) {
    if (version > to && version <= now && !step.down.exists()) {
      refuse(title(version, step.name) + " has no way down: nothing was taken back", version, where);
    }
  }
}

/// The step to run next, or null.
const migration_step* next_step(const migration_plan& plan, const history& h, direction way, std::int64_t to) {
  const std::int64_t now = h.version();
  if (way == direction::down) return now > to ? &plan.steps.at(now) : nullptr;
  const auto next = plan.steps.upper_bound(now);
  return next == plan.steps.end() || next->first > to ? nullptr : &next->second;
}

// ------------------------------------------------------------------------------------------------------------ one step

int foreign_keys_on(sqlite3* db) {
  int on = -1;
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, -1, &on);
  return on;
}

/// Enforcement of foreign keys, off from `begin` until `end` or its destruction, within one transaction. PRAGMA
/// foreign_keys does nothing inside a transaction, and outside other calls on the connection could run between it and
/// BEGIN or COMMIT; the switch behind it works at once, and no constraint is pending right after BEGIN or right before
/// COMMIT.
class unenforced_keys {
 public:
  explicit unenforced_keys(call_site site) noexcept : site_(std::move(site)), where_(site_.where) {}
  unenforced_keys(const unenforced_keys&) = delete;
  unenforced_keys& operator=(const unenforced_keys&) = delete;
  ~unenforced_keys() {
    if (!armed_) return;
    using kind = callable_type<decltype(&switch_on), void>;
    operation_ref op = make_operation(site_, kind::urgent);
    op->closure = std::make_unique<callable_holder<decltype(&switch_on)>>(&switch_on);
    start_detached(std::move(op));
  }

  task<> begin(transaction& tx) {
    const int on = co_await tx.run(&foreign_keys_on);
    if (on != 1) co_return;
    armed_ = true;
    co_await tx.run(&set<0>);
  }
  task<> end(transaction& tx) {
    const bool was_armed = std::exchange(armed_, false);
    if (was_armed) co_await tx.run(&set<1>);
  }

 private:
  template <int On>
  static void set(sqlite3* db) {
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, On, nullptr);
  }
  static void switch_on(worker& at, operation&) { set<1>(native_handle(at)); }

  call_site site_;
  ref<executor> where_;
  bool armed_ = false;
};

struct orphan {
  std::string table;
  std::optional<std::int64_t> rowid;
  std::string parent;
  std::int64_t key = 0;
};

std::string describe(const std::vector<orphan>& orphans) {
  const orphan& first = orphans.front();
  std::string text = std::to_string(orphans.size()) + (orphans.size() == 1 ? " row refers" : " rows refer") +
                     " to rows that do not exist, the first in " + first.table;
  if (first.rowid) text += " (rowid " + std::to_string(*first.rowid) + ")";
  return text + " to " + first.parent;
}

/// BEGIN IMMEDIATE, for as long as the migrator's lock_timeout says.
task<transaction> begin_patiently(connection& db, std::chrono::milliseconds most, std::source_location where) {
  const auto until = std::chrono::steady_clock::now() + most;
  for (;;) {
    try {
      co_return co_await db.begin(tx_mode::immediate, where);
    } catch (const busy_error&) {
      if (std::chrono::steady_clock::now() >= until) throw;
    }
    co_await sleep_for(std::chrono::milliseconds(10));
  }
}

/// In a rollback journal's mode readers can hold a COMMIT up; it stays possible.
task<> commit_patiently(transaction& tx, std::chrono::milliseconds most, std::source_location where) {
  const auto until = std::chrono::steady_clock::now() + most;
  for (;;) {
    try {
      co_await tx.commit(where);
      co_return;
    } catch (const busy_error&) {
      if (std::chrono::steady_clock::now() >= until) throw;
    }
    co_await sleep_for(std::chrono::milliseconds(10));
  }
}

/// For the handler of \p e: the same failure, as that of a step.
[[noreturn]] void rethrow_as_failure(const error& e, const migration_step& step, direction way,
                                     const std::source_location& where) {
  error::details d(e.code(), e.sql(), where, e.offset());
  d.also = std::current_exception();
  throw migration_error(title(step.version, step.name) +
                            (way == direction::up ? " failed" : " could not be taken back") +
                            ", nothing of it was kept: " + e.what(),
                        std::move(d), step.version);
}

task<> run_way(transaction& tx, const migration_step& step, direction way, std::source_location where) {
  const migration_way& work = way == direction::up ? step.up : step.down;
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

task<> write_history(transaction& tx, const migration_plan& plan, const history& h, const migration_step& step,
                     direction way, std::chrono::microseconds duration) {
  if (way == direction::down) {
    co_await tx.execute("DELETE FROM main.cosqlite_migrations WHERE version = ?", step.version);
    co_return;
  }
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  co_await tx.execute("INSERT INTO main.cosqlite_migrations VALUES (?, ?, ?, ?, ?)", step.version, step.name,
                      step.checksum, now, duration);
  if (plan.application_id == 0 || h.application_id != 0) co_return;
  const std::string pragma = "PRAGMA main.application_id = " + std::to_string(plan.application_id);
  co_await tx.execute(pragma);
}

task<migration_status> run_in(transaction& tx, const migration_plan& plan, const history& h, const migration_step& step,
                              direction way, std::source_location where) {
  const migration_way& work = way == direction::up ? step.up : step.down;
  const auto started = std::chrono::steady_clock::now();
  unenforced_keys keys(tx.site());
  if (work.foreign_keys_off) co_await keys.begin(tx);
  if (!h.table_exists) co_await tx.execute(create_table);
  co_await run_way(tx, step, way, where);
  if (!tx.is_open()) {
    refuse(
        title(step.version, step.name) + " has ended its transaction itself: leave commit and rollback to the migrator",
        step.version, where);
  }
  if (work.foreign_keys_off) {
    const std::vector<orphan> orphans = co_await tx.query<orphan>("PRAGMA foreign_key_check");
    if (!orphans.empty()) {
      refuse(title(step.version, step.name) +
                 ", run with foreign keys off, leaves them violated, and was undone: " + describe(orphans),
             step.version, where);
    }
  }
  co_await keys.end(tx);
  migration_status done;
  done.version = step.version;
  done.name = step.name;
  done.reversible = step.down.exists();
  done.state = way == direction::up ? migration_state::applied : migration_state::pending;
  done.duration = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started);
  co_await write_history(tx, plan, h, step, way, done.duration);
  co_return done;
}

/// Runs the step that is next under the lock. Nothing: there is none any more.
task<std::optional<migration_status>> run_next(connection& db, const migration_plan& plan, direction way,
                                               std::int64_t to, std::source_location where) {
  transaction tx = co_await begin_patiently(db, plan.lock_timeout, where);
  std::exception_ptr failure;
  std::optional<migration_status> done;
  try {
    const history h = co_await read_history(tx);
    check_fit(plan, h, where);
    if (const migration_step* step = next_step(plan, h, way, to)) {
      done = co_await run_in(tx, plan, h, *step, way, where);
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
task<> adopt(connection& db, const migration_plan& plan, const history& h) {
  const bool needed = plan.application_id != 0 && h.application_id == 0 && !h.entries.empty();
  if (!needed) co_return;
  const std::string pragma = "PRAGMA main.application_id = " + std::to_string(plan.application_id);
  co_await db.execute(pragma);
}

task<statuses> migrate(plan_ref plan, connection& db, direction way, std::int64_t to, bool whole,
                       std::source_location where) {
  statuses done;
  history h = co_await read_history(db);
  check_fit(*plan, h, where);
  if (!whole) check_target(*plan, h, way, to, where);
  while (next_step(*plan, h, way, to)) {
    std::optional<migration_status> one = co_await run_next(db, *plan, way, to, where);
    if (one) done.push_back(std::move(*one));
    h = co_await read_history(db);
    check_fit(*plan, h, where);
  }
  if (way == direction::up) co_await adopt(db, *plan, h);
  co_return done;
}

task<statuses> read_status(plan_ref plan, connection& db) {
  const history h = co_await read_history(db);
  co_return compare(*plan, h);
}

// ------------------------------------------------------------------------------------------------------------- dry
// runs

/// A folder for nobody else's eyes; gone with the object.
class temporary_folder {
 public:
  temporary_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "cosqlite-dry-run-XXXXXX").string();
    if (!mkdtemp(name.data())) {
      throw io_error("cannot make the temporary folder " + name + ": " + std::strerror(errno), {SQLITE_CANTOPEN});
    }
    path_ = name;
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file() const { return (path_ / "copy.db").string(); }

 private:
  std::filesystem::path path_;
};

[[noreturn]] void throw_copy_failed(int rc, const std::string& why) {
  const std::string message = "cannot copy the database for a dry run: " + why;
  if ((rc & 0xff) == SQLITE_BUSY) throw busy_error(message, {rc});
  if ((rc & 0xff) == SQLITE_FULL) throw full_error(message, {rc});
  throw io_error(message, {rc});
}

/// Copies the whole database, page by page, to a new file.
void copy_database(sqlite3* from, const std::string& path) {
  sqlite3* to = nullptr;
  int rc =
      sqlite3_open_v2(path.c_str(), &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (rc == SQLITE_OK) {
    if (sqlite3_backup* copy = sqlite3_backup_init(to, "main", from, "main")) {
      sqlite3_backup_step(copy, -1);
      rc = sqlite3_backup_finish(copy);
    } else {
      rc = sqlite3_extended_errcode(to);
    }
  }
  const std::string why = rc == SQLITE_OK ? "" : sqlite3_errmsg(to);
  sqlite3_close(to);
  if (rc != SQLITE_OK) throw_copy_failed(rc, why);
}

task<> check_copy(connection& copy, std::string when, std::source_location where) {
  const std::vector<std::string> damage = co_await copy.query<std::string>("PRAGMA integrity_check(10)");
  if (damage != std::vector<std::string>{"ok"}) {
    refuse(
        "the copy of the database fails PRAGMA integrity_check " + when + ": " + (damage.empty() ? "" : damage.front()),
        0, where);
  }
  const std::vector<orphan> orphans = co_await copy.query<orphan>("PRAGMA foreign_key_check");
  if (!orphans.empty()) {
    refuse("the copy of the database fails PRAGMA foreign_key_check " + when + ": " + describe(orphans), 0, where);
  }
}

task<connection> open_copy(const migration_plan& plan, std::string path, bool foreign_keys) {
  open_options options;
  options.journal_mode = journal::memory;
  options.synchronous = sync::off;
  options.foreign_keys = foreign_keys;
  connection copy = co_await open(std::move(path), options);
  if (plan.prepare_copy) co_await plan.prepare_copy(copy);
  co_return copy;
}

task<statuses> try_out(plan_ref plan, connection& db, std::int64_t to, bool whole, std::source_location where) {
  const temporary_folder folder;
  const std::string path = folder.file();
  const auto keys = co_await db.query_one<bool>("PRAGMA foreign_keys");
  auto make_copy = [path](sqlite3* from) { copy_database(from, path); };
  co_await db.run(make_copy);
  connection copy = co_await open_copy(*plan, path, keys);
  co_await check_copy(copy, "before any step", where);
  statuses done = co_await migrate(plan, copy, direction::up, to, whole, where);
  co_await copy.close();
  // A step may have left settings behind that would blind the checks.
  connection fresh = co_await open_copy(*plan, path, keys);
  co_await check_copy(fresh, "after the steps", where);
  co_await fresh.close();
  co_return done;
}

// --------------------------------------------------------------------------------------------------------------
// folders

struct file_name {
  std::int64_t version = 0;
  std::string name;
  bool up = true;
};

/// `0001_name.up.sql`; nothing when it is called otherwise.
std::optional<file_name> parse_file_name(std::string_view text) {
  file_name f;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  if (digits == 0 || digits > 18) return std::nullopt;
  f.version = std::stoll(std::string(text.substr(0, digits)));
  std::string_view rest = text.substr(digits);
  f.up = rest.ends_with(".up.sql");
  if (!f.up && !rest.ends_with(".down.sql")) return std::nullopt;
  rest.remove_suffix(f.up ? 7 : 9);
  if (rest.size() < 2 || rest[0] != '_' || rest.find('.') != std::string_view::npos) return std::nullopt;
  f.name = rest.substr(1);
  return f;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) throw io_error("cannot read " + path.string() + ": " + std::strerror(errno), {SQLITE_CANTOPEN});
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  return text;
}

struct file_pair {
  std::string name;
  std::string up_file;
  std::string down_file;
};

void enter(std::map<std::int64_t, file_pair>& pairs, const std::string& file) {
  const std::optional<file_name> f = parse_file_name(file);
  if (!f || f->version == 0) {
    refuse(
        "the file " + file +
            " is not named as a migration: call it like 0001_name.up.sql or 0001_name.down.sql, with a number above 0",
        0);
  }
  file_pair& pair = pairs[f->version];
  const std::string& other = pair.up_file.empty() ? pair.down_file : pair.up_file;
  std::string& place = f->up ? pair.up_file : pair.down_file;
  if (!place.empty() || (!other.empty() && pair.name != f->name)) {
    refuse("two migrations have version " + std::to_string(f->version) + ": " + (place.empty() ? other : place) +
               " and " + file + "; give one of them another number",
           f->version);
  }
  pair.name = f->name;
  place = file;
}

std::map<std::int64_t, file_pair> list_files(const std::filesystem::path& folder) {
  std::error_code failure;
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator it(folder, failure), end; !failure && it != end; it.increment(failure)) {
    files.push_back(it->path().filename().string());
  }
  if (failure) {
    throw io_error("cannot read the folder of migrations " + folder.string() + ": " + failure.message(),
                   {SQLITE_CANTOPEN});
  }
  std::ranges::sort(files);
  std::map<std::int64_t, file_pair> pairs;
  for (const std::string& file : files) {
    const bool ours = file.ends_with(".sql") || (file[0] >= '0' && file[0] <= '9');
    if (ours && file[0] != '.') enter(pairs, file);
  }
  return pairs;
}

// ----------------------------------------------------------------------------------------------------------------
// steps

std::string without_carriage_returns(std::string text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n') plain.push_back(text[i]);
  }
  return plain;
}

/// A way in SQL; one without statements is none.
migration_way sql_way(const std::string& which, std::string sql, foreign_key_use keys, std::int64_t version) {
  migration_way way;
  const script_facts facts = examine_script(sql);
  if (!facts.fault.empty()) refuse(which + " cannot run: " + facts.fault, version);
  if (facts.statements == 0) return way;
  way.sql = std::move(sql);
  way.foreign_keys_off = facts.foreign_keys_off || keys == foreign_key_use::off;
  return way;
}

void insert_step(migration_plan& plan, migration_step step) {
  const std::string which = title(step.version, step.name);
  if (step.version <= 0) refuse(which + ": versions are positive numbers", step.version);
  if (step.name.empty()) refuse("migration " + std::to_string(step.version) + " needs a name", step.version);
  if (!step.up.exists()) refuse(which + " does nothing: it holds no statement", step.version);
  if (const auto taken = plan.steps.find(step.version); taken != plan.steps.end()) {
    refuse(
        "two migrations have version " + std::to_string(step.version) + ": " + taken->second.name + " and " + step.name,
        step.version);
  }
  const std::int64_t version = step.version;
  plan.steps.emplace(version, std::move(step));
}

}  // namespace

}  // namespace detail

migration_error::~migration_error() = default;

std::string_view to_string(migration_state state) noexcept {
  switch (state) {
    case migration_state::applied: return "applied";
    case migration_state::changed: return "changed";
    case migration_state::missing: return "missing";
    case migration_state::newer: return "newer";
    case migration_state::out_of_order: return "out of order";
    case migration_state::pending: break;
  }
  return "pending";
}

migrator::migrator() : plan_(std::make_shared<detail::migration_plan>()) {}
migrator::migrator(const migrator&) = default;
migrator::migrator(migrator&&) noexcept = default;
migrator& migrator::operator=(const migrator&) = default;
migrator& migrator::operator=(migrator&&) noexcept = default;
migrator::~migrator() = default;

/// Tasks under way and copies of this keep the steps that they have.
detail::migration_plan& migrator::plan() {
  if (!plan_) {
    plan_ = std::make_shared<detail::migration_plan>();
  } else if (plan_.use_count() > 1) {
    plan_ = std::make_shared<detail::migration_plan>(*plan_);
  }
  return *plan_;
}

void migrator::add(std::int64_t version, std::string name, std::string up_sql, std::string down_sql,
                   foreign_key_use keys) {
  detail::migration_step added;
  const std::string which = detail::title(version, name);
  added.version = version;
  added.name = std::move(name);
  added.checksum = detail::sha256(detail::without_carriage_returns(up_sql));
  added.up = detail::sql_way(which, std::move(up_sql), keys, version);
  added.down = detail::sql_way(which + ", its way down,", std::move(down_sql), keys, version);
  detail::insert_step(plan(), std::move(added));
}

void migrator::add(std::int64_t version, std::string name, const char* up_sql, const char* down_sql,
                   foreign_key_use keys) {
  add(version, std::move(name), std::string(up_sql), std::string(down_sql), keys);
}

void migrator::add(std::int64_t version, std::string name, step up, step down, foreign_key_use keys) {
  detail::migration_step added;
  added.version = version;
  added.name = std::move(name);
  added.up.code = std::move(up);
  added.down.code = std::move(down);
  added.up.foreign_keys_off = added.down.foreign_keys_off = keys == foreign_key_use::off;
  detail::insert_step(plan(), std::move(added));
}

migrator migrator::from_directory(const std::filesystem::path& folder) {
  migrator steps;
  for (const auto& [version, pair] : detail::list_files(folder)) {
    if (pair.up_file.empty()) {
      detail::refuse(pair.down_file + " is a way back from a step that is not there: add its .up.sql", version);
    }
    steps.add(version, pair.name, detail::read_text(folder / pair.up_file),
              pair.down_file.empty() ? std::string() : detail::read_text(folder / pair.down_file));
  }
  return steps;
}

void migrator::application_id(std::int32_t id) { plan().application_id = id; }
void migrator::lock_timeout(std::chrono::milliseconds most) { plan().lock_timeout = most; }
void migrator::prepare_copy(std::function<task<>(connection&)> prepare) { plan().prepare_copy = std::move(prepare); }

namespace detail {

namespace {

plan_ref shared(const std::shared_ptr<migration_plan>& plan) {
  return plan ? plan : std::make_shared<migration_plan>();
}

}  // namespace

}  // namespace detail

task<std::vector<migration_status>> migrator::up(connection& db, std::source_location where) const {
  return detail::migrate(detail::shared(plan_), db, detail::direction::up, INT64_MAX, true, where);
}

task<std::vector<migration_status>> migrator::up(connection& db, std::int64_t to, std::source_location where) const {
  return detail::migrate(detail::shared(plan_), db, detail::direction::up, to, false, where);
}

task<std::vector<migration_status>> migrator::down(connection& db, std::int64_t to, std::source_location where) const {
  return detail::migrate(detail::shared(plan_), db, detail::direction::down, to, false, where);
}

task<std::vector<migration_status>> migrator::status(connection& db, std::source_location) const {
  return detail::read_status(detail::shared(plan_), db);
}

task<std::vector<migration_status>> migrator::dry_run(connection& db, std::source_location where) const {
  return detail::try_out(detail::shared(plan_), db, INT64_MAX, true, where);
}

task<std::vector<migration_status>> migrator::dry_run(connection& db, std::int64_t to,
                                                      std::source_location where) const {
  return detail::try_out(detail::shared(plan_), db, to, false, where);
}

}  // namespace cosqlite
