// A million rows in one call and one transaction.
#include "events.hpp"
#include <cosqlite/cosqlite.hpp>

#include <string>
#include <vector>

using namespace bench;

namespace {

cosqlite::task<> ours(std::string path, const std::vector<events::event>& rows, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  watch.start();
  const cosqlite::execute_result done = co_await db.execute_many(events::insert, rows);
  watch.stop(static_cast<double>(done.changes));
  co_await db.close();
}

void raw_insert(const std::string& path, const std::vector<events::event>& rows, stopwatch& watch) {
  raw::database db(path);
  watch.start();
  db.run("BEGIN IMMEDIATE");
  {
    raw::statement insert(db, events::insert);
    for (const events::event& e : rows) {
      insert.bind(1, static_cast<sqlite3_int64>(e.kind));
      insert.bind(2, e.message);
      insert.run();
    }
  }
  db.run("COMMIT");
  watch.stop(static_cast<double>(rows.size()));
}

}  // namespace

int main(int argc, char** argv) {
  return program("bulk_insert", argc, argv, [](suite& s) {
    std::vector<events::event> rows(s.scaled(1'000'000));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = {static_cast<std::int64_t>(i), events::message};
    s.compare(
        {.name = "insert of 1M rows, one call", .unit = "rows", .floor = 0.95},
        [&](stopwatch& w) { raw_insert(events::file(s), rows, w); },
        [&](stopwatch& w) {
          const std::string path = events::file(s);
          cosqlite::run(ours(path, rows, w));
          events::check_count(path, rows.size());
        });
  });
}
