// What happens to rows, commits and the write-ahead log, as SQLite's hooks tell it.

#include "support/catch.hpp"
#include "support/hooks.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

using cosqlite::commit_vote;
using cosqlite::connection;
using cosqlite::row_operation;
using cosqlite::subscription;
using cosqlite::task;
using support::failure_of;
using support::journal;
using support::lines;
using support::refusal;
using support::with_database;

TEST_CASE("update hooks see each row, several subscribers in the order in which they came") {
  with_database([](connection& db) -> task<> {
    journal seen;
    const auto first = [&seen](const cosqlite::row_update& r) {
      seen.add("1 " + std::string(to_string(r.operation)) + " " + std::string(r.table) + " " + std::to_string(r.rowid));
    };
    const auto second = [&seen](const cosqlite::row_update&) { seen.add("2"); };
    const subscription one = co_await db.on_update(first);
    subscription two = co_await db.on_update(second);
    co_await db.execute("INSERT INTO t VALUES (7, 'x')");
    CHECK(seen.take() == lines{"1 insert t 7", "2"});
    two.remove();
    co_await db.execute("UPDATE t SET a = 'y'");
    co_await db.execute("DELETE FROM t WHERE id = 7");
    CHECK(seen.take() == lines{"1 update t 7", "1 remove t 7"});
  });
}

TEST_CASE("a preupdate hook has the old and the new values, also of a table without rowid") {
  with_database(
      [](connection& db) -> task<> {
        journal seen;
        const auto note = [&seen](const cosqlite::preupdate& p) {
          std::string line = std::string(to_string(p.operation)) + " " + std::string(p.table);
          if (p.operation != row_operation::insert) line += " old " + p.old_value(1).get<std::string>();
          if (p.operation != row_operation::remove) line += " new " + p.new_value(1).get<std::string>();
          seen.add(line + " of " + std::to_string(p.size()));
        };
        const subscription s = co_await db.on_preupdate(note);
        co_await db.execute("INSERT INTO w VALUES ('k', 'one')");
        co_await db.execute("UPDATE w SET v = 'two'");
        co_await db.execute("DELETE FROM w");
        CHECK(seen.take() == lines{"insert w new one of 2", "update w old one new two of 2", "remove w old two of 2"});
      },
      "CREATE TABLE w(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID");
}

TEST_CASE("asking a preupdate hook for values that there are not is an error, kept with the subscription") {
  with_database([](connection& db) -> task<> {
    const auto wrong = [](const cosqlite::preupdate& p) { static_cast<void>(p.old_value(0)); };
    const subscription s = co_await db.on_preupdate(wrong);
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    REQUIRE(s.failure());
    CHECK_THROWS_AS(std::rethrow_exception(s.failure()), cosqlite::misuse_error);
  });
}

TEST_CASE("a commit hook that votes against turns the commit into a rollback") {
  with_database([](connection& db) -> task<> {
    journal seen;
    std::atomic<bool> allow{false};
    const auto vote = [&allow] { return allow ? commit_vote::commit : commit_vote::roll_back; };
    const auto undone = [&seen] { seen.add("rolled back"); };
    const subscription c = co_await db.on_commit(vote);
    const subscription r = co_await db.on_rollback(undone);
    const auto e = co_await failure_of<cosqlite::constraint_error>(db.execute("INSERT INTO t VALUES (1, 'x')"));
    CHECK(e.name() == "SQLITE_CONSTRAINT_COMMITHOOK");
    CHECK(seen.take() == lines{"rolled back"});
    cosqlite::transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES (1, 'x')");
    co_await failure_of<cosqlite::constraint_error>(tx.commit());
    co_await tx.rollback();
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 0);
    allow = true;
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 1);
  });
}

TEST_CASE("what a commit hook throws is the error of the commit") {
  with_database([](connection& db) -> task<> {
    const auto throws = []() -> commit_vote { throw refusal("not today"); };
    const subscription s = co_await db.on_commit(throws);
    co_await failure_of<refusal>(db.execute("INSERT INTO t VALUES (1, 'x')"));
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 0);
  });
}

