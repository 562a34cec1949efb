// What SQLite this is, and what is risky about it and about a connection.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

using namespace cosqlite;
using support::contains;
using support::on_loop;
using support::temp_database;

namespace {

const diagnostic* find(const std::vector<diagnostic>& all, std::string_view name) {
  const auto found = std::ranges::find(all, name, &diagnostic::name);
  return found == all.end() ? nullptr : &*found;
}

bool has(const std::vector<diagnostic>& all, std::string_view name, severity level) {
  const diagnostic* d = find(all, name);
  return d != nullptr && d->level == level;
}

}  // namespace

TEST_CASE("the version of SQLite is the one that is linked") {
  CHECK(sqlite_version() == sqlite3_libversion());
  CHECK(sqlite_version_number() == sqlite3_libversion_number());
  CHECK(sqlite_source_id() == sqlite3_sourceid());
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await db.query_one<std::string>("SELECT sqlite_version()") == sqlite_version());
    co_await db.close();
  });
}

TEST_CASE("the library's own version is that of its build") {
  const char* root = std::getenv("COSQLITE_SOURCE_ROOT");
  REQUIRE(root != nullptr);
  std::ifstream file(std::string(root) + "/meson.build");
  const std::string build((std::istreambuf_iterator<char>(file)), {});
  CHECK(contains(build, "version: '" + std::string(version()) + "'"));
}

TEST_CASE("compile options are listed, and found with and without their prefix") {
  const std::vector<std::string> all = sqlite_compile_options();
  REQUIRE(!all.empty());
  for (const std::string& option : all) {
    INFO(option);
    CHECK(!option.starts_with("SQLITE_"));
    CHECK(sqlite_compiled_with(option));
    CHECK(sqlite_compiled_with("SQLITE_" + option));
  }
  CHECK(!sqlite_compiled_with("ENABLE_NOTHING_OF_THE_KIND"));
}

TEST_CASE("the versions with the WAL-reset bug are known") {
  for (const int sound : {3'006'023, 3'044'006, 3'044'007, 3'050'007, 3'051'003, 3'052'000, 3'054'001}) {
    INFO(sound);
    CHECK(!sqlite_wal_reset_vulnerable(sound));
  }
  for (const int bad : {3'007'000, 3'040'001, 3'044'005, 3'045'000, 3'050'006, 3'051'000, 3'051'002}) {
    INFO(bad);
    CHECK(sqlite_wal_reset_vulnerable(bad));
  }
  CHECK(sqlite_wal_reset_vulnerable() == sqlite_wal_reset_vulnerable(sqlite_version_number()));
}

TEST_CASE("a complete statement is told from the beginning of one") {
  for (const char* whole : {"SELECT 1;", "SELECT ';';  ", "SELECT 1; -- and a comment\n",
                            "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END;", "BEGIN; COMMIT;"}) {
    INFO(whole);
    CHECK(complete_statement(whole));
  }
  for (const char* part : {"", "SELECT 1", "SELECT ';", "SELECT 1; /* open", "SELECT \"a;", "SELECT 1; SELECT 2",
                           "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1;"}) {
    INFO(part);
    CHECK(!complete_statement(part));
  }
  // Only what the view shows, which need not end with a NUL.
  CHECK(!complete_statement(std::string_view("SELECT 1;", 8)));
}

TEST_CASE("the diagnostics of SQLite name its risks and what it lacks") {
  const std::vector<diagnostic> all = sqlite_diagnostics();
  std::set<std::string> names;
  for (const diagnostic& d : all) {
    CHECK(names.insert(d.name).second);
    CHECK(!d.text.empty());
  }
  CHECK(has(all, "wal-reset", severity::danger) == sqlite_wal_reset_vulnerable());
  CHECK(has(all, "old-sqlite", severity::warning) == (sqlite_version_number() < 3'050'002));
  CHECK(has(all, "trusted-schema", severity::note) == (sqlite_version_number() < 3'044'000));
  CHECK(has(all, "no-preupdate-hook", severity::note) != sqlite_compiled_with("ENABLE_PREUPDATE_HOOK"));
  CHECK(has(all, "no-sessions", severity::note) != sqlite_compiled_with("ENABLE_SESSION"));
  CHECK(to_string(severity::note) == "note");
  CHECK(to_string(severity::warning) == "warning");
  CHECK(to_string(severity::danger) == "danger");
}

TEST_CASE("a connection as it is opened has no risk but those of its SQLite") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    const std::vector<diagnostic> found = co_await db.diagnostics();
    const std::vector<diagnostic> of_sqlite = sqlite_diagnostics();
    for (const diagnostic& d : found) {
      INFO(d.name);
      CHECK((d.level == severity::note || find(of_sqlite, d.name) != nullptr));
    }
    CHECK(has(found, "trusted-schema-on", severity::note));
    open_options careful;
    careful.trusted_schema = false;
    connection other = co_await open(file.path(), careful);
    const std::vector<diagnostic> distrustful = co_await other.diagnostics();
    CHECK(find(distrustful, "trusted-schema-on") == nullptr);
    co_await other.close();
    co_await db.close();
  });
}

TEST_CASE("whatever is softened on a connection is named") {
  temp_database file;
  on_loop([&]() -> task<> {
    open_options lax;
    lax.defensive = false;
    lax.foreign_keys = false;
    lax.synchronous = sync::normal;
    connection db = co_await open(file.path(), lax);
    const std::vector<diagnostic> opened = co_await db.diagnostics();
    CHECK(has(opened, "not-defensive", severity::warning));
    CHECK(has(opened, "no-foreign-keys", severity::warning));
    CHECK(has(opened, "synchronous-normal", severity::warning));
    CHECK(find(opened, "double-quoted-strings") == nullptr);
    co_await db.config(config_flag::dqs_in_schema, true);
    co_await db.config(config_flag::fts3_tokenizer, true);
    co_await db.config(config_flag::writable_schema, true);
    co_await db.execute("PRAGMA synchronous = off");
    co_await db.run([](sqlite3* raw) { sqlite3_db_config(raw, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, nullptr); });
    const std::vector<diagnostic> softened = co_await db.diagnostics();
    CHECK(has(softened, "double-quoted-strings", severity::warning));
    CHECK(has(softened, "fts3-tokenizer", severity::danger));
    CHECK(has(softened, "writable-schema", severity::danger));
    CHECK(has(softened, "synchronous-off", severity::danger));
    CHECK(has(softened, "load-extension", severity::danger));
    CHECK(find(softened, "synchronous-normal") == nullptr);
    co_await db.close();
  });
}

TEST_CASE("a file without a journal on disk is a danger, a database in memory is none") {
  temp_database file;
  on_loop([&]() -> task<> {
    for (const journal mode : {journal::memory, journal::off}) {
      open_options options;
      options.journal_mode = mode;
      options.defensive = false;  // which refuses journal_mode = off
      connection db = co_await open(file.path(), options);
      const std::vector<diagnostic> found = co_await db.diagnostics();
      CHECK(has(found, "no-journal", severity::danger));
      co_await db.close();
    }
    connection memory = co_await open(":memory:");
    const std::vector<diagnostic> found = co_await memory.diagnostics();
    CHECK(find(found, "no-journal") == nullptr);
    co_await memory.close();
  });
}
