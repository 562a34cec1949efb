#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/sqlite_settings.hpp"
#include <cosqlite/cosqlite.hpp>

#include <filesystem>

using namespace cosqlite;
using support::contains;
using support::failure_of;
using support::limit_by_sqlite;
using support::on_loop;
using support::raw_database;
using support::switch_by_sqlite;
using support::temp_database;

namespace {

/// Works in the folder while it lives.
class working_folder {
 public:
  explicit working_folder(const std::filesystem::path& folder) : before_(std::filesystem::current_path()) {
    std::filesystem::current_path(folder);
  }
  working_folder(const working_folder&) = delete;
  working_folder& operator=(const working_folder&) = delete;
  ~working_folder() { std::filesystem::current_path(before_); }

 private:
  std::filesystem::path before_;
};

}  // namespace

TEST_CASE("fts3_tokenizer, double-quoted strings and extension loading are off") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await failure_of<error>(db.query("SELECT fts3_tokenizer('simple')"));
    co_await failure_of<error>(db.query("SELECT fts3_tokenizer('simple', x'0000000000000000')"));
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER) == 0);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_DQS_DML) == 0);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_DQS_DDL) == 0);
    const auto dqs = co_await failure_of<error>(db.query("SELECT \"no such column\""));
    CHECK(contains(dqs.what(), "no such column"));
    co_await db.execute("CREATE TABLE t(a)");
    co_await failure_of<error>(db.execute("CREATE INDEX i ON t(\"no such column\")"));
    co_await failure_of<error>(db.query("SELECT load_extension('x')"));
    const int rc = co_await db.run([](sqlite3* raw) {
      char* message = nullptr;
      const int code = sqlite3_load_extension(raw, "x", nullptr, &message);
      sqlite3_free(message);
      return code;
    });
    CHECK(rc == SQLITE_ERROR);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION) == 0);
    co_await db.close();
  });
}

TEST_CASE("foreign keys are enforced, and may be turned off") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute_script("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p)");
    co_await failure_of<constraint_error>(db.execute("INSERT INTO c VALUES(1)"));
    open_options o;
    o.foreign_keys = false;
    connection lax = co_await open(":memory:", o);
    co_await lax.execute_script("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p)");
    co_await lax.execute("INSERT INTO c VALUES(1)");
    co_await db.close();
    co_await lax.close();
  });
}

TEST_CASE("defensive mode is on: SQL cannot damage the file") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_DEFENSIVE) == 1);
    co_await db.execute("CREATE TABLE t(a)");
    co_await db.execute("PRAGMA writable_schema = 1");
    co_await failure_of<error>(db.execute("DELETE FROM sqlite_schema"));
    CHECK(co_await db.query_one<std::string>("PRAGMA journal_mode = off") != "off");
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA) == 1);
    open_options o;
    o.defensive = false;
    o.trusted_schema = false;
    connection open_minded = co_await open(file.path(), o);
    CHECK(co_await switch_by_sqlite(open_minded, SQLITE_DBCONFIG_DEFENSIVE) == 0);
    CHECK(co_await switch_by_sqlite(open_minded, SQLITE_DBCONFIG_TRUSTED_SCHEMA) == 0);
    co_await db.close();
    co_await open_minded.close();
  });
}

TEST_CASE("ATTACH is off unless it is asked for") {
  temp_database file;
  temp_database other;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    const auto e = co_await failure_of<error>(db.execute("ATTACH ? AS other", other.path()));
    CHECK(contains(e.what(), "open_options::attach"));
    co_await failure_of<error>(db.execute_script("ATTACH '" + other.path() + "' AS other"));
    CHECK(!other.exists());
    co_await db.execute("VACUUM");
    co_await db.execute("VACUUM INTO ?", (file.folder() / "copy.db").string());
    CHECK(std::filesystem::exists(file.folder() / "copy.db"));
    open_options o;
    o.attach = true;
    connection attaching = co_await open(file.path(), o);
    CHECK(co_await limit_by_sqlite(attaching, SQLITE_LIMIT_ATTACHED) == 10);
    co_await attaching.execute("ATTACH ? AS other", other.path());
    co_await attaching.execute("CREATE TABLE other.t(a)");
    CHECK(other.exists());
    co_await db.close();
    co_await attaching.close();
  });
}

TEST_CASE("one statement a call: a second one is refused and the first does not run") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    for (const char* sql : {"INSERT INTO t VALUES(1); DELETE FROM t", "INSERT INTO t VALUES(1); nonsense",
                            "INSERT INTO t VALUES(1); -- ?\nSELECT 1"}) {
      const auto e = co_await failure_of<misuse_error>(db.execute(sql));
      CHECK(contains(e.what(), "execute_script"));
      CHECK(e.sql() == sql);
    }
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    CHECK((co_await db.execute("INSERT INTO t VALUES(1) ; ; /* done */ -- really")).changes == 1);
    for (const char* sql : {"", " ", ";", "-- only a comment", "/* another */"}) {
      co_await failure_of<misuse_error>(db.execute(sql));
    }
    co_await db.close();
  });
}

