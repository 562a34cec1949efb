// Whoever waits for a connection is served in the order in which he came, whatever he wants of it.
#include "support/abandonable.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/plug.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <chrono>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::leased_connection;
using cosqlite::pool;
using cosqlite::task;
using cosqlite::transaction;
using support::on_loop;
using support::temp_database;

using numbers = std::vector<int>;

numbers up_to(std::size_t n) {
  numbers all(n);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// Notes when its transaction has begun: the next one waits until it is over.
template <class Connection>
task<> begin(Connection& db, int n, numbers& served) {
  transaction tx = co_await db.begin();
  served.push_back(n);
  co_await tx.commit();
}
template <class Connection>
task<> transact(Connection& db, int n, numbers& served) {
  const auto body = [n, &served](transaction& tx) -> task<> {
    served.push_back(n);
    co_await tx.execute("INSERT INTO t VALUES (?)", n);
  };
  co_await db.transact(body);
}
template <class Connection>
task<> write(Connection& db, int n, numbers& served) {
  co_await db.execute("INSERT INTO t VALUES (?)", n);
  served.push_back(n);
}
template <class Connection>
task<> read(Connection& db, int n, numbers& served) {
  static_cast<void>(co_await db.query("SELECT count(*) FROM t"));
  served.push_back(n);
}
task<> run(connection& db, int n, numbers& served) {
  const auto nothing = [](sqlite3*) {};
  co_await db.run(nothing);
  served.push_back(n);
}
task<> lease_writer(pool& db, int n, numbers& served) {
  leased_connection lease = co_await db.acquire_writer();
  served.push_back(n);
  co_await lease.execute("INSERT INTO t VALUES (?)", n);
}
task<> lease_reader(pool& db, int n, numbers& served) {
  leased_connection lease = co_await db.acquire_reader();
  served.push_back(n);
  static_cast<void>(co_await lease.query("SELECT count(*) FROM t"));
}

task<> wait_on_connection(connection& db, char what, int n, numbers& served) {
  switch (what) {
    case 'b': return begin(db, n, served);
    case 't': return transact(db, n, served);
    case 'w': return write(db, n, served);
    case 'r': return read(db, n, served);
    default: return run(db, n, served);
  }
}
task<> wait_for_writer(pool& db, char what, int n, numbers& served) {
  switch (what) {
    case 'b': return begin(db, n, served);
    case 't': return transact(db, n, served);
    case 'w': return write(db, n, served);
    default: return lease_writer(db, n, served);
  }
}

task<pool> open_pool(std::string path) {
  cosqlite::pool_options one;
  one.readers = 1;
  pool db = co_await pool::open(std::move(path), one);
  co_await db.execute_script("CREATE TABLE t(n)");
  co_return db;
}

task<> give_back(std::optional<leased_connection>& lease) {
  [[maybe_unused]] const bool local = true;
  lease.reset();
  co_return;
}

}  // namespace

TEST_CASE("calls and transactions of a connection are served in the order in which they were awaited") {
  for (const std::string_view pattern : {"bbbbbbbb", "bwbwbwbw", "wwbwwrrbtt", "tbxrwtbxrwtbxrw", "xbxbwwtt"}) {
    INFO(pattern);
    const temp_database file;
    on_loop([&]() -> task<> {
      connection db = co_await cosqlite::open(file.path());
      co_await db.execute_script("CREATE TABLE t(n)");
      numbers served;
      std::vector<task<>> all;
      for (const char what : pattern) {
        all.push_back(wait_on_connection(db, what, static_cast<int>(all.size()), served));
      }
      co_await cosqlite::when_all(std::move(all));
      CHECK(served == up_to(pattern.size()));
    });
  }
}

TEST_CASE("those that wait for the writer of a pool get it in the order in which they came") {
  for (const std::string_view pattern : {"llllllll", "bbbbbbbb", "lbtwwlbtwwlbtww"}) {
    INFO(pattern);
    const temp_database file;
    on_loop([&]() -> task<> {
      pool db = co_await open_pool(file.path());
      std::optional<leased_connection> first(co_await db.acquire_writer());
      numbers served;
      std::vector<task<>> all;
      for (const char what : pattern) {
        all.push_back(wait_for_writer(db, what, static_cast<int>(all.size()), served));
      }
      all.push_back(give_back(first));
      co_await cosqlite::when_all(std::move(all));
      CHECK(served == up_to(pattern.size()));
    });
  }
}

TEST_CASE("those that wait for a reader of a pool get it in the order in which they came") {
  for (const std::string_view pattern : {"llllllll", "lrrlrrlrr", "rrrlrrrl"}) {
    INFO(pattern);
    const temp_database file;
    on_loop([&]() -> task<> {
      pool db = co_await open_pool(file.path());
      std::optional<leased_connection> first(co_await db.acquire_reader());
      numbers served;
      std::vector<task<>> all;
      for (const char what : pattern) {
        const int n = static_cast<int>(all.size());
        all.push_back(what == 'l' ? lease_reader(db, n, served) : read(db, n, served));
      }
      all.push_back(give_back(first));
      co_await cosqlite::when_all(std::move(all));
      CHECK(served == up_to(pattern.size()));
    });
  }
}

TEST_CASE("what a transaction is asked for runs in the order in which it was awaited") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute_script("CREATE TABLE t(n)");
    transaction tx = co_await db.begin();
    numbers served;
    std::vector<task<>> all;
    for (int n = 0; n < 20; ++n) all.push_back(n % 3 == 0 ? read(tx, n, served) : write(tx, n, served));
    co_await cosqlite::when_all(std::move(all));
    CHECK(served == up_to(20));
    co_await tx.commit();
  });
}

TEST_CASE("a lease's calls that waited for its transaction run before those that came after its end") {
  const temp_database file;
  on_loop([&]() -> task<> {
    pool db = co_await open_pool(file.path());
    leased_connection lease = co_await db.acquire_writer();
    transaction tx = co_await lease.begin();
    numbers served;
    const auto commit = [](transaction& open) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await open.commit();
    };
    std::vector<task<>> all;
    for (int n = 0; n < 4; ++n) all.push_back(n == 2 ? begin(lease, n, served) : write(lease, n, served));
    all.push_back(commit(tx));
    for (int n = 4; n < 8; ++n) all.push_back(write(lease, n, served));
    co_await cosqlite::when_all(std::move(all));
    CHECK(served == up_to(8));
  });
}

TEST_CASE("the rollback of a dropped transaction comes before whatever waits, in it or behind it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute_script("CREATE TABLE t(n)");
    std::optional<transaction> tx(co_await db.begin());
    co_await tx->execute("INSERT INTO t VALUES (-1)");
    support::plug plug;
    const auto hold = [](transaction& in, support::plug& by) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await by.hold(in);
    };
    std::optional<std::string> held;
    std::optional<std::string> in_it;
    std::optional<std::string> behind_it;
    numbers served;
    const support::abandonable holding = support::start(hold(*tx, plug), held);
    co_await plug.held();
    const support::abandonable inside = support::start(write(*tx, 0, served), in_it);
    const support::abandonable behind = support::start(write(db, 1, served), behind_it);
    tx.reset();
    plug.release();
    co_await support::until([&] { return held && in_it && behind_it; });
    // It has not run, not even to be undone.
    CHECK(support::contains(*in_it, "this transaction has ended"));
    CHECK(behind_it == "finished");
    CHECK(served == numbers{1});
    const numbers left = co_await db.query<int>("SELECT n FROM t");
    CHECK(left == numbers{1});
  });
}
