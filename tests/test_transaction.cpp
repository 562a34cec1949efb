#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::task;
using cosqlite::transaction;
using cosqlite::transaction_error;
using support::failure_of;
using support::on_loop;
using support::open_with_table;
using support::raw_database;
using support::rows_of;
using support::temp_database;

using names = std::vector<std::string>;

task<> increment(connection& db) {
  transaction tx = co_await db.begin();
  const auto n = co_await tx.query_one<int>("SELECT v FROM counter");
  co_await cosqlite::sleep_for(std::chrono::microseconds(100));
  co_await tx.execute("UPDATE counter SET v = ?", n + 1);
  co_await tx.commit();
}

}  // namespace

TEST_CASE("twenty transactions at once on one connection all succeed, and a bystander's write stays out of them") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    co_await db.execute_script("CREATE TABLE counter(v INTEGER); INSERT INTO counter VALUES (0)");
    std::vector<task<>> all;
    for (int i = 0; i < 20; ++i) all.push_back(increment(db));
    const auto bystander = [](connection& c) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await c.execute("INSERT INTO t(v) VALUES ('bystander')");
    };
    all.push_back(bystander(db));
    co_await cosqlite::when_all(std::move(all));
    CHECK(co_await db.query_one<int>("SELECT v FROM counter") == 20);
    CHECK(co_await rows_of(db) == 1);
  });
}

TEST_CASE("calls through the connection wait in order until the transaction ends") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    names order;
    const auto call = [](connection& c, names& log, std::string name) -> task<> {
      co_await c.execute("INSERT INTO t(v) VALUES (?)", name);
      log.push_back(name);
    };
    const auto in_transaction = [](transaction& t, connection& c, names& log) -> task<> {
      co_await t.execute("INSERT INTO t(v) VALUES ('tx')");
      log.emplace_back("tx");
      CHECK(co_await t.query_one<int>("SELECT count(*) FROM t") == 1);
      co_await t.commit();
      log.emplace_back("commit");
      static_cast<void>(c);
    };
    std::vector<task<>> all;
    all.push_back(call(db, order, "a"));
    all.push_back(call(db, order, "b"));
    all.push_back(in_transaction(tx, db, order));
    co_await cosqlite::when_all(std::move(all));
    CHECK(order == names{"tx", "commit", "a", "b"});
  });
}

TEST_CASE("a dropped transaction rolls back before the next call") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    {
      transaction tx = co_await db.begin();
      co_await tx.execute("INSERT INTO t(v) VALUES ('gone')");
    }
    CHECK(co_await rows_of(db) == 0);
    std::optional<transaction> tx(co_await db.begin());
    co_await tx->execute("INSERT INTO t(v) VALUES ('gone')");
    const auto counting = [](connection& c) -> task<int> { co_return co_await rows_of(c); };
    const auto dropping = [](std::optional<transaction>& t) -> task<> {
      [[maybe_unused]] const bool local = true;
      t.reset();
      co_return;
    };
    auto [n, ignored] = co_await cosqlite::when_all(counting(db), dropping(tx));
    static_cast<void>(ignored);
    CHECK(n == 0);
  });
}

TEST_CASE("a transaction that has ended refuses every call, and rolling it back is no error") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    CHECK(tx.is_open());
    co_await tx.execute("INSERT INTO t(v) VALUES ('kept')");
    co_await tx.commit();
    CHECK_FALSE(tx.is_open());
    co_await failure_of<transaction_error>(tx.execute("INSERT INTO t(v) VALUES ('late')"));
    co_await failure_of<transaction_error>(tx.commit());
    CHECK(co_await rows_of(db) == 1);
    transaction second = co_await db.begin();
    co_await second.execute("DELETE FROM t");
    co_await second.rollback();
    CHECK(co_await rows_of(db) == 1);
  });
}

TEST_CASE("begin takes the write lock at once, unless it is told to wait with it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    cosqlite::open_options o;
    o.busy_timeout = std::chrono::milliseconds(20);
    connection db = co_await cosqlite::open(file.path(), o);
    co_await db.execute_script("CREATE TABLE t(v)");
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    const auto e = co_await failure_of<cosqlite::busy_error>(db.begin());
    CHECK(e.retryable() == cosqlite::retry::statement);
    {
      transaction deferred = co_await db.begin(cosqlite::tx_mode::deferred);
      CHECK(co_await deferred.query_one<int>("SELECT count(*) FROM t") == 0);
      other.execute("INSERT INTO t VALUES (1); COMMIT");
      const auto stale = co_await failure_of<cosqlite::busy_error>(deferred.execute("INSERT INTO t VALUES (2)"));
      CHECK(stale.name() == "SQLITE_BUSY_SNAPSHOT");
      CHECK(stale.retryable() == cosqlite::retry::transaction);
    }
    transaction exclusive = co_await db.begin(cosqlite::tx_mode::exclusive);
    co_await exclusive.commit();
  });
}

