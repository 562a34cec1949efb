#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include "support/plug.hpp"
#include <cosqlite/cosqlite.hpp>

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::savepoint;
using cosqlite::task;
using cosqlite::transaction;
using cosqlite::transaction_error;
using support::failure_of;
using support::on_loop;
using support::open_with_table;
using support::rows_of;
using support::temp_database;

using names = std::vector<std::string>;

}  // namespace

TEST_CASE("a savepoint keeps or undoes its part of the transaction") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t(v) VALUES ('kept')");
    savepoint undone = co_await tx.savepoint();
    co_await undone.execute("INSERT INTO t(v) VALUES ('undone')");
    co_await undone.rollback();
    CHECK_FALSE(undone.is_open());
    savepoint kept = co_await tx.savepoint();
    co_await kept.execute("INSERT INTO t(v) VALUES ('released')");
    co_await kept.release();
    {
      savepoint dropped = co_await tx.savepoint();
      co_await dropped.execute("INSERT INTO t(v) VALUES ('dropped')");
    }
    co_await tx.commit();
    const names left = co_await db.query<std::string>("SELECT v FROM t ORDER BY id");
    CHECK(left == names{"kept", "released"});
  });
}

TEST_CASE("savepoints nest, and end in reverse order") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    savepoint outer = co_await tx.savepoint();
    co_await outer.execute("INSERT INTO t(v) VALUES ('outer')");
    savepoint inner = co_await outer.nested();
    co_await inner.execute("INSERT INTO t(v) VALUES ('inner')");
    co_await failure_of<cosqlite::misuse_error>(outer.release());
    CHECK(outer.is_open());
    co_await inner.rollback();
    co_await outer.release();
    co_await failure_of<transaction_error>(outer.release());
    co_await tx.commit();
    const names left = co_await db.query<std::string>("SELECT v FROM t");
    CHECK(left == names{"outer"});
  });
}

TEST_CASE("a savepoint can be undone when the time is up") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::stop_source stop;
    transaction tx = co_await db.with(stop.get_token()).begin();
    savepoint point = co_await tx.savepoint();
    co_await point.execute("INSERT INTO t(v) VALUES ('undone')");
    stop.request_stop();
    co_await failure_of<cosqlite::cancelled_error>(point.release());
    co_await point.rollback();
    CHECK_FALSE(point.is_open());
    co_await tx.rollback();
    CHECK(co_await rows_of(db) == 0);
  });
}

TEST_CASE("a savepoint ends with its transaction") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    savepoint point = co_await tx.savepoint();
    co_await tx.rollback();
    co_await failure_of<transaction_error>(point.execute("INSERT INTO t(v) VALUES ('late')"));
    co_await failure_of<transaction_error>(point.release());
    CHECK(co_await rows_of(db) == 0);
  });
}

TEST_CASE("a savepoint that is dropped takes those inside it along, and no other") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    savepoint outermost = co_await tx.savepoint();
    co_await tx.execute("INSERT INTO t(v) VALUES ('kept')");
    {
      savepoint inner = co_await outermost.nested();
      co_await tx.execute("INSERT INTO t(v) VALUES ('undone')");
    }
    std::optional<savepoint> outer(co_await outermost.nested());
    co_await tx.execute("INSERT INTO t(v) VALUES ('undone')");
    savepoint inner = co_await outer->nested();
    savepoint innermost = co_await inner.nested();
    co_await tx.execute("INSERT INTO t(v) VALUES ('undone')");
    outer.reset();
    co_await failure_of<transaction_error>(innermost.release());
    co_await failure_of<transaction_error>(inner.rollback());
    // The innermost one that is open can end.
    savepoint next = co_await tx.savepoint();
    co_await tx.execute("INSERT INTO t(v) VALUES ('next')");
    co_await next.release();
    co_await outermost.release();
    co_await tx.commit();
    const names left = co_await db.query<std::string>("SELECT v FROM t ORDER BY id");
    CHECK(left == names{"kept", "next"});
  });
}

TEST_CASE("calls through a savepoint that still wait when it is dropped are undone with it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t(v) VALUES ('kept')");
    std::optional<savepoint> point(co_await tx.savepoint());
    support::plug worker;
    const auto hold = [](support::plug& p, transaction& in) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await p.hold(in);
    };
    const auto insert = [](savepoint& through) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await through.execute("INSERT INTO t(v) VALUES ('undone')");
    };
    const auto drop = [](support::plug& p, std::optional<savepoint>& dropped) -> task<> {
      co_await p.held();
      dropped.reset();
      p.release();
    };
    co_await cosqlite::when_all(hold(worker, tx), insert(*point), drop(worker, point));
    co_await tx.execute("INSERT INTO t(v) VALUES ('after')");
    co_await tx.commit();
    const names left = co_await db.query<std::string>("SELECT v FROM t ORDER BY id");
    CHECK(left == names{"kept", "after"});
  });
}
