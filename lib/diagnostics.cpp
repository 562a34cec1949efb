#include "engine/abilities.hpp"
#include "engine/worker.hpp"
#include "version.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/diagnostics.hpp>

#include <utility>

namespace cosqlite {

std::string_view sqlite_version() noexcept { return sqlite3_libversion(); }
int sqlite_version_number() noexcept { return sqlite3_libversion_number(); }
std::string_view sqlite_source_id() noexcept { return sqlite3_sourceid(); }
std::string_view version() noexcept { return detail::library_version; }

std::vector<std::string> sqlite_compile_options() {
  std::vector<std::string> all;
  for (int i = 0; const char* option = sqlite3_compileoption_get(i); ++i) all.emplace_back(option);
  return all;
}

bool sqlite_compiled_with(std::string_view option) {
  return sqlite3_compileoption_used(std::string(option).c_str()) != 0;
}

bool sqlite_wal_reset_vulnerable() noexcept { return sqlite_wal_reset_vulnerable(sqlite3_libversion_number()); }

bool sqlite_wal_reset_vulnerable(int version_number) noexcept {
  constexpr int first = 3'007'000;
  constexpr int fixed = 3'051'003;
  if (version_number < first || version_number >= fixed) return false;
  const auto is_backport = [version_number](int branch, int from) {
    return version_number >= branch + from && version_number < branch + 1000;
  };
  return !is_backport(3'044'000, 6) && !is_backport(3'050'000, 7);
}

bool complete_statement(std::string_view sql) { return sqlite3_complete(std::string(sql).c_str()) != 0; }

std::string_view to_string(severity level) noexcept {
  switch (level) {
    case severity::danger: return "danger";
    case severity::warning: return "warning";
    case severity::note: break;
  }
  return "note";
}

std::vector<diagnostic> sqlite_diagnostics() {
  std::vector<diagnostic> found;
  const auto add = [&found](severity level, const char* name, std::string text) {
    found.push_back({level, name, std::move(text)});
  };
  const std::string this_version = "SQLite " + std::string(sqlite_version());
  if (sqlite_wal_reset_vulnerable()) {
    add(severity::danger, "wal-reset",
        this_version +
            " can corrupt a WAL database when one connection checkpoints while another writes: write and checkpoint "
            "through one connection (or a pool) in one process, or use SQLite 3.51.3, 3.50.7, 3.44.6 or newer");
  }
  if (sqlite_version_number() < 3'050'002) {
    add(severity::warning, "old-sqlite",
        this_version +
            " is older than 3.50.2; known memory errors with hostile SQL are fixed there (a distribution may have "
            "backported some): do not run SQL from strangers in this process");
  }
  if (sqlite_version_number() < 3'044'000) {
    add(severity::note, "trusted-schema",
        "before SQLite 3.44 trusted_schema must stay on for FTS5 and R-Tree triggers to work");
  }
  if (sqlite3_threadsafe() == 0) {
    add(severity::danger, "single-thread",
        "this SQLite was compiled for a single thread (SQLITE_THREADSAFE=0): it cannot be used");
  }
  if (!detail::has_preupdate_hook()) {
    add(severity::note, "no-preupdate-hook",
        "compiled without SQLITE_ENABLE_PREUPDATE_HOOK: changes() and observe() do not see WITHOUT ROWID tables, nor values");
  }
  if (!detail::has_sessions())
    add(severity::note, "no-sessions", "compiled without SQLITE_ENABLE_SESSION: no changesets");
  return found;
}

namespace detail {

namespace {

bool is_on(sqlite3* db, int flag) noexcept {
  int now = 0;
  return sqlite3_db_config(db, flag, -1, &now) == SQLITE_OK && now != 0;
}

std::string pragma(sqlite3* db, const char* sql) {
  sqlite3_stmt* stmt = nullptr;
  std::string answer;
  if (sqlite3_prepare_v2(db, sql, -1, &stmt, nullptr) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0));
    if (text) answer = text;
  }
  sqlite3_finalize(stmt);
  return answer;
}

}  // namespace

call<std::vector<diagnostic>> diagnose(const call_site& site, std::source_location where) {
  const auto work = [](worker& at, operation&) {
    std::vector<diagnostic> found = sqlite_diagnostics();
    const auto add = [&found](severity level, const char* name, const char* text) {
      found.push_back({level, name, text});
    };
    sqlite3* db = at.db();
    if (!is_on(db, SQLITE_DBCONFIG_DEFENSIVE)) {
      add(severity::warning, "not-defensive",
          "defensive is off: SQL can corrupt the file on purpose (writable_schema, shadow tables)");
    }
    if (!is_on(db, SQLITE_DBCONFIG_ENABLE_FKEY))
      add(severity::warning, "no-foreign-keys", "foreign keys are not enforced");
    if (is_on(db, SQLITE_DBCONFIG_DQS_DML) || is_on(db, SQLITE_DBCONFIG_DQS_DDL)) {
      add(severity::warning, "double-quoted-strings", "a misspelt \"column\" in double quotes is taken for a string");
    }
    if (is_on(db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER)) {
      add(severity::danger, "fts3-tokenizer", "fts3_tokenizer() is on: SQL can read and call addresses in memory");
    }
    if (is_on(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION)) {
      add(severity::danger, "load-extension", "extensions may be loaded: native code can be brought into the process");
    }
    if (is_on(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA))
      add(severity::danger, "writable-schema", "writable_schema is on: SQL can damage the schema");
    if (is_on(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA)) {
      add(severity::note, "trusted-schema-on",
          "views and triggers of the file may call any function: open files of doubtful origin with "
          "open_options::untrusted_file()");
    }
    const std::string synchronous = pragma(db, "PRAGMA synchronous");
    const std::string journal = pragma(db, "PRAGMA journal_mode");
    if (synchronous == "0") {
      add(severity::danger, "synchronous-off", "synchronous is off: a power loss can corrupt the file");
    } else if (synchronous == "1") {
      add(severity::warning, "synchronous-normal",
          "synchronous is normal: a power loss can undo commits that were acknowledged");
    }
    if (journal == "off" || (journal == "memory" && !at.path().empty() && at.path() != ":memory:")) {
      add(severity::danger, "no-journal", "there is no journal on disk: a crash in a transaction can corrupt the file");
    }
    return found;
  };
  return make_callable(site, work, where);
}

}  // namespace detail

}  // namespace cosqlite
