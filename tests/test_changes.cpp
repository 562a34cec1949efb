#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

using cosqlite::change;
using cosqlite::change_stream;
using cosqlite::changes_options;
using cosqlite::connection;
using cosqlite::row_source;
using cosqlite::task;
using cosqlite::transaction;
using support::failure_of;
using support::temp_database;

namespace {

using lines = std::vector<std::string>;

std::string describe(const change& c) {
  if (c.missed != 0) return "gap " + std::to_string(c.missed);
  std::string line = std::string(to_string(c.operation)) + " " + c.table + " " + std::to_string(c.rowid);
  if (c.old_rowid != c.rowid) line += " from " + std::to_string(c.old_rowid);
  return line;
}

/// Everything that was committed up to now.
task<lines> all(connection& db, change_stream& from) {
  lines seen;
  co_await db.execute("INSERT OR REPLACE INTO end_mark VALUES (1)");
  while (std::optional<change> c = co_await from.next()) {
    std::string line = describe(*c);
    if (c->table == "end_mark") break;
    seen.push_back(std::move(line));
  }
  co_return seen;
}

template <class F>
void with_database(const char* schema, F body, cosqlite::open_options options = {}) {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path(), options);
    co_await db.execute("CREATE TABLE end_mark(id INTEGER PRIMARY KEY)");
    co_await db.execute_script(schema);
    co_await body(db);
    co_await db.close();
  });
}

constexpr const char* table_t = "CREATE TABLE t(id INTEGER PRIMARY KEY, a)";

changes_options by_update_hook() {
  changes_options o;
  o.source = row_source::update_hook;
  return o;
}

changes_options by_preupdate_hook() {
  changes_options o;
  o.source = row_source::preupdate_hook;
  return o;
}

/// The same test with either of SQLite's hooks.
template <class F>
void with_each_source(const char* schema, F body) {
  SECTION("preupdate hook") {
    with_database(schema, [&](connection& db) -> task<> {
      change_stream changes = co_await db.changes(by_preupdate_hook());
      co_await body(db, changes);
    });
  }
  SECTION("update hook") {
    with_database(schema, [&](connection& db) -> task<> {
      change_stream changes = co_await db.changes(by_update_hook());
      co_await body(db, changes);
    });
  }
}

}  // namespace

TEST_CASE("committed changes arrive in their order, with table, rowid and operation") {
  with_each_source(table_t, [](connection& db, change_stream& changes) -> task<> {
    co_await db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    co_await db.execute("UPDATE t SET a = 'c' WHERE id = 2");
    co_await db.execute("DELETE FROM t WHERE id = 1");
    {
      const auto seen1 = co_await all(db, changes);
      CHECK(seen1 == lines{"insert t 1", "insert t 2", "update t 2", "remove t 1"});
    }
  });
}

TEST_CASE("an update that moves a row tells both rowids") {
  with_database(table_t, [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    co_await db.execute("INSERT INTO t VALUES (1, 'a')");
    co_await db.execute("UPDATE t SET id = 9");
    {
      const auto seen2 = co_await all(db, changes);
      CHECK(seen2 == lines{"insert t 1", "update t 9 from 1"});
    }
  });
}

TEST_CASE("nothing of a transaction is reported before its commit, nor ever after its rollback") {
  with_each_source(table_t, [](connection& db, change_stream& changes) -> task<> {
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES (1, 'a')");
    CHECK(!changes.try_next());
    co_await tx.rollback();
    transaction second = co_await db.begin();
    co_await second.execute("INSERT INTO t VALUES (2, 'b')");
    CHECK(!changes.try_next());
    co_await second.commit();
    {
      const auto seen3 = co_await all(db, changes);
      CHECK(seen3 == lines{"insert t 2"});
    }
  });
}

TEST_CASE("changes of one transaction have the same commit number, those of the next a greater one") {
  with_database(table_t, [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES (1, 'a')");
    co_await tx.execute("INSERT INTO t VALUES (2, 'b')");
    co_await tx.commit();
    co_await db.execute("INSERT INTO t VALUES (3, 'c')");
    const auto a = co_await changes.next();
    const auto b = co_await changes.next();
    const auto c = co_await changes.next();
    CHECK(a->commit == b->commit);
    CHECK(b->commit < c->commit);
  });
}

