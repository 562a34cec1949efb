#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <tuple>
#include <utility>
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

TEST_CASE("a batch is reported row by row, whatever its last row did, and not at all when it failed") {
  with_each_source(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE); CREATE TABLE u(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1, 1)",
      [](connection& db, change_stream& changes) -> task<> {
        using pair = std::tuple<int, int>;
        std::vector<pair> rows;
        for (int i = 1; i <= 3; ++i) rows.emplace_back(i + 1, i + 1);
        std::vector<pair> clash = rows;
        clash.emplace_back(100, 1);
        const char* insert = "INSERT INTO t VALUES (?, ?)";
        const char* insert_or_ignore = "INSERT OR IGNORE INTO t VALUES (?, ?)";
        co_await failure_of<cosqlite::constraint_error>(db.execute_many(insert, clash));
        co_await db.execute_many(insert_or_ignore, clash);
        {
          const auto seen = co_await all(db, changes);
          CHECK(seen == lines{"insert t 2", "insert t 3", "insert t 4"});
        }
        for (auto& [id, a] : rows) id += 10, a += 10;
        for (auto& [id, a] : clash) id += 20, a += 20;
        std::get<1>(clash.back()) = 1;
        transaction tx = co_await db.begin();
        co_await tx.execute("INSERT INTO u VALUES (1)");
        co_await tx.execute_many(insert, rows);
        co_await failure_of<cosqlite::constraint_error>(tx.execute_many(insert, clash));
        co_await tx.execute_many(insert_or_ignore, clash);
        co_await tx.execute("INSERT INTO u VALUES (2)");
        co_await tx.commit();
        const auto seen = co_await all(db, changes);
        CHECK(seen == lines{"insert u 1", "insert t 12", "insert t 13", "insert t 14", "insert t 22", "insert t 23",
                            "insert t 24", "insert u 2"});
      });
}

TEST_CASE("a trace sees every run of a batch while somebody watches the rows") {
  with_database(table_t, [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    std::atomic<int> runs{0};
    const auto counts = [&runs](const cosqlite::trace_event& e) {
      if (e.sql.starts_with("INSERT")) ++runs;
    };
    const cosqlite::subscription s = co_await db.trace(counts);
    std::vector<std::tuple<int, int>> rows;
    for (int i = 1; i <= 5; ++i) rows.emplace_back(i, i);
    co_await db.execute_many("INSERT INTO t VALUES (?, ?)", rows);
    CHECK(runs == 5);
    for (int i = 1; i <= 5; ++i) CHECK((co_await changes.next())->rowid == i);
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

TEST_CASE("the changes of a pool are those of its writer, whoever writes through it, by table where asked") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute_script("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(id INTEGER PRIMARY KEY)");
    changes_options with_values;
    with_values.values = true;
    change_stream changes = co_await p.changes();
    change_stream of_u = co_await p.with(std::chrono::seconds(10)).changes(with_values, "main.u");
    co_await p.execute("INSERT INTO t VALUES (1, 'a')");
    transaction tx = co_await p.begin();
    co_await tx.execute("INSERT INTO u VALUES (2)");
    co_await tx.commit();
    {
      cosqlite::leased_connection writer = co_await p.acquire_writer();
      co_await writer.execute("INSERT INTO u VALUES (3)");
      transaction undone = co_await writer.begin();
      co_await undone.execute("INSERT INTO t VALUES (4, 'd')");
    }
    co_await p.execute("DELETE FROM t");
    const char* const all_of_them[] = {"insert t 1", "insert u 2", "insert u 3", "remove t 1"};
    for (const char* expected : all_of_them) {
      CHECK(describe(*(co_await changes.next())) == expected);
    }
    CHECK(!changes.try_next());
    CHECK((co_await of_u.next())->new_values.at(0).get<int>() == 2);
    CHECK((co_await of_u.next())->rowid == 3);
    CHECK(!of_u.try_next());
    co_await p.close();
    CHECK(!(co_await changes.next()).has_value());
  });
}

TEST_CASE("a stream that was made through a lease ends with it, those of the pool go on") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute(table_t);
    change_stream of_pool = co_await p.changes();
    cosqlite::leased_connection writer = co_await p.acquire_writer();
    change_stream changes = co_await writer.changes();
    co_await writer.execute("INSERT INTO t VALUES (1, 'a')");
    CHECK(describe(*(co_await changes.next())) == "insert t 1");
    writer.release();
    CHECK(!(co_await changes.next()).has_value());
    co_await p.execute("INSERT INTO t VALUES (2, 'b')");
    CHECK(describe(*(co_await of_pool.next())) == "insert t 1");
    CHECK(describe(*(co_await of_pool.next())) == "insert t 2");
    co_await p.close();
  });
}

