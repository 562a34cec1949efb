#include "backup_copy.hpp"
#include "engine/new_file.hpp"
#include "engine/worker.hpp"
#include "sql_quoting.hpp"
#include <cosqlite/backup.hpp>
#include <cosqlite/detail/callable.hpp>

#include <sqlite3.h>

#include <exception>
#include <string>

namespace cosqlite::detail {

namespace {

/// VACUUM attaches a database while it runs, whatever is allowed to statements.
class one_attachment {
 public:
  explicit one_attachment(sqlite3* db) noexcept : db_(db), before_(sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, -1)) {
    if (before_ == 0) sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 1);
  }
  one_attachment(const one_attachment&) = delete;
  one_attachment& operator=(const one_attachment&) = delete;
  ~one_attachment() { sqlite3_limit(db_, SQLITE_LIMIT_ATTACHED, before_); }

 private:
  sqlite3* db_;
  int before_;
};

void run_vacuum(worker& at, operation& op, const std::string& path, const std::string& schema) {
  new_file file(path, op.location);
  const char* source = sqlite3_db_filename(at.db(), schema.c_str());
  file.check_place(source);
  const std::string sql = "VACUUM " + quoted_name(schema) + " INTO ?1";
  sqlite3_stmt* stmt = nullptr;
  const one_attachment allowed(at.db());
  int rc = sqlite3_prepare_v2(at.db(), sql.c_str(), -1, &stmt, nullptr);
  if (rc == SQLITE_OK) {
    sqlite3_bind_text(stmt, 1, file.temporary().c_str(), -1, SQLITE_STATIC);
    rc = sqlite3_step(stmt);
  }
  std::exception_ptr failure;
  if (rc != SQLITE_DONE) {
    try {
      at.fail(op, sqlite3_extended_errcode(at.db()), sql);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  sqlite3_finalize(stmt);
  if (failure) std::rethrow_exception(std::move(failure));
  file.take_permissions_of(source);
  sync_file(file.temporary(), op.location);
  publish_file(at, op, file);
}

}  // namespace

call<> vacuum_into(const call_site& site, std::string_view path, std::string_view schema, std::source_location where) {
  return make_callable(
      site,
      [path = std::string(path), schema = std::string(schema)](worker& at, operation& op) {
        run_vacuum(at, op, path, schema);
      },
      where);
}

}  // namespace cosqlite::detail
