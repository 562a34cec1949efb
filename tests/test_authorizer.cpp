// What may be done: authorizers.

#include "support/catch.hpp"
#include "support/hooks.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <atomic>
#include <optional>
#include <string>

using cosqlite::authorization;
using cosqlite::authorizer_action;
using cosqlite::authorizer_answer;
using cosqlite::connection;
using cosqlite::subscription;
using cosqlite::task;
using support::failure_of;
using support::journal;
using support::lines;
using support::refusal;
using support::with_database;

TEST_CASE("an authorizer that denies makes the call fail, and statements prepared before are asked about anew") {
  with_database([](connection& db) -> task<> {
    co_await db.query("SELECT a FROM t");
    const auto guard = [](const authorization& q) {
      return q.action == authorizer_action::read && q.first == "t" ? authorizer_answer::deny : authorizer_answer::allow;
    };
    subscription s = co_await db.authorize(guard);
    const auto e = co_await failure_of<cosqlite::error>(db.query("SELECT a FROM t"));
    CHECK(e.primary() == SQLITE_AUTH);
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    s.remove();
    CHECK((co_await db.query("SELECT a FROM t")).size() == 1);
  });
}

TEST_CASE("an authorizer that ignores a column makes it read as NULL") {
  with_database([](connection& db) -> task<> {
    co_await db.execute("INSERT INTO t VALUES (1, 'secret')");
    const auto hide = [](const authorization& q) {
      return q.second == "a" ? authorizer_answer::ignore : authorizer_answer::allow;
    };
    const subscription s = co_await db.authorize(hide);
    CHECK(!(co_await db.query_one<std::optional<std::string>>("SELECT a FROM t")).has_value());
  });
}

TEST_CASE("of several authorizers the strictest answer counts") {
  with_database([](connection& db) -> task<> {
    std::atomic<int> asked{0};
    const auto counts = [&asked](const authorization&) { ++asked; };
    const auto denies = [](const authorization& q) {
      return q.action == authorizer_action::insert ? authorizer_answer::deny : authorizer_answer::allow;
    };
    const subscription first = co_await db.authorize(counts);
    {
      const subscription second = co_await db.authorize(denies);
      co_await failure_of<cosqlite::error>(db.execute("INSERT INTO t VALUES (1, 'x')"));
    }
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    CHECK(asked > 0);
  });
}

TEST_CASE("what an authorizer throws reaches the caller unchanged, and the connection goes on") {
  with_database([](connection& db) -> task<> {
    const auto throws = [](const authorization& q) -> authorizer_answer {
      if (q.action == authorizer_action::read) throw refusal("not you");
      return authorizer_answer::allow;
    };
    subscription s = co_await db.authorize(throws);
    const auto e = co_await failure_of<refusal>(db.query("SELECT * FROM t"));
    CHECK(std::string(e.what()) == "not you");
    s.remove();
    co_await db.query("SELECT * FROM t");
  });
}

TEST_CASE("an authorizer is told which trigger or view asks, and sees pragmas, functions and attached files") {
  with_database(
      [](connection& db) -> task<> {
        journal seen;
        const auto note = [&seen](const authorization& q) {
          if (q.action == authorizer_action::read && q.first == "t" && !q.source.empty())
            seen.add("read by " + std::string(q.source));
          if (q.action == authorizer_action::insert && q.first == "log") seen.add("insert by " + std::string(q.source));
          if (q.action == authorizer_action::pragma && q.first == "user_version")
            seen.add("pragma " + std::string(q.first));
          if (q.action == authorizer_action::function) seen.add("function " + std::string(q.second));
          if (q.action == authorizer_action::savepoint) seen.add(std::string(q.first) + " " + std::string(q.second));
        };
        const subscription s = co_await db.authorize(note);
        co_await db.query("SELECT id FROM v");
        co_await db.execute("INSERT INTO t VALUES (2, 'x')");
        co_await db.query("PRAGMA user_version");
        co_await db.query("SELECT upper('x')");
        co_await db.execute_script("SAVEPOINT p; RELEASE p");
        const lines expected{"read by v",      "insert by g", "pragma user_version",
                             "function upper", "BEGIN p",     "RELEASE p"};
        CHECK(seen.take() == expected);
      },
      R"(CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE log(t); CREATE VIEW v AS SELECT id FROM t;
         CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); END)");
}

TEST_CASE("nobody is asked when a transaction is undone, but when a ROLLBACK is in the call's own SQL") {
  with_database([](connection& db) -> task<> {
    const auto never = [](const authorization& q) {
      const bool undoes = (q.action == authorizer_action::transaction && q.first == "ROLLBACK") ||
                          (q.action == authorizer_action::savepoint && q.first != "BEGIN");
      return undoes ? authorizer_answer::deny : authorizer_answer::allow;
    };
    const subscription s = co_await db.authorize(never);
    const auto before = co_await db.query_one<int>("SELECT count(*) FROM t");
    {
      cosqlite::transaction tx = co_await db.begin();
      co_await tx.execute("INSERT INTO t(a) VALUES (7)");
      {
        const cosqlite::savepoint point = co_await tx.savepoint();
        co_await tx.execute("INSERT INTO t(a) VALUES (8)");
      }
      CHECK(co_await tx.query_one<int>("SELECT count(*) FROM t") == before + 1);
      cosqlite::savepoint second = co_await tx.savepoint();
      co_await second.rollback();
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == before);
    co_await db.execute("BEGIN");
    const auto e = co_await failure_of<cosqlite::error>(db.execute("ROLLBACK"));
    CHECK(e.primary() == SQLITE_AUTH);
    co_await db.execute("COMMIT");
  });
}
