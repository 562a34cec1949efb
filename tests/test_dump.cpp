#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/foreign.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

task<std::vector<std::string>> statements_of(connection& db, std::string like = "") {
  std::vector<std::string> all;
  dump_stream statements = db.dump({.like = like});
  while (auto sql = co_await statements.next()) all.push_back(*sql);
  co_return all;
}

/// A second database made of the dump of the first, under the library's defaults.
task<connection> copy_of(connection& db) {
  connection copy = co_await open(":memory:");
  co_await copy.restore(db.dump());
  co_return copy;
}

/// Every row of a query as one text, exactly.
task<std::string> content_of(connection& db, std::string query) {
  std::string all;
  const rows found = co_await db.query(query);
  for (const row& r : found) {
    for (int i = 0; i < static_cast<int>(r.size()); ++i) {
      const value v = r.get<value>(i);
      all += std::to_string(static_cast<int>(v.type())) + ":";
      if (v.type() == value_type::integer) all += std::to_string(v.get<std::int64_t>());
      if (v.type() == value_type::real) all += std::to_string(std::bit_cast<std::uint64_t>(v.get<double>()));
      if (v.type() == value_type::text) all += v.get<std::string>();
      if (v.type() == value_type::blob) {
        for (const std::byte b : v.get<bytes>()) all += std::to_string(static_cast<int>(b)) + ",";
      }
      all += "|";
    }
    all += "\n";
  }
  co_return all;
}

task<> check_same(connection& a, connection& b, std::string query) {
  const std::string first = co_await content_of(a, query);
  const std::string second = co_await content_of(b, query);
  INFO(query);
  CHECK(first == second);
  CHECK_FALSE(first.empty());
}

foreign::coroutine read_one(connection* db) {
  dump_stream statements = db->dump();
  while (co_await statements.next()) {
  }
}

}  // namespace

TEST_CASE("values come back exactly, bit by bit") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE v(x)");
    const double inf = std::numeric_limits<double>::infinity();
    std::vector<double> reals{inf,
                              -inf,
                              0.1,
                              1.0 / 3,
                              1e300,
                              -1e-300,
                              5e-324,
                              1.7976931348623157e308,
                              1e22,
                              123456789012345680.0,
                              2.2250738585072014e-308,
                              9007199254740993.0};
    std::mt19937_64 random(7);
    for (int i = 0; i < 3000; ++i) {
      const double d = std::bit_cast<double>(random());
      if (!std::isnan(d)) reals.push_back(d);
    }
    co_await db.execute_many("INSERT INTO v VALUES(?)", reals);
    co_await db.execute("INSERT INTO v VALUES(?)", INT64_MIN);
    co_await db.execute("INSERT INTO v VALUES(?)", INT64_MAX);
    co_await db.execute("INSERT INTO v VALUES(NULL), (''), (x''), (x'00ff'), ('it''s')");
    co_await db.execute("INSERT INTO v VALUES(?)", std::string("a\0b\x01\0", 5));
    co_await db.execute("INSERT INTO v VALUES(?)", std::string("\0", 1));
    co_await db.execute("INSERT INTO v VALUES(?)", std::string("line\r\n; -- 'no' comment\n"));
    co_await db.execute("INSERT INTO v VALUES(CAST(x'fffe80' AS TEXT))");
    connection copy = co_await copy_of(db);
    co_await check_same(db, copy, "SELECT rowid, x, typeof(x) FROM v");
    const std::string last = co_await copy.query_one<std::string>("SELECT x FROM v WHERE length(CAST(x AS BLOB)) = 5");
    CHECK(last == std::string("a\0b\x01\0", 5));
  });
}