TEST_CASE("what a savepoint has rolled back is not reported") {
  with_each_source(table_t, [](connection& db, change_stream& changes) -> task<> {
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES (1, 'a')");
    {
      cosqlite::savepoint outer = co_await tx.savepoint();
      co_await tx.execute("INSERT INTO t VALUES (2, 'b')");
      cosqlite::savepoint inner = co_await outer.nested();
      co_await tx.execute("INSERT INTO t VALUES (3, 'c')");
      co_await inner.rollback();
      co_await tx.execute("INSERT INTO t VALUES (4, 'd')");
      co_await outer.release();
    }
    {
      cosqlite::savepoint dropped = co_await tx.savepoint();
      co_await tx.execute("INSERT INTO t VALUES (5, 'e')");
    }
    co_await tx.commit();
    {
      const auto seen4 = co_await all(db, changes);
      CHECK(seen4 == lines{"insert t 1", "insert t 2", "insert t 4"});
    }
  });
}

TEST_CASE("savepoints in raw SQL are followed, whatever their names and however they are written") {
  with_each_source(table_t, [](connection& db, change_stream& changes) -> task<> {
    co_await db.execute_script(R"(
      -- outermost: it is the transaction
      SAVEPOINT "My Point";
      INSERT INTO t VALUES (1, 'a');
      SaVePoInT b;
      INSERT INTO t VALUES (2, 'b');
      /* a comment */ ROLLBACK /* and
      more */ TRANSACTION TO SAVEPOINT B;
      INSERT INTO t VALUES (3, 'c');
      ROLLBACK TO b;
      INSERT INTO t VALUES (4, 'd');
      SAVEPOINT [c];
      INSERT INTO t VALUES (5, 'e');
      SAVEPOINT c;
      INSERT INTO t VALUES (6, 'f');
      ROLLBACK TO `C`;
      RELEASE SAVEPOINT 'c';
      INSERT INTO t VALUES (7, 'g');
      RELEASE b;
      RELEASE 'my point';
    )");
    {
      const auto seen5 = co_await all(db, changes);
      CHECK(seen5 == lines{"insert t 1", "insert t 4", "insert t 5", "insert t 7"});
    }
    co_await db.execute_script(
        "BEGIN; INSERT INTO t VALUES (10, ''); SAVEPOINT x; INSERT INTO t VALUES (11, ''); RELEASE x;"
        "ROLLBACK; SAVEPOINT y; INSERT INTO t VALUES (12, ''); ROLLBACK TO y; RELEASE y");
    CHECK((co_await all(db, changes)).empty());
  });
}

TEST_CASE("a savepoint that was open before the watching began takes along what it rolls back") {
  with_database(table_t, [](connection& db) -> task<> {
    co_await db.execute_script("BEGIN; SAVEPOINT early");
    change_stream changes = co_await db.changes();
    co_await db.execute("INSERT INTO t VALUES (1, 'a')");
    co_await db.execute_script("ROLLBACK TO early; RELEASE early");
    co_await db.execute("INSERT INTO t VALUES (2, 'b')");
    co_await db.execute("COMMIT");
    {
      const auto seen6 = co_await all(db, changes);
      CHECK(seen6 == lines{"insert t 2"});
    }
  });
}

TEST_CASE("a statement that is undone by itself leaves nothing, and those around it stay") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)", [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES (1, 'a')");
    co_await failure_of<cosqlite::constraint_error>(tx.execute("INSERT INTO t VALUES (2, 'b'), (3, 'c'), (4, 'a')"));
    co_await tx.execute("INSERT INTO t VALUES (5, 'e')");
    co_await failure_of<cosqlite::constraint_error>(tx.execute("INSERT OR FAIL INTO t VALUES (6, 'f'), (7, 'a')"));
    co_await tx.execute("INSERT OR IGNORE INTO t VALUES (8, 'a'), (9, 'i')");
    co_await tx.commit();
    {
      const auto seen7 = co_await all(db, changes);
      CHECK(seen7 == lines{"insert t 1", "insert t 5", "insert t 6", "insert t 9"});
    }
  });
}

TEST_CASE("a failed statement in raw C calls leaves nothing, also when its memory is used again at once") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)", [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    co_await db.run([](sqlite3* raw) {
      const char* statements[] = {"BEGIN",
                                  "INSERT INTO t VALUES (1, 'a')",
                                  "INSERT INTO t VALUES (2, 'b'), (3, 'a')",
                                  "INSERT INTO t VALUES (4, 'd')",
                                  "INSERT INTO t VALUES (5, 'e'), (6, 'd')",
                                  "COMMIT",
                                  "BEGIN",
                                  "INSERT INTO t VALUES (7, 'g')",
                                  "ROLLBACK",
                                  "INSERT INTO t VALUES (8, 'h')"};
      for (const char* sql : statements) {
        sqlite3_stmt* stmt = nullptr;
        sqlite3_prepare_v2(raw, sql, -1, &stmt, nullptr);
        sqlite3_step(stmt);
        sqlite3_finalize(stmt);
      }
    });
    {
      const auto seen8 = co_await all(db, changes);
      CHECK(seen8 == lines{"insert t 1", "insert t 4", "insert t 8"});
    }
  });
}

