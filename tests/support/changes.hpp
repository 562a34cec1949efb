#pragma once

#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace support {

using lines = std::vector<std::string>;

inline std::string describe(const cosqlite::change& c) {
  if (c.missed != 0) return "gap " + std::to_string(c.missed);
  std::string line = std::string(to_string(c.operation)) + " " + c.table + " " + std::to_string(c.rowid);
  if (c.old_rowid != c.rowid) line += " from " + std::to_string(c.old_rowid);
  return line;
}

/// Everything that was committed up to now.
inline cosqlite::task<lines> all(cosqlite::connection& db, cosqlite::change_stream& from) {
  lines seen;
  co_await db.execute("INSERT OR REPLACE INTO end_mark VALUES (1)");
  while (std::optional<cosqlite::change> c = co_await from.next()) {
    std::string line = describe(*c);
    if (c->table == "end_mark") break;
    seen.push_back(std::move(line));
  }
  co_return seen;
}

template <class F>
void with_database(const char* schema, F body, cosqlite::open_options options = {}) {
  const temp_database file;
  on_loop([&]() -> cosqlite::task<> {
    cosqlite::connection db = co_await cosqlite::open(file.path(), options);
    co_await db.execute("CREATE TABLE end_mark(id INTEGER PRIMARY KEY)");
    co_await db.execute_script(schema);
    co_await body(db);
    co_await db.close();
  });
}

inline constexpr const char* table_t = "CREATE TABLE t(id INTEGER PRIMARY KEY, a)";

inline cosqlite::changes_options by_update_hook() {
  cosqlite::changes_options o;
  o.source = cosqlite::row_source::update_hook;
  return o;
}

inline cosqlite::changes_options by_preupdate_hook() {
  cosqlite::changes_options o;
  o.source = cosqlite::row_source::preupdate_hook;
  return o;
}

/// The same test with either of SQLite's hooks.
template <class F>
void with_each_source(const char* schema, F body) {
  SECTION("preupdate hook") {
    with_database(schema, [&](cosqlite::connection& db) -> cosqlite::task<> {
      cosqlite::change_stream changes = co_await db.changes(by_preupdate_hook());
      co_await body(db, changes);
    });
  }
  SECTION("update hook") {
    with_database(schema, [&](cosqlite::connection& db) -> cosqlite::task<> {
      cosqlite::change_stream changes = co_await db.changes(by_update_hook());
      co_await body(db, changes);
    });
  }
}

}  // namespace support
