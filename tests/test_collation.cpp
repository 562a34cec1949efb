// Collations in C++.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <compare>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using cosqlite::task;
using support::contains;
using support::failure_of;
using support::on_loop;

int by_length(std::string_view a, std::string_view b) {
  return a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : a.compare(b);
}

/// Throws when it meets the text "bad".
int touchy(std::string_view a, std::string_view b) {
  if (a == "bad" || b == "bad") throw std::domain_error("bad text");
  return a.compare(b);
}

}  // namespace

TEST_CASE("a callable orders texts, with an int or an ordering as its result") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_collation("by_length", by_length);
    co_await db.create_collation("backwards", [](std::string_view a, std::string_view b) { return b <=> a; });
    co_await db.execute_script("CREATE TABLE t(v TEXT); INSERT INTO t VALUES('ccc'),('a'),('bb');");
    const auto lengths = co_await db.query<std::string>("SELECT v FROM t ORDER BY v COLLATE by_length");
    CHECK(lengths == std::vector<std::string>{"a", "bb", "ccc"});
    const auto reversed = co_await db.query<std::string>("SELECT v FROM t ORDER BY v COLLATE backwards");
    CHECK(reversed == std::vector<std::string>{"ccc", "bb", "a"});
    co_await db.execute("CREATE UNIQUE INDEX i ON t(v COLLATE by_length)");
    const auto found = co_await db.query_one<std::string>("SELECT v FROM t WHERE v = 'bb' COLLATE by_length");
    CHECK(found == "bb");
  });
}

TEST_CASE("a collation is replaced and removed, also for statements that were prepared before") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    const char* sql = "SELECT 'a' < 'b' COLLATE mine";
    co_await db.create_collation("mine", [](std::string_view a, std::string_view b) { return a.compare(b); });
    const bool before = co_await db.query_one<bool>(sql);
    co_await db.create_collation("MINE", [](std::string_view a, std::string_view b) { return b.compare(a); });
    const bool after = co_await db.query_one<bool>(sql);
    CHECK(before);
    CHECK_FALSE(after);
    co_await db.remove_collation("mine");
    const auto e = co_await failure_of<cosqlite::error>(db.query(sql));
    CHECK(contains(e.what(), "no such collation sequence: mine"));
    const auto none = co_await failure_of<cosqlite::misuse_error>(db.remove_collation("mine"));
    CHECK(contains(none.what(), "no collation of its own named mine"));
  });
}

TEST_CASE("a collation cannot be replaced under a running statement") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_collation("mine", by_length);
    auto rows =
        db.stream<int>("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i FROM n");
    const auto first = co_await rows.next();
    CHECK(first == 1);
    co_await failure_of<cosqlite::busy_error>(db.create_collation("mine", by_length));
    co_await failure_of<cosqlite::busy_error>(db.remove_collation("mine"));
    rows.close();
    co_await db.remove_collation("mine");
  });
}

TEST_CASE("what a collation throws reaches the coroutine as the same object, though SQLite cannot be told") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.create_collation("touchy", touchy);
    co_await failure_of<std::domain_error>(db.query("SELECT 'a' < 'bad' COLLATE touchy"));
    co_await failure_of<std::domain_error>(
        db.query("SELECT column1 FROM (VALUES ('a'), ('bad'), ('c')) ORDER BY column1 COLLATE touchy"));
    const int one = co_await db.query_one<int>("SELECT 1");
    CHECK(one == 1);
  });
}

TEST_CASE("a write whose collation threw is not committed: alone, in a transaction and in a group") {
  on_loop([]() -> task<> {
    support::temp_database file;
    auto db = co_await cosqlite::open(file.path());
    co_await db.create_collation("touchy", touchy);
    co_await db.execute_script(
        "CREATE TABLE t(v TEXT); CREATE INDEX i ON t(v COLLATE touchy); INSERT INTO t VALUES('a'),('m');");

    co_await failure_of<std::domain_error>(db.execute("INSERT INTO t VALUES('bad')"));
    const int alone = co_await db.query_one<int>("SELECT count(*) FROM t");
    CHECK(alone == 2);

    {
      auto tx = co_await db.begin();
      co_await tx.execute("INSERT INTO t VALUES('b')");
      co_await failure_of<std::domain_error>(tx.execute("INSERT INTO t VALUES('bad')"));
      co_await failure_of<cosqlite::transaction_error>(tx.execute("INSERT INTO t VALUES('c')"));
      co_await tx.rollback();
    }
    const int after_transaction = co_await db.query_one<int>("SELECT count(*) FROM t");
    CHECK(after_transaction == 2);

    auto insert = [&db](std::string v) -> task<bool> {
      bool stored = true;
      try {
        co_await db.execute("INSERT INTO t VALUES(?)", v);
      } catch (const std::domain_error&) {
        stored = false;
      }
      co_return stored;
    };
    std::vector<task<bool>> all;
    for (const char* v : {"d", "bad", "e", "f"}) all.push_back(insert(v));
    const auto stored = co_await cosqlite::when_all(std::move(all));
    CHECK(stored == std::vector<bool>{true, false, true, true});
    const int in_table = co_await db.query_one<int>("SELECT count(*) FROM t NOT INDEXED");
    CHECK(in_table == 5);
    const auto check = co_await db.query_one<std::string>("PRAGMA integrity_check");
    CHECK(check == "ok");
  });
}

TEST_CASE("a bad name of a collation is refused") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    CHECK_THROWS_AS(db.create_collation("", by_length), cosqlite::misuse_error);
    CHECK_THROWS_AS(db.create_collation(std::string("a\0b", 3), by_length), cosqlite::misuse_error);
    co_await db.close();
  });
}
