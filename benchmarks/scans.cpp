// A million rows of four columns: streamed, where nothing is kept, and fetched into a vector of structs.
#include "orders.hpp"
#include <cosqlite/cosqlite.hpp>

#include <string>
#include <vector>

using namespace bench;
using orders::digest;
using orders::purchase;

namespace {

cosqlite::task<> stream_rows(std::string path, digest& seen, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  watch.start();
  {
    cosqlite::row_stream rows = db.stream(orders::read_all);
    while (const auto row = co_await rows.next()) {
      seen.add(row->get<std::int64_t>(0), row->get<std::int64_t>(1), row->get<double>(2),
               row->get<std::string_view>(3));
    }
  }
  watch.stop(static_cast<double>(seen.rows));
  co_await db.close();
}

cosqlite::task<> stream_structs(std::string path, digest& seen, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  watch.start();
  {
    auto purchases = db.stream<purchase>(orders::read_all);
    while (const auto p = co_await purchases.next()) seen.add(p->id, p->customer, p->amount, p->status);
  }
  watch.stop(static_cast<double>(seen.rows));
  co_await db.close();
}

cosqlite::task<> fetch_structs(std::string path, digest& seen, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  watch.start();
  const std::vector<purchase> all = co_await db.query<purchase>(orders::read_all);
  watch.stop(static_cast<double>(all.size()));
  for (const purchase& p : all) seen.add(p.id, p.customer, p.amount, p.status);
  co_await db.close();
}

cosqlite::task<> fetch_rows(std::string path, digest& seen, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  watch.start();
  const cosqlite::rows all = co_await db.query(orders::read_all);
  watch.stop(static_cast<double>(all.size()));
  for (const cosqlite::row row : all) {
    seen.add(row.get<std::int64_t>(0), row.get<std::int64_t>(1), row.get<double>(2), row.get<std::string_view>(3));
  }
  co_await db.close();
}

void raw_scan(const std::string& path, digest& seen, stopwatch& watch) {
  raw::database db(path);
  watch.start();
  {
    raw::statement select(db, orders::read_all);
    while (select.step()) seen.add(select.integer(0), select.integer(1), select.real(2), select.text(3));
  }
  watch.stop(static_cast<double>(seen.rows));
}

void raw_fetch(const std::string& path, digest& seen, stopwatch& watch) {
  raw::database db(path);
  std::vector<purchase> all;
  watch.start();
  {
    raw::statement select(db, orders::read_all);
    while (select.step()) {
      all.push_back({select.integer(0), select.integer(1), select.real(2), std::string(select.text(3))});
    }
  }
  watch.stop(static_cast<double>(all.size()));
  for (const purchase& p : all) seen.add(p.id, p.customer, p.amount, p.status);
}

}  // namespace

int main(int argc, char** argv) {
  return program("scans", argc, argv, [](suite& s) {
    const std::size_t rows = s.scaled(1'000'000);
    const std::string path = s.fresh_file();
    orders::fill(path, rows);
    const auto compare = [&](const workload& what, void (*raw)(const std::string&, digest&, stopwatch&),
                             cosqlite::task<> (*ours)(std::string, digest&, stopwatch&)) {
      digest theirs, mine;
      s.compare(
          what, [&](stopwatch& w) { theirs = {}, raw(path, theirs, w); },
          [&](stopwatch& w) { mine = {}, cosqlite::run(ours(path, mine, w)); });
      if (theirs.rows && mine.rows && !(theirs == mine)) throw std::runtime_error("the two sides read different rows");
    };
    compare({.name = "scan of 1M rows, streamed", .unit = "rows", .floor = 0.80}, raw_scan, stream_rows);
    compare({.name = "scan of 1M rows, streamed as structs", .unit = "rows"}, raw_scan, stream_structs);
    compare({.name = "scan of 1M rows, fetched into structs", .unit = "rows", .floor = 0.95}, raw_fetch, fetch_structs);
    compare({.name = "scan of 1M rows, fetched untyped", .unit = "rows"}, raw_fetch, fetch_rows);
  });
}
