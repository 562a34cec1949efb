// What the system's SQLite brings along works through the library: full-text search, R-Tree, JSON.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <string>
#include <vector>

namespace {

using cosqlite::task;
using support::on_loop;

bool has(const char* option) { return sqlite3_compileoption_used(option) != 0; }

}  // namespace

TEST_CASE("FTS5 finds, ranks and follows its table through triggers") {
  if (!has("ENABLE_FTS5")) return;
  on_loop([]() -> task<> {
    support::temp_database file;
    auto db = co_await cosqlite::open(file.path());
    co_await db.execute_script(R"(
      CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT);
      CREATE VIRTUAL TABLE found USING fts5(body, content='notes', content_rowid='id');
      CREATE TRIGGER added AFTER INSERT ON notes BEGIN INSERT INTO found(rowid, body) VALUES(new.id, new.body); END;
      CREATE TRIGGER gone AFTER DELETE ON notes BEGIN
        INSERT INTO found(found, rowid, body) VALUES('delete', old.id, old.body);
      END;)");
    const std::vector<std::string> bodies{"the quick brown fox", "a lazy dog", "quick, quick: a fox and a dog"};
    co_await db.execute_many("INSERT INTO notes(body) VALUES(?)", bodies);
    const auto ids =
        co_await db.query<int>("SELECT rowid FROM found WHERE found MATCH ? ORDER BY rowid", "quick AND fox");
    CHECK(ids == std::vector<int>{1, 3});
    const auto marked =
        co_await db.query_one<std::string>("SELECT highlight(found, 0, '[', ']') FROM found WHERE found MATCH 'lazy'");
    CHECK(marked == "a [lazy] dog");
    co_await db.execute("DELETE FROM notes WHERE id = 3");
    const auto left = co_await db.query<int>("SELECT rowid FROM found WHERE found MATCH 'quick'");
    CHECK(left == std::vector<int>{1});
  });
}

TEST_CASE("R-Tree finds the boxes that overlap") {
  if (!has("ENABLE_RTREE")) return;
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    co_await db.execute("CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1)");
    for (int i = 0; i < 10; ++i)
      co_await db.execute("INSERT INTO boxes VALUES(?, ?, ?, 0, 1)", i, 10.0 * i, 10.0 * i + 5.0);
    const auto ids = co_await db.query<int>("SELECT id FROM boxes WHERE x1 >= ? AND x0 <= ? ORDER BY id", 33.0, 52.0);
    CHECK(ids == std::vector<int>{3, 4, 5});
  });
}

TEST_CASE("JSON is read, changed and walked, also with functions of our own") {
  on_loop([]() -> task<> {
    auto db = co_await cosqlite::open(":memory:");
    const std::string text = R"({"name":"Ada","langs":["en","fr"]})";
    const auto second = co_await db.query_one<std::string>("SELECT ? ->> '$.langs[1]'", text);
    CHECK(second == "fr");
    const auto all = co_await db.query<std::string>("SELECT value FROM json_each(?, '$.langs')", text);
    CHECK(all == std::vector<std::string>{"en", "fr"});
    const auto changed = co_await db.query_one<std::string>("SELECT json_set(?, '$.name', 'Grace') ->> 'name'", text);
    CHECK(changed == "Grace");
    co_await db.create_function("quoted", [](std::string_view v) { return "[\"" + std::string(v) + "\"]"; });
    const auto inner = co_await db.query_one<std::string>("SELECT json_object('list', json(quoted('x')))");
    CHECK(inner == R"({"list":["x"]})");
  });
}
