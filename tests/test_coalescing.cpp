// Calls that wait together may share a transaction. Whatever they share, each must get the answer that it would have
// had alone: random programs are run with coalescing on and off, and everything that can be seen is compared.

#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/database.hpp"
#include "support/randomised.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <optional>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

namespace {

using cosqlite::call;
using cosqlite::connection;
using cosqlite::pool;
using cosqlite::task;
using support::child_process;
using support::temp_database;

std::string path_of(const temp_database& files, const char* name) { return (files.folder() / name).string(); }

/// A pool without readers: its one connection does everything and counts its groups.
task<pool> open_one(std::string path, bool coalesce) {
  cosqlite::pool_options o;
  o.readers = 0;
  o.connection.coalesce = coalesce;
  o.connection.synchronous = cosqlite::sync::off;
  o.connection.busy_timeout = std::chrono::milliseconds(1);
  o.connection.coalesce_time = std::chrono::seconds(10);
  pool p = co_await pool::open(std::move(path), o);
  co_return p;
}

constexpr const char* schema = R"(
  CREATE TABLE parent(id INTEGER PRIMARY KEY, n INTEGER NOT NULL CHECK (n < 900));
  CREATE TABLE child(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);
  CREATE TABLE strict_child(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id));
  CREATE TABLE item(id INTEGER PRIMARY KEY, key TEXT UNIQUE, n INTEGER NOT NULL CHECK (n <> 13));
  CREATE TABLE log(line TEXT);
  CREATE TABLE big(b BLOB);
  CREATE TABLE pair(a, b, PRIMARY KEY (a, b)) WITHOUT ROWID;
  CREATE TRIGGER item_log AFTER INSERT ON item BEGIN INSERT INTO log VALUES ('new ' || new.key); END;
  CREATE TRIGGER item_abort BEFORE INSERT ON item WHEN new.n = 101 BEGIN SELECT raise(ABORT, 'aborted'); END;
  CREATE TRIGGER item_fail BEFORE INSERT ON item WHEN new.n = 102 BEGIN SELECT raise(FAIL, 'failed'); END;
  CREATE TRIGGER item_rollback BEFORE INSERT ON item WHEN new.n = 103 BEGIN SELECT raise(ROLLBACK, 'rolled back'); END;
  CREATE TRIGGER item_ignore BEFORE INSERT ON item WHEN new.n = 104 BEGIN SELECT raise(IGNORE); END;
)";

constexpr const char* reset = R"(
  DELETE FROM child; DELETE FROM strict_child; DELETE FROM parent; DELETE FROM item; DELETE FROM log; DELETE FROM big;
  DELETE FROM pair; PRAGMA max_page_count = 1000000;
)";

/// One call of a program. `kind` chooses the statement, the numbers its arguments.
struct step {
  int kind;
  int a;
  int b;
};

using program = std::vector<step>;

constexpr int kinds = 30;

bool is_endless(const step& s) { return s.kind == 29 && s.b == 3; }

