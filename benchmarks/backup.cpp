// A whole database copied to another file, in steps of 1,000 and of 100 pages.
#include "harness.hpp"
#include "raw.hpp"
#include <cosqlite/cosqlite.hpp>

#include <stdexcept>
#include <string>

using namespace bench;

namespace {

void fill(const std::string& path, std::size_t megabytes) {
  raw::database db(path);
  db.run("CREATE TABLE t(id INTEGER PRIMARY KEY, pad)");
  db.run(("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
          std::to_string(megabytes * 256) + ") INSERT INTO t SELECT i, randomblob(4000) FROM n")
             .c_str());
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
}

void raw_backup(const std::string& path, const std::string& to, int pages, stopwatch& watch) {
  raw::database db(path);
  watch.start();
  int total = 0;
  {
    sqlite3* copy = nullptr;
    db.check(
        sqlite3_open_v2(to.c_str(), &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr));
    sqlite3_backup* b = sqlite3_backup_init(copy, "main", db.get(), "main");
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK) rc = sqlite3_backup_step(b, pages);
    total = sqlite3_backup_pagecount(b);
    sqlite3_backup_finish(b);
    sqlite3_close(copy);
    if (rc != SQLITE_DONE) throw std::runtime_error("the raw backup failed");
  }
  watch.stop(total);
}

cosqlite::task<> our_backup(std::string path, std::string to, int pages, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  watch.start();
  const cosqlite::backup_progress done = co_await db.backup(to, {.pages = pages});
  watch.stop(done.total);
  co_await db.close();
}

}  // namespace

int main(int argc, char** argv) {
  return program("backup", argc, argv, [](suite& s) {
    const std::string path = s.fresh_file();
    fill(path, s.scaled(64));
    const auto compare = [&](const workload& what, int pages) {
      s.compare(
          what, [&](stopwatch& w) { raw_backup(path, s.fresh_file(), pages, w); },
          [&](stopwatch& w) { cosqlite::run(our_backup(path, s.fresh_file(), pages, w)); });
    };
    compare({.name = "backup, 1,000 pages a step", .unit = "pages", .floor = 0.90}, 1000);
    compare({.name = "backup, 100 pages a step", .unit = "pages"}, 100);
  });
}
