#include "migration/foreign_keys.hpp"

#include <sqlite3.h>

#include <memory>
#include <string_view>
#include <utility>

namespace cosqlite::detail {

namespace {

constexpr std::string_view orphans_query = "PRAGMA foreign_key_check";

int are_enforced(sqlite3* db) {
  int on = -1;
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, -1, &on);
  return on;
}

template <int On>
void enforce(sqlite3* db) {
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, On, nullptr);
}

void enforce_again(worker& at, operation&) { enforce<1>(native_handle(at)); }

}  // namespace

unenforced_keys::unenforced_keys(call_site site) noexcept : site_(std::move(site)), where_(site_.where) {}

unenforced_keys::~unenforced_keys() {
  if (!armed_) return;
  using kind = callable_type<decltype(&enforce_again), void>;
  operation_ref op = make_operation(site_, kind::urgent);
  op->closure = std::make_unique<callable_holder<decltype(&enforce_again)>>(&enforce_again);
  start_detached(std::move(op));
}

task<> unenforced_keys::begin(transaction& tx) {
  const int on = co_await tx.run(&are_enforced);
  if (on != 1) co_return;
  armed_ = true;
  co_await tx.run(&enforce<0>);
}

task<> unenforced_keys::end(transaction& tx) {
  const bool was_armed = std::exchange(armed_, false);
  if (was_armed) co_await tx.run(&enforce<1>);
}

task<std::vector<orphan>> find_orphans(connection& at) {
  std::vector<orphan> found = co_await at.query<orphan>(orphans_query);
  co_return found;
}

task<std::vector<orphan>> find_orphans(transaction& at) {
  std::vector<orphan> found = co_await at.query<orphan>(orphans_query);
  co_return found;
}

std::string describe(const std::vector<orphan>& orphans) {
  const orphan& first = orphans.front();
  std::string text = std::to_string(orphans.size()) + (orphans.size() == 1 ? " row refers" : " rows refer") +
                     " to rows that do not exist, the first in " + first.table;
  if (first.rowid) text += " (rowid " + std::to_string(*first.rowid) + ")";
  return text + " to " + first.parent;
}

}  // namespace cosqlite::detail