TEST_CASE("rows that triggers and foreign keys change are reported, and undone with their statement") {
  with_database(R"(
    CREATE TABLE p(id INTEGER PRIMARY KEY);
    CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE);
    CREATE TABLE log(id INTEGER PRIMARY KEY, t);
    CREATE TRIGGER g AFTER INSERT ON p BEGIN INSERT INTO log(t) VALUES (new.id); END;
    CREATE TRIGGER no AFTER INSERT ON p WHEN new.id = 13 BEGIN SELECT raise(ABORT, 'unlucky'); END;
  )",
                [](connection& db) -> task<> {
                  change_stream changes = co_await db.changes();
                  co_await db.execute_script("BEGIN; INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1)");
                  co_await failure_of<cosqlite::constraint_error>(db.execute("INSERT INTO p VALUES (12), (13)"));
                  co_await failure_of<cosqlite::constraint_error>(db.execute("INSERT INTO c VALUES (2, 99)"));
                  co_await db.execute("DELETE FROM p");
                  co_await db.execute("COMMIT");
                  {
                    const auto seen9 = co_await all(db, changes);
                    CHECK(seen9 == lines{"insert p 1", "insert log 1", "insert c 1", "remove p 1", "remove c 1"});
                  }
                });
}

TEST_CASE("a view's INSTEAD OF trigger is reported when it succeeds, and not when it fails") {
  with_database(R"(
    CREATE TABLE t(id INTEGER PRIMARY KEY, a);
    CREATE VIEW v AS SELECT id, a FROM t;
    CREATE TRIGGER i INSTEAD OF INSERT ON v BEGIN
      INSERT INTO t VALUES (new.id, new.a);
      SELECT raise(ABORT, 'no') WHERE new.a = 'bad';
    END;
  )",
                [](connection& db) -> task<> {
                  change_stream changes = co_await db.changes();
                  transaction tx = co_await db.begin();
                  co_await tx.execute("INSERT INTO v VALUES (1, 'good')");
                  co_await failure_of<cosqlite::constraint_error>(tx.execute("INSERT INTO v VALUES (2, 'bad')"));
                  co_await tx.execute("INSERT INTO v VALUES (3, 'good')");
                  co_await tx.commit();
                  {
                    const auto seen10 = co_await all(db, changes);
                    CHECK(seen10 == lines{"insert t 1", "insert t 3"});
                  }
                });
}

TEST_CASE("rows of a full-text index that a trigger keeps are undone with the statement") {
  with_database(
      R"(
    CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE);
    CREATE VIRTUAL TABLE f USING fts5(a, content=t, content_rowid=id);
    CREATE TRIGGER i AFTER INSERT ON t BEGIN INSERT INTO f(rowid, a) VALUES (new.id, new.a); END;
  )",
      [](connection& db) -> task<> {
        change_stream changes = co_await db.changes("t");
        transaction tx = co_await db.begin();
        co_await tx.execute("INSERT INTO t VALUES (1, 'a')");
        co_await failure_of<cosqlite::constraint_error>(tx.execute("INSERT INTO t VALUES (2, 'b'), (3, 'a')"));
        co_await tx.execute("INSERT INTO t VALUES (4, 'd')");
        co_await tx.commit();
        change_stream marks = co_await db.changes("end_mark");
        CHECK(describe(*(co_await changes.next())) == "insert t 1");
        CHECK(describe(*(co_await changes.next())) == "insert t 4");
        CHECK(!changes.try_next());
      });
}