TEST_CASE("tables, indexes, views, triggers and counters come back, whatever their names") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(R"sql(
      CREATE TABLE "odd ""name"";--"("a b" INTEGER PRIMARY KEY AUTOINCREMENT, [select] TEXT DEFAULT 'x;y', "q""q" REAL);
      INSERT INTO "odd ""name"";--"("select", "q""q") VALUES('one', 1), ('two', 2.5);
      DELETE FROM "odd ""name"";--" WHERE "a b" = 2;
      CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES aaa_parent(id));
      CREATE TABLE aaa_parent(id INTEGER PRIMARY KEY, n);
      INSERT INTO aaa_parent VALUES(1, 'p');
      INSERT INTO child VALUES(10, 1);
      CREATE TABLE keyed(a, b, PRIMARY KEY(b, a)) WITHOUT ROWID;
      INSERT INTO keyed VALUES(1, 'z'), (2, 'a');
      CREATE TABLE strict_one(a INTEGER, b TEXT) STRICT;
      INSERT INTO strict_one VALUES(1, 'b');
      CREATE TABLE computed(a, b AS (a * 2) VIRTUAL, c AS (a + 1) STORED, d);
      INSERT INTO computed(a, d) VALUES(5, 'd');
      CREATE TABLE descending(a INTEGER PRIMARY KEY DESC, b);
      INSERT INTO descending(rowid, a, b) VALUES(77, 5, 'x');
      CREATE TABLE rows_matter(a);
      INSERT INTO rows_matter(rowid, a) VALUES(-5, 'minus'), (1000000, 'far');
      CREATE TABLE shadowed(rowid, _rowid_, oid);
      INSERT INTO shadowed VALUES(1, 2, 3);
      CREATE TABLE empty(a);
      CREATE TABLE "日本"("列" TEXT);
      INSERT INTO "日本" VALUES('値');
      CREATE INDEX i1 ON child(parent);
      CREATE UNIQUE INDEX "i 2" ON keyed(a DESC) WHERE a > 0;
      CREATE VIEW later AS SELECT * FROM first_view;
      CREATE VIEW first_view(x) AS SELECT n FROM aaa_parent;
      CREATE TABLE log(what);
      CREATE TRIGGER on_child AFTER INSERT ON child BEGIN
        INSERT INTO log VALUES('inserted; ' || new.id); SELECT CASE WHEN 1 THEN 2 END; END;
      CREATE TRIGGER on_view INSTEAD OF INSERT ON first_view BEGIN INSERT INTO log VALUES(new.x); END;
      PRAGMA user_version = 42;
      PRAGMA application_id = 7;
      ANALYZE;
    )sql");
    connection copy = co_await copy_of(db);
    co_await check_same(db, copy, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name");
    co_await check_same(db, copy, "SELECT * FROM \"odd \"\"name\"\";--\"");
    co_await check_same(db, copy, "SELECT * FROM sqlite_sequence ORDER BY name");
    for (const char* table :
         {"child", "aaa_parent", "keyed", "strict_one", "computed", "shadowed", "later", "first_view"}) {
      co_await check_same(db, copy, std::string("SELECT * FROM ") + table);
    }
    co_await check_same(db, copy, "SELECT rowid, * FROM descending");
    co_await check_same(db, copy, "SELECT rowid, * FROM rows_matter");
    co_await check_same(db, copy, "SELECT * FROM \"日本\"");
    co_await check_same(db, copy, "SELECT * FROM sqlite_stat1 ORDER BY tbl, idx");
    const int logged = co_await copy.query_one<int>("SELECT count(*) FROM log");
    CHECK(logged == 0);
    const int version = co_await copy.query_one<int>("PRAGMA user_version");
    CHECK(version == 42);
    const int keys = co_await copy.query_one<int>("PRAGMA foreign_keys");
    CHECK(keys == 1);
    co_await copy.execute("INSERT INTO \"odd \"\"name\"\";--\"(\"select\") VALUES('next')");
    const int id = co_await copy.query_one<int>("SELECT max(\"a b\") FROM \"odd \"\"name\"\";--\"");
    CHECK(id == 3);
    const constraint_error enforced =
        co_await failure_of<constraint_error>(copy.execute("INSERT INTO child VALUES(11, 99)"));
    const std::string ok = co_await copy.query_one<std::string>("PRAGMA integrity_check");
    CHECK(ok == "ok");
  });
}

