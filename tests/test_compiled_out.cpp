// Features of SQLite that this library can do without: where they were not compiled in, calls say so, or use what there
// is.
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <string>

// Stands before the one of the system's SQLite: this one knows of nothing that was compiled in.
extern "C" int sqlite3_compileoption_used(const char*) { return 0; }

using cosqlite::connection;
using cosqlite::task;
using cosqlite::unsupported_error;
using support::failure_of;
using support::temp_database;

namespace {

template <class F>
void with_database(F body) {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    co_await body(db);
    CHECK((co_await db.query_one<int>("SELECT 1")) == 1);
    co_await db.close();
  });
}

}  // namespace

TEST_CASE("without the session extension its calls are unsupported, and say what is missing") {
  with_database([](connection& db) -> task<> {
    const auto e = co_await failure_of<unsupported_error>(db.create_session());
    CHECK(support::contains(e.what(), "SQLITE_ENABLE_SESSION"));
    const cosqlite::changeset some(cosqlite::bytes(10, std::byte{0}));
    co_await failure_of<unsupported_error>(db.apply(some));
    CHECK_THROWS_AS(some.rows(), unsupported_error);
    CHECK_THROWS_AS(some.inverted(), unsupported_error);
    CHECK_THROWS_AS(some.concat(some), unsupported_error);
  });
}

TEST_CASE("without the preupdate hook what needs it is unsupported") {
  with_database([](connection& db) -> task<> {
    const auto nothing = [](const cosqlite::preupdate&) {};
    const auto e = co_await failure_of<unsupported_error>(db.on_preupdate(nothing));
    CHECK(support::contains(e.what(), "SQLITE_ENABLE_PREUPDATE_HOOK"));
    cosqlite::changes_options o;
    o.values = true;
    co_await failure_of<unsupported_error>(db.changes(o));
    o.values = false;
    o.source = cosqlite::row_source::preupdate_hook;
    co_await failure_of<unsupported_error>(db.changes(o));
  });
}

TEST_CASE("without the preupdate hook changes and live queries use the update hook") {
  with_database([](connection& db) -> task<> {
    cosqlite::change_stream changes = co_await db.changes();
    auto live = db.observe<int>("SELECT count(*) FROM t");
    CHECK((co_await live.next())->front() == 0);
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    co_await db.execute_script("BEGIN; INSERT INTO t VALUES (2, 'y'); ROLLBACK");
    CHECK((co_await live.next())->front() == 1);
    co_await db.execute("DELETE FROM t");
    CHECK((co_await live.next())->front() == 0);
    co_await db.execute("CREATE TABLE w(k TEXT PRIMARY KEY) WITHOUT ROWID");
    auto keys = db.observe<std::string>("SELECT k FROM w");
    CHECK((co_await keys.next())->empty());
    co_await db.execute("INSERT INTO w VALUES ('seen all the same')");
    CHECK((co_await keys.next())->size() == 1);
    CHECK((co_await changes.next())->operation == cosqlite::row_operation::insert);
    CHECK((co_await changes.next())->operation == cosqlite::row_operation::remove);
    CHECK(!changes.try_next());
  });
}