TEST_CASE("a delete of all rows is seen row by row, also by a statement prepared before the watching began") {
  SECTION("preupdate hook") {
    with_database(table_t, [](connection& db) -> task<> {
      cosqlite::statement remove = co_await db.prepare("DELETE FROM t");
      co_await db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
      co_await db.execute("DELETE FROM t");
      co_await db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
      change_stream changes = co_await db.changes(by_preupdate_hook());
      co_await db.execute("DELETE FROM t");
      co_await db.execute("INSERT INTO t VALUES (3, 'c')");
      co_await remove.execute();
      {
        const auto seen11 = co_await all(db, changes);
        CHECK(seen11 == lines{"remove t 1", "remove t 2", "insert t 3", "remove t 3"});
      }
    });
  }
  SECTION("update hook") {
    with_database(table_t, [](connection& db) -> task<> {
      cosqlite::statement remove = co_await db.prepare("DELETE FROM t");
      co_await db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
      change_stream changes = co_await db.changes(by_update_hook());
      co_await remove.execute();
      {
        const auto seen12 = co_await all(db, changes);
        CHECK(seen12 == lines{"remove t 1", "remove t 2"});
      }
    });
  }
}

TEST_CASE("tables without rowid are covered, and rows that REPLACE pushes out") {
  with_database(R"(
    CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    CREATE TABLE u(id INTEGER PRIMARY KEY, a UNIQUE);
  )",
                [](connection& db) -> task<> {
                  changes_options o;
                  o.values = true;
                  change_stream changes = co_await db.changes(o, "w", "u");
                  co_await db.execute("INSERT INTO w VALUES ('k', 1)");
                  co_await db.execute("UPDATE w SET v = 2");
                  co_await db.execute("DELETE FROM w");
                  co_await db.execute("INSERT INTO u VALUES (1, 'a')");
                  co_await db.execute("INSERT OR REPLACE INTO u VALUES (2, 'a')");
                  const auto inserted = co_await changes.next();
                  CHECK(inserted->new_values.at(0).get<std::string>() == "k");
                  CHECK(inserted->old_values.empty());
                  const auto updated = co_await changes.next();
                  CHECK(updated->old_values.at(1).get<int>() == 1);
                  CHECK(updated->new_values.at(1).get<int>() == 2);
                  const auto removed = co_await changes.next();
                  CHECK(removed->old_values.at(1).get<int>() == 2);
                  CHECK(removed->new_values.empty());
                  CHECK(describe(*(co_await changes.next())) == "insert u 1");
                  CHECK(describe(*(co_await changes.next())) == "remove u 1");
                  CHECK(describe(*(co_await changes.next())) == "insert u 2");
                });
}

TEST_CASE("a write through an open blob is an update, and is reported when the blob's transaction commits") {
  with_database(table_t, [](connection& db) -> task<> {
    co_await db.execute("INSERT INTO t VALUES (1, zeroblob(8))");
    change_stream changes = co_await db.changes();
    co_await db.query("SELECT 1");
    co_await db.run([](sqlite3* raw) {
      sqlite3_blob* blob = nullptr;
      sqlite3_blob_open(raw, "main", "t", "a", 1, 1, &blob);
      sqlite3_blob_write(blob, "abc", 3, 0);
      sqlite3_blob_close(blob);
    });
    {
      const auto seen13 = co_await all(db, changes);
      CHECK(seen13 == lines{"update t 1"});
    }
  });
}

TEST_CASE("rows of a statement that returns them one by one are reported once it has ended") {
  with_database(table_t, [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    {
      auto rows = db.stream<int>("INSERT INTO t(a) SELECT value FROM json_each('[1,2,3]') RETURNING id");
      const auto first = co_await rows.next();
      CHECK(first == 1);
      while (co_await rows.next()) {
      }
    }
    {
      const auto seen14 = co_await all(db, changes);
      CHECK(seen14 == lines{"insert t 1", "insert t 2", "insert t 3"});
    }
  });
}

TEST_CASE("calls that shared a transaction report in their order, a call that failed among them nothing") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)", [](connection& db) -> task<> {
    change_stream changes = co_await db.changes("t");
    const auto insert = [](connection* to, int i) -> task<> {
      const int id = i;
      try {
        co_await to->execute("INSERT INTO t VALUES (?, ?), (?, ?)", id, id, id + 100, id == 5 ? 4 : id + 100);
      } catch (const cosqlite::constraint_error&) {
        CHECK(id == 5);
      }
    };
    std::vector<task<>> calls;
    for (int i = 1; i <= 9; ++i) calls.push_back(insert(&db, i));
    co_await cosqlite::when_all(std::move(calls));
    CHECK((co_await db.stats()).grouped_calls > 0);
    for (int i = 1; i <= 9; ++i) {
      if (i == 5) continue;
      CHECK((co_await changes.next())->rowid == i);
      CHECK((co_await changes.next())->rowid == i + 100);
    }
    CHECK(!changes.try_next());
  });
}

