// Loading a run-time extension, which is allowed while the call runs and not otherwise.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <cstdlib>

using namespace cosqlite;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::temp_database;

namespace {

/// tests/loadable/twice.cpp, as it was built.
std::string twice_module() {
  const char* root = std::getenv("COSQLITE_BUILD_ROOT");
  REQUIRE(root != nullptr);
  return std::string(root) + "/tests/twice.so";
}

open_options loading() {
  open_options options;
  options.load_extensions = true;
  return options;
}

/// Whether SQLite would load an extension for anybody but the call.
task<bool> loading_is_on(connection& db) {
  co_return co_await db.run([](sqlite3* raw) {
    int on = -1;
    sqlite3_db_config(raw, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, -1, &on);
    char* message = nullptr;
    const int rc = sqlite3_load_extension(raw, "/nowhere/at/all", nullptr, &message);
    const bool refused = rc == SQLITE_ERROR && std::string_view(message) == "not authorized";
    sqlite3_free(message);
    return on != 0 || !refused;
  });
}

}  // namespace

TEST_CASE("an extension is loaded by its path, and its functions work") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:", loading());
    co_await failure_of<error>(db.query_one<int>("SELECT twice(21)"));
    co_await db.load_extension(twice_module());
    CHECK(co_await db.query_one<int>("SELECT twice(21)") == 42);
    co_await failure_of<error>(db.query_one<int>("SELECT thrice(14)"));
    co_await db.load_extension(twice_module(), "entry_of_thrice");
    CHECK(co_await db.query_one<int>("SELECT thrice(14)") == 42);
    co_await db.close();
  });
}

TEST_CASE("a function that an extension replaces is the new one for statements prepared before") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:", loading());
    co_await db.create_function("twice", [](std::int64_t v) { return v; });
    const statement asked = co_await db.prepare("SELECT twice(?)");
    statement ask = asked;
    CHECK(co_await ask.query_one<int>(5) == 5);
    co_await db.load_extension(twice_module());
    CHECK(co_await ask.query_one<int>(5) == 10);
    CHECK(co_await db.query_one<int>("SELECT twice(?)", 5) == 10);
    co_await db.close();
  });
}

TEST_CASE("loading is allowed while the call runs, and never to SQL") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:", loading());
    CHECK(!co_await loading_is_on(db));
    co_await failure_of<error>(db.query("SELECT load_extension(?)", twice_module()));
    co_await db.load_extension(twice_module());
    CHECK(!co_await loading_is_on(db));
    co_await failure_of<error>(db.query("SELECT load_extension(?)", twice_module()));
    co_await failure_of<error>(db.load_extension("/nowhere/at/all"));
    CHECK(!co_await loading_is_on(db));
    co_await db.close();
  });
}

TEST_CASE("a connection that was opened without load_extensions loads nothing, and says what to do") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const auto refused = co_await failure_of<misuse_error>(db.load_extension(twice_module()));
    CHECK(contains(refused.what(), "open_options::load_extensions"));
    co_await failure_of<error>(db.query_one<int>("SELECT twice(21)"));
    CHECK(!co_await loading_is_on(db));
    co_await db.close();
  });
}

TEST_CASE("what cannot be loaded is named with its reason, and the connection goes on") {
  temp_database file;
  file.write("this is no shared library");
  on_loop([&]() -> task<> {
    connection db = co_await open(":memory:", loading());
    const auto missing = co_await failure_of<error>(db.load_extension("/nowhere/at/all.so"));
    CHECK(contains(missing.what(), "/nowhere/at/all.so"));
    const auto nonsense = co_await failure_of<error>(db.load_extension(file.path()));
    CHECK(contains(nonsense.what(), file.path()));
    const auto no_entry = co_await failure_of<error>(db.load_extension(twice_module(), "no_such_entry"));
    CHECK(contains(no_entry.what(), "no_such_entry"));
    const auto failed = co_await failure_of<error>(db.load_extension(twice_module(), "entry_that_fails"));
    CHECK(contains(failed.what(), "not in the mood"));
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    CHECK(!co_await loading_is_on(db));
    co_await db.load_extension(twice_module());
    CHECK(co_await db.query_one<int>("SELECT twice(1)") == 2);
    co_await db.close();
  });
}

TEST_CASE("a NUL in the path or the entry's name is refused when the call is built") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:", loading());
    const std::string path = twice_module() + std::string("\0x", 2);
    CHECK_THROWS_AS(static_cast<void>(db.load_extension(path)), misuse_error);
    CHECK_THROWS_AS(static_cast<void>(db.load_extension(twice_module(), std::string("a\0b", 3))), misuse_error);
    co_await db.close();
  });
}

TEST_CASE("an extension belongs to the connection that has loaded it") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:", loading());
    connection other = co_await open(":memory:", loading());
    co_await db.load_extension(twice_module());
    co_await failure_of<error>(other.query_one<int>("SELECT twice(21)"));
    co_await other.close();
    co_await db.close();
  });
}
