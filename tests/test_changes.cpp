// The stream of committed rows: what is in it, what becomes of it when nobody reads, and how it ends.

#include "support/catch.hpp"
#include "support/changes.hpp"
#include "support/database.hpp"
#include "support/drain.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

using cosqlite::change;
using cosqlite::change_stream;
using cosqlite::changes_options;
using cosqlite::connection;
using cosqlite::task;
using cosqlite::transaction;
using support::all;
using support::by_preupdate_hook;
using support::by_update_hook;
using support::describe;
using support::drain;
using support::failure_of;
using support::lines;
using support::table_t;
using support::temp_database;
using support::with_database;
using support::with_each_source;

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
      co_await drain(rows);
    }
    {
      const auto seen14 = co_await all(db, changes);
      CHECK(seen14 == lines{"insert t 1", "insert t 2", "insert t 3"});
    }
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
    change_stream timed = co_await db.with(std::chrono::seconds(1)).changes();
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

TEST_CASE("a table of any name is told by it, and can be asked for by it") {
  with_database(R"(
    CREATE TABLE "a ""b"".c;--"(id INTEGER PRIMARY KEY);
    CREATE TABLE "select"(id INTEGER PRIMARY KEY);
    CREATE TABLE "größe"(id INTEGER PRIMARY KEY);
  )",
                [](connection& db) -> task<> {
                  const std::string odd = "a \"b\".c;--";
                  change_stream by_name = co_await db.changes(odd);
                  change_stream by_schema = co_await db.changes("MAIN." + odd, "main.Select", "größe");
                  co_await db.execute("INSERT INTO \"a \"\"b\"\".c;--\" VALUES (1)");
                  co_await db.execute("INSERT INTO \"select\" VALUES (2)");
                  co_await db.execute("INSERT INTO \"größe\" VALUES (3)");
                  CHECK(describe(*(co_await by_name.next())) == "insert " + odd + " 1");
                  CHECK(!by_name.try_next());
                  CHECK(describe(*(co_await by_schema.next())) == "insert " + odd + " 1");
                  CHECK(describe(*(co_await by_schema.next())) == "insert select 2");
                  CHECK(describe(*(co_await by_schema.next())) == "insert größe 3");
                  CHECK(!by_schema.try_next());
                });
}

TEST_CASE("what changes no row is not told: VACUUM, REINDEX, indexes, CREATE TABLE AS, DROP TABLE") {
  with_each_source(table_t, [](connection& db, change_stream& changes) -> task<> {
    co_await db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    co_await db.execute("CREATE INDEX i ON t(a)");
    co_await db.execute("REINDEX");
    co_await db.execute("CREATE TABLE copy AS SELECT * FROM t");
    co_await db.execute("ALTER TABLE copy DROP COLUMN a");
    co_await db.execute("DROP TABLE copy");
    co_await db.execute("VACUUM");
    co_await db.execute("UPDATE t SET a = 'c' WHERE id = 9");
    co_await db.execute("DELETE FROM t WHERE id = 9");
    const auto seen = co_await all(db, changes);
    CHECK(seen == lines{"insert t 1", "insert t 2"});
  });
}

TEST_CASE("rows whose reading is given up are committed all the same, and told") {
  with_database(table_t, [](connection& db) -> task<> {
    change_stream changes = co_await db.changes();
    {
      auto rows = db.stream<int>("INSERT INTO t(a) SELECT value FROM json_each('[1,2,3]') RETURNING id");
      CHECK(co_await rows.next() == 1);
    }
    const auto seen = co_await all(db, changes);
    CHECK(seen == lines{"insert t 1", "insert t 2", "insert t 3"});
  });
}

TEST_CASE("a change of the schema in a transaction is followed: tables renamed, made and dropped") {
  with_each_source(table_t, [](connection& db, change_stream& changes) -> task<> {
    co_await db.execute_script(
        "BEGIN; INSERT INTO t VALUES (1, 'a'); ALTER TABLE t RENAME TO r; UPDATE r SET a = 'b';"
        "CREATE TABLE t(x, id INTEGER PRIMARY KEY); INSERT INTO t VALUES ('new', 5); DROP TABLE t;"
        "SAVEPOINT s; CREATE TABLE gone(id INTEGER PRIMARY KEY); INSERT INTO gone VALUES (6); ROLLBACK TO s;"
        "INSERT INTO r VALUES (7, ''); COMMIT");
    const auto seen = co_await all(db, changes);
    CHECK(seen == lines{"insert t 1", "update r 1", "insert t 5", "insert r 7"});
  });
}

TEST_CASE("rows that triggers write stay told when the trigger passes the statement's own row over") {
  with_each_source(R"(
    CREATE TABLE t(id INTEGER PRIMARY KEY);
    CREATE TABLE refused(id INTEGER PRIMARY KEY);
    CREATE TRIGGER odd BEFORE INSERT ON t WHEN new.id % 2 = 1 BEGIN
      INSERT INTO refused VALUES (new.id);
      SELECT raise(IGNORE);
    END;
  )",
                   [](connection& db, change_stream& changes) -> task<> {
                     transaction tx = co_await db.begin();
                     co_await tx.execute("INSERT INTO t VALUES (1)");
                     co_await tx.execute("INSERT INTO t VALUES (2), (3)");
                     co_await tx.commit();
                     const auto seen = co_await all(db, changes);
                     CHECK(seen == lines{"insert refused 1", "insert t 2", "insert refused 3"});
                   });
}

TEST_CASE("rows of attached databases are told with their schema, all of a transaction under one number") {
  cosqlite::open_options o;
  o.attach = true;
  const auto body = [](connection& db) -> task<> {
    co_await db.execute("ATTACH ':memory:' AS \"side one\"");
    co_await db.execute("CREATE TABLE \"side one\".t(id INTEGER PRIMARY KEY)");
    change_stream everywhere = co_await db.changes("t");
    change_stream there = co_await db.changes("side one.t");
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO main.t VALUES (1, '')");
    co_await tx.execute("INSERT INTO \"side one\".t VALUES (2)");
    co_await tx.commit();
    const auto first = co_await everywhere.next();
    const auto second = co_await everywhere.next();
    CHECK(first->schema == "main");
    CHECK(second->schema == "side one");
    CHECK(first->commit == second->commit);
    CHECK((co_await there.next())->rowid == 2);
    CHECK(!there.try_next());
  };
  with_database(table_t, body, o);
}

TEST_CASE("another database in the place of the one that is watched is a gap") {
  with_database(table_t, [](connection& db) -> task<> {
    connection other = co_await cosqlite::open(":memory:");
    co_await other.execute_script(
        "CREATE TABLE end_mark(id INTEGER PRIMARY KEY); CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    change_stream changes = co_await db.changes("t");
    co_await db.execute("INSERT INTO t VALUES (1, 'a')");
    co_await other.backup(db, {.pages = 0});
    co_await db.execute("INSERT INTO t VALUES (2, 'b')");
    cosqlite::bytes image = co_await other.serialize();
    co_await db.deserialize(std::move(image));
    co_await db.execute("INSERT INTO t VALUES (3, 'c')");
    for (const char* const expected : {"insert t 1", "gap 1", "insert t 2", "gap 1", "insert t 3"}) {
      const auto c = co_await changes.next();
      CHECK(describe(*c) == expected);
    }
    CHECK(!changes.try_next());
  });
}