TEST_CASE("a group that is lost and run again call by call is reported once") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)", [](connection& db) -> task<> {
    change_stream changes = co_await db.changes("t");
    const auto insert = [](connection* to, int i) -> task<> {
      const int id = i;
      try {
        // The fifth ends the whole transaction of the group.
        co_await to->execute("INSERT OR ROLLBACK INTO t VALUES (?, ?)", id, id == 5 ? 4 : id);
      } catch (const cosqlite::constraint_error&) {
        CHECK(id == 5);
      }
    };
    std::vector<task<>> calls;
    for (int i = 1; i <= 9; ++i) calls.push_back(insert(&db, i));
    co_await cosqlite::when_all(std::move(calls));
    CHECK((co_await db.stats()).lost_groups == 1);
    for (const int i : {1, 2, 3, 4, 6, 7, 8, 9}) CHECK((co_await changes.next())->rowid == i);
    CHECK(!changes.try_next());
  });
}

TEST_CASE("a commit that meets BUSY reports nothing until it succeeds") {
  cosqlite::open_options o;
  o.journal_mode = cosqlite::journal::del;
  o.busy_timeout = std::chrono::milliseconds(1);
  const temp_database file;
  support::on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path(), o);
    co_await db.execute_script("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 1), (2, 2)");
    connection reader = co_await cosqlite::open(file.path(), o);
    change_stream changes = co_await db.changes();
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES (3, 3)");
    {
      transaction reading = co_await reader.begin(cosqlite::tx_mode::deferred);
      co_await reading.query("SELECT * FROM t");
      co_await failure_of<cosqlite::busy_error>(tx.commit());
      CHECK(!changes.try_next());
      co_await reading.rollback();
    }
    co_await tx.execute("INSERT INTO t VALUES (4, 4)");
    CHECK(!changes.try_next());
    co_await tx.commit();
    CHECK(describe(*(co_await changes.next())) == "insert t 3");
    CHECK(describe(*(co_await changes.next())) == "insert t 4");
    CHECK(!changes.try_next());
    co_await reader.close();
    co_await db.close();
  });
}

TEST_CASE("a stream of some tables has nothing of the others") {
  with_database("CREATE TABLE a(x); CREATE TABLE b(x); CREATE TEMP TABLE c(x)", [](connection& db) -> task<> {
    change_stream only_a = co_await db.changes("A");
    change_stream two = co_await db.changes("main.b", "temp.c");
    co_await db.execute("INSERT INTO a VALUES (1)");
    co_await db.execute("INSERT INTO b VALUES (1)");
    co_await db.execute("INSERT INTO c VALUES (1)");
    CHECK((co_await only_a.next())->table == "a");
    CHECK(!only_a.try_next());
    CHECK((co_await two.next())->table == "b");
    const auto last = co_await two.next();
    CHECK(last->table == "c");
    CHECK(last->schema == "temp");
  });
}

TEST_CASE("what nobody reads becomes a gap that tells how much was lost, and the stream goes on") {
  with_database(table_t, [](connection& db) -> task<> {
    changes_options small;
    small.buffer = 4;
    change_stream changes = co_await db.changes(small, "t");
    co_await db.execute("INSERT INTO t VALUES (1, ''), (2, ''), (3, '')");
    co_await db.execute("INSERT INTO t VALUES (4, ''), (5, '')");
    co_await db.execute("INSERT INTO t VALUES (6, ''), (7, '')");
    CHECK(describe(*(co_await changes.next())) == "insert t 1");
    CHECK(describe(*(co_await changes.next())) == "insert t 2");
    CHECK(describe(*(co_await changes.next())) == "insert t 3");
    CHECK(describe(*(co_await changes.next())) == "gap 4");
    co_await db.execute("INSERT INTO t VALUES (8, '')");
    CHECK(describe(*(co_await changes.next())) == "insert t 8");
  });
}

TEST_CASE("a transaction larger than the buffer is a gap, and what a savepoint has undone of it counts for nothing") {
  with_database(table_t, [](connection& db) -> task<> {
    changes_options small;
    small.buffer = 4;
    change_stream changes = co_await db.changes(small, "t");
    co_await db.execute("INSERT INTO t(a) SELECT value FROM json_each('[1,2,3,4,5,6,7,8,9,10]')");
    CHECK(describe(*(co_await changes.next())) == "gap 10");
    co_await db.execute_script(
        "BEGIN; INSERT INTO t VALUES (20, ''); SAVEPOINT s;"
        "INSERT INTO t(a) SELECT value FROM json_each('[1,2,3,4,5,6,7,8]'); ROLLBACK TO s;"
        "INSERT INTO t VALUES (21, ''); COMMIT");
    CHECK(describe(*(co_await changes.next())) == "insert t 20");
    CHECK(describe(*(co_await changes.next())) == "insert t 21");
  });
}