TEST_CASE("a NUL in the SQL is refused when the call is built") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    const std::string sql("SELECT 1\0; DROP TABLE t", 23);
    CHECK_THROWS_AS(db.execute(sql), misuse_error);
    CHECK_THROWS_AS(db.query(sql), misuse_error);
    CHECK_THROWS_AS(db.stream(sql), misuse_error);
    CHECK_THROWS_AS(db.execute_script(sql), misuse_error);
    CHECK_THROWS_AS(db.prepare(sql), misuse_error);
    const std::vector<int> none;
    CHECK_THROWS_AS(db.execute_many(sql, none), misuse_error);
    co_await db.close();
  });
}

TEST_CASE("a path that begins with file: is a file name") {
  temp_database file;
  const working_folder there(file.folder());
  on_loop([&]() -> task<> {
    connection db = co_await open("file:odd.db?mode=memory");
    co_await db.execute("CREATE TABLE t(a)");
    co_await db.close();
  });
  CHECK(std::filesystem::exists("file:odd.db?mode=memory"));
}

TEST_CASE("a NUL in the path is refused") { CHECK_THROWS_AS(open(std::string("a\0b", 3)), misuse_error); }

TEST_CASE("a folder, a missing folder and a file that is no database are refused by name") {
  temp_database file;
  file.write(std::string(4096, 'x'));
  on_loop([&]() -> task<> {
    const std::string folder = file.folder().string();
    const auto directory = co_await failure_of<io_error>(open(folder));
    CHECK(contains(directory.what(), folder));
    CHECK(directory.primary() == SQLITE_CANTOPEN);
    const auto missing = co_await failure_of<io_error>(open(folder + "/no/such/place.db"));
    CHECK(contains(missing.what(), folder + "/no/such/place.db"));
    const auto none = co_await failure_of<corrupt_error>(open(file.path()));
    CHECK(none.name() == "SQLITE_NOTADB");
    CHECK(contains(none.what(), file.path()));
    open_options o;
    o.mode = cosqlite::access::read_only;
    co_await failure_of<corrupt_error>(open(file.path(), o));
    o = open_options();
    o.journal_mode = journal::keep;
    co_await failure_of<corrupt_error>(open(file.path(), o));
  });
}

TEST_CASE("untrusted_file is read-only, distrusts the schema and has small limits") {
  temp_database file;
  raw_database(file.path())
      .execute("CREATE TABLE t(a); INSERT INTO t VALUES(1); CREATE VIEW v AS SELECT load_extension('x')");
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path(), open_options::untrusted_file());
    CHECK(co_await db.query_one<int>("SELECT a FROM t") == 1);
    co_await failure_of<readonly_error>(db.execute("DELETE FROM t"));
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA) == 0);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_DEFENSIVE) == 1);
    CHECK(co_await limit_by_sqlite(db, SQLITE_LIMIT_LENGTH) == 1'000'000);
    CHECK(co_await limit_by_sqlite(db, SQLITE_LIMIT_ATTACHED) == 0);
    CHECK(co_await limit_by_sqlite(db, SQLITE_LIMIT_EXPR_DEPTH) == 10);
    CHECK(co_await limit_by_sqlite(db, SQLITE_LIMIT_TRIGGER_DEPTH) == 10);
    co_await failure_of<error>(db.query("SELECT * FROM v"));
    co_await failure_of<error>(db.query("SELECT zeroblob(2000000)"));
    CHECK(co_await db.query_one<int>("PRAGMA cell_size_check") == 1);
    co_await db.close();
  });
}

TEST_CASE("what is not said is safe: the whole of open's defaults") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_ENABLE_FKEY) == 1);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_ENABLE_TRIGGER) == 1);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_ENABLE_VIEW) == 1);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA) == 0);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE) == 0);
    CHECK(co_await switch_by_sqlite(db, SQLITE_DBCONFIG_RESET_DATABASE) == 0);
    CHECK(co_await db.query_one<std::string>("PRAGMA journal_mode") == "wal");
    CHECK(co_await db.query_one<int>("PRAGMA synchronous") == 2);
    CHECK(co_await db.query_one<int>("PRAGMA foreign_keys") == 1);
    CHECK(co_await db.query_one<int>("PRAGMA query_only") == 0);
    CHECK(co_await db.query_one<int>("PRAGMA recursive_triggers") == 0);
    CHECK(co_await db.query_one<int>("PRAGMA read_uncommitted") == 0);
    co_await db.close();
  });
}

TEST_CASE("SQLite's own threads and shared cache are not used") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    CHECK(co_await limit_by_sqlite(db, SQLITE_LIMIT_WORKER_THREADS) == 0);
    CHECK(co_await db.run([](sqlite3* raw) { return sqlite3_db_mutex(raw) == nullptr; }));
    co_await db.close();
  });
}