program random_program(std::mt19937_64& random) {
  const auto below = [&random](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  program p(static_cast<std::size_t>(2 + below(22)));
  for (step& s : p) {
    s.kind = below(kinds);
    s.a = below(8);
    s.b = below(20) == 0 ? std::array{13, 101, 102, 103, 104, 950}[static_cast<std::size_t>(below(6))] : below(12);
  }
  // How far a cancelled statement came is a matter of time, and changes() shows it.
  if (std::ranges::any_of(p, is_endless)) {
    for (step& s : p) s.kind = s.kind == 15 || s.kind == 16 ? 14 : s.kind;
  }
  return p;
}

std::string text_of(const cosqlite::rows& rows) {
  std::string text;
  for (const cosqlite::row r : rows) {
    for (int i = 0; i < r.size(); ++i) {
      const auto v = r.get<cosqlite::value>(i);
      std::visit(
          [&text](const auto& held) {
            using held_type = std::decay_t<decltype(held)>;
            if constexpr (std::is_same_v<held_type, std::monostate>) text += "null";
            if constexpr (std::is_same_v<held_type, std::int64_t>) text += std::to_string(held);
            if constexpr (std::is_same_v<held_type, double>) text += std::to_string(held);
            if constexpr (std::is_same_v<held_type, std::string>) text += held;
            if constexpr (std::is_same_v<held_type, cosqlite::bytes>) text += std::to_string(held.size()) + " bytes";
          },
          v.variant());
      text += ',';
    }
    text += ';';
  }
  return text;
}

std::string text_of(const cosqlite::execute_result& r) {
  return "changes " + std::to_string(r.changes) + " rowid " + std::to_string(r.last_insert_rowid);
}

struct thrown_by_user : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class T>
task<std::string> answer_of(call<T> c) {
  std::string text;
  try {
    const T result = co_await std::move(c);
    text = text_of(result);
  } catch (const cosqlite::constraint_error& e) {
    text = "constraint " + std::to_string(e.code()) + " " + e.what();
  } catch (const cosqlite::cancelled_error&) {
    text = "cancelled";
  } catch (const cosqlite::error& e) {
    text = std::string(e.name()) + " " + e.what();
  } catch (const thrown_by_user& e) {
    text = std::string("thrown ") + e.what();
  }
  co_return text;
}

constexpr const char* endless =
    "INSERT INTO pair WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c) SELECT i, -i FROM c";

/// The step as a call. Members that are cancelled run for ever until the stop comes, or the file is full.
task<std::string> call_of(pool& db, step s, std::stop_token stop) {
  const std::string key = "k" + std::to_string(s.a);
  switch (s.kind) {
    case 0: return answer_of(db.execute("INSERT INTO parent VALUES (?, ?)", s.a, s.b));
    case 1: return answer_of(db.execute("INSERT INTO child(parent) VALUES (?)", s.a));
    case 2: return answer_of(db.execute("INSERT INTO strict_child(parent) VALUES (?)", s.a));
    case 3: return answer_of(db.execute("DELETE FROM parent WHERE id = ?", s.a));
    case 4: return answer_of(db.execute("INSERT INTO item(key, n) VALUES (?, ?)", key, s.b));
    case 5: return answer_of(db.execute("INSERT OR REPLACE INTO item(key, n) VALUES (?, ?)", key, s.b));
    case 6: return answer_of(db.execute("INSERT OR IGNORE INTO item(key, n) VALUES (?, ?)", key, s.b));
    case 7:
      return answer_of(db.execute("INSERT OR FAIL INTO item(key, n) VALUES ('f' || ?1, 1), (?2, ?3)", s.b, key, s.b));
    case 8:
      return answer_of(db.execute("INSERT OR ABORT INTO item(key, n) VALUES ('a' || ?1, 1), (?2, ?3)", s.b, key, s.b));
    case 9:
      return answer_of(
          db.execute("INSERT OR ROLLBACK INTO item(key, n) VALUES ('r' || ?1, 1), (?2, ?3)", s.b, key, s.b));
    case 10: return answer_of(db.query("INSERT INTO item(key, n) VALUES (?, ?) RETURNING id, key, n", key, s.b));
    case 11: return answer_of(db.execute("UPDATE item SET n = n + ? WHERE key > ?", s.b, key));
    case 12: return answer_of(db.execute("DELETE FROM item WHERE key = ?", key));
    case 13: return answer_of(db.query("SELECT * FROM item ORDER BY id"));
    case 14: return answer_of(db.query("SELECT count(*), max(id) FROM parent"));
    case 15: return answer_of(db.query("SELECT changes(), total_changes() > 0, last_insert_rowid()"));
    case 16: return answer_of(db.execute("INSERT INTO parent VALUES (last_insert_rowid() + 100, changes())"));
    case 17: return answer_of(db.query("SELECT thrower(?)", s.a));
    case 18: return answer_of(db.execute("INSERT INTO log VALUES (thrower(?))", s.a));
    case 19: return answer_of(db.execute("INSERT INTO pair VALUES (?, ?)", s.a, s.b));
    case 20:
      return answer_of(db.execute("INSERT INTO pair VALUES (?1, ?2) ON CONFLICT DO UPDATE SET b = b + 50", s.a, s.b));
    case 21: return answer_of(db.query("SELECT nonsense FROM item"));
    case 22: return answer_of(db.execute("INSERT INTO nowhere VALUES (1)"));
    case 23: return answer_of(db.execute("INSERT INTO item(key, n) VALUES (?, ?)", key));
    case 24: return answer_of(db.execute("INSERT INTO big VALUES (zeroblob(?))", 3000 * s.b));
    case 25: return answer_of(db.query("SELECT * FROM log"));
    case 26: return answer_of(db.execute("UPDATE OR REPLACE item SET key = ? WHERE n < ?", key, s.b));
    case 27: return answer_of(db.execute("UPDATE parent SET id = id + 1 WHERE id = ?", s.a));
    case 28: return answer_of(db.execute("CREATE TEMP TABLE IF NOT EXISTS t AS SELECT 1"));
    default: break;
  }
  if (is_endless(s)) return answer_of(db.with(std::move(stop)).execute(endless));
  return answer_of(db.query("SELECT * FROM pair"));
}

void register_thrower(sqlite3* raw) {
  sqlite3_create_function_v2(
      raw, "thrower", 1, SQLITE_UTF8, nullptr,
      [](sqlite3_context* context, int, sqlite3_value** values) {
        if (sqlite3_value_int(values[0]) % 3 == 0) return sqlite3_result_error(context, "thrown on purpose", -1);
        sqlite3_result_int(context, sqlite3_value_int(values[0]));
      },
      nullptr, nullptr, nullptr);
}

task<> stop_soon(std::stop_source& stop) {
  co_await cosqlite::sleep_for(std::chrono::milliseconds(2));
  stop.request_stop();
}

/// Everything that a program shows: its answers in order, then the tables.
task<std::vector<std::string>> run_program(pool& db, const program& p, bool full, sqlite3* other) {
  co_await db.execute_script(reset);
  if (full) co_await db.writer().query("PRAGMA max_page_count = 1");  // as small as the file is now
  if (other) sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
  std::stop_source stop;
  std::vector<task<std::string>> calls;
  for (const step& s : p) calls.push_back(call_of(db, s, stop.get_token()));
  // A full file ends an endless statement by itself; with a stop as well, which comes first would be a race.
  const bool stopped = !full && std::ranges::any_of(p, is_endless);
  if (stopped) cosqlite::spawn(stop_soon(stop));
  std::vector<std::string> seen = co_await cosqlite::when_all(std::move(calls));
  if (stopped) co_await cosqlite::sleep_for(std::chrono::milliseconds(3));  // ends after the stop's own sleep
  if (other) sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr);
  for (const char* table : {"parent", "child", "strict_child", "item", "log", "pair"}) {
    const cosqlite::rows rows = co_await db.query(std::string("SELECT * FROM ") + table);
    seen.push_back(text_of(rows));
  }
  co_return seen;
}