namespace {

struct ending {
  const char* what;
  const char* prepare;
  const char* statement;
};

// Each makes SQLite end the transaction behind its owner's back.
constexpr ending endings[] = {
    {"disk full", "CREATE TABLE big(b); PRAGMA max_page_count = 6", "INSERT INTO big VALUES (zeroblob(60000))"},
    {"ON CONFLICT ROLLBACK", "CREATE UNIQUE INDEX u ON t(v); INSERT INTO t(v) VALUES ('taken')",
     "INSERT OR ROLLBACK INTO t(v) VALUES ('taken')"},
    {"RAISE(ROLLBACK)",
     "CREATE TRIGGER r BEFORE INSERT ON t WHEN new.v = 'raise' BEGIN SELECT raise(ROLLBACK, 'no'); END",
     "INSERT INTO t(v) VALUES ('raise')"},
    {"a typed COMMIT", "SELECT 1", "COMMIT"},
    {"a typed ROLLBACK", "SELECT 1", "ROLLBACK"},
};

}  // namespace

TEST_CASE("when SQLite has ended the transaction nothing more runs in it, and nothing slips into autocommit") {
  for (const ending& by : endings) {
    const temp_database file;
    INFO(by.what);
    on_loop([&]() -> task<> {
      connection db = co_await open_with_table(file.path());
      co_await db.execute_script(by.prepare);
      {
        transaction tx = co_await db.begin();
        co_await tx.execute("INSERT INTO t(v) VALUES ('in the transaction')");
        try {
          co_await tx.execute(by.statement);
        } catch (const cosqlite::error&) {
        }
        const auto e = co_await failure_of<transaction_error>(tx.execute("INSERT INTO t(v) VALUES ('slipped')"));
        CHECK(support::contains(e.what(), "roll back"));
        co_await failure_of<transaction_error>(tx.query_one<int>("SELECT 1"));
        co_await failure_of<transaction_error>(tx.execute_script("INSERT INTO t(v) VALUES ('slipped')"));
        co_await failure_of<transaction_error>(tx.commit());
        co_await tx.rollback();
      }
      CHECK(co_await db.query_one<int>("SELECT count(*) FROM t WHERE v = 'slipped'") == 0);
      co_await db.execute("INSERT INTO t(v) VALUES ('after')");
    });
  }
}

TEST_CASE("a write that is stopped ends its transaction") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t(v) VALUES ('before')");
    const char* const endless =
        "INSERT INTO t(v) WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c) SELECT i FROM c";
    // On a busy machine the time may be up before the write has begun.
    auto stage = cosqlite::timeout_error::stage::queue;
    for (std::chrono::milliseconds patience(20); stage != cosqlite::timeout_error::stage::run; patience *= 4) {
      const auto stopped = co_await failure_of<cosqlite::timeout_error>(tx.with(patience).execute(endless));
      stage = stopped.spent_in();
    }
    co_await failure_of<transaction_error>(tx.execute("INSERT INTO t(v) VALUES ('slipped')"));
    co_await tx.rollback();
    CHECK(co_await rows_of(db) == 0);
  });
}

TEST_CASE("a COMMIT that meets a lock leaves the transaction open, and can be tried again") {
  const temp_database file;
  on_loop([&]() -> task<> {
    cosqlite::open_options o;
    o.journal_mode = cosqlite::journal::del;
    o.busy_timeout = std::chrono::milliseconds(20);
    connection db = co_await cosqlite::open(file.path(), o);
    co_await db.execute_script("CREATE TABLE t(v); INSERT INTO t VALUES (1), (2)");
    const raw_database reader(file.path());
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES (3)");
    reader.execute("BEGIN");
    CHECK(reader.number("SELECT count(*) FROM t") == 2);
    co_await failure_of<cosqlite::busy_error>(tx.commit());
    CHECK(tx.is_open());
    CHECK(co_await tx.query_one<int>("SELECT count(*) FROM t") == 3);
    reader.execute("COMMIT");
    co_await tx.commit();
    CHECK(reader.number("SELECT count(*) FROM t") == 3);
  });
}

