// One row a call: inside a transaction, and each in a durable transaction of its own.
#include "events.hpp"
#include <cosqlite/cosqlite.hpp>

#include <string>
#include <vector>

using namespace bench;

namespace {

cosqlite::task<> in_transaction(std::string path, std::size_t inserts, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  cosqlite::transaction tx = co_await db.begin();
  const std::string message = events::message;
  co_await tx.execute(events::insert, 0, message);
  watch.start();
  for (std::size_t i = 1; i < inserts; ++i) co_await tx.execute(events::insert, i, message);
  watch.stop(static_cast<double>(inserts - 1));
  co_await tx.commit();
  co_await db.close();
}

cosqlite::task<> write_events(cosqlite::connection& db, std::size_t inserts) {
  const std::string message = events::message;
  for (std::size_t i = 0; i < inserts; ++i) co_await db.execute(events::insert, i, message);
}

cosqlite::task<> autocommit(std::string path, std::size_t writers, std::size_t inserts, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  std::vector<cosqlite::task<>> all;
  for (std::size_t w = 0; w < writers; ++w) all.push_back(write_events(db, inserts / writers));
  watch.start();
  co_await when_all(std::move(all));
  const auto done = inserts / writers * writers;
  watch.stop(static_cast<double>(done));
  co_await db.close();
}

void raw_inserts(const std::string& path, std::size_t inserts, bool one_transaction, stopwatch& watch) {
  raw::database db(path);
  raw::statement insert(db, events::insert);
  const std::string message = events::message;
  if (one_transaction) db.run("BEGIN IMMEDIATE");
  watch.start();
  for (std::size_t i = 0; i < inserts; ++i) {
    insert.bind(1, static_cast<sqlite3_int64>(i));
    insert.bind(2, message);
    insert.run();
  }
  watch.stop(static_cast<double>(inserts));
  if (one_transaction) db.run("COMMIT");
}

}  // namespace

int main(int argc, char** argv) {
  return program("inserts", argc, argv, [](suite& s) {
    const auto compare_in_transaction = [&](const workload& what) {
      const std::size_t inserts = s.scaled(200'000);
      s.compare(
          what, [&](stopwatch& w) { raw_inserts(events::file(s), inserts, true, w); },
          [&](stopwatch& w) {
            const std::string path = events::file(s);
            cosqlite::run(in_transaction(path, inserts, w));
            events::check_count(path, inserts);
          });
    };
    const auto compare_durable = [&](const workload& what, std::size_t writers) {
      const std::size_t raw_count = s.scaled(2'000), our_count = writers * s.scaled(writers > 1 ? 500 : 2'000);
      s.compare(
          what, [&](stopwatch& w) { raw_inserts(events::file(s), raw_count, false, w); },
          [&](stopwatch& w) {
            const std::string path = events::file(s);
            cosqlite::run(autocommit(path, writers, our_count, w));
            events::check_count(path, our_count);
          });
    };
    compare_in_transaction({.name = "inserts awaited one by one in a transaction", .floor = 0.40});
    compare_in_transaction({.name = "inserts awaited one by one in a transaction", .floor = 0.12, .busy = true});
    compare_durable({.name = "durable inserts, one at a time", .floor = 0.8}, 1);
    compare_durable({.name = "durable inserts, 64 at once (raw: one at a time)", .floor = 20}, 64);
  });
}