TEST_CASE("full-text and spatial tables come back with what they hold") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(R"sql(
      CREATE VIRTUAL TABLE mail USING fts5(subject, body, sender UNINDEXED, tokenize = 'porter unicode61', prefix='2 3');
      INSERT INTO mail(rowid, subject, body, sender) VALUES(7, 'Running late', 'the runner runs', 'a@b'), (9, 'Lunch', 'at noon', NULL);
      INSERT INTO mail(mail, rank) VALUES('rank', 'bm25(10.0, 5.0)');
      CREATE TABLE doc(id INTEGER PRIMARY KEY, title, text);
      CREATE VIRTUAL TABLE doc_index USING fts5(title, text, content='doc', content_rowid='id');
      CREATE TRIGGER doc_ai AFTER INSERT ON doc BEGIN
        INSERT INTO doc_index(rowid, title, text) VALUES(new.id, new.title, new.text); END;
      INSERT INTO doc VALUES(3, 'Alpha', 'quick brown fox'), (5, 'Beta', 'lazy dog');
      CREATE VIRTUAL TABLE old4 USING fts4(a, b, languageid="lid", notindexed=b);
      INSERT INTO old4(docid, a, b, lid) VALUES(4, 'four score', 'x', 2);
      CREATE VIRTUAL TABLE old3 USING fts3(text);
      INSERT INTO old3(docid, text) VALUES(11, 'seven years ago');
      CREATE VIRTUAL TABLE hollow USING fts5(a, content='');
      CREATE VIRTUAL TABLE box USING rtree(id, x0, x1, +label);
      INSERT INTO box VALUES(1, 0.1, 0.3, 'l1'), (2, -5.5, 7, 'l2');
      CREATE VIRTUAL TABLE ints USING rtree_i32(id, a, b);
      INSERT INTO ints VALUES(1, -3, 4);
      CREATE VIRTUAL TABLE "terms of mail" USING fts5vocab(mail, 'row');
    )sql");
    connection copy = co_await copy_of(db);
    co_await check_same(db, copy, "SELECT rowid, * FROM mail WHERE mail MATCH 'run' ORDER BY rank");
    co_await check_same(db, copy, "SELECT rowid, * FROM mail");
    co_await check_same(db, copy, "SELECT v FROM mail_config WHERE k = 'rank'");
    co_await check_same(db, copy, "SELECT rowid, * FROM doc_index('fox')");
    co_await check_same(db, copy, "SELECT docid, *, lid FROM old4 WHERE a MATCH 'score' AND lid = 2");
    co_await check_same(db, copy, "SELECT docid, * FROM old3 WHERE old3 MATCH 'years'");
    co_await check_same(db, copy, "SELECT * FROM box");
    co_await check_same(db, copy, "SELECT * FROM ints");
    co_await check_same(db, copy, "SELECT * FROM \"terms of mail\"");
    co_await check_same(db, copy, "SELECT name FROM sqlite_schema ORDER BY name");
    co_await copy.execute("INSERT INTO mail(mail) VALUES('integrity-check')");
    co_await copy.execute("INSERT INTO doc_index(doc_index) VALUES('integrity-check')");
    co_await copy.execute("INSERT INTO doc VALUES(6, 'Gamma', 'a new fox')");
    const int foxes = co_await copy.query_one<int>("SELECT count(*) FROM doc_index('fox')");
    CHECK(foxes == 2);
  });
}

TEST_CASE("what is not in the database cannot be dumped, and says so") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(
        "CREATE TABLE kept(a); INSERT INTO kept VALUES(1);"
        "CREATE VIRTUAL TABLE lost USING fts5(a, content=''); INSERT INTO lost(rowid, a) VALUES(1, 'text')");
    const unsupported_error e = co_await failure_of<unsupported_error>(statements_of(db));
    CHECK(contains(e.what(), "cannot dump the virtual table lost: it is contentless"));
    const std::vector<std::string> rest = co_await statements_of(db, "ke%");
    CHECK(rest.size() == 5);
    co_await db.execute("INSERT INTO kept VALUES(2)");
    dump_stream nowhere = db.dump({.schema = "nowhere"});
    const error unknown = co_await failure_of<error>(nowhere.next());
    CHECK(contains(unknown.what(), "unknown database nowhere"));
  });
}

TEST_CASE("a filter leaves the tables whose name is LIKE it, with what belongs to them") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(
        "CREATE TABLE user_a(id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE user_b(x); CREATE TABLE other(id INTEGER PRIMARY KEY AUTOINCREMENT);"
        "CREATE INDEX i_user ON user_b(x); CREATE INDEX i_other ON other(id);"
        "INSERT INTO user_a VALUES(5); INSERT INTO other VALUES(6); PRAGMA user_version = 3");
    const std::vector<std::string> all = co_await statements_of(db, "user%");
    std::string text;
    for (const std::string& s : all) text += s + "\n";
    CHECK(contains(text, "CREATE TABLE user_a"));
    CHECK(contains(text, "CREATE TABLE user_b"));
    CHECK(contains(text, "i_user"));
    CHECK(contains(text, "sqlite_sequence(name,seq) VALUES('user_a',5)"));
    CHECK_FALSE(contains(text, "other"));
    CHECK_FALSE(contains(text, "user_version"));
  });
}

TEST_CASE("an attached schema is dumped by its name, and comes back as main") {
  temp_database at;
  on_loop([&]() -> task<> {
    open_options options;
    options.attach = true;
    connection db = co_await open(":memory:", options);
    co_await db.execute("CREATE TABLE main_only(a)");
    co_await db.execute("ATTACH ? AS \"si\"\"de\"", at.path());
    co_await db.execute_script(R"sql(
      CREATE TABLE "si""de".t(a, b AS (a * 2), CHECK(a > 0));
      INSERT INTO "si""de".t VALUES(1), (2);
      CREATE INDEX "si""de".i ON t(b);)sql");
    connection copy = co_await open(":memory:");
    co_await copy.restore(db.dump({.schema = "si\"de"}));
    const int sum = co_await copy.query_one<int>("SELECT sum(b) FROM t INDEXED BY i WHERE b > 0");
    CHECK(sum == 6);
    const int others = co_await copy.query_one<int>("SELECT count(*) FROM sqlite_schema WHERE name = 'main_only'");
    CHECK(others == 0);
  });
}