TEST_CASE("calls that were grouped are tried one by one when a commit hook refuses their group") {
  with_database([](connection& db) -> task<> {
    std::atomic<int> votes{0};
    const auto vote = [&votes] { return ++votes == 1 ? commit_vote::roll_back : commit_vote::commit; };
    const subscription s = co_await db.on_commit(vote);
    std::vector<task<>> inserts;
    const auto insert = [](connection* to, int i) -> task<> {
      const int id = i;
      co_await to->execute("INSERT INTO t VALUES (?, 'x')", id);
    };
    for (int i = 0; i < 8; ++i) inserts.push_back(insert(&db, i));
    try {
      co_await cosqlite::when_all(std::move(inserts));
    } catch (const cosqlite::constraint_error&) {
      // the first call may have run alone and lost its vote
    }
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) >= 7);
  });
}

TEST_CASE("a WAL hook sees commits, and automatic checkpoints go on") {
  with_database([](connection& db) -> task<> {
    std::atomic<int> commits{0};
    std::atomic<int> most{0};
    const auto note = [&](const cosqlite::wal_commit& c) {
      ++commits;
      if (c.pages > most) most = c.pages;
    };
    co_await db.query("PRAGMA wal_autocheckpoint = 8");
    const subscription s = co_await db.on_wal_commit(note);
    for (int i = 0; i < 60; ++i) co_await db.execute("INSERT INTO t(a) VALUES (hex(randomblob(2000)))");
    CHECK(commits == 60);
    CHECK(most < 60);
  });
}

TEST_CASE("a commit that one hook refuses is not put to those after it") {
  with_database([](connection& db) -> task<> {
    std::atomic<int> asked{0};
    const auto refuses = [] { return commit_vote::roll_back; };
    const auto counts = [&asked] { ++asked; };
    const subscription one = co_await db.on_commit(refuses);
    const subscription two = co_await db.on_commit(counts);
    co_await failure_of<cosqlite::constraint_error>(db.execute("INSERT INTO t VALUES (1, 'x')"));
    CHECK(asked == 0);
  });
}

TEST_CASE("a preupdate hook tells how deep a change is, and which column is written through a blob") {
  with_database(
      [](connection& db) -> task<> {
        journal seen;
        const auto note = [&seen](const cosqlite::preupdate& p) {
          seen.add(std::string(p.table) + " depth " + std::to_string(p.depth()) + " blob " +
                   std::to_string(p.blob_column()) + " rowid " + std::to_string(p.old_rowid) + " " +
                   std::to_string(p.new_rowid));
        };
        co_await db.execute("INSERT INTO c VALUES (1, NULL)");
        const subscription s = co_await db.on_preupdate(note);
        co_await db.execute("INSERT INTO p VALUES (3, zeroblob(4))");
        co_await db.execute("UPDATE p SET id = 4");
        cosqlite::blob_location where;
        where.table = "p";
        where.column = "data";
        where.rowid = 4;
        cosqlite::blob b = co_await db.open_blob(where, cosqlite::blob_mode::read_write);
        const std::array<std::byte, 2> bytes{};
        co_await b.write(bytes, 0);
        co_await b.close();
        const auto got = seen.take();
        REQUIRE(got.size() == 4);
        CHECK(got[0] == "p depth 0 blob -1 rowid 3 3");
        CHECK(got[1] == "c depth 1 blob -1 rowid 1 1");
        CHECK(got[2] == "p depth 0 blob -1 rowid 3 4");
        CHECK(got[3] == "p depth 0 blob 1 rowid 4 4");
      },
      R"(CREATE TABLE p(id INTEGER PRIMARY KEY, data); CREATE TABLE c(id INTEGER PRIMARY KEY, p);
         CREATE TRIGGER g AFTER INSERT ON p BEGIN UPDATE c SET p = new.id; END)");
}

TEST_CASE(
    "a rollback hook hears of rollbacks by others: a dropped transaction, OR ROLLBACK, the end of the connection") {
  std::atomic<int> rollbacks{0};
  with_database([&rollbacks](connection& db) -> task<> {
    const auto counts = [&rollbacks] { ++rollbacks; };
    (co_await db.on_rollback(counts)).detach();
    {
      cosqlite::transaction tx = co_await db.begin();
      co_await tx.execute("INSERT INTO t VALUES (1, 'x')");
    }
    co_await db.query("SELECT 1");
    CHECK(rollbacks == 1);
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    co_await failure_of<cosqlite::constraint_error>(db.execute("INSERT OR ROLLBACK INTO t VALUES (1, 'x')"));
    CHECK(rollbacks == 2);
    co_await db.execute_script("BEGIN; INSERT INTO t VALUES (2, 'y')");
  });
  CHECK(rollbacks == 3);
}
