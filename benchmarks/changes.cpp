// What it costs to watch the rows: our bulk insert without and with a subscriber of changes().
#include "events.hpp"
#include <cosqlite/cosqlite.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace bench;

namespace {

using rows_of_events = std::vector<events::event>;

struct watching {
  bool watched = false;
  bool read = false;  // also take what comes, as a replica would
  cosqlite::changes_options options;
};

/// Reads on until all changes have come, lost ones counted.
cosqlite::task<std::uint64_t> drain(cosqlite::change_stream* from, std::size_t expected) {
  std::uint64_t count = 0;
  while (count < expected) {
    const std::optional<cosqlite::change> c = co_await from->next();
    if (!c) break;
    count += c->missed != 0 ? c->missed : 1;
  }
  co_return count;
}

cosqlite::task<> insert(std::string path, const rows_of_events& rows, watching how, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  std::optional<cosqlite::change_stream> stream;
  if (how.watched) stream.emplace(co_await db.changes(how.options));
  watch.start();
  const cosqlite::execute_result done = co_await db.execute_many(events::insert, rows);
  std::uint64_t seen = rows.size();
  if (how.read) seen = co_await drain(&*stream, rows.size());
  watch.stop(static_cast<double>(done.changes));
  if (seen != rows.size()) throw std::runtime_error("changes are missing");
  stream.reset();
  co_await db.close();
}

}  // namespace

int main(int argc, char** argv) {
  return program("changes", argc, argv, [](suite& s) {
    rows_of_events rows(s.scaled(1'000'000));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = {static_cast<std::int64_t>(i), events::message};
    const auto run = [&](stopwatch& w, watching how) {
      const std::string path = events::file(s);
      cosqlite::run(insert(path, rows, how, w));
      events::check_count(path, rows.size());
    };
    const side plain = [&](stopwatch& w) { run(w, {}); };
    watching subscribed{.watched = true, .options = {}};
    s.compare({.name = "bulk insert, with a subscriber", .unit = "rows", .floor = 0.90}, plain,
              [&](stopwatch& w) { run(w, subscribed); });
    watching roomy = subscribed;
    roomy.options.buffer = rows.size();
    s.compare({.name = "the same, every row kept", .unit = "rows", .floor = 0.90}, plain,
              [&](stopwatch& w) { run(w, roomy); });
    watching read = roomy;
    read.read = true;
    s.compare({.name = "the same, every row kept and read", .unit = "rows"}, plain,
              [&](stopwatch& w) { run(w, read); });
    watching by_update_hook = roomy;
    by_update_hook.options.source = cosqlite::row_source::update_hook;
    s.compare({.name = "the same, by the update hook", .unit = "rows"}, plain,
              [&](stopwatch& w) { run(w, by_update_hook); });
    watching values = roomy;
    values.options.values = true;
    s.compare({.name = "the same, with the rows' values", .unit = "rows"}, plain,
              [&](stopwatch& w) { run(w, values); });
  });
}
