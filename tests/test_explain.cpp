// How SQLite runs a statement, and what it knows of a column.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

using namespace cosqlite;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::temp_database;

namespace {

task<connection> with_library() {
  connection db = co_await open(":memory:");
  co_await db.execute_script(R"(
    CREATE TABLE authors(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE NOT NULL UNIQUE);
    CREATE TABLE books(isbn TEXT PRIMARY KEY, author INTEGER NOT NULL REFERENCES authors, price DECIMAL(8,2)) WITHOUT ROWID;
    CREATE INDEX by_author ON books(author);
    CREATE VIEW shelf AS SELECT name, isbn FROM authors JOIN books ON author = id;
    INSERT INTO authors(name) VALUES('Ada');)");
  co_return db;
}

}  // namespace

TEST_CASE("a query plan tells a search from a scan") {
  on_loop([]() -> task<> {
    connection db = co_await with_library();
    const cosqlite::query_plan search = co_await db.query_plan("SELECT * FROM authors WHERE id = ?");
    REQUIRE(search.steps.size() == 1);
    CHECK(search.steps[0].detail == "SEARCH authors USING INTEGER PRIMARY KEY (rowid=?)");
    CHECK(search.steps[0].steps.empty());
    CHECK(!search.scans());
    const cosqlite::query_plan scan = co_await db.query_plan("SELECT * FROM books WHERE price > 5");
    REQUIRE(scan.steps.size() == 1);
    CHECK(scan.steps[0].detail == "SCAN books");
    CHECK(scan.scans());
    co_await db.close();
  });
}

TEST_CASE("a query plan is a tree, and its text is indented as the tree is") {
  on_loop([]() -> task<> {
    connection db = co_await with_library();
    const cosqlite::query_plan plan =
        co_await db.query_plan("SELECT name FROM authors WHERE id = 1 UNION SELECT isbn FROM books WHERE author = 1");
    REQUIRE(plan.steps.size() == 1);
    CHECK(plan.steps[0].detail == "COMPOUND QUERY");
    REQUIRE(plan.steps[0].steps.size() == 2);
    const plan_step& left = plan.steps[0].steps[0];
    const plan_step& right = plan.steps[0].steps[1];
    REQUIRE(left.steps.size() == 1);
    REQUIRE(right.steps.size() == 1);
    CHECK(left.steps[0].detail.starts_with("SEARCH authors"));
    CHECK(right.steps[0].detail.starts_with("SEARCH books"));
    CHECK(!plan.scans());
    const std::string expected = "COMPOUND QUERY\n  " + left.detail + "\n    " + left.steps[0].detail + "\n  " +
                                 right.detail + "\n    " + right.steps[0].detail + "\n";
    CHECK(plan.text() == expected);
    co_await db.close();
  });
}

TEST_CASE("a scan deep in the tree is found") {
  on_loop([]() -> task<> {
    connection db = co_await with_library();
    const cosqlite::query_plan plan =
        co_await db.query_plan("SELECT id FROM authors WHERE id = 1 UNION SELECT price FROM books");
    CHECK(plan.scans());
    CHECK(!plan.steps[0].detail.starts_with("SCAN"));
    co_await db.close();
  });
}

TEST_CASE("EXPLAIN gives the program, an instruction a line, and runs nothing") {
  on_loop([]() -> task<> {
    connection db = co_await with_library();
    const std::string program = co_await db.explain("DELETE FROM authors WHERE id = ?");
    CHECK(program.starts_with("0\tInit\t"));
    CHECK(contains(program, "\tDelete\t"));
    CHECK(contains(program, "\tHalt\t"));
    CHECK(program.ends_with("\n"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM authors") == 1);
    co_await db.query_plan("DELETE FROM authors");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM authors") == 1);
    co_await db.close();
  });
}

TEST_CASE("what cannot be compiled cannot be explained: the error is in the caller's own text") {
  on_loop([]() -> task<> {
    connection db = co_await with_library();
    const auto misspelt = co_await failure_of<error>(db.query_plan("SELECT naem FROM authors"));
    CHECK(contains(misspelt.what(), "no such column: naem"));
    CHECK(misspelt.sql() == "SELECT naem FROM authors");
    CHECK(misspelt.offset() == 7);
    const auto same = co_await failure_of<error>(db.explain("SELECT naem FROM authors"));
    CHECK(same.offset() == 7);
    co_await failure_of<misuse_error>(db.query_plan("SELECT 1; DELETE FROM authors"));
    co_await failure_of<misuse_error>(db.explain("SELECT 1; DELETE FROM authors"));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM authors") == 1);
    co_await db.close();
  });
}

TEST_CASE("column_metadata tells declared type, collation and keys") {
  on_loop([]() -> task<> {
    connection db = co_await with_library();
    const cosqlite::column_metadata id = co_await db.column_metadata("authors", "id");
    CHECK(id.declared_type == "INTEGER");
    CHECK(id.collation == "BINARY");
    CHECK(id.primary_key);
    CHECK(id.autoincrement);
    CHECK(!id.not_null);
    const cosqlite::column_metadata name = co_await db.column_metadata("authors", "name", "main");
    CHECK(name.declared_type == "TEXT");
    CHECK(name.collation == "NOCASE");
    CHECK(name.not_null);
    CHECK(!name.primary_key);
    CHECK(!name.autoincrement);
    const cosqlite::column_metadata price = co_await db.column_metadata("books", "price");
    CHECK(price.declared_type == "DECIMAL(8,2)");
    const cosqlite::column_metadata isbn = co_await db.column_metadata("books", "isbn");
    CHECK(isbn.primary_key);
    CHECK(isbn.not_null);
    co_await db.close();
  });
}

TEST_CASE("column_metadata of what is no column of a table is an error that names it") {
  on_loop([]() -> task<> {
    connection db = co_await with_library();
    const auto column = co_await failure_of<error>(db.column_metadata("authors", "age"));
    CHECK(contains(column.what(), "authors.age"));
    const auto table = co_await failure_of<error>(db.column_metadata("editors", "name"));
    CHECK(contains(table.what(), "editors"));
    co_await failure_of<error>(db.column_metadata("shelf", "name"));
    co_await failure_of<error>(db.column_metadata("authors", "id", "temp"));
    CHECK(co_await db.query_one<int>("SELECT 1") == 1);
    co_await db.close();
  });
}