TEST_CASE("a reader that waits is woken by the commit") {
  with_database(table_t, [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    const auto wait = [](change_stream* from) -> task<std::string> {
      const auto c = co_await from->next();
      co_return describe(*c);
    };
    const auto write = [](connection* to) -> task<> {
      const char* sql = "INSERT INTO t VALUES (1, 'a')";
      co_await to->execute(sql);
    };
    const auto [seen, nothing] = co_await cosqlite::when_all(wait(&changes), write(&db));
    static_cast<void>(nothing);
    CHECK(seen == "insert t 1");
  });
}

TEST_CASE("waiting for a change ends with the connection, whether it is closed or dropped") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute(table_t);
    change_stream changes = co_await db.changes();
    co_await db.execute("INSERT INTO t VALUES (1, 'a')");
    const auto drain = [](change_stream* from) -> task<int> {
      int count = 0;
      while (auto c = co_await from->next()) ++count;
      co_return count;
    };
    const auto close = [](connection* which) -> task<> {
      const bool polite = true;
      if (polite) co_await which->close();
    };
    const auto [count, nothing] = co_await cosqlite::when_all(drain(&changes), close(&db));
    static_cast<void>(nothing);
    CHECK(count == 1);
    CHECK(!(co_await changes.next()).has_value());

    std::optional<connection> second(co_await cosqlite::open(file.path()));
    change_stream others = co_await second->changes();
    const auto drop = [](std::optional<connection>* which) -> task<> {
      const std::chrono::nanoseconds moment{0};
      co_await cosqlite::sleep_for(moment);
      which->reset();
    };
    const auto [none, also_nothing] = co_await cosqlite::when_all(drain(&others), drop(&second));
    static_cast<void>(also_nothing);
    CHECK(none == 0);
  });
}

TEST_CASE("waiting for a change obeys deadlines and stop tokens, and loses nothing by them") {
  with_database(table_t, [](connection& db) -> task<> {
    change_stream timed = co_await db.with(std::chrono::milliseconds(20)).changes();
    co_await failure_of<cosqlite::timeout_error>(timed.next());
    std::stop_source stop;
    change_stream stoppable = co_await db.with(stop.get_token()).changes();
    const auto request = [](std::stop_source* s) -> task<> {
      const std::chrono::nanoseconds moment{0};
      co_await cosqlite::sleep_for(moment);
      s->request_stop();
    };
    const auto wait = [](change_stream* from) -> task<> {
      const auto e = co_await failure_of<cosqlite::cancelled_error>(from->next());
      static_cast<void>(e);
    };
    co_await cosqlite::when_all(wait(&stoppable), request(&stop));
    co_await db.execute("INSERT INTO t VALUES (1, 'a')");
    CHECK(describe(*(co_await timed.next())) == "insert t 1");
    CHECK(describe(*stoppable.try_next()) == "insert t 1");
  });
}

TEST_CASE("a coroutine that is destroyed while it waits for a change leaves the stream in order") {
  with_database(table_t, [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    {
      auto waiting = changes.next();
      REQUIRE(!waiting.await_ready());
      REQUIRE(waiting.await_suspend(std::noop_coroutine()));
    }
    co_await db.execute("INSERT INTO t VALUES (1, 'a')");
    CHECK(describe(*(co_await changes.next())) == "insert t 1");
    changes.close();
    CHECK(!(co_await changes.next()).has_value());
    co_await db.execute("INSERT INTO t VALUES (2, 'b')");
  });
}

TEST_CASE("values cannot be had from the update hook") {
  with_database(table_t, [](connection& db) -> task<> {
    changes_options o = by_update_hook();
    o.values = true;
    co_await failure_of<cosqlite::misuse_error>(db.changes(o));
  });
}

TEST_CASE("the changes of a pool are those of its writer") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute(table_t);
    cosqlite::leased_connection writer = co_await p.acquire_writer();
    change_stream changes = co_await writer.changes();
    co_await writer.execute("INSERT INTO t VALUES (1, 'a')");
    CHECK(describe(*(co_await changes.next())) == "insert t 1");
    writer.release();
    CHECK(!(co_await changes.next()).has_value());
    co_await p.close();
  });
}
