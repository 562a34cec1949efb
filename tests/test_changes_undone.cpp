// Nothing that was rolled back is reported: transactions, savepoints, statements, batches and groups.

#include "support/catch.hpp"
#include "support/changes.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <tuple>
#include <utility>
#include <vector>

using cosqlite::change;
using cosqlite::change_stream;
using cosqlite::connection;
using cosqlite::task;
using cosqlite::transaction;
using support::all;
using support::describe;
using support::failure_of;
using support::lines;
using support::table_t;
using support::temp_database;
using support::with_database;
using support::with_each_source;

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
