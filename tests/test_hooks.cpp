#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using cosqlite::authorization;
using cosqlite::authorizer_action;
using cosqlite::authorizer_answer;
using cosqlite::commit_vote;
using cosqlite::connection;
using cosqlite::row_operation;
using cosqlite::subscription;
using cosqlite::task;
using cosqlite::trace_kind;
using support::failure_of;
using support::temp_database;

namespace {

/// What callbacks on the worker thread have seen.
class journal {
 public:
  void add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

using lines = std::vector<std::string>;

template <class F>
void with_database(F body, const char* schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    co_await db.execute_script(schema);
    co_await body(db);
    co_await db.close();
  });
}

struct refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace

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

TEST_CASE("a trace shows statements, their ends and their rows, and bound values only on request") {
  with_database([](connection& db) -> task<> {
    journal plain;
    journal full;
    const auto note = [&plain](const cosqlite::trace_event& e) {
      const char* kinds[] = {"statement", "profile", "row"};
      plain.add(std::string(kinds[static_cast<int>(e.kind)]) + " " + std::string(e.sql) + std::string(e.expanded));
    };
    const auto note_values = [&full](const cosqlite::trace_event& e) { full.add(std::string(e.expanded)); };
    cosqlite::trace_options all;
    all.profile = all.rows = true;
    cosqlite::trace_options expanded;
    expanded.expanded = true;
    const subscription one = co_await db.trace(note, all);
    const subscription two = co_await db.trace(note_values, expanded);
    co_await db.execute("INSERT INTO t VALUES (?, ?)", 1, "secret");
    CHECK(plain.take() == lines{"statement INSERT INTO t VALUES (?, ?)", "profile INSERT INTO t VALUES (?, ?)"});
    CHECK(full.take() == lines{"INSERT INTO t VALUES (1, 'secret')"});
    co_await db.query("SELECT id FROM t");
    CHECK(plain.take() == lines{"statement SELECT id FROM t", "row SELECT id FROM t", "profile SELECT id FROM t"});
  });
}

TEST_CASE("a progress callback can stop the call that runs, and only it") {
  with_database([](connection& db) -> task<> {
    std::atomic<bool> stop{true};
    const auto check = [&stop] { return stop.load(); };
    const subscription s = co_await db.on_progress(100, check);
    const char* endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    co_await failure_of<cosqlite::cancelled_error>(db.query(endless));
    stop = false;
    CHECK((co_await db.query_one<int>("SELECT 1")) == 1);
  });
}

TEST_CASE("what a progress callback throws reaches the caller, and a deadline still works beside it") {
  with_database([](connection& db) -> task<> {
    const char* endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    {
      std::atomic<int> calls{0};
      const auto counts = [&calls] { ++calls; };
      const subscription s = co_await db.on_progress(10'000, counts);
      co_await failure_of<cosqlite::timeout_error>(db.with(std::chrono::milliseconds(20)).query(endless));
      CHECK(calls > 0);
    }
    const auto throws = []() -> bool { throw refusal("enough"); };
    const subscription s = co_await db.on_progress(10, throws);
    co_await failure_of<refusal>(db.query(endless));
  });
}

TEST_CASE("a progress callback needs at least one step") {
  with_database([](connection& db) -> task<> {
    const auto nothing = [] {};
    CHECK_THROWS_AS(db.on_progress(0, nothing), cosqlite::misuse_error);
    co_return;
  });
}

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

TEST_CASE("what a hook throws where nothing can fail is kept, and the callback stays") {
  with_database([](connection& db) -> task<> {
    std::atomic<int> calls{0};
    const auto throws = [&calls](const cosqlite::row_update&) {
      ++calls;
      throw refusal("ignored");
    };
    const subscription s = co_await db.on_update(throws);
    CHECK(!s.failure());
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    co_await db.execute("INSERT INTO t VALUES (2, 'y')");
    CHECK(calls == 2);
    REQUIRE(s.failure());
    CHECK_THROWS_AS(std::rethrow_exception(s.failure()), refusal);
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 2);
  });
}

TEST_CASE("a callback that is removed while a call runs is not called again, and its object dies on the worker") {
  with_database([](connection& db) -> task<> {
    std::promise<void> inside;
    std::promise<void> removed;
    std::atomic<int> calls{0};
    std::promise<std::thread::id> died;
    struct mark {
      explicit mark(std::promise<std::thread::id>* p) : promise(p) {}
      mark(const mark&) = delete;
      mark& operator=(const mark&) = delete;
      ~mark() { promise->set_value(std::this_thread::get_id()); }
      std::promise<std::thread::id>* promise;
    };
    auto held = std::make_shared<mark>(&died);
    auto slow = [&, held](const cosqlite::row_update&) {
      if (++calls != 1) return;
      inside.set_value();
      removed.get_future().wait();
    };
    held.reset();
    subscription s = co_await db.on_update(cosqlite::by_move(slow));
    const auto insert = [](connection* to) -> task<> {
      const char* sql = "INSERT INTO t(a) VALUES ('a'), ('b'), ('c')";
      co_await to->execute(sql);
    };
    const auto remove = [&](subscription* which) -> task<> {
      const int once = 1;
      co_await cosqlite::sleep_for(std::chrono::milliseconds(once));
      inside.get_future().wait();
      which->remove();
      removed.set_value();
    };
    co_await cosqlite::when_all(insert(&db), remove(&s));
    CHECK(calls == 1);
    co_await db.execute("INSERT INTO t(a) VALUES ('d')");
    CHECK(calls == 1);
    const std::thread::id worker = co_await db.run([](sqlite3*) { return std::this_thread::get_id(); });
    CHECK(died.get_future().get() == worker);
  });
}

