// The old and new values of changed rows, and copies of a database that are kept by them.

#include "support/catch.hpp"
#include "support/changes.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using cosqlite::change;
using cosqlite::change_stream;
using cosqlite::changes_options;
using cosqlite::connection;
using cosqlite::task;
using support::all;
using support::describe;
using support::lines;
using support::with_database;

TEST_CASE("tables without rowid are covered, and rows that REPLACE pushes out") {
  with_database(R"(
    CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    CREATE TABLE u(id INTEGER PRIMARY KEY, a UNIQUE);
  )",
                [](connection& db) -> task<> {
                  changes_options o;
                  o.values = true;
                  change_stream changes = co_await db.changes(o, "w", "u");
                  co_await db.execute("INSERT INTO w VALUES ('k', 1)");
                  co_await db.execute("UPDATE w SET v = 2");
                  co_await db.execute("DELETE FROM w");
                  co_await db.execute("INSERT INTO u VALUES (1, 'a')");
                  co_await db.execute("INSERT OR REPLACE INTO u VALUES (2, 'a')");
                  const auto inserted = co_await changes.next();
                  CHECK(inserted->new_values.at(0).get<std::string>() == "k");
                  CHECK(inserted->old_values.empty());
                  const auto updated = co_await changes.next();
                  CHECK(updated->old_values.at(1).get<int>() == 1);
                  CHECK(updated->new_values.at(1).get<int>() == 2);
                  const auto removed = co_await changes.next();
                  CHECK(removed->old_values.at(1).get<int>() == 2);
                  CHECK(removed->new_values.empty());
                  CHECK(describe(*(co_await changes.next())) == "insert u 1");
                  CHECK(describe(*(co_await changes.next())) == "remove u 1");
                  CHECK(describe(*(co_await changes.next())) == "insert u 2");
                });
}

TEST_CASE("old and new values are told of every kind of change, also of rows that triggers and REPLACE touch") {
  with_database(R"(
    CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT UNIQUE);
    CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE SET NULL ON UPDATE CASCADE);
    CREATE TRIGGER g AFTER UPDATE OF name ON p BEGIN UPDATE c SET p = NULL WHERE p = new.id; END;
    INSERT INTO p VALUES (1, 'one'), (2, 'two');
    INSERT INTO c VALUES (10, 1), (20, 2);
  )",
                [](connection& db) -> task<> {
                  changes_options o;
                  o.values = true;
                  change_stream changes = co_await db.changes(o);
                  const auto text = [](const std::vector<cosqlite::value>& row) {
                    std::string line;
                    for (const cosqlite::value& v : row) {
                      line += line.empty() ? "(" : ", ";
                      if (v.is_null()) {
                        line += "NULL";
                      } else if (v.type() == cosqlite::value_type::integer) {
                        line += std::to_string(v.get<int>());
                      } else {
                        line += v.get<std::string>();
                      }
                    }
                    return line.empty() ? line : line + ")";
                  };
                  const auto next = [&text](change_stream* from) -> task<std::string> {
                    const auto c = co_await from->next();
                    co_return c->table + " " + text(c->old_values) + "->" + text(c->new_values);
                  };
                  co_await db.execute("UPDATE p SET name = 'uno' WHERE id = 1");
                  CHECK((co_await next(&changes)) == "p (1, one)->(1, uno)");
                  CHECK((co_await next(&changes)) == "c (10, 1)->(10, NULL)");
                  co_await db.execute("UPDATE p SET id = 5 WHERE id = 2");
                  CHECK((co_await next(&changes)) == "p (2, two)->(5, two)");
                  CHECK((co_await next(&changes)) == "c (20, 2)->(20, 5)");
                  co_await db.execute("REPLACE INTO p VALUES (6, 'uno')");
                  CHECK((co_await next(&changes)) == "p (1, uno)->");
                  CHECK((co_await next(&changes)) == "p ->(6, uno)");
                  co_await db.execute("INSERT INTO p VALUES (5, 'x') ON CONFLICT DO UPDATE SET id = 7");
                  CHECK((co_await next(&changes)) == "p (5, two)->(7, two)");
                  CHECK((co_await next(&changes)) == "c (20, 5)->(20, 7)");
                  co_await db.execute("DELETE FROM p WHERE id = 7");
                  CHECK((co_await next(&changes)) == "p (7, two)->");
                  CHECK((co_await next(&changes)) == "c (20, 7)->(20, NULL)");
                  CHECK(!changes.try_next());
                });
}

