// Limits and switches of a connection.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/sqlite_settings.hpp"
#include <cosqlite/cosqlite.hpp>

#include <limits>
#include <utility>
#include <vector>

using namespace cosqlite;
using support::contains;
using support::failure_of;
using support::limit_by_sqlite;
using support::on_loop;
using support::switch_by_sqlite;
using support::temp_database;

namespace {

const std::vector<std::pair<limit_kind, int>> limits{
    {limit_kind::length, SQLITE_LIMIT_LENGTH},
    {limit_kind::sql_length, SQLITE_LIMIT_SQL_LENGTH},
    {limit_kind::column, SQLITE_LIMIT_COLUMN},
    {limit_kind::expression_depth, SQLITE_LIMIT_EXPR_DEPTH},
    {limit_kind::compound_select, SQLITE_LIMIT_COMPOUND_SELECT},
    {limit_kind::vdbe_op, SQLITE_LIMIT_VDBE_OP},
    {limit_kind::function_arguments, SQLITE_LIMIT_FUNCTION_ARG},
    {limit_kind::attached, SQLITE_LIMIT_ATTACHED},
    {limit_kind::like_pattern_length, SQLITE_LIMIT_LIKE_PATTERN_LENGTH},
    {limit_kind::variable_number, SQLITE_LIMIT_VARIABLE_NUMBER},
    {limit_kind::trigger_depth, SQLITE_LIMIT_TRIGGER_DEPTH},
    {limit_kind::worker_threads, SQLITE_LIMIT_WORKER_THREADS},
};

const std::vector<std::pair<config_flag, int>> switches{
    {config_flag::foreign_keys, SQLITE_DBCONFIG_ENABLE_FKEY},
    {config_flag::triggers, SQLITE_DBCONFIG_ENABLE_TRIGGER},
    {config_flag::views, SQLITE_DBCONFIG_ENABLE_VIEW},
    {config_flag::fts3_tokenizer, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER},
    {config_flag::no_checkpoint_on_close, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE},
    {config_flag::query_planner_stability, SQLITE_DBCONFIG_ENABLE_QPSG},
    {config_flag::trigger_explain, SQLITE_DBCONFIG_TRIGGER_EQP},
    {config_flag::reset_database, SQLITE_DBCONFIG_RESET_DATABASE},
    {config_flag::defensive, SQLITE_DBCONFIG_DEFENSIVE},
    {config_flag::writable_schema, SQLITE_DBCONFIG_WRITABLE_SCHEMA},
    {config_flag::legacy_alter_table, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE},
    {config_flag::dqs_in_statements, SQLITE_DBCONFIG_DQS_DML},
    {config_flag::dqs_in_schema, SQLITE_DBCONFIG_DQS_DDL},
    {config_flag::trusted_schema, SQLITE_DBCONFIG_TRUSTED_SCHEMA},
    {config_flag::legacy_file_format, SQLITE_DBCONFIG_LEGACY_FILE_FORMAT},
};

}  // namespace

TEST_CASE("every limit is read and set, and setting it gives the value before") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    for (const auto& [kind, id] : limits) {
      INFO("limit " << id);
      const int before = co_await db.limit(kind);
      CHECK(before == co_await limit_by_sqlite(db, id));
      const int other = before > 5 ? before - 1 : before + 1;
      CHECK(co_await db.limit(kind, other) == before);
      CHECK(co_await limit_by_sqlite(db, id) == other);
      CHECK(co_await db.limit(kind) == other);
      CHECK(co_await db.limit(kind, before) == other);
    }
    co_await db.close();
  });
}

TEST_CASE("a limit holds from the call on, and lifting it helps") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a, b, c)");
    co_await db.limit(limit_kind::length, 1000);
    const auto large = co_await failure_of<error>(db.execute("INSERT INTO t(a) VALUES(?)", std::string(2000, 'x')));
    CHECK(large.name() == "SQLITE_TOOBIG");
    const int sql_length = co_await db.limit(limit_kind::sql_length, 60);
    const std::string long_sql = "SELECT count(*) FROM t WHERE a = 'a text that makes this statement long'";
    const auto too_long = co_await failure_of<error>(db.query_one<int>(long_sql));
    CHECK(too_long.name() == "SQLITE_TOOBIG");
    co_await db.limit(limit_kind::sql_length, sql_length);
    CHECK(co_await db.query_one<int>(long_sql) == 0);
    const int variables = co_await db.limit(limit_kind::variable_number, 2);
    co_await failure_of<error>(db.execute("INSERT INTO t VALUES(?,?,?)", 1, 2, 3));
    co_await db.limit(limit_kind::variable_number, variables);
    co_await db.execute("INSERT INTO t VALUES(?,?,?)", 1, 2, 3);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 1);
    co_await db.close();
  });
}

TEST_CASE("a limit beyond what SQLite was compiled with is cut to that") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.limit(limit_kind::column, std::numeric_limits<int>::max());
    const int most = co_await db.limit(limit_kind::column);
    CHECK(most >= 2000);
    CHECK(most <= 32767);
    co_await db.close();
  });
}