struct outcome {
  std::uint64_t grouped = 0;
  std::uint64_t programs = 0;
  std::string difference;
};

std::string describe(const program& p, const std::vector<std::string>& on, const std::vector<std::string>& off) {
  std::string text;
  for (std::size_t i = 0; i < on.size(); ++i) {
    if (i < p.size())
      text += "kind " + std::to_string(p[i].kind) + " a " + std::to_string(p[i].a) + " b " + std::to_string(p[i].b);
    text += on[i] == off[i] ? "   " + on[i] + "\n" : "\n  on:  " + on[i] + "\n  off: " + off[i] + "\n";
  }
  return text;
}

task<outcome> compare(const temp_database& files, std::uint64_t seed, std::uint64_t programs,
                      std::chrono::steady_clock::time_point until) {
  outcome result;
  std::mt19937_64 random(seed);
  pool on = co_await open_one(path_of(files, "on.db"), true);
  pool off = co_await open_one(path_of(files, "off.db"), false);
  sqlite3* other_on = nullptr;
  sqlite3* other_off = nullptr;
  sqlite3_open(path_of(files, "on.db").c_str(), &other_on);
  sqlite3_open(path_of(files, "off.db").c_str(), &other_off);
  for (pool* db : {&on, &off}) {
    co_await db->execute_script(schema);
    co_await db->writer().run(&register_thrower);
  }
  while (result.programs < programs || std::chrono::steady_clock::now() < until) {
    const program p = random_program(random);
    const bool full = random() % 10 == 0;
    // Both at once would be a race: which comes first, the stop or the end of its patience?
    const bool busy = random() % 40 == 0 && std::ranges::none_of(p, is_endless);
    const std::vector<std::string> with = co_await run_program(on, p, full, busy ? other_on : nullptr);
    const std::vector<std::string> without = co_await run_program(off, p, full, busy ? other_off : nullptr);
    ++result.programs;
    if (with == without) continue;
    result.difference = describe(p, with, without);
    break;
  }
  result.grouped = on.stats().grouped_calls;
  sqlite3_close(other_on);
  sqlite3_close(other_off);
  co_await on.close();
  co_await off.close();
  co_return result;
}