TEST_CASE("old and new values are told of every kind of change, also of rows that triggers and REPLACE touch") {
  with_database(R"(
    CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT UNIQUE);
    CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE SET NULL ON UPDATE CASCADE);
    CREATE TRIGGER g AFTER UPDATE OF name ON p BEGIN UPDATE c SET p = NULL WHERE p = new.id; END;
    INSERT INTO p VALUES (1, 'one'), (2, 'two');
    INSERT INTO c VALUES (10, 1), (20, 2);
  )",
                [](connection& db) -> task<> {
                  changes_options o;
                  o.values = true;
                  change_stream changes = co_await db.changes(o);
                  const auto text = [](const std::vector<cosqlite::value>& row) {
                    std::string line;
                    for (const cosqlite::value& v : row) {
                      line += line.empty() ? "(" : ", ";
                      if (v.is_null()) {
                        line += "NULL";
                      } else if (v.type() == cosqlite::value_type::integer) {
                        line += std::to_string(v.get<int>());
                      } else {
                        line += v.get<std::string>();
                      }
                    }
                    return line.empty() ? line : line + ")";
                  };
                  const auto next = [&text](change_stream* from) -> task<std::string> {
                    const auto c = co_await from->next();
                    co_return c->table + " " + text(c->old_values) + "->" + text(c->new_values);
                  };
                  co_await db.execute("UPDATE p SET name = 'uno' WHERE id = 1");
                  CHECK((co_await next(&changes)) == "p (1, one)->(1, uno)");
                  CHECK((co_await next(&changes)) == "c (10, 1)->(10, NULL)");
                  co_await db.execute("UPDATE p SET id = 5 WHERE id = 2");
                  CHECK((co_await next(&changes)) == "p (2, two)->(5, two)");
                  CHECK((co_await next(&changes)) == "c (20, 2)->(20, 5)");
                  co_await db.execute("REPLACE INTO p VALUES (6, 'uno')");
                  CHECK((co_await next(&changes)) == "p (1, uno)->");
                  CHECK((co_await next(&changes)) == "p ->(6, uno)");
                  co_await db.execute("INSERT INTO p VALUES (5, 'x') ON CONFLICT DO UPDATE SET id = 7");
                  CHECK((co_await next(&changes)) == "p (5, two)->(7, two)");
                  CHECK((co_await next(&changes)) == "c (20, 5)->(20, 7)");
                  co_await db.execute("DELETE FROM p WHERE id = 7");
                  CHECK((co_await next(&changes)) == "p (7, two)->");
                  CHECK((co_await next(&changes)) == "c (20, 7)->(20, NULL)");
                  CHECK(!changes.try_next());
                });
}

namespace {

/// Statements that write, fail, nest and undo, the same for the same seed.
class random_writes {
 public:
  explicit random_writes(std::uint64_t seed) : random_(seed) {}

  /// One statement; it may fail.
  std::string statement() {
    const std::string id = std::to_string(number(30));
    const std::string a = std::to_string(number(20));
    const char* table = tables_[number(3)];
    switch (number(13)) {
      case 0:
      case 1: return "INSERT INTO " + std::string(table) + " VALUES (" + id + ", " + a + ")";
      case 2: return "REPLACE INTO " + std::string(table) + " VALUES (" + id + ", " + a + ")";
      case 3: return "INSERT OR IGNORE INTO t SELECT id + 1, a + 1 FROM u WHERE a > " + a;
      case 4: return "UPDATE " + std::string(table) + " SET a = a + 1 WHERE id > " + id;
      case 5: return "UPDATE OR FAIL " + std::string(table) + " SET id = id + 1 WHERE a < " + a;
      case 6: return "UPDATE OR REPLACE " + std::string(table) + " SET a = " + a + " WHERE id % 3 = 0";
      case 7: return "DELETE FROM " + std::string(table) + (number(4) == 0 ? "" : " WHERE id < " + id);
      case 8: return "INSERT OR ROLLBACK INTO t VALUES (" + id + ", " + a + ")";
      case 9: return "INSERT INTO t VALUES (" + id + ", " + a + ") ON CONFLICT (id) DO UPDATE SET a = a + 50";
      case 10: return "SAVEPOINT s" + std::to_string(number(3));
      case 11: return "ROLLBACK TO s" + std::to_string(number(3));
      default: return "RELEASE s" + std::to_string(number(3));
    }
  }
  std::uint64_t number(std::uint64_t below) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_ % below;
  }

 private:
  static constexpr const char* tables_[] = {"t", "u", "w"};
  std::uint64_t random_;
};