namespace {

/// A row of values, each by its type.
std::string text_of(const std::vector<cosqlite::value>& row) {
  std::string line;
  for (const cosqlite::value& v : row) {
    line += line.empty() ? "" : " ";
    if (v.is_null()) line += "NULL";
    if (v.type() == cosqlite::value_type::integer) line += std::to_string(v.get<std::int64_t>());
    if (v.type() == cosqlite::value_type::real) line += std::to_string(v.get<double>()).substr(0, 3);
    if (v.type() == cosqlite::value_type::text) line += v.get<std::string>();
  }
  return line;
}

task<lines> next_values(change_stream& from, int count) {
  lines all_of_them;
  for (int i = 0; i < count; ++i) {
    const auto c = co_await from.next();
    all_of_them.push_back(text_of(c->old_values) + "->" + text_of(c->new_values));
  }
  co_return all_of_them;
}

changes_options with_values() {
  changes_options o;
  o.values = true;
  return o;
}

}  // namespace

TEST_CASE("values stand in their own columns, also behind generated ones, which are NULL when they are not stored") {
  with_database(R"(
    CREATE TABLE g(id INTEGER PRIMARY KEY, v AS (a + 1), a, s AS (a * 2) STORED, w AS (a), b);
    CREATE TABLE k(v AS (a || b), a, u AS (a), b PRIMARY KEY, c) WITHOUT ROWID;
    CREATE TABLE late(v AS (a), a, id INTEGER PRIMARY KEY, b, c);
    CREATE TABLE last(a, v AS (a || '!'));
  )",
                [](connection& db) -> task<> {
                  change_stream changes = co_await db.changes(with_values(), "g", "k", "late", "last");
                  co_await db.execute("INSERT INTO g(id, a, b) VALUES (1, 10, 'b')");
                  co_await db.execute("UPDATE g SET b = 'c'");
                  co_await db.execute("DELETE FROM g");
                  lines seen = co_await next_values(changes, 3);
                  CHECK(seen == lines{"->1 NULL 10 20 NULL b", "1 NULL 10 20 NULL b->1 NULL 10 20 NULL c",
                                      "1 NULL 10 20 NULL c->"});
                  co_await db.execute("INSERT INTO k(a, b, c) VALUES (1, 2, 3)");
                  co_await db.execute("UPDATE k SET c = 4");
                  co_await db.execute("UPDATE k SET b = 5");
                  co_await db.execute("DELETE FROM k");
                  seen = co_await next_values(changes, 4);
                  CHECK(seen == lines{"->NULL 1 NULL 2 3", "NULL 1 NULL 2 3->NULL 1 NULL 2 4",
                                      "NULL 1 NULL 2 4->NULL 1 NULL 5 4", "NULL 1 NULL 5 4->"});
                  // One column is not to be had where the key stands behind a column that is not stored.
                  co_await db.execute("INSERT INTO late(a, id, b, c) VALUES ('a', 7, 'b', 'c')");
                  co_await db.execute("UPDATE late SET id = 8");
                  seen = co_await next_values(changes, 2);
                  const std::string b = seen.front().ends_with("b c") ? "b" : "NULL";
                  CHECK(seen == lines{"->NULL a 7 " + b + " c", "NULL a 7 " + b + " c->NULL a 8 " + b + " c"});
                  co_await db.execute("INSERT INTO last(a) VALUES ('x')");
                  seen = co_await next_values(changes, 1);
                  CHECK(seen == lines{"->x NULL"});
                });
}

TEST_CASE("the columns are those of the moment, whatever is done to the table between two of its rows") {
  with_database("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", [](connection& db) -> task<> {
    change_stream changes = co_await db.changes(with_values(), "t");
    co_await db.execute_script(R"(
      BEGIN;
      INSERT INTO t VALUES (1, 'a');
      ALTER TABLE t ADD COLUMN v AS (id + 1);
      ALTER TABLE t ADD COLUMN b;
      INSERT INTO t(id, a, b) VALUES (2, 'a', 'b');
      SAVEPOINT s;
      DROP TABLE t;
      CREATE TABLE t(v AS (a), a, id INTEGER PRIMARY KEY, r REAL);
      INSERT INTO t(id, a, r) VALUES (3, 'c', 4);
      ROLLBACK TO s;
      UPDATE t SET b = 'd' WHERE id = 2;
      DROP TABLE t;
      CREATE TABLE t(r REAL, v AS (a), a);
      INSERT INTO t(a, r) VALUES ('e', 5);
      COMMIT;
    )");
    lines seen = co_await next_values(changes, 4);
    CHECK(seen == lines{"->1 a", "->2 a NULL b", "2 a NULL b->2 a NULL d", "->5.0 NULL e"});
    CHECK(!changes.try_next());
  });
}