TEST_CASE("a callback may take itself away, or another one, while it runs") {
  with_database([](connection& db) -> task<> {
    journal seen;
    subscription once;
    subscription other;
    const auto first = [&](const cosqlite::row_update&) {
      seen.add("first");
      once.remove();
      other.remove();
    };
    const auto second = [&](const cosqlite::row_update&) { seen.add("second"); };
    const auto third = [&](const cosqlite::row_update&) { seen.add("third"); };
    once = co_await db.on_update(first);
    other = co_await db.on_update(second);
    const subscription stays = co_await db.on_update(third);
    co_await db.execute("INSERT INTO t(a) VALUES ('a'), ('b')");
    const lines expected{"first", "third", "third"};
    CHECK(seen.take() == expected);
    CHECK(!once.is_active());
    co_await db.execute("INSERT INTO t(a) VALUES ('c')");
    CHECK(seen.take() == lines{"third"});
  });
}

TEST_CASE("every kind of callback may take itself away while it runs, and its object goes once the call has ended") {
  with_database([](connection& db) -> task<> {
    std::atomic<int> calls{0};
    subscription s[7];
    auto token = std::make_shared<int>(0);
    const std::weak_ptr<int> alive = token;
    auto remove = [&calls, &s, token](std::size_t i) {
      ++calls;
      s[i].remove();
    };
    token.reset();
    auto on_authorize = [remove](const authorization&) { remove(0); };
    auto on_trace = [remove](const cosqlite::trace_event&) { remove(1); };
    auto on_preupdate = [remove](const cosqlite::preupdate&) { remove(2); };
    auto on_commit = [remove] { remove(3); };
    auto on_rollback = [remove] { remove(4); };
    auto on_wal = [remove](const cosqlite::wal_commit&) { remove(5); };
    auto on_progress = [remove] { remove(6); };
    const long closures_here = alive.use_count();
    s[0] = co_await db.authorize(on_authorize);
    s[1] = co_await db.trace(on_trace);
    s[2] = co_await db.on_preupdate(on_preupdate);
    s[3] = co_await db.on_commit(on_commit);
    s[4] = co_await db.on_rollback(on_rollback);
    s[5] = co_await db.on_wal_commit(on_wal);
    s[6] = co_await db.on_progress(1, on_progress);
    const std::string insert = "INSERT INTO t(a) SELECT value FROM json_each('[1,2,3]')";
    for (int i = 0; i < 2; ++i) {
      co_await db.execute(insert);
      co_await db.execute_script("BEGIN; DELETE FROM t; ROLLBACK");
    }
    CHECK(calls == 7);
    for (const subscription& each : s) CHECK(!each.is_active());
    CHECK((co_await db.query_one<int>("SELECT count(*) FROM t")) == 6);
    CHECK(alive.use_count() == closures_here);
  });
}

TEST_CASE("several callbacks of each kind are all called, in the order in which they came") {
  with_database([](connection& db) -> task<> {
    journal seen;
    std::vector<subscription> kept;
    const char* const names[] = {"one", "two"};
    for (const char* name : names) {
      const auto on_preupdate = [&seen, name](const cosqlite::preupdate&) { seen.add(std::string("row ") + name); };
      const auto on_commit = [&seen, name] { seen.add(std::string("commit ") + name); };
      const auto on_rollback = [&seen, name] { seen.add(std::string("rollback ") + name); };
      const auto on_wal = [&seen, name](const cosqlite::wal_commit& w) {
        seen.add("wal " + std::string(w.schema) + " " + name);
      };
      const auto on_trace = [&seen, name](const cosqlite::trace_event&) { seen.add(std::string("trace ") + name); };
      kept.push_back(co_await db.on_preupdate(on_preupdate));
      kept.push_back(co_await db.on_commit(on_commit));
      kept.push_back(co_await db.on_rollback(on_rollback));
      kept.push_back(co_await db.on_wal_commit(on_wal));
      kept.push_back(co_await db.trace(on_trace));
    }
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    const lines committed{"trace one",  "trace two",  "row one",      "row two",
                          "commit one", "commit two", "wal main one", "wal main two"};
    CHECK(seen.take() == committed);
    co_await db.execute_script("BEGIN; DELETE FROM t WHERE id = 1; ROLLBACK");
    const lines undone{"trace one", "trace two", "trace one", "trace two",    "row one",
                       "row two",   "trace one", "trace two", "rollback one", "rollback two"};
    CHECK(seen.take() == undone);
    kept.clear();
    co_await db.execute("INSERT INTO t VALUES (2, 'x')");
    CHECK(seen.take().empty());
  });
}

