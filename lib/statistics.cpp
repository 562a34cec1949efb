#include "engine/worker.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/statistics.hpp>

#include <sqlite3.h>

namespace cosqlite::detail {

namespace {

std::int64_t status(sqlite3* db, int what) noexcept {
  int now = 0;
  int high = 0;
  return sqlite3_db_status(db, what, &now, &high, 0) == SQLITE_OK ? now : 0;
}

statement_stats stats_of(sqlite3_stmt* stmt) {
  const auto count = [stmt](int what) { return std::int64_t{sqlite3_stmt_status(stmt, what, 0)}; };
  statement_stats s;
  const char* sql = sqlite3_sql(stmt);
  if (sql) s.sql = sql;
  s.read_only = sqlite3_stmt_readonly(stmt) != 0;
  s.running = sqlite3_stmt_busy(stmt) != 0;
  s.runs = count(SQLITE_STMTSTATUS_RUN);
  s.steps = count(SQLITE_STMTSTATUS_VM_STEP);
  s.full_scan_steps = count(SQLITE_STMTSTATUS_FULLSCAN_STEP);
  s.sorts = count(SQLITE_STMTSTATUS_SORT);
  s.automatic_index_rows = count(SQLITE_STMTSTATUS_AUTOINDEX);
  s.reprepares = count(SQLITE_STMTSTATUS_REPREPARE);
  s.memory = count(SQLITE_STMTSTATUS_MEMUSED);
  return s;
}

}  // namespace

call<connection_stats> connection_statistics(const call_site& site, std::source_location where) {
  const auto work = [](worker& at, operation&) {
    connection_stats s;
    s.calls = at.counted.calls;
    s.groups = at.counted.groups;
    s.grouped_calls = at.counted.grouped_calls;
    s.followed_reads = at.counted.followed_reads;
    s.lost_groups = at.counted.lost_groups;
    s.busy_waits = at.counted.busy_waits;
    s.statements = at.statements().size();
    s.cache_hits = at.counted.cache_hits;
    s.cache_misses = at.counted.cache_misses;
    sqlite3* db = at.db();
    s.pages_read_from_cache = status(db, SQLITE_DBSTATUS_CACHE_HIT);
    s.pages_read_from_file = status(db, SQLITE_DBSTATUS_CACHE_MISS);
    s.pages_written = status(db, SQLITE_DBSTATUS_CACHE_WRITE);
    s.pages_spilled = status(db, SQLITE_DBSTATUS_CACHE_SPILL);
    s.cache_memory = status(db, SQLITE_DBSTATUS_CACHE_USED);
    s.schema_memory = status(db, SQLITE_DBSTATUS_SCHEMA_USED);
    s.statement_memory = status(db, SQLITE_DBSTATUS_STMT_USED);
    s.lookaside_used = status(db, SQLITE_DBSTATUS_LOOKASIDE_USED);
    s.deferred_foreign_keys = status(db, SQLITE_DBSTATUS_DEFERRED_FKS) != 0;
    return s;
  };
  return make_callable(site, work, where);
}

call<std::vector<statement_stats>> statement_statistics(const call_site& site, std::source_location where) {
  const auto work = [](worker& at, operation&) {
    std::vector<statement_stats> all;
    for (sqlite3_stmt* s = sqlite3_next_stmt(at.db(), nullptr); s; s = sqlite3_next_stmt(at.db(), s)) {
      all.push_back(stats_of(s));
    }
    return all;
  };
  return make_callable(site, work, where);
}

call<bool> in_transaction(const call_site& site, std::source_location where) {
  return make_callable(site, [](worker& at, operation&) { return !at.in_autocommit(); }, where);
}

call<std::int64_t> total_changes(const call_site& site, std::source_location where) {
  return make_callable(
      site, [](worker& at, operation&) { return std::int64_t{sqlite3_total_changes64(at.db())}; }, where);
}

call<std::int64_t> data_version(const call_site& site, std::source_location where) {
  const auto work = [](worker& at, operation& op) {
    const char* sql = "PRAGMA data_version";
    sqlite3_stmt* stmt = nullptr;
    int rc = sqlite3_prepare_v2(at.db(), sql, -1, &stmt, nullptr);
    std::int64_t version = 0;
    if (rc == SQLITE_OK) rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
      version = sqlite3_column_int64(stmt, 0);
      rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    if (rc != SQLITE_OK) at.fail(op, rc, sql);
    return version;
  };
  return make_callable(site, work, where);
}

}  // namespace cosqlite::detail