TEST_CASE("a whole number in a REAL column is a real, in a column of any other type what it is") {
  with_database(
      R"(
    CREATE TABLE r(id INTEGER PRIMARY KEY, x REAL, y DOUBLE PRECISION, n NUMERIC, i INTEGER, f "FLOATING POINT INT", z);
  )",
      [](connection& db) -> task<> {
        change_stream changes = co_await db.changes(with_values(), "r");
        co_await db.execute("INSERT INTO r VALUES (1, 2, 3, 4, 5, 6, 7)");
        co_await db.execute("UPDATE r SET x = 8");
        co_await db.execute("DELETE FROM r");
        lines seen = co_await next_values(changes, 3);
        CHECK(seen == lines{"->1 2.0 3.0 4 5 6 7", "1 2.0 3.0 4 5 6 7->1 8.0 3.0 4 5 6 7", "1 8.0 3.0 4 5 6 7->"});
      });
}

TEST_CASE("no callback hears of what is looked up for the values, and none can keep it from being looked up") {
  with_database("CREATE TABLE g(v AS (a + 1), a)", [](connection& db) -> task<> {
    change_stream changes = co_await db.changes(with_values(), "g");
    std::atomic<int> pragmas{0};
    const auto guard = [&pragmas](const cosqlite::authorization& q) {
      if (q.action != cosqlite::authorizer_action::pragma) return cosqlite::authorizer_answer::allow;
      ++pragmas;
      return cosqlite::authorizer_answer::deny;
    };
    std::atomic<int> traced{0};
    const auto note = [&traced](const cosqlite::trace_event&) { ++traced; };
    const cosqlite::subscription authorizer = co_await db.authorize(guard);
    const cosqlite::subscription trace = co_await db.trace(note);
    co_await db.execute("INSERT INTO g(a) VALUES (1)");
    lines seen = co_await next_values(changes, 1);
    CHECK(seen == lines{"->NULL 1"});
    CHECK(pragmas == 0);
    CHECK(traced == 1);
  });
}

TEST_CASE("a preupdate hook finds the values in their own columns, also behind generated ones") {
  with_database("CREATE TABLE g(v AS (a + 1), a, b)", [](connection& db) -> task<> {
    std::string seen;
    const auto note = [&seen](const cosqlite::preupdate& p) {
      if (p.table != "g") return;
      for (int i = 0; i < p.size(); ++i) {
        const std::vector<cosqlite::value> one{p.operation == cosqlite::row_operation::remove ? p.old_value(i)
                                                                                              : p.new_value(i)};
        seen += text_of(one) + ";";
      }
    };
    const cosqlite::subscription s = co_await db.on_preupdate(note);
    co_await db.execute("INSERT INTO g(a, b) VALUES (1, 'b')");
    co_await db.execute("DELETE FROM g");
    CHECK(seen == "NULL;1;b;NULL;1;b;");
    CHECK(!s.failure());
  });
}

namespace {

/// Statements that write, fail, nest and undo, the same for the same seed.
class random_writes {
 public:
  explicit random_writes(std::uint64_t seed) : random_(seed) {}

  /// One statement; it may fail.
  std::string statement() {
    const std::string id = std::to_string(number(30));
    const std::string a = std::to_string(number(20));
    const char* table = tables_[number(3)];
    switch (number(13)) {
      case 0:
      case 1: return "INSERT INTO " + std::string(table) + " VALUES (" + id + ", " + a + ")";
      case 2: return "REPLACE INTO " + std::string(table) + " VALUES (" + id + ", " + a + ")";
      case 3: return "INSERT OR IGNORE INTO t SELECT id + 1, a + 1 FROM u WHERE a > " + a;
      case 4: return "UPDATE " + std::string(table) + " SET a = a + 1 WHERE id > " + id;
      case 5: return "UPDATE OR FAIL " + std::string(table) + " SET id = id + 1 WHERE a < " + a;
      case 6: return "UPDATE OR REPLACE " + std::string(table) + " SET a = " + a + " WHERE id % 3 = 0";
      case 7: return "DELETE FROM " + std::string(table) + (number(4) == 0 ? "" : " WHERE id < " + id);
      case 8: return "INSERT OR ROLLBACK INTO t VALUES (" + id + ", " + a + ")";
      case 9: return "INSERT INTO t VALUES (" + id + ", " + a + ") ON CONFLICT (id) DO UPDATE SET a = a + 50";
      case 10: return "SAVEPOINT s" + std::to_string(number(3));
      case 11: return "ROLLBACK TO s" + std::to_string(number(3));
      default: return "RELEASE s" + std::to_string(number(3));
    }
  }
  std::uint64_t number(std::uint64_t below) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_ % below;
  }

 private:
  static constexpr const char* tables_[] = {"t", "u", "w"};
  std::uint64_t random_;
};