using copies = std::map<std::string, std::string>;  // table and key -> the row

std::string key_of(const std::string& table, const cosqlite::value& id) {
  return table + " " + std::to_string(id.get<int>());
}

void repeat_in(copies& to, const change& c) {
  if (!c.old_values.empty()) {
    // Triggers and REPLACE come in an order of their own, but every row that goes was there.
    CHECK(to.erase(key_of(c.table, c.old_values.at(0))) == 1);
  }
  if (!c.new_values.empty()) {
    to[key_of(c.table, c.new_values.at(0))] = std::to_string(c.new_values.at(1).get<int>());
  }
}

task<copies> content(connection& db) {
  copies all;
  const char* const tables[] = {"t", "u", "w"};
  for (const char* table : tables) {
    const std::string sql = "SELECT id, a FROM " + std::string(table);
    const auto rows = co_await db.query<std::tuple<int, int>>(sql);
    for (const auto& [id, a] : rows) all[std::string(table) + " " + std::to_string(id)] = std::to_string(a);
  }
  co_return all;
}

}  // namespace

TEST_CASE("a copy that is kept by the changes is the database, whatever was undone on the way") {
  constexpr const char* tables = R"(
    CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE);
    CREATE TABLE u(id INTEGER PRIMARY KEY, a);
    CREATE TABLE w(id INTEGER PRIMARY KEY, a UNIQUE) WITHOUT ROWID;
    CREATE TRIGGER i AFTER INSERT ON t WHEN new.id % 2 = 0 BEGIN INSERT OR IGNORE INTO w VALUES (new.id, new.a + 3); END;
    CREATE TRIGGER d AFTER DELETE ON u BEGIN UPDATE OR IGNORE w SET a = a + 1 WHERE id = old.id; END;
  )";
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    with_database(tables, [seed](connection& db) -> task<> {
      random_writes random(seed * 0x9E3779B97F4A7C15ULL);
      changes_options o;
      o.values = true;
      change_stream changes = co_await db.changes(o, "t", "u", "w");
      copies kept;
      for (int round = 0; round < 12; ++round) {
        std::vector<std::string> script;
        const bool in_transaction = random.number(3) != 0;
        if (in_transaction) script.emplace_back("BEGIN");
        for (std::uint64_t i = random.number(14); i > 0; --i) script.push_back(random.statement());
        if (in_transaction) script.emplace_back(random.number(4) == 0 ? "ROLLBACK" : "COMMIT");
        const bool raw = random.number(3) == 0;
        if (raw) {
          co_await db.run([&script](sqlite3* handle) {
            for (const std::string& sql : script) sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr);
          });
        } else {
          for (const std::string& sql : script) {
            try {
              co_await db.execute(sql);
            } catch (const cosqlite::error&) {
              // as the statements fall
            }
          }
        }
        // What is left open, if anything, is committed.
        try {
          co_await db.execute("COMMIT");
        } catch (const cosqlite::error&) {
        }
        co_await db.query("SELECT 1");
        while (auto c = changes.try_next()) repeat_in(kept, *c);
        const copies expected = co_await content(db);
        INFO("seed " << seed << ", round " << round);
        CHECK(kept == expected);
      }
    });
  }
}

TEST_CASE("a copy that is kept by the changes is the database, when calls share their transactions") {
  constexpr const char* tables =
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE); CREATE TABLE u(id INTEGER PRIMARY KEY, a);"
      "CREATE TABLE w(id INTEGER PRIMARY KEY, a UNIQUE) WITHOUT ROWID";
  with_database(tables, [](connection& db) -> task<> {
    changes_options o;
    o.values = true;
    change_stream changes = co_await db.changes(o, "t", "u", "w");
    copies kept;
    random_writes random(99);
    const auto write = [](connection* to, std::string sql) -> task<> {
      const std::string text = std::move(sql);
      try {
        co_await to->execute(text);
      } catch (const cosqlite::error&) {
        // as the statements fall
      }
    };
    for (int round = 0; round < 30; ++round) {
      std::vector<task<>> calls;
      while (calls.size() < 24) {
        const std::string sql = random.statement();
        const bool control = sql.starts_with("SAVEPOINT") || sql.starts_with("ROLLBACK") || sql.starts_with("RELEASE");
        if (!control) calls.push_back(write(&db, sql));
      }
      co_await cosqlite::when_all(std::move(calls));
      co_await db.query("SELECT 1");
      while (auto c = changes.try_next()) repeat_in(kept, *c);
      const copies expected = co_await content(db);
      CHECK(kept == expected);
    }
    const auto counted = co_await db.stats();
    CHECK(counted.grouped_calls > 0);
    CHECK(counted.lost_groups > 0);
  });
}
