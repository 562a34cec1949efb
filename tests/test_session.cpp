#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using cosqlite::changeset;
using cosqlite::conflict;
using cosqlite::conflict_answer;
using cosqlite::conflict_kind;
using cosqlite::connection;
using cosqlite::row_operation;
using cosqlite::session;
using cosqlite::task;
using support::failure_of;
using support::temp_database;

namespace {

constexpr const char* schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INTEGER)";

/// Two databases with the same schema; \p body gets both.
template <class F>
void with_two(F body) {
  if (!cosqlite::sqlite_compiled_with("ENABLE_SESSION")) return;
  const temp_database one;
  const temp_database two;
  support::on_loop([&]() -> task<> {
    connection a = co_await cosqlite::open(one.path());
    connection b = co_await cosqlite::open(two.path());
    co_await a.execute(schema);
    co_await b.execute(schema);
    co_await body(a, b);
    co_await a.close();
    co_await b.close();
  });
}

task<std::vector<std::string>> content(connection& db) {
  std::vector<std::string> rows =
      co_await db.query<std::string>("SELECT id || ' ' || a || ' ' || b FROM t ORDER BY id");
  co_return rows;
}

struct refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace

TEST_CASE("a changeset carries inserts, updates and deletes to another database") {
  with_two([](connection& a, connection& b) -> task<> {
    for (connection* db : {&a, &b}) co_await db->execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    session s = co_await a.create_session();
    CHECK(co_await s.is_empty());
    co_await a.execute("INSERT INTO t VALUES (3, 'z', 3)");
    co_await a.execute("UPDATE t SET b = 20 WHERE id = 2");
    co_await a.execute("DELETE FROM t WHERE id = 1");
    CHECK(!(co_await s.is_empty()));
    const changeset changes = co_await s.changeset();
    co_await b.apply(changes);
    CHECK((co_await content(b)) == (co_await content(a)));
    co_await b.apply(changes.inverted());
    CHECK((co_await content(b)) == std::vector<std::string>{"1 x 1", "2 y 2"});
  });
}

TEST_CASE("a session sees a delete of all rows by a statement prepared before it began") {
  with_two([](connection& a, connection&) -> task<> {
    cosqlite::statement clear = co_await a.prepare("DELETE FROM t");
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    session s = co_await a.create_session("t");
    co_await clear.execute();
    CHECK((co_await s.changeset()).rows().size() == 2);
  });
}

TEST_CASE("the rows of a changeset can be read, what an update left alone is absent") {
  with_two([](connection& a, connection&) -> task<> {
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    session s = co_await a.create_session();
    co_await a.execute("UPDATE t SET b = 2");
    co_await a.execute("INSERT INTO t VALUES (5, NULL, 5)");
    const auto rows = (co_await s.changeset()).rows();
    REQUIRE(rows.size() == 2);
    const bool update_first = rows[0].operation == row_operation::update;
    const auto& update = rows[update_first ? 0 : 1];
    const auto& insert = rows[update_first ? 1 : 0];
    CHECK(update.table == "t");
    CHECK(update.primary_key == std::vector<bool>{true, false, false});
    CHECK(!update.indirect);
    CHECK(update.old_values.at(2)->get<int>() == 1);
    CHECK(update.new_values.at(2)->get<int>() == 2);
    CHECK(!update.new_values.at(1).has_value());
    CHECK(insert.new_values.at(1)->is_null());
    CHECK(insert.old_values.empty());
  });
}

TEST_CASE("a patchset is smaller, applies, and cannot be inverted") {
  with_two([](connection& a, connection& b) -> task<> {
    for (connection* db : {&a, &b}) co_await db->execute("INSERT INTO t VALUES (1, 'a long text of some length', 1)");
    session s = co_await a.create_session();
    co_await a.execute("DELETE FROM t");
    const changeset whole = co_await s.changeset();
    const changeset patch = co_await s.patchset();
    CHECK(patch.size() < whole.size());
    CHECK_THROWS_AS(patch.inverted(), cosqlite::corrupt_error);
    co_await b.apply(patch);
    CHECK((co_await content(b)).empty());
  });
}

TEST_CASE("two changesets become one") {
  with_two([](connection& a, connection& b) -> task<> {
    std::optional<session> first(co_await a.create_session());
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    const changeset one = co_await first->changeset();
    first.reset();
    session second = co_await a.create_session();
    co_await a.execute("UPDATE t SET b = 9");
    const changeset two = co_await second.changeset();
    const changeset both = one.concat(two);
    CHECK(both.rows().size() == 1);
    co_await b.apply(both);
    CHECK((co_await content(b)) == std::vector<std::string>{"1 x 9"});
  });
}

TEST_CASE("a conflict without a handler undoes everything") {
  with_two([](connection& a, connection& b) -> task<> {
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    co_await b.execute("INSERT INTO t VALUES (2, 'taken', 0)");
    const changeset changes = co_await s.changeset();
    const auto e = co_await failure_of<cosqlite::constraint_error>(b.apply(changes));
    CHECK(e.primary() == SQLITE_ABORT);
    CHECK((co_await content(b)) == std::vector<std::string>{"2 taken 0"});
  });
}

TEST_CASE("a conflict handler sees both rows and decides") {
  with_two([](connection& a, connection& b) -> task<> {
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    co_await b.execute("INSERT INTO t VALUES (2, 'taken', 0)");
    const changeset changes = co_await s.changeset();
    std::string seen;
    const auto keep = [&seen](const conflict& c) {
      seen = c.change.new_values.at(1)->get<std::string>() + " against " + c.current.at(1)->get<std::string>();
      CHECK(c.kind == conflict_kind::conflict);
      return conflict_answer::omit;
    };
    co_await b.apply(changes, keep);
    CHECK(seen == "y against taken");
    CHECK((co_await content(b)) == std::vector<std::string>{"1 x 1", "2 taken 0"});
    co_await b.execute("DELETE FROM t WHERE id = 1");
    const auto replace = [](const conflict&) { return conflict_answer::replace; };
    co_await b.apply(changes, replace, "t");
    CHECK((co_await content(b)) == std::vector<std::string>{"1 x 1", "2 y 2"});
    co_await b.execute("DELETE FROM t");
    co_await b.apply(changes, replace, "other");
    CHECK((co_await content(b)).empty());
  });
}