using copies = std::map<std::string, std::string>;  // table and key -> the row

std::string key_of(const std::string& table, const cosqlite::value& id) {
  return table + " " + std::to_string(id.get<int>());
}

void repeat_in(copies& to, const change& c) {
  if (!c.old_values.empty()) {
    // Triggers and REPLACE come in an order of their own, but every row that goes was there.
    CHECK(to.erase(key_of(c.table, c.old_values.at(0))) == 1);
  }
  if (!c.new_values.empty()) {
    to[key_of(c.table, c.new_values.at(0))] = std::to_string(c.new_values.at(1).get<int>());
  }
}

task<copies> content(connection& db) {
  copies all;
  const char* const tables[] = {"t", "u", "w"};
  for (const char* table : tables) {
    const std::string sql = "SELECT id, a FROM " + std::string(table);
    const auto rows = co_await db.query<std::tuple<int, int>>(sql);
    for (const auto& [id, a] : rows) all[std::string(table) + " " + std::to_string(id)] = std::to_string(a);
  }
  co_return all;
}

}  // namespace

TEST_CASE("a copy that is kept by the changes is the database, whatever was undone on the way") {
  constexpr const char* tables = R"(
    CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE);
    CREATE TABLE u(id INTEGER PRIMARY KEY, a);
    CREATE TABLE w(id INTEGER PRIMARY KEY, a UNIQUE) WITHOUT ROWID;
    CREATE TRIGGER i AFTER INSERT ON t WHEN new.id % 2 = 0 BEGIN INSERT OR IGNORE INTO w VALUES (new.id, new.a + 3); END;
    CREATE TRIGGER d AFTER DELETE ON u BEGIN UPDATE OR IGNORE w SET a = a + 1 WHERE id = old.id; END;
  )";
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    with_database(tables, [seed](connection& db) -> task<> {
      random_writes random(seed * 0x9E3779B97F4A7C15ULL);
      changes_options o;
      o.values = true;
      change_stream changes = co_await db.changes(o, "t", "u", "w");
      copies kept;
      for (int round = 0; round < 12; ++round) {
        std::vector<std::string> script;
        const bool in_transaction = random.number(3) != 0;
        if (in_transaction) script.emplace_back("BEGIN");
        for (std::uint64_t i = random.number(14); i > 0; --i) script.push_back(random.statement());
        if (in_transaction) script.emplace_back(random.number(4) == 0 ? "ROLLBACK" : "COMMIT");
        const bool raw = random.number(3) == 0;
        if (raw) {
          co_await db.run([&script](sqlite3* handle) {
            for (const std::string& sql : script) sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr);
          });
        } else {
          for (const std::string& sql : script) {
            try {
              co_await db.execute(sql);
            } catch (const cosqlite::error&) {
              // as the statements fall
            }
          }
        }
        // What is left open, if anything, is committed.
        try {
          co_await db.execute("COMMIT");
        } catch (const cosqlite::error&) {
        }
        co_await db.query("SELECT 1");
        while (auto c = changes.try_next()) repeat_in(kept, *c);
        const copies expected = co_await content(db);
        INFO("seed " << seed << ", round " << round);
        CHECK(kept == expected);
      }
    });
  }
}

TEST_CASE("a copy that is kept by the changes is the database, when calls share their transactions") {
  constexpr const char* tables =
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE); CREATE TABLE u(id INTEGER PRIMARY KEY, a);"
      "CREATE TABLE w(id INTEGER PRIMARY KEY, a UNIQUE) WITHOUT ROWID";
  with_database(tables, [](connection& db) -> task<> {
    changes_options o;
    o.values = true;
    change_stream changes = co_await db.changes(o, "t", "u", "w");
    copies kept;
    random_writes random(99);
    const auto write = [](connection* to, std::string sql) -> task<> {
      const std::string text = std::move(sql);
      try {
        co_await to->execute(text);
      } catch (const cosqlite::error&) {
        // as the statements fall
      }
    };
    for (int round = 0; round < 30; ++round) {
      std::vector<task<>> calls;
      while (calls.size() < 24) {
        const std::string sql = random.statement();
        const bool control = sql.starts_with("SAVEPOINT") || sql.starts_with("ROLLBACK") || sql.starts_with("RELEASE");
        if (!control) calls.push_back(write(&db, sql));
      }
      co_await cosqlite::when_all(std::move(calls));
      co_await db.query("SELECT 1");
      while (auto c = changes.try_next()) repeat_in(kept, *c);
      const copies expected = co_await content(db);
      CHECK(kept == expected);
    }
    const auto counted = co_await db.stats();
    CHECK(counted.grouped_calls > 0);
    CHECK(counted.lost_groups > 0);
  });
}