TEST_CASE("transact commits what its body did and gives its result") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto body = [](transaction& tx) -> task<std::int64_t> {
      const auto r = co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      co_return r.last_insert_rowid;
    };
    const std::int64_t rowid = co_await db.transact(body);
    CHECK(rowid == 1);
    const auto nothing = [](transaction& tx) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await tx.execute("INSERT INTO t(v) VALUES ('y')");
    };
    co_await db.transact(nothing, cosqlite::tx_mode::deferred);
    CHECK(co_await rows_of(db) == 2);
  });
}

namespace {

struct application_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace

TEST_CASE("a body that throws is rolled back, and its own exception comes out") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto body = [](transaction& tx) -> task<int> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      throw application_error("mine");
    };
    std::string message;
    try {
      static_cast<void>(co_await db.transact(body));
    } catch (const application_error& e) {
      message = e.what();
    }
    CHECK(message == "mine");
    CHECK(co_await rows_of(db) == 0);
    co_await db.execute("CREATE UNIQUE INDEX u ON t(v)");
    const auto constraint = [](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('twice')");
      co_await tx.execute("INSERT INTO t(v) VALUES ('twice')");
    };
    co_await failure_of<cosqlite::constraint_error>(db.transact(constraint));
    CHECK(co_await rows_of(db) == 0);
  });
}

TEST_CASE("a body that uses its connection instead of its transaction is told so") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto at_once = [](connection& c) {
      return [&c](transaction&) -> task<> {
        [[maybe_unused]] const bool local = true;
        co_await c.execute("INSERT INTO t(v) VALUES ('x')");
      };
    };
    auto body = at_once(db);
    const auto e = co_await failure_of<cosqlite::misuse_error>(db.transact(body));
    CHECK(support::contains(e.what(), "through the transaction"));
    const auto after_a_call = [&db](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      static_cast<void>(co_await rows_of(db));
    };
    co_await failure_of<cosqlite::misuse_error>(db.transact(after_a_call));
    CHECK(co_await rows_of(db) == 0);
  });
}

TEST_CASE("what a body spawns may use the connection: it waits for the transaction") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::optional<int> seen;
    const auto look = [](connection& c, std::optional<int>& n) -> task<> { n = co_await rows_of(c); };
    const auto body = [&](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      cosqlite::spawn(look(db, seen));
      co_await tx.execute("INSERT INTO t(v) VALUES ('y')");
    };
    co_await db.transact(body);
    CHECK(co_await rows_of(db) == 2);
    CHECK(seen == 2);
  });
}

TEST_CASE("whatever a body waits for may not use the connection, however deep or beside what else") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto deep = [&db](transaction& tx) -> task<> {
      const auto outer = [](connection& c) -> task<int> {
        co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
        co_return co_await rows_of(c);
      };
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      static_cast<void>(co_await outer(db));
    };
    co_await failure_of<cosqlite::misuse_error>(db.transact(deep));
    const auto beside = [&db](transaction& tx) -> task<> {
      auto both =
          cosqlite::when_all(tx.execute("INSERT INTO t(v) VALUES ('x')"), db.execute("INSERT INTO t(v) VALUES ('y')"));
      co_await std::move(both);
    };
    co_await failure_of<cosqlite::misuse_error>(db.transact(beside));
    const auto after_a_stream = [&db](transaction& tx) -> task<> {
      auto rows = tx.stream<int>(
          "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i < 2000) SELECT i FROM c");
      while (auto row = co_await rows.next()) static_cast<void>(row);
      static_cast<void>(co_await rows_of(db));
    };
    co_await failure_of<cosqlite::misuse_error>(db.transact(after_a_stream));
    const auto begins = [&db](transaction&) -> task<> {
      [[maybe_unused]] const bool local = true;
      transaction second = co_await db.begin();
    };
    co_await failure_of<cosqlite::misuse_error>(db.transact(begins));
    const auto under_a_deadline = [&db](transaction&) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await db.with(std::chrono::seconds(50)).execute("INSERT INTO t(v) VALUES ('z')");
    };
    co_await failure_of<cosqlite::misuse_error>(db.transact(under_a_deadline));
    CHECK(co_await rows_of(db) == 0);
  });
}

TEST_CASE("once its body has committed, the connection may be used in it") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto body = [&db](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      co_await tx.commit();
      co_await db.execute("INSERT INTO t(v) VALUES ('y')");
    };
    co_await db.transact(body);
    CHECK(co_await rows_of(db) == 2);
  });
}

