#include "migration/history.hpp"

#include <string_view>

namespace cosqlite::detail {

namespace {

constexpr std::string_view table_query =
    "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'cosqlite_migrations'";
constexpr std::string_view entries_query =
    "SELECT version, name, checksum, applied_at, duration_us FROM main.cosqlite_migrations ORDER BY version";
constexpr std::string_view create_table =
    "CREATE TABLE IF NOT EXISTS main.cosqlite_migrations(version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, "
    "applied_at TEXT NOT NULL, duration_us INTEGER NOT NULL) STRICT";

template <class Queries>
task<migration_history> read(Queries& at) {
  migration_history h;
  h.application_id = co_await at.template query_one<std::int64_t>("PRAGMA main.application_id");
  const auto tables = co_await at.template query_one<std::int64_t>(table_query);
  h.table_exists = tables != 0;
  if (h.table_exists) h.entries = co_await at.template query<history_entry>(entries_query);
  co_return h;
}

}  // namespace

task<migration_history> read_history(connection& at) { return read(at); }
task<migration_history> read_history(transaction& at) { return read(at); }

task<> create_history(transaction& tx) {
  const std::string_view sql = create_table;
  co_await tx.execute(sql);
}

task<> add_to_history(transaction& tx, history_entry entry) {
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  co_await tx.execute("INSERT INTO main.cosqlite_migrations VALUES (?, ?, ?, ?, ?)", entry.version, entry.name,
                      entry.checksum, now, entry.duration);
}

task<> remove_from_history(transaction& tx, std::int64_t version) {
  const std::string_view sql = "DELETE FROM main.cosqlite_migrations WHERE version = ?";
  co_await tx.execute(sql, version);
}

task<> set_application_id(transaction& tx, std::int32_t id) {
  const std::string pragma = "PRAGMA main.application_id = " + std::to_string(id);
  co_await tx.execute(pragma);
}

}  // namespace cosqlite::detail