constexpr std::uint64_t programs_in_ci = support::sanitized ? 600 : 10'000;

}  // namespace

TEST_CASE("calls that share a transaction get the answers they would have had alone") {
  const temp_database files;
  const std::uint64_t seed = support::seed_for("coalescing");
  const auto until = std::chrono::steady_clock::now() + support::soak_time();
  const outcome result = cosqlite::run(compare(files, seed, programs_in_ci, until));
  INFO("seed " << seed << ", program " << result.programs);
  INFO(result.difference);
  REQUIRE(result.difference.empty());
  // It would prove nothing if no groups had come about.
  REQUIRE(result.grouped > result.programs);
}

namespace {

task<> write_and_report(connection& db, int writer) {
  for (int n = 0;; ++n) {
    const std::int64_t id = std::int64_t{writer} * 1'000'000 + n;
    co_await db.execute("INSERT INTO t VALUES (?)", id);
    child_process::report(id);
  }
}

task<> write_for_ever(std::string path) {
  connection db = co_await cosqlite::open(path);
  std::vector<task<>> writers;
  for (int i = 0; i < 64; ++i) writers.push_back(write_and_report(db, i));
  co_await cosqlite::when_all(std::move(writers));
}

/// Runs a child that writes until it is killed; gives the rows that it was told were written.
std::set<std::int64_t> acknowledged_before_kill(const std::string& path, int after_ms) {
  child_process child("child: writes until it is killed", path);
  std::set<std::int64_t> told;
  const auto kill_at = std::chrono::steady_clock::now() + std::chrono::milliseconds(after_ms);
  bool killed = false;
  std::int64_t id = 0;
  while (child.next_report(id)) {
    told.insert(id);
    if (killed || std::chrono::steady_clock::now() < kill_at) continue;
    child.kill();
    killed = true;
  }
  CHECK(child.wait() == 128 + SIGKILL);
  return told;
}

}  // namespace

TEST_CASE("child: writes until it is killed", "[.child]") { cosqlite::run(write_for_ever(child_process::path())); }

TEST_CASE("a write that was answered survives kill -9 in the middle of group commits") {
  const temp_database file;
  const std::string path = file.path();
  sqlite3* raw = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &raw) == SQLITE_OK);
  REQUIRE(sqlite3_exec(raw, "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY)", nullptr, nullptr,
                       nullptr) == SQLITE_OK);
  for (int round = 0; round < 5; ++round) {
    const std::set<std::int64_t> told = acknowledged_before_kill(path, 30 + 40 * round);
    REQUIRE(!told.empty());
    std::set<std::int64_t> stored;
    sqlite3_stmt* stmt = nullptr;
    REQUIRE(sqlite3_prepare_v2(raw, "SELECT id FROM t", -1, &stmt, nullptr) == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) stored.insert(sqlite3_column_int64(stmt, 0));
    sqlite3_finalize(stmt);
    for (const std::int64_t id : told) REQUIRE(stored.contains(id));
    REQUIRE(sqlite3_exec(raw, "DELETE FROM t", nullptr, nullptr, nullptr) == SQLITE_OK);
  }
  sqlite3_close(raw);
}
