#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/endless.hpp"
#include "support/on_loop.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <unistd.h>

#include <optional>

#include <sys/stat.h>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::contains;
using support::endless_read;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

open_options patience(std::chrono::milliseconds busy_timeout) {
  open_options o;
  o.busy_timeout = busy_timeout;
  return o;
}

}  // namespace

TEST_CASE("an error in the SQL says what, where in it, and on which line of the program") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE users(id, name)");
    const auto line = std::source_location::current().line() + 1;
    const auto e = co_await failure_of<error>(db.query("SELECT naem FROM users"));
    CHECK(e.code() == SQLITE_ERROR);
    CHECK(e.primary() == SQLITE_ERROR);
    CHECK(e.name() == "SQLITE_ERROR");
    CHECK(e.sql() == "SELECT naem FROM users");
    CHECK(e.offset() == 7);
    CHECK(e.retryable() == retry::no);
    CHECK(e.where().line() == line);
    CHECK(contains(e.where().file_name(), "test_errors.cpp"));
    CHECK(std::string(e.what()) == "no such column: naem, at offset 7 of: SELECT naem FROM users");
    co_await db.close();
  });
}

TEST_CASE("every kind of constraint is a constraint_error with its own name") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(
        "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 1, c CHECK (c > 0), p REFERENCES parent);"
        "CREATE TABLE strict(a INTEGER) STRICT;"
        "CREATE TABLE pk(a PRIMARY KEY) WITHOUT ROWID;"
        "CREATE TRIGGER forbidden BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'no deletes'); END;"
        "INSERT INTO t(id, u) VALUES(1, 'u'); INSERT INTO pk VALUES(1)");
    struct kind {
      const char* sql;
      int code;
      const char* name;
    };
    for (const kind& k :
         {kind{"INSERT INTO t(u) VALUES('u')", SQLITE_CONSTRAINT_UNIQUE, "SQLITE_CONSTRAINT_UNIQUE"},
          {"INSERT INTO t(id) VALUES(1)", SQLITE_CONSTRAINT_PRIMARYKEY, "SQLITE_CONSTRAINT_PRIMARYKEY"},
          {"INSERT INTO pk VALUES(1)", SQLITE_CONSTRAINT_PRIMARYKEY, "SQLITE_CONSTRAINT_PRIMARYKEY"},
          {"INSERT INTO t(n) VALUES(NULL)", SQLITE_CONSTRAINT_NOTNULL, "SQLITE_CONSTRAINT_NOTNULL"},
          {"INSERT INTO t(c) VALUES(0)", SQLITE_CONSTRAINT_CHECK, "SQLITE_CONSTRAINT_CHECK"},
          {"INSERT INTO t(p) VALUES(9)", SQLITE_CONSTRAINT_FOREIGNKEY, "SQLITE_CONSTRAINT_FOREIGNKEY"},
          {"DELETE FROM t", SQLITE_CONSTRAINT_TRIGGER, "SQLITE_CONSTRAINT_TRIGGER"},
          {"INSERT INTO strict VALUES('text')", SQLITE_CONSTRAINT_DATATYPE, "SQLITE_CONSTRAINT_DATATYPE"}}) {
      const auto e = co_await failure_of<constraint_error>(db.execute(k.sql));
      INFO(k.sql);
      CHECK(e.code() == k.code);
      CHECK(e.primary() == SQLITE_CONSTRAINT);
      CHECK(e.name() == k.name);
      CHECK(e.sql() == k.sql);
      CHECK(e.retryable() == retry::no);
    }
    co_await db.close();
  });
}

TEST_CASE("a lock that stays is a busy_error after busy_timeout, worth another try") {
  temp_database file;
  raw_database other(file.path());
  other.execute("PRAGMA journal_mode=wal; CREATE TABLE t(a); BEGIN IMMEDIATE");
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), patience(20ms));
    const auto e = co_await failure_of<busy_error>(db.execute("INSERT INTO t VALUES(1)"));
    CHECK(e.name() == "SQLITE_BUSY");
    CHECK(e.retryable() == retry::statement);
    CHECK(contains(e.what(), "busy_timeout"));
    other.execute("COMMIT");
    CHECK((co_await db.execute("INSERT INTO t VALUES(1)")).changes == 1);
    co_await db.close();
  });
}