TEST_CASE("of several progress callbacks each is called at its own pace, and any of them can stop the call") {
  with_database([](connection& db) -> task<> {
    const char* long_one =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT max(i) FROM n";
    std::atomic<int> often{0};
    std::atomic<int> seldom{0};
    std::atomic<bool> stop{false};
    const auto counts_often = [&often] { ++often; };
    const auto counts_seldom = [&seldom, &stop] {
      ++seldom;
      return stop.load();
    };
    const subscription one = co_await db.on_progress(100, counts_often);
    const subscription two = co_await db.on_progress(5'000, counts_seldom);
    CHECK((co_await db.query_one<int>(long_one)) == 100'000);
    CHECK(seldom > 0);
    CHECK(often >= 40 * seldom);
    stop = true;
    co_await failure_of<cosqlite::cancelled_error>(db.query(long_one));
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

TEST_CASE("a trace of reads that follow one another shows them and nothing of the library's own") {
  with_database([](connection& db) -> task<> {
    journal seen;
    const auto note = [&seen](const cosqlite::trace_event& e) { seen.add(std::string(e.sql)); };
    co_await db.query("SELECT 1");
    co_await db.query("SELECT 2");
    const subscription s = co_await db.trace(note);
    for (int i = 0; i < 3; ++i) co_await db.query("SELECT a FROM t");
    const lines expected(3, "SELECT a FROM t");
    CHECK(seen.take() == expected);
  });
}

TEST_CASE("a trace names the triggers that run, and expands nothing for those who did not ask") {
  with_database(
      [](connection& db) -> task<> {
        journal seen;
        const auto note = [&seen](const cosqlite::trace_event& e) {
          seen.add(std::string(e.sql) + (e.expanded.empty() ? "" : " (expanded)"));
        };
        const subscription s = co_await db.trace(note);
        co_await db.execute("INSERT INTO t VALUES (?)", 5);
        const lines expected{"INSERT INTO t VALUES (?)", "-- TRIGGER g", "-- INSERT INTO log VALUES (1)"};
        CHECK(seen.take() == expected);
      },
      "CREATE TABLE t(a); CREATE TABLE log(t); CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); END");
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

TEST_CASE("a callback cannot call the connection") {
  with_database([](connection& db) -> task<> {
    std::atomic<bool> refused{false};
    const auto reenters = [&](const cosqlite::row_update&) {
      const auto body = [](connection* to) -> task<> {
        const char* sql = "SELECT 1";
        co_await to->query(sql);
      };
      try {
        cosqlite::run(body(&db));
      } catch (const cosqlite::misuse_error&) {
        refused = true;
      }
    };
    const subscription s = co_await db.on_update(reenters);
    co_await db.execute("INSERT INTO t VALUES (1, 'x')");
    CHECK(refused);
  });
}

TEST_CASE("a subscription may outlive its connection, and a detached callback stays") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    std::atomic<int> calls{0};
    const auto counts = [&calls](const cosqlite::row_update&) { ++calls; };
    subscription kept;
    {
      connection db = co_await cosqlite::open(file.path());
      co_await db.execute("CREATE TABLE t(a)");
      kept = co_await db.on_update(counts);
      (co_await db.on_update(counts)).detach();
      co_await db.execute("INSERT INTO t VALUES (1)");
      CHECK(calls == 2);
      co_await db.close();
    }
    CHECK(!kept.is_active());
    kept.remove();
  });
}

TEST_CASE("a lease that is given back leaves no hooks behind") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute("CREATE TABLE t(a)");
    std::atomic<int> calls{0};
    const auto counts = [&calls](const cosqlite::row_update&) { ++calls; };
    {
      cosqlite::leased_connection writer = co_await p.acquire_writer();
      (co_await writer.on_update(counts)).detach();
      co_await writer.execute("INSERT INTO t VALUES (1)");
    }
    co_await p.execute("INSERT INTO t VALUES (2)");
    CHECK(calls == 1);
    co_await p.close();
  });
}

TEST_CASE("hooks on the writer of a pool see every lease and outlive it") {
  const temp_database file;
  support::on_loop([&]() -> task<> {
    cosqlite::pool p = co_await cosqlite::pool::open(file.path());
    co_await p.execute("CREATE TABLE t(a)");
    std::atomic<int> calls{0};
    const auto counts = [&calls](const cosqlite::row_update&) { ++calls; };
    const subscription s = co_await p.writer().on_update(counts);
    {
      cosqlite::leased_connection writer = co_await p.acquire_writer();
      co_await writer.execute("INSERT INTO t VALUES (1)");
    }
    co_await p.execute("INSERT INTO t VALUES (2)");
    CHECK(calls == 2);
    CHECK(s.is_active());
    co_await p.close();
  });
}