TEST_CASE("a missing row and a row with other values are told apart") {
  with_two([](connection& a, connection& b) -> task<> {
    for (connection* db : {&a, &b}) co_await db->execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    session s = co_await a.create_session();
    co_await a.execute("DELETE FROM t");
    co_await b.execute("DELETE FROM t WHERE id = 1");
    co_await b.execute("UPDATE t SET b = 99 WHERE id = 2");
    std::vector<conflict_kind> kinds;
    const auto note = [&kinds](const conflict& c) {
      kinds.push_back(c.kind);
      return conflict_answer::omit;
    };
    const changeset changes = co_await s.changeset();
    co_await b.apply(changes, note);
    std::sort(kinds.begin(), kinds.end());
    CHECK(kinds == std::vector<conflict_kind>{conflict_kind::data, conflict_kind::not_found});
  });
}

TEST_CASE("what a conflict handler throws undoes everything and reaches the caller") {
  with_two([](connection& a, connection& b) -> task<> {
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    co_await b.execute("INSERT INTO t VALUES (2, 'taken', 0)");
    const auto throws = [](const conflict&) -> conflict_answer { throw refusal("cannot decide"); };
    const changeset changes = co_await s.changeset();
    co_await failure_of<refusal>(b.apply(changes, throws));
    CHECK((co_await content(b)) == std::vector<std::string>{"2 taken 0"});
  });
}

TEST_CASE("a changeset that is cut short is an error, and nothing of it is applied") {
  with_two([](connection& a, connection& b) -> task<> {
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    cosqlite::bytes data = (co_await s.changeset()).data();
    data.resize(data.size() - 3);
    const changeset cut(data);
    CHECK_THROWS_AS(cut.rows(), cosqlite::corrupt_error);
    CHECK_THROWS_AS(cut.inverted(), cosqlite::corrupt_error);
    co_await failure_of<cosqlite::corrupt_error>(b.apply(cut));
    CHECK((co_await content(b)).empty());
    co_await b.execute("INSERT INTO t VALUES (1, 'x', 1)");
  });
}

TEST_CASE("a session can pause, mark what follows as indirect, and leaves nothing of a rollback") {
  with_two([](connection& a, connection&) -> task<> {
    session s = co_await a.create_session();
    co_await s.enable(false);
    co_await a.execute("INSERT INTO t VALUES (1, 'unseen', 1)");
    co_await s.enable(true);
    cosqlite::transaction tx = co_await a.begin();
    co_await tx.execute("INSERT INTO t VALUES (2, 'undone', 2)");
    co_await tx.rollback();
    co_await s.mark_indirect(true);
    co_await a.execute("INSERT INTO t VALUES (3, 'seen', 3)");
    const auto rows = (co_await s.changeset()).rows();
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].indirect);
    CHECK(rows[0].new_values.at(0)->get<int>() == 3);
  });
}

TEST_CASE("the difference of two databases is a changeset") {
  if (!cosqlite::sqlite_compiled_with("ENABLE_SESSION")) return;
  const temp_database one;
  const temp_database two;
  support::on_loop([&]() -> task<> {
    cosqlite::open_options o;
    o.attach = true;
    connection a = co_await cosqlite::open(one.path(), o);
    connection b = co_await cosqlite::open(two.path());
    co_await a.execute(schema);
    co_await b.execute(schema);
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    co_await b.execute("INSERT INTO t VALUES (2, 'y', 2)");
    co_await a.execute("ATTACH ? AS other", two.path());
    session s = co_await a.create_session();
    co_await s.diff("other", "t");
    CHECK((co_await s.changeset()).rows().size() == 2);
    co_await failure_of<cosqlite::error>(s.diff("nowhere", "t"));
    co_await a.close();
    co_await b.close();
  });
}

TEST_CASE("sessions and the preupdate hook exclude each other with a clear error") {
  with_two([](connection& a, connection&) -> task<> {
    {
      cosqlite::change_stream changes = co_await a.changes();
      const auto e = co_await failure_of<cosqlite::misuse_error>(a.create_session());
      CHECK(support::contains(e.what(), "preupdate hook"));
    }
    session s = co_await a.create_session();
    co_await failure_of<cosqlite::misuse_error>(a.changes());
    cosqlite::changes_options o;
    o.source = cosqlite::row_source::update_hook;
    cosqlite::change_stream beside = co_await a.changes(o);
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    CHECK((co_await beside.next())->rowid == 1);
    CHECK((co_await s.changeset()).rows().size() == 1);
    s.close();
    co_await failure_of<cosqlite::closed_error>(s.changeset());
    cosqlite::change_stream again = co_await a.changes();
  });
}

TEST_CASE("a session may outlive its connection") {
  if (!cosqlite::sqlite_compiled_with("ENABLE_SESSION")) return;
  const temp_database file;
  support::on_loop([&]() -> task<> {
    std::optional<session> s;
    {
      connection db = co_await cosqlite::open(file.path());
      co_await db.execute(schema);
      s.emplace(co_await db.create_session());
      co_await db.execute("INSERT INTO t VALUES (1, 'x', 1)");
      co_await db.close();
    }
    co_await failure_of<cosqlite::closed_error>(s->changeset());
  });
}