TEST_CASE("a database in UTF-16 comes back with its text") {
  temp_database at;
  on_loop([&]() -> task<> {
    {
      raw_database raw(at.path());
      raw.execute("PRAGMA encoding = 'UTF-16le'");
      raw.execute("CREATE TABLE t(a)");
      raw.execute("INSERT INTO t VALUES('stra\u00dfe'), ('\U0001f600')");
    }
    connection db = co_await open(at.path());
    connection copy = co_await copy_of(db);
    co_await check_same(db, copy, "SELECT a FROM t ORDER BY rowid");
  });
}

TEST_CASE("a dump is SQL for anybody: execute_script and SQLite itself run it") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script(
        "CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 'x'), (2, NULL); CREATE VIRTUAL TABLE f USING fts5(c);"
        "INSERT INTO f VALUES('hello world')");
    const std::vector<std::string> all = co_await statements_of(db);
    CHECK(all.front() == "PRAGMA foreign_keys=OFF;");
    CHECK(all.back() == "COMMIT;");
    std::string script;
    for (const std::string& s : all) script += s + "\n";
    raw_database raw(at.path());
    raw.execute(script.c_str());
    CHECK(raw.number("SELECT count(*) FROM f('hello')") == 1);
    connection other = co_await open(":memory:");
    co_await other.execute_script(script);
    const int n = co_await other.query_one<int>("SELECT count(*) FROM t");
    CHECK(n == 2);
  });
}

TEST_CASE("a dump is one snapshot: other calls on its connection wait for it, other connections do not show") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await open(at.path());
    co_await db.execute_script("CREATE TABLE t(a); CREATE TABLE z(a)");
    std::vector<std::string> rows(5000, std::string(100, 'r'));
    co_await db.execute_many("INSERT INTO t VALUES(?)", rows);
    raw_database other(at.path());
    bool waited = false;
    int count = 0;
    const auto writer = [](connection* to, const bool* done, bool* after) -> task<> {
      const auto result = co_await to->execute("INSERT INTO z VALUES('late')");
      *after = *done && result.changes == 1;
    };
    bool done = false;
    {
      dump_stream statements = db.dump();
      auto first = co_await statements.next();
      spawn(writer(&db, &done, &waited));
      other.execute("INSERT INTO z VALUES('foreign')");
      while (auto sql = co_await statements.next()) {
        CHECK_FALSE(contains(*sql, "foreign"));
        CHECK_FALSE(contains(*sql, "late"));
        ++count;
      }
      done = true;
    }
    CHECK(count > 5000);
    co_await db.query("SELECT 1");
    CHECK(waited);
  });
}

TEST_CASE("a dump through a lease is one snapshot too, and leaves no transaction behind") {
  temp_database at;
  on_loop([&]() -> task<> {
    cosqlite::pool db = co_await cosqlite::pool::open(at.path());
    co_await db.execute_script("CREATE TABLE t(a); CREATE TABLE z(a)");
    std::vector<std::string> rows(5000, std::string(100, 'r'));
    co_await db.execute_many("INSERT INTO t VALUES(?)", rows);
    raw_database other(at.path());
    cosqlite::leased_connection writer = co_await db.acquire_writer();
    dump_stream statements = writer.dump();
    auto first = co_await statements.next();
    other.execute("INSERT INTO z VALUES('foreign')");
    int count = 0;
    while (auto sql = co_await statements.next()) {
      CHECK_FALSE(contains(*sql, "foreign"));
      ++count;
    }
    CHECK(count > 5000);
    CHECK_FALSE(co_await writer.in_transaction());
    co_await writer.execute_script("BEGIN; INSERT INTO z VALUES('mine')");
    dump_stream inside = writer.dump();
    bool seen = false;
    while (auto sql = co_await inside.next()) seen = seen || contains(*sql, "mine");
    CHECK(seen);
    CHECK(co_await writer.in_transaction());
  });
}