TEST_CASE("a stale snapshot asks for the whole transaction to be run again") {
  temp_database file;
  raw_database other(file.path());
  other.execute("PRAGMA journal_mode=wal; CREATE TABLE t(a)");
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), patience(5s));
    transaction tx = co_await db.begin(tx_mode::deferred);
    CHECK(co_await tx.query_one<int>("SELECT count(*) FROM t") == 0);
    other.execute("INSERT INTO t VALUES(1)");
    const auto e = co_await failure_of<busy_error>(tx.execute("INSERT INTO t VALUES(2)"));
    CHECK(e.name() == "SQLITE_BUSY_SNAPSHOT");
    CHECK(e.retryable() == retry::transaction);
    co_await tx.rollback();
    co_await db.close();
  });
}

TEST_CASE("a table that the connection itself has locked is a busy_error") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script("CREATE TABLE t(a); INSERT INTO t VALUES(1),(2)");
    auto rows = db.stream("WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 9999) SELECT a, n FROM t, c");
    CHECK((co_await rows.next()).has_value());
    const auto e = co_await failure_of<busy_error>(db.execute("DROP TABLE t"));
    CHECK(e.primary() == SQLITE_LOCKED);
    rows.close();
    co_await db.execute("DROP TABLE t");
    co_await db.close();
  });
}

TEST_CASE("a read-only connection gives readonly_error") {
  temp_database file;
  raw_database(file.path()).execute("CREATE TABLE t(a)");
  on_loop([&]() -> task<> {
    open_options o;
    o.mode = cosqlite::access::read_only;
    connection db = co_await open(file.path(), o);
    const auto e = co_await failure_of<readonly_error>(db.execute("DELETE FROM t"));
    CHECK(e.primary() == SQLITE_READONLY);
    co_await db.close();
  });
}

TEST_CASE("a damaged page is a corrupt_error") {
  temp_database file;
  raw_database(file.path()).execute("PRAGMA page_size=1024; CREATE TABLE t(a); INSERT INTO t VALUES(1)");
  {
    std::fstream damage(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    damage.seekp(1024);
    damage.write("garbage where a page header was", 31);
  }
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    const auto e = co_await failure_of<corrupt_error>(db.query("SELECT * FROM t"));
    CHECK(e.primary() == SQLITE_CORRUPT);
    co_await db.close();
  });
}

TEST_CASE("a database at its page limit is a full_error, and goes on afterwards") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    co_await db.execute("PRAGMA max_page_count = 10");
    const auto e = co_await failure_of<full_error>(db.execute("INSERT INTO t VALUES(zeroblob(100000))"));
    CHECK(e.name() == "SQLITE_FULL");
    CHECK((co_await db.execute("INSERT INTO t VALUES(1)")).changes == 1);
    co_await db.close();
  });
}

TEST_CASE("what the operating system refuses is an io_error that names the file") {
  temp_database file;
  on_loop([&]() -> task<> {
    const std::string path = (file.folder() / "missing" / "x.db").string();
    const auto e = co_await failure_of<io_error>(open(path));
    CHECK(e.primary() == SQLITE_CANTOPEN);
    CHECK(contains(e.what(), path));
    CHECK(contains(e.where().file_name(), "test_errors.cpp"));
  });
}

