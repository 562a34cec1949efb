#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

using cosqlite::connection;
using cosqlite::migration_error;
using cosqlite::migration_status;
using cosqlite::migrator;
using cosqlite::task;
using support::contains;
using support::on_loop;
using support::temp_database;

namespace {

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

TEST_CASE("a folder gives the steps that stand in it") {
  temp_database file;
  const std::filesystem::path folder = file.folder() / "migrations";
  std::filesystem::create_directory(folder);
  write_file(folder / "0001_users.up.sql",
             "\xef\xbb\xbf"
             "CREATE TABLE users(id INTEGER PRIMARY KEY);\r\n");
  write_file(folder / "0001_users.down.sql", "DROP TABLE users;\n");
  write_file(folder / "0010_add-email.up.sql", "ALTER TABLE users ADD email TEXT;\n");
  write_file(folder / "0010_add-email.down.sql", "-- no way back yet\n");
  write_file(folder / "README.md", "These are the steps.");
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    const migrator steps = migrator::from_directory(folder);
    const std::vector<migration_status> done = co_await steps.up(db);
    REQUIRE(done.size() == 2);
    CHECK(done[1].version == 10);
    CHECK(done[1].name == "add-email");
    CHECK(done[0].reversible);
    CHECK_FALSE(done[1].reversible);
  });
}

TEST_CASE("a folder with a bad or a duplicate name is refused, with the name") {
  temp_database file;
  const std::filesystem::path& folder = file.folder();
  write_file(folder / "0001_users.up.sql", "SELECT 1");
  const auto refused = [&](const char* name) {
    write_file(folder / name, "SELECT 1");
    std::string message;
    try {
      static_cast<void>(migrator::from_directory(folder));
    } catch (const migration_error& e) {
      message = e.what();
    }
    std::filesystem::remove(folder / name);
    INFO(name << ": " << message);
    return contains(message, name);
  };
  CHECK(refused("2_emails.sql"));
  CHECK(refused("emails.up.sql"));
  CHECK(refused("0000_zero.up.sql"));
  CHECK(refused("0002_.up.sql"));
  CHECK(refused("0002.up.sql"));
  CHECK(refused("0002_a.b.up.sql"));
  CHECK(refused("0002_emails.up.sq"));
  CHECK(refused("0001_people.up.sql"));
  CHECK(refused("1_users.up.sql"));
  CHECK(refused("0001_people.down.sql"));
  CHECK(refused("0002_emails.down.sql"));
  CHECK_NOTHROW(migrator::from_directory(folder));
  CHECK_THROWS_AS(migrator::from_directory(folder / "nowhere"), cosqlite::io_error);
}

TEST_CASE("a file of steps that cannot be read is an error that names it") {
  temp_database file;
  const std::filesystem::path unreadable = file.folder() / "0001_users.up.sql";
  SECTION("a folder by that name") { std::filesystem::create_directory(unreadable); }
  SECTION("a link to nowhere") { std::filesystem::create_symlink(file.folder() / "gone", unreadable); }
  try {
    static_cast<void>(migrator::from_directory(file.folder()));
    FAIL("nothing was thrown");
  } catch (const cosqlite::io_error& e) {
    CHECK(contains(e.what(), "cannot read " + unreadable.string()));
  }
}

TEST_CASE("a long file of steps is read whole, and an empty one is no step") {
  temp_database file;
  std::string text = "CREATE TABLE a(b);\n";
  for (int i = 0; i < 2000; ++i) text += "INSERT INTO a VALUES (" + std::to_string(i) + ");\n";
  write_file(file.folder() / "0001_a.up.sql", text);
  on_loop([&]() -> task<> {
    connection db = co_await cosqlite::open(file.path());
    const migrator steps = migrator::from_directory(file.folder());
    co_await steps.up(db);
    const int rows = co_await db.query_one<int>("SELECT count(*) FROM a");
    CHECK(rows == 2000);
  });
  write_file(file.folder() / "0002_empty.up.sql", "");
  CHECK_THROWS_AS(migrator::from_directory(file.folder()), migration_error);
}
