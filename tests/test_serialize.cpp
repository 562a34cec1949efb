#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/drain.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

using namespace cosqlite;
using support::contains;
using support::drain;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::rows_of;
using support::temp_database;

namespace {

task<connection> sample(std::string path) {
  connection db = co_await open(path);
  co_await db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, name UNIQUE)");
  co_await db.execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
      "INSERT INTO t SELECT i, 'name number ' || i FROM n");
  co_return db;
}

}  // namespace

TEST_CASE("a database in memory becomes bytes, and the bytes a database") {
  on_loop([]() -> task<> {
    connection db = co_await sample(":memory:");
    bytes image = co_await db.serialize();
    CHECK(image.size() % 4096 == 0);
    connection other = co_await open(":memory:");
    co_await other.deserialize(std::move(image));
    int rows = co_await rows_of(other);
    CHECK(rows == 500);
    co_await other.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
        "INSERT INTO t(name) SELECT 'more ' || i FROM n");
    rows = co_await rows_of(other);
    CHECK(rows == 5500);
    rows = co_await rows_of(db);
    CHECK(rows == 500);
  });
}

TEST_CASE("the bytes of a database in WAL mode have what its log has, and can be deserialized") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    bytes image = co_await db.serialize();
    connection memory = co_await open(":memory:");
    co_await memory.deserialize(image);
    const int rows = co_await rows_of(memory);
    CHECK(rows == 500);
    const std::string ok = co_await memory.query_one<std::string>("PRAGMA integrity_check");
    CHECK(ok == "ok");
  });
}

TEST_CASE("deserializing into a connection to a file leaves the file alone") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection memory = co_await sample(":memory:");
    co_await memory.execute("DELETE FROM t WHERE id > 3");
    connection db = co_await sample(at.path());
    statement count = co_await db.prepare("SELECT count(*) FROM t");
    int rows = co_await count.query_one<int>();
    CHECK(rows == 500);
    bytes image = co_await memory.serialize();
    co_await db.deserialize(std::move(image));
    rows = co_await rows_of(db);
    CHECK(rows == 3);
    rows = co_await count.query_one<int>();
    CHECK(rows == 3);
    CHECK(raw_database(at.path()).number("SELECT count(*) FROM t") == 500);
  });
}

TEST_CASE("bytes that are no database, cut short or damaged are refused, and the connection goes on as it was") {
  on_loop([]() -> task<> {
    connection db = co_await sample(":memory:");
    const bytes image = co_await db.serialize();
    const auto refused = [&db](bytes bad) -> task<std::string> {
      const corrupt_error e = co_await failure_of<corrupt_error>(db.deserialize(std::move(bad)));
      co_return e.what();
    };
    bytes bad = image;
    bad[3] = std::byte{'X'};
    std::string why = co_await refused(bad);
    CHECK(contains(why, "no SQLite database"));
    bad = bytes(50);
    why = co_await refused(bad);
    bad = bytes(4096);
    why = co_await refused(bad);
    bad.assign(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(image.size() / 2));
    why = co_await refused(bad);
    CHECK(contains(why, "cannot deserialize"));
    bad = image;
    std::fill(bad.begin() + 5000, bad.begin() + 9000, std::byte{0xa5});
    why = co_await refused(bad);
    bad = image;
    std::fill(bad.begin() + 100, bad.begin() + 1000, std::byte{0xff});
    why = co_await refused(bad);
    const int rows = co_await rows_of(db);
    CHECK(rows == 500);
    co_await db.execute("INSERT INTO t(name) VALUES('still here')");
  });
}

TEST_CASE("nothing is put in the place of a database that is in use") {
  on_loop([]() -> task<> {
    connection db = co_await sample(":memory:");
    const bytes image = co_await db.serialize();
    {
      row_stream reading = db.stream("SELECT * FROM t");
      co_await reading.next();
      const busy_error e = co_await failure_of<busy_error>(db.deserialize(image));
    }
    co_await db.execute("BEGIN");
    const busy_error e = co_await failure_of<busy_error>(db.deserialize(image));
    co_await db.execute("ROLLBACK");
    const error unknown = co_await failure_of<error>(db.serialize("nowhere"));
    CHECK(contains(unknown.what(), "unknown database nowhere"));
    const error unknown_too = co_await failure_of<error>(db.deserialize(image, "nowhere"));
    co_await db.deserialize(image);
  });
}

TEST_CASE("an empty database survives the way there and back") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    bytes image = co_await db.serialize();
    connection other = co_await sample(":memory:");
    co_await other.deserialize(std::move(image));
    const int tables = co_await other.query_one<int>("SELECT count(*) FROM sqlite_schema");
    CHECK(tables == 0);
    co_await other.execute("CREATE TABLE t(a)");
    co_await other.deserialize(bytes());
    co_await other.execute("CREATE TABLE t(a)");
  });
}

TEST_CASE("table-valued functions that were used before work on after an image has taken the place") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection source = co_await sample(":memory:");
    const bytes image = co_await source.serialize();
    const auto use_them = [](connection* db) -> task<int> {
      const std::vector<int> three{1, 2, 3};
      const array_argument list = array(three);
      int n = co_await db->query_one<int>("SELECT count(*) FROM json_each('[1,2]')");
      n += co_await db->query_one<int>("SELECT count(*) FROM carray(?)", list);
      n += co_await db->query_one<int>("SELECT count(*) > 0 FROM pragma_table_list");
      n += co_await db->query_one<int>("SELECT sum(value) FROM two()");
      dump_stream statements = db->dump();
      co_await drain(statements);
      co_return n;
    };
    const auto two = [] { return std::vector<int>{4, 5}; };
    for (const char* const page_size : {"PRAGMA page_size = 4096", "PRAGMA page_size = 1024"}) {
      connection db = co_await open(":memory:");
      co_await db.execute_script(page_size);
      co_await db.create_table_function("two", two);
      CHECK((co_await use_them(&db)) == 15);
      co_await db.deserialize(image);
      CHECK((co_await use_them(&db)) == 15);
      co_await db.deserialize(bytes());
      CHECK((co_await use_them(&db)) == 15);
      co_await db.deserialize(image);
      CHECK((co_await rows_of(db)) == 500);
    }
    connection db = co_await open(at.path());
    co_await db.deserialize(image);
    CHECK((co_await rows_of(db)) == 500);
    connection second = co_await open((at.folder() / "second.db").string());
    co_await second.execute("CREATE TABLE kept(a)");
    co_await second.query("SELECT value FROM json_each('[1]')");
    const unsupported_error e = co_await failure_of<unsupported_error>(second.deserialize(image));
    CHECK(contains(e.what(), "json_each"));
    CHECK((co_await second.query_one<int>("SELECT count(*) FROM kept")) == 0);
  });
}