TEST_CASE("a stop token gives cancelled_error, queued, running or requested before") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    std::stop_source stop;
    auto running = [&]() -> task<> {
      const auto e = co_await failure_of<cancelled_error>(db.with(stop.get_token()).query(endless_read));
      CHECK(e.sql() == endless_read);
      CHECK(e.name() == "SQLITE_INTERRUPT");
    };
    auto queued = [&]() -> task<> {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_await failure_of<cancelled_error>(db.with(stop.get_token()).execute("INSERT INTO t VALUES(1)"));
    };
    auto stopper = [&]() -> task<> {
      co_await sleep_for(10ms);
      stop.request_stop();
    };
    co_await when_all(running(), queued(), stopper());
    co_await failure_of<cancelled_error>(db.with(stop.get_token()).execute("INSERT INTO t VALUES(2)"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("a timeout says whether the time went in the queue, on a lock or in running") {
  temp_database file;
  raw_database other(file.path());
  other.execute("PRAGMA journal_mode=wal; CREATE TABLE t(a)");
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), patience(1h));

    // Long enough for a call to get from the queue to where it stays, on a busy machine too.
    const auto run = co_await failure_of<timeout_error>(db.with(1s).query(endless_read));
    CHECK(run.spent_in() == timeout_error::stage::run);
    CHECK(run.sql() == endless_read);

    other.execute("BEGIN IMMEDIATE");
    const auto lock = co_await failure_of<timeout_error>(db.with(1s).execute("INSERT INTO t VALUES(1)"));
    CHECK(lock.spent_in() == timeout_error::stage::lock);
    const auto begin = co_await failure_of<timeout_error>(db.with(1s).begin());
    CHECK(begin.spent_in() == timeout_error::stage::lock);
    other.execute("ROLLBACK");

    auto slow = [&]() -> task<> {
      [[maybe_unused]] const bool gcc_needs_a_local = true;
      co_await failure_of<timeout_error>(db.with(1s).query(endless_read));
    };
    auto behind = [&]() -> task<> {
      const auto queue = co_await failure_of<timeout_error>(db.with(10ms).execute("INSERT INTO t VALUES(1)"));
      CHECK(queue.spent_in() == timeout_error::stage::queue);
    };
    co_await when_all(slow(), behind());
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("what has finished is reported as finished, however late the stop came") {
  temp_database file;
  on_loop([&]() -> task<> {
    open_options o;
    o.synchronous = cosqlite::sync::off;
    connection db = co_await open(file.path(), o);
    co_await db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)");
    // A function that asks for the stop of the very statement that calls it, which is then about to finish.
    std::stop_source* current = nullptr;
    co_await db.run([&current](sqlite3* raw) {
      sqlite3_create_function_v2(
          raw, "stop_me", 1, SQLITE_UTF8, &current,
          [](sqlite3_context* context, int, sqlite3_value** v) {
            (*static_cast<std::stop_source**>(sqlite3_user_data(context)))->request_stop();
            sqlite3_result_value(context, v[0]);
          },
          nullptr, nullptr, nullptr);
    });
    int stopped = 0;
    const int rounds = support::sanitized ? 100 : 1000;
    for (int i = 0; i < rounds; ++i) {
      std::stop_source stop;
      current = &stop;
      bool done = false;
      try {
        co_await db.with(stop.get_token()).execute("INSERT INTO t VALUES(stop_me(?))", i);
        done = true;
      } catch (const cancelled_error&) {
        ++stopped;
      }
      REQUIRE(co_await db.query_one<bool>("SELECT count(*) FROM t WHERE a = ?", i) == done);
    }
    CHECK(stopped < rounds);
    co_await db.close();
  });
}

TEST_CASE("the other refusals have classes of their own") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    const auto no_row = co_await failure_of<no_row_error>(db.query_one<int>("SELECT a FROM t"));
    CHECK(no_row.sql() == "SELECT a FROM t");
    co_await failure_of<misuse_error>(db.execute("INSERT INTO t VALUES(?)"));
    co_await failure_of<misuse_error>(db.execute("INSERT INTO t VALUES(1)", 1));
    co_await failure_of<conversion_error>(db.query_one<int>("SELECT 'x'"));

    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES(1)");
    co_await tx.execute("ROLLBACK");
    const auto ended = co_await failure_of<transaction_error>(tx.execute("INSERT INTO t VALUES(2)"));
    CHECK(ended.sql() == "INSERT INTO t VALUES(2)");
    co_await failure_of<transaction_error>(tx.commit());
    co_await tx.rollback();
    co_await failure_of<transaction_error>(tx.execute("SELECT 1"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
    co_await failure_of<closed_error>(db.execute("SELECT 1"));
  });
}

