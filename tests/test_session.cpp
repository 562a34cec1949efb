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

/// The rows of t, in one line.
task<std::string> content(connection& db) {
  const char* sql =
      "SELECT coalesce(group_concat(id || ' ' || a || ' ' || b, ', '), '') FROM (SELECT * FROM t ORDER BY id)";
  std::string rows = co_await db.query_one<std::string>(sql);
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
    CHECK((co_await content(b)) == "1 x 1, 2 y 2");
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
    CHECK((co_await content(b)) == "1 x 9");
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
    CHECK((co_await content(b)) == "2 taken 0");
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
    CHECK((co_await content(b)) == "1 x 1, 2 taken 0");
    co_await b.execute("DELETE FROM t WHERE id = 1");
    const auto replace = [](const conflict&) { return conflict_answer::replace; };
    co_await b.apply(changes, replace, "t");
    CHECK((co_await content(b)) == "1 x 1, 2 y 2");
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
    CHECK((co_await content(b)) == "2 taken 0");
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

TEST_CASE("a changeset that is cut short anywhere is refused or a shorter one, and never half applied") {
  with_two([](connection& a, connection& b) -> task<> {
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'a text', 20000000000), (3, NULL, 3)");
    const cosqlite::bytes whole = (co_await s.changeset()).data();
    const auto take_all = [](const conflict&) { return conflict_answer::omit; };
    int refused = 0;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      cosqlite::bytes data = whole;
      data.resize(size);
      const changeset cut(data);
      std::size_t rows = 0;
      bool corrupt = false;
      try {
        rows = cut.rows().size();
      } catch (const cosqlite::corrupt_error&) {
        corrupt = true;
      }
      try {
        static_cast<void>(cut.inverted());
        CHECK(!corrupt);
      } catch (const cosqlite::corrupt_error&) {
        CHECK(corrupt);
      }
      try {
        co_await b.apply(cut, take_all);
        CHECK(!corrupt);
      } catch (const cosqlite::corrupt_error&) {
        CHECK(corrupt);
        ++refused;
      }
      CHECK((co_await b.query_one<std::size_t>("SELECT count(*) FROM t")) == rows);
      co_await b.execute("DELETE FROM t");
    }
    CHECK(refused > 10);
  });
}

TEST_CASE("bytes that are no changeset are refused") {
  with_two([](connection&, connection& b) -> task<> {
    const changeset nonsense(cosqlite::bytes(200, std::byte{0x5a}));
    CHECK_THROWS_AS(nonsense.rows(), cosqlite::corrupt_error);
    CHECK_THROWS_AS(nonsense.inverted(), cosqlite::corrupt_error);
    CHECK_THROWS_AS(nonsense.concat(nonsense), cosqlite::corrupt_error);
    co_await failure_of<cosqlite::corrupt_error>(b.apply(nonsense));
    CHECK((co_await content(b)).empty());
  });
}

TEST_CASE("an empty changeset is one") {
  with_two([](connection& a, connection& b) -> task<> {
    session s = co_await a.create_session();
    const changeset nothing = co_await s.changeset();
    CHECK(nothing.empty());
    CHECK(nothing.rows().empty());
    CHECK(nothing.inverted().empty());
    CHECK(nothing.concat(changeset()).empty());
    co_await b.apply(nothing);
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    const changeset one = co_await s.changeset();
    CHECK(nothing.concat(one).data() == one.data());
    CHECK(one.concat(one.inverted()).empty());
  });
}

TEST_CASE("a changeset and a patchset do not mix") {
  with_two([](connection& a, connection&) -> task<> {
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    const changeset whole = co_await s.changeset();
    const changeset patch = co_await s.patchset();
    CHECK_THROWS_AS(whole.concat(patch), cosqlite::error);
    CHECK_THROWS_AS(patch.concat(whole), cosqlite::error);
  });
}

TEST_CASE("a constraint and a missing parent are conflicts of their own kinds") {
  with_two([](connection& a, connection& b) -> task<> {
    connection* const both[] = {&a, &b};
    for (connection* db : both) co_await db->execute("CREATE TABLE c(id INTEGER PRIMARY KEY, t REFERENCES t)");
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    const changeset parent = co_await s.changeset();
    co_await a.execute("INSERT INTO c VALUES (5, 1)");
    const changeset all = co_await s.changeset();
    std::vector<conflict_kind> kinds;
    int violations = 0;
    const auto note = [&](const conflict& c) {
      kinds.push_back(c.kind);
      violations += c.violations;
      return conflict_answer::omit;
    };
    // Another row has the unique text already.
    co_await b.execute("INSERT INTO t VALUES (2, 'x', 0)");
    co_await b.apply(parent, note);
    CHECK(kinds.size() == 1);
    CHECK(kinds.at(0) == conflict_kind::constraint);
    kinds.clear();
    co_await b.execute("DELETE FROM t");
    co_await b.apply(all, note, "c");
    CHECK(kinds.size() == 1);
    CHECK(kinds.at(0) == conflict_kind::foreign_key);
    CHECK(violations == 1);
    CHECK((co_await b.query_one<int>("SELECT count(*) FROM c")) == 1);
    co_await b.execute("DELETE FROM c");
    const auto aborts = [](const conflict&) { return conflict_answer::abort; };
    const auto e = co_await failure_of<cosqlite::constraint_error>(b.apply(all, aborts, "c"));
    CHECK(e.primary() == SQLITE_CONSTRAINT);
    CHECK((co_await b.query_one<int>("SELECT count(*) FROM c")) == 0);
  });
}