TEST_CASE("a negative limit is refused and changes nothing") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const int before = co_await db.limit(limit_kind::length);
    CHECK_THROWS_AS(static_cast<void>(db.limit(limit_kind::length, -1)), misuse_error);
    CHECK(co_await db.limit(limit_kind::length) == before);
    co_await db.close();
  });
}

TEST_CASE("every switch is read and turned, and turning it gives what it is now") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    for (const auto& [flag, id] : switches) {
      INFO("switch " << id);
      const bool before = co_await db.config(flag);
      CHECK(int{before} == co_await switch_by_sqlite(db, id));
      CHECK(co_await db.config(flag, !before) == !before);
      CHECK(co_await switch_by_sqlite(db, id) == int{!before});
      CHECK(co_await db.config(flag, before) == before);
      CHECK(co_await db.config(flag) == before);
    }
    co_await db.close();
  });
}

TEST_CASE("a switch that this SQLite does not know is unsupported, and the connection goes on") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::vector<std::pair<config_flag, int>> younger{{config_flag::statement_scan_status, 3'042'000},
                                                           {config_flag::reverse_scan_order, 3'042'000},
                                                           {config_flag::attach_create, 3'049'000},
                                                           {config_flag::attach_write, 3'049'000},
                                                           {config_flag::comments, 3'049'000}};
    for (const auto& [flag, since] : younger) {
      if (sqlite_version_number() < since) {
        const auto read = co_await failure_of<unsupported_error>(db.config(flag));
        CHECK(contains(read.what(), "does not know the connection switch"));
        co_await failure_of<unsupported_error>(db.config(flag, true));
      } else if (flag != config_flag::statement_scan_status) {  // which asks for a compile-time option as well
        const bool before = co_await db.config(flag);
        CHECK(co_await db.config(flag, !before) == !before);
        CHECK(co_await db.config(flag, before) == before);
      }
      CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    }
    co_await db.close();
  });
}

TEST_CASE("what is switched off does not happen, and happens again when it is switched on") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(R"(
      CREATE TABLE t(a);
      CREATE TABLE log(a);
      CREATE VIEW v AS SELECT a FROM t;
      CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO log VALUES(new.a); END;)");
    co_await db.config(config_flag::triggers, false);
    co_await db.config(config_flag::views, false);
    co_await db.execute("INSERT INTO t VALUES(1)");
    co_await failure_of<error>(db.query("SELECT * FROM v"));
    co_await db.config(config_flag::triggers, true);
    co_await db.config(config_flag::views, true);
    co_await db.execute("INSERT INTO t VALUES(2)");
    CHECK(co_await db.query_one<int>("SELECT sum(a) FROM log") == 2);
    CHECK(co_await db.query_one<int>("SELECT sum(a) FROM v") == 3);
    co_await failure_of<error>(db.query("SELECT \"a string?\""));
    co_await db.config(config_flag::dqs_in_statements, true);
    CHECK(co_await db.query_one<std::string>("SELECT \"a string?\"") == "a string?");
    co_await db.close();
  });
}

TEST_CASE("a database is reset by its switch and VACUUM") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute_script("CREATE TABLE t(a); INSERT INTO t VALUES(1)");
    co_await db.config(config_flag::reset_database, true);
    co_await db.execute("VACUUM");
    co_await db.config(config_flag::reset_database, false);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM sqlite_schema") == 0);
    co_await db.close();
  });
}

TEST_CASE("settings obey deadlines and stop tokens, and are refused by a closed connection") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    std::stop_source stopped;
    stopped.request_stop();
    auto limited = db.with(stopped.get_token());
    const int before = co_await db.limit(limit_kind::column);
    co_await failure_of<cancelled_error>(limited.limit(limit_kind::column, 5));
    co_await failure_of<cancelled_error>(limited.config(config_flag::triggers, false));
    CHECK(co_await db.limit(limit_kind::column) == before);
    CHECK(co_await db.config(config_flag::triggers));
    co_await db.close();
    co_await failure_of<closed_error>(db.limit(limit_kind::column));
    co_await failure_of<closed_error>(db.config(config_flag::triggers, false));
  });
}

TEST_CASE("a busy timeout set by PRAGMA counts, and leaves deadlines and stop tokens in force in locks") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    const support::raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    for (const bool as_script : {false, true}) {
      // An hour, so that only the deadline can end the wait.
      if (as_script) {
        co_await db.execute_script("PRAGMA busy_timeout = 3600000");
      } else {
        co_await db.execute("PRAGMA busy_timeout = 3600000");
      }
      auto limited = db.with(std::chrono::milliseconds(20));
      const timeout_error e = co_await failure_of<timeout_error>(limited.execute("INSERT INTO t VALUES (1)"));
      CHECK(e.spent_in() == timeout_error::stage::lock);
      // None at all.
      if (as_script) {
        co_await db.execute_script("PRAGMA busy_timeout(0)");
      } else {
        co_await db.execute("PRAGMA busy_timeout(0)");
      }
      co_await failure_of<busy_error>(db.execute("INSERT INTO t VALUES (1)"));
    }
    other.execute("COMMIT");
    co_await db.execute("INSERT INTO t VALUES (1)");
    co_await db.close();
  });
}