TEST_CASE("every class is an error, and an error is a runtime_error") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    bool caught = false;
    try {
      co_await db.execute("nonsense");
    } catch (const std::runtime_error& e) {
      caught = contains(e.what(), "nonsense");
    }
    CHECK(caught);
    co_await db.close();
  });
}

TEST_CASE("bound values never stand in a message") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::string secret = "top-secret-value";
    co_await db.execute_script("CREATE TABLE t(a TEXT UNIQUE, b INTEGER) STRICT");
    co_await db.execute("INSERT INTO t(a) VALUES(?)", secret);
    std::vector<error> all;
    all.push_back(co_await failure_of<constraint_error>(db.execute("INSERT INTO t(a) VALUES(?)", secret)));
    all.push_back(co_await failure_of<constraint_error>(db.execute("INSERT INTO t(b) VALUES(?)", secret)));
    all.push_back(co_await failure_of<conversion_error>(db.query_one<int>("SELECT ?", secret)));
    all.push_back(co_await failure_of<no_row_error>(db.query_one<int>("SELECT 1 FROM t WHERE a = ? || 'x'", secret)));
    all.push_back(co_await failure_of<misuse_error>(db.query_one<int>("SELECT ?, ?", secret)));
    all.push_back(co_await failure_of<misuse_error>(db.query_one<int>("SELECT :a", named(":b", secret))));
    all.push_back(co_await failure_of<timeout_error>(db.with(5ms).query(
        "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c WHERE ? <> ''", secret)));
    for (const error& e : all) {
      INFO(e.what());
      CHECK(!contains(e.what(), secret));
      CHECK(!contains(e.sql(), secret));
    }
    co_await db.close();
  });
}

TEST_CASE("a write whose returned rows cannot be read has not happened") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    co_await failure_of<conversion_error>(db.query<int>("INSERT INTO t(a) VALUES(1), (2), ('three'), (4) RETURNING a"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await failure_of<conversion_error>(db.query_one<int>("INSERT INTO t(a) VALUES('x') RETURNING a"));
    co_await failure_of<misuse_error>(db.query_one<int>("INSERT INTO t(a) VALUES(1) RETURNING id, a"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);

    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t(a) VALUES('kept')");
    co_await failure_of<conversion_error>(tx.query<int>("INSERT INTO t(a) VALUES(1), ('two') RETURNING a"));
    CHECK((co_await tx.query<int>("INSERT INTO t(a) VALUES(5), (6) RETURNING a")).size() == 2);
    co_await tx.commit();
    CHECK(co_await db.query_one<std::string>("SELECT group_concat(a) FROM t") == "kept,5,6");
    CHECK(co_await db.query_one<int>("INSERT INTO t(a) VALUES(9) RETURNING a") == 9);
    co_await db.close();
  });
}

TEST_CASE("what a function given to run throws arrives unchanged") {
  struct own_exception {
    int number;
  };
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    int caught = 0;
    try {
      co_await db.run([](sqlite3*) { throw own_exception{7}; });
    } catch (const own_exception& e) {
      caught = e.number;
    }
    CHECK(caught == 7);
    co_await db.close();
  });
}

TEST_CASE("when undoing fails too, what failed first comes out and has the second failure with it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a UNIQUE)");
    auto body = [&](transaction& tx) -> task<> {
      co_await tx.execute("INSERT INTO t VALUES(1)");
      std::exception_ptr first;
      try {
        co_await tx.execute("INSERT INTO t VALUES(1)");
      } catch (const constraint_error&) {
        first = std::current_exception();
      }
      co_await db.close();
      std::rethrow_exception(first);
    };
    const auto e = co_await failure_of<constraint_error>(db.transact(body));
    REQUIRE(e.also());
    CHECK_THROWS_AS(std::rethrow_exception(e.also()), closed_error);
  });
}
