#include "support/catch.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <string>

using cosqlite::migration_error;
using cosqlite::migrator;
using support::contains;

namespace {

std::string fault_of(const std::string& sql) {
  migrator steps;
  try {
    steps.add(7, "bad", sql);
  } catch (const migration_error& e) {
    CHECK(e.version() == 7);
    return e.what();
  }
  return {};
}

}  // namespace

TEST_CASE("text that cannot run as a step is refused when it is added") {
  CHECK(contains(fault_of("BEGIN; CREATE TABLE a(b); COMMIT"), "migration 7 (bad) cannot run: statement 1 is BEGIN"));
  CHECK(contains(fault_of("CREATE TABLE a(b); /* done */ commit;"),
                 "statement 2 is COMMIT: a step runs in a transaction of its own"));
  CHECK(contains(fault_of("-- start\nEND"), "END"));
  CHECK(contains(fault_of("ROLLBACK TO x"), "ROLLBACK"));
  CHECK(contains(fault_of("SAVEPOINT x"), "SAVEPOINT"));
  CHECK(contains(fault_of("RELEASE x"), "RELEASE"));
  CHECK(contains(fault_of("VACUUM"), "cannot run in a transaction"));
  CHECK(contains(fault_of("PRAGMA main.foreign_keys = off"), "-- cosqlite: foreign_keys off"));
  CHECK(contains(fault_of("PRAGMA foreign_keys(0)"), "does nothing in a transaction"));
  CHECK(contains(fault_of("-- cosqlite: foreign_keys of\nSELECT 1"), "its first line is not understood"));
  CHECK(contains(fault_of(" -- nothing yet\n ; "), "holds no statement"));
  CHECK(contains(fault_of(std::string("SELECT 1\0;", 10)), "NUL"));
}

TEST_CASE("words that only look like transaction control are let through") {
  CHECK(
      fault_of(
          "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; UPDATE a SET b = CASE WHEN b THEN 1 ELSE 2 END; END; SELECT 1")
          .empty());
  CHECK(fault_of("CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END").empty());
  CHECK(fault_of("INSERT INTO a VALUES ('; COMMIT; it''s'); SELECT \"BEGIN;\", [;END], `;ROLLBACK`").empty());
  CHECK(fault_of("SELECT 1; -- COMMIT; \n /* ; BEGIN; */ SELECT 2").empty());
  CHECK(fault_of("PRAGMA user_version = 3").empty());
  CHECK(fault_of("CREATE TABLE \"begin\"(a); INSERT INTO \"begin\" VALUES (1)").empty());
}