TEST_CASE("a bystander that a body wakes may use the connection: it waits") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    support::gate woken;
    std::optional<int> seen;
    const auto bystander = [](connection& c, support::gate& g, std::optional<int>& n) -> task<> {
      co_await g;
      n = co_await rows_of(c);
    };
    cosqlite::spawn(bystander(db, woken, seen));
    const auto body = [&](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      woken.open();  // resumes it here and now
      co_await tx.execute("INSERT INTO t(v) VALUES ('y')");
      CHECK_FALSE(seen.has_value());
    };
    co_await db.transact(body);
    CHECK(co_await rows_of(db) == 2);
    CHECK(seen == 2);
  });
}

TEST_CASE("a coroutine that has a transaction open is told that its call through the connection would wait for ever") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    {
      transaction tx = co_await db.begin();
      const auto e = co_await failure_of<cosqlite::misuse_error>(db.execute("INSERT INTO t(v) VALUES ('x')"));
      CHECK(support::contains(e.what(), "through the transaction"));
      co_await failure_of<cosqlite::misuse_error>(db.begin());
      co_await failure_of<cosqlite::misuse_error>(rows_of(db));
      // With a limit it does not wait for ever.
      co_await failure_of<cosqlite::timeout_error>(db.with(std::chrono::milliseconds(5)).query("SELECT 1"));
      co_await tx.execute("INSERT INTO t(v) VALUES ('y')");
      co_await tx.commit();
      co_await db.execute("INSERT INTO t(v) VALUES ('z')");
    }
    {
      transaction dropped = co_await db.begin();
    }
    CHECK(co_await rows_of(db) == 2);
  });
}

TEST_CASE("a call waits for a transaction that somebody else may end") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    // Moved to somebody else.
    const auto owns = [](transaction tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('owned')");
      co_await tx.commit();
    };
    transaction moved = co_await db.begin();
    cosqlite::spawn(owns(std::move(moved)));
    CHECK(co_await rows_of(db) == 1);
    // Used by somebody else.
    const auto uses = [](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('used')");
      co_await tx.commit();
    };
    transaction shared = co_await db.begin();
    cosqlite::spawn(uses(shared));
    CHECK(co_await rows_of(db) == 2);
    // Ended by one of several that are waited for.
    transaction beside = co_await db.begin();
    const auto counting = [](connection& c) -> task<int> { co_return co_await rows_of(c); };
    const auto ending = [](transaction& tx) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await tx.rollback();
    };
    auto both = cosqlite::when_all(counting(db), ending(beside));
    const auto [n, ignored] = co_await std::move(both);
    static_cast<void>(ignored);
    CHECK(n == 2);
  });
}

TEST_CASE("one deadline covers BEGIN, the body and COMMIT of transact") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const raw_database other(file.path());
    other.execute("BEGIN IMMEDIATE");
    const auto quick = [](transaction& tx) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
    };
    const auto at_begin =
        co_await failure_of<cosqlite::timeout_error>(db.with(std::chrono::milliseconds(30)).transact(quick));
    CHECK(at_begin.spent_in() == cosqlite::timeout_error::stage::lock);
    other.execute("ROLLBACK");
    const auto slow = [](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t(v) VALUES ('x')");
      co_await cosqlite::sleep_for(std::chrono::milliseconds(60));
      co_await tx.execute("INSERT INTO t(v) VALUES ('y')");
    };
    co_await failure_of<cosqlite::timeout_error>(db.with(std::chrono::milliseconds(40)).transact(slow));
    CHECK(co_await rows_of(db) == 0);
  });
}

TEST_CASE("transact runs its body again when the snapshot was stale, if it may") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const raw_database other(file.path());
    int runs = 0;
    const auto body = [&](transaction& tx) -> task<int> {
      const int n = co_await tx.query_one<int>("SELECT count(*) FROM t");
      if (++runs == 1) other.execute("INSERT INTO t(v) VALUES ('other' || random())");
      co_await tx.execute("INSERT INTO t(v) VALUES (?)", "mine" + std::to_string(runs));
      co_return n;
    };
    const cosqlite::transact_options again{cosqlite::tx_mode::deferred, 3, std::chrono::milliseconds(1)};
    const int seen = co_await db.transact(body, again);
    CHECK(seen == 1);
    CHECK(runs == 2);
    runs = 0;
    co_await failure_of<cosqlite::busy_error>(db.transact(body, cosqlite::tx_mode::deferred));
    CHECK(runs == 1);
  });
}

TEST_CASE("a transaction can be moved, and the moved-from one does nothing") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::optional<transaction> kept;
    {
      transaction tx = co_await db.begin();
      kept.emplace(std::move(tx));
    }
    co_await kept->execute("INSERT INTO t(v) VALUES ('x')");
    co_await kept->commit();
    CHECK(co_await rows_of(db) == 1);
  });
}