TEST_CASE("a dump that is left early lets its connection go on at once") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await open(at.path());
    co_await db.execute("CREATE TABLE t(a)");
    std::vector<std::string> rows(5000, std::string(200, 'r'));
    co_await db.execute_many("INSERT INTO t VALUES(?)", rows);
    {
      dump_stream statements = db.dump();
      co_await statements.next();
      statements.close();
      auto none = co_await statements.next();
      CHECK_FALSE(none.has_value());
      co_await db.execute("INSERT INTO t VALUES(1)");
    }
    for (int i = 0; i < 6; ++i) {
      {
        const foreign::coroutine reader = read_one(&db);
        for (int k = 0; k < i; ++k) co_await sleep_for(0ns);
      }
      co_await db.execute("INSERT INTO t VALUES(1)");
    }
    raw_database other(at.path());
    CHECK(other.text("PRAGMA wal_checkpoint(TRUNCATE)") == "0");
    {
      dump_stream statements = db.dump();
      co_await statements.next();
      co_await db.close();
      const closed_error e = co_await failure_of<closed_error>([](dump_stream* s) -> task<> {
        while (co_await s->next()) {
        }
      }(&statements));
    }
  });
}

TEST_CASE("a restore is all or nothing, and leaves the connection as it was") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::vector<std::string> bad{"CREATE TABLE a(x);", "INSERT INTO a VALUES(1);",
                                       "INSERT INTO nowhere VALUES(1);"};
    const error e = co_await failure_of<error>(db.restore(bad));
    CHECK(contains(e.what(), "no such table: nowhere"));
    CHECK(contains(e.sql(), "INSERT INTO nowhere"));
    int tables = co_await db.query_one<int>("SELECT count(*) FROM sqlite_schema");
    CHECK(tables == 0);
    int keys = co_await db.query_one<int>("PRAGMA foreign_keys");
    CHECK(keys == 1);
    const error quotes = co_await failure_of<error>(db.execute("CREATE TABLE q(a CHECK(a <> \"text\"))"));
    std::vector<std::string> nul{std::string("CREATE TABLE b(x);\0", 19)};
    const misuse_error refused = co_await failure_of<misuse_error>(db.restore(nul));
    std::stop_source stop;
    stop.request_stop();
    const std::vector<std::string> good{"CREATE TABLE a(x)"};
    const cancelled_error cancelled = co_await failure_of<cancelled_error>(db.with(stop.get_token()).restore(good));
    co_await db.restore(good);
    tables = co_await db.query_one<int>("SELECT count(*) FROM sqlite_schema");
    CHECK(tables == 1);
    keys = co_await db.query_one<int>("PRAGMA foreign_keys");
    CHECK(keys == 1);
  });
}

TEST_CASE("a restore that finds no room, or no time, leaves nothing") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await open(at.path());
    co_await db.execute("PRAGMA max_page_count = 20");
    std::vector<std::string> script{"CREATE TABLE t(a);"};
    for (int i = 0; i < 300; ++i) script.push_back("INSERT INTO t VALUES(zeroblob(4000));");
    co_await failure_of<full_error>(db.restore(script));
    int tables = co_await db.query_one<int>("SELECT count(*) FROM sqlite_schema");
    CHECK(tables == 0);
    const std::vector<std::string> endless{
        "CREATE TABLE t(a);",
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0;"};
    co_await failure_of<timeout_error>(db.with(50ms).restore(endless));
    tables = co_await db.query_one<int>("SELECT count(*) FROM sqlite_schema");
    CHECK(tables == 0);
    const int keys = co_await db.query_one<int>("PRAGMA foreign_keys");
    CHECK(keys == 1);
    co_await db.execute("PRAGMA max_page_count = 10000");
    co_await db.restore(script);
    const int rows = co_await db.query_one<int>("SELECT count(*) FROM t");
    CHECK(rows == 300);
  });
}

TEST_CASE("a restore takes pieces that end anywhere, and passes transaction control over") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    std::string script =
        "-- a comment; with a semicolon\nBEGIN;\nCREATE TABLE t(a DEFAULT 'old' CHECK(a <> \"new\"), b);\n";
    for (int i = 0; i < 4000; ++i) script += "INSERT INTO t(b) VALUES('row; number " + std::to_string(i) + "');\n";
    script += "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END;\n/* the end */ COMMIT; end transaction";
    std::vector<std::string> pieces;
    for (std::size_t i = 0; i < script.size(); i += 37) pieces.push_back(script.substr(i, 37));
    co_await db.restore(pieces);
    const int n = co_await db.query_one<int>("SELECT count(*) FROM t WHERE a = 'old'");
    CHECK(n == 4000);
    connection other = co_await open(":memory:");
    dump_stream statements = db.dump();
    co_await other.restore(statements);
    const int again = co_await other.query_one<int>("SELECT count(*) FROM t");
    CHECK(again == 4000);
  });
}