TEST_CASE("replacing where only omitting is possible is an error that undoes everything") {
  with_two([](connection& a, connection& b) -> task<> {
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (2, 'y', 2)");
    co_await a.execute("DELETE FROM t WHERE id = 1");
    const changeset changes = co_await s.changeset();
    const auto replace = [](const conflict&) { return conflict_answer::replace; };
    const auto e = co_await failure_of<cosqlite::misuse_error>(b.apply(changes, replace));
    static_cast<void>(e);
    CHECK((co_await content(b)).empty());
  });
}

TEST_CASE("applying inside a transaction is undone with it, and a session records what was applied") {
  with_two([](connection& a, connection& b) -> task<> {
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1)");
    const changeset changes = co_await s.changeset();
    session of_b = co_await b.create_session();
    co_await b.execute("BEGIN");
    co_await b.apply(changes);
    CHECK((co_await content(b)) == "1 x 1");
    co_await b.execute("ROLLBACK");
    CHECK((co_await content(b)).empty());
    CHECK((co_await of_b.changeset()).empty());
    co_await b.apply(changes);
    const changeset applied = co_await of_b.changeset();
    CHECK(applied.data() == changes.data());
  });
}

TEST_CASE("what a changeset applies is seen by the changes of its connection, and nothing of what it undoes") {
  with_two([](connection& a, connection& b) -> task<> {
    session s = co_await a.create_session();
    co_await a.execute("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    const changeset changes = co_await s.changeset();
    co_await b.execute("INSERT INTO t VALUES (2, 'taken', 0)");
    cosqlite::change_stream seen = co_await b.changes();
    co_await failure_of<cosqlite::constraint_error>(b.apply(changes));
    CHECK(!seen.try_next());
    const auto keep = [](const conflict&) { return conflict_answer::omit; };
    co_await b.apply(changes, keep);
    CHECK((co_await seen.next())->rowid == 1);
    CHECK(!seen.try_next());
  });
}

TEST_CASE("a session sees its tables only: with a primary key, of its schema, and those that were named") {
  if (!cosqlite::sqlite_compiled_with("ENABLE_SESSION")) return;
  const temp_database file;
  const temp_database other;
  support::on_loop([&]() -> task<> {
    cosqlite::open_options o;
    o.attach = true;
    connection db = co_await cosqlite::open(file.path(), o);
    co_await db.execute("ATTACH ? AS other", other.path());
    co_await db.execute_script(
        "CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(id INTEGER PRIMARY KEY);"
        "CREATE TABLE keyless(x); CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
        "CREATE TABLE other.c(id INTEGER PRIMARY KEY)");
    session of_main = co_await db.create_session();
    session of_b = co_await db.create_session("b");
    session of_other = co_await db.create_session_in("other");
    co_await db.execute_script(
        "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO keyless VALUES (1);"
        "INSERT INTO w VALUES ('k', 1); UPDATE w SET v = 2; INSERT INTO other.c VALUES (1);"
        "CREATE TABLE later(id INTEGER PRIMARY KEY); INSERT INTO later VALUES (1)");
    const auto tables = [](const changeset& c) {
      std::string line;
      for (const auto& row : c.rows()) line += row.table + " ";
      return line;
    };
    CHECK(tables(co_await of_main.changeset()) == "a b w later ");
    CHECK(tables(co_await of_b.changeset()) == "b ");
    CHECK(tables(co_await of_other.changeset()) == "c ");
    co_await failure_of<cosqlite::error>(db.create_session_in("nowhere"));
    co_await db.close();
  });
}

TEST_CASE("rows that triggers and foreign keys change are in a changeset, marked as indirect") {
  if (!cosqlite::sqlite_compiled_with("ENABLE_SESSION")) return;
  const temp_database file;
  support::on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute_script(R"(
      CREATE TABLE p(id INTEGER PRIMARY KEY);
      CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE);
      CREATE TABLE log(id INTEGER PRIMARY KEY);
      CREATE TRIGGER g AFTER DELETE ON p BEGIN INSERT INTO log VALUES (old.id); END;
      INSERT INTO p VALUES (1); INSERT INTO c VALUES (10, 1);
    )");
    session s = co_await db.create_session();
    co_await db.execute("DELETE FROM p");
    int direct = 0;
    int indirect = 0;
    const auto rows = (co_await s.changeset()).rows();
    for (const auto& row : rows) ++(row.indirect ? indirect : direct);
    CHECK(direct == 1);
    CHECK(indirect == 2);
    co_await db.close();
  });
}

TEST_CASE("a session of a leased connection ends with the lease, one of the pool's writer stays") {
  if (!cosqlite::sqlite_compiled_with("ENABLE_SESSION")) return;
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute(schema);
    session lasting = co_await p.writer().create_session();
    std::optional<session> leased;
    {
      cosqlite::leased_connection writer = co_await p.acquire_writer();
      leased.emplace(co_await writer.create_session());
      co_await writer.execute("INSERT INTO t VALUES (1, 'x', 1)");
    }
    co_await p.execute("INSERT INTO t VALUES (2, 'y', 2)");
    co_await failure_of<cosqlite::transaction_error>(leased->changeset());
    const auto rows = (co_await lasting.changeset()).rows();
    CHECK(rows.size() == 2);
    co_await p.close();
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
