#include "engine/eponymous_use.hpp"
#include "engine/replaced_database.hpp"
#include "engine/worker.hpp"
#include "own_statement.hpp"
#include "sql_quoting.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/serialize.hpp>

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace cosqlite::detail {

namespace {

constexpr std::size_t header_size = 100;
constexpr std::string_view magic("SQLite format 3\0", 16);
/// Where the header says how the file is written and read: 2 is WAL, which needs a file.
constexpr std::size_t format_at = 18;

struct sqlite_freed {
  void operator()(void* p) const noexcept { sqlite3_free(p); }
};
using sqlite_buffer = std::unique_ptr<unsigned char, sqlite_freed>;

struct closed {
  void operator()(sqlite3* db) const noexcept { sqlite3_close(db); }
};
using private_database = std::unique_ptr<sqlite3, closed>;

bool has_schema(sqlite3* db, const std::string& schema) noexcept {
  return sqlite3_db_readonly(db, schema.c_str()) >= 0;
}

void check_schema(worker& at, operation& op, const std::string& schema) {
  if (has_schema(at.db(), schema)) return;
  throw error("unknown database " + schema, {SQLITE_ERROR, {}, op.location});
}

bytes serialize_now(worker& at, operation& op, const std::string& schema) {
  check_schema(at, op, schema);
  sqlite3_int64 size = 0;
  const sqlite_buffer image(sqlite3_serialize(at.db(), schema.c_str(), &size, 0));
  if (!image && size > 0) throw std::bad_alloc();
  if (size < 0) at.fail(op, sqlite3_extended_errcode(at.db()), {});
  bytes result(static_cast<std::size_t>(size));
  if (size > 0) std::memcpy(result.data(), image.get(), result.size());
  return result;
}

[[noreturn]] void throw_damaged(const std::string& how, const std::source_location& where) {
  throw corrupt_error("cannot deserialize: " + how, {SQLITE_CORRUPT, {}, where});
}

sqlite_buffer copy_of(const bytes& image) {
  sqlite_buffer copy(static_cast<unsigned char*>(sqlite3_malloc64(image.empty() ? 1 : image.size())));
  if (!copy) throw std::bad_alloc();
  if (image.empty()) return copy;
  std::memcpy(copy.get(), image.data(), image.size());
  if (image.size() < header_size) return copy;
  for (const std::size_t at : {format_at, format_at + 1}) {
    if (copy.get()[at] == 2) copy.get()[at] = 1;
  }
  return copy;
}

int stop_when_asked(void* at) noexcept { return static_cast<worker*>(at)->stop_requested() ? 1 : 0; }

/// Looks at the image through a connection of its own, so that a bad one touches nothing. Gives that connection; it
/// reads the image where it is.
private_database check_image(worker& at, operation& op, unsigned char* image, std::size_t size) {
  if (size != 0 && (size < header_size || std::memcmp(image, magic.data(), magic.size()) != 0)) {
    throw_damaged("the bytes are no SQLite database", op.location);
  }
  sqlite3* opened = nullptr;
  int rc = sqlite3_open_v2(":memory:", &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  private_database db(opened);
  if (rc != SQLITE_OK) throw_sqlite_error(opened, rc, {}, op.location, "check the image");
  if (size == 0) return db;
  sqlite3_db_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_progress_handler(opened, 1000, &stop_when_asked, &at);
  const auto n = static_cast<sqlite3_int64>(size);
  rc = sqlite3_deserialize(opened, "main", image, n, n, SQLITE_DESERIALIZE_READONLY);
  sqlite3_stmt* stmt = nullptr;
  if (rc == SQLITE_OK) rc = sqlite3_prepare_v2(opened, "PRAGMA quick_check(1)", -1, &stmt, nullptr);
  std::string found = "ok";
  if (rc == SQLITE_OK) {
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) == SQLITE_TEXT) {
      found = reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0));
    }
  }
  const std::string message = sqlite3_errmsg(opened);
  sqlite3_finalize(stmt);
  if (rc == SQLITE_INTERRUPT) at.fail(op, rc, {});
  if (rc == SQLITE_NOMEM) throw std::bad_alloc();
  if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_IOERR) throw_damaged(message, op.location);
  // Other errors come from functions and collations that only the connection itself knows.
  if (rc == SQLITE_ROW && found != "ok") throw_damaged("the image is damaged: " + found, op.location);
  sqlite3_progress_handler(opened, 0, nullptr, nullptr);
  return db;
}

void check_idle(worker& at, operation& op) {
  bool busy = !at.in_autocommit();
  for (sqlite3_stmt* s = sqlite3_next_stmt(at.db(), nullptr); s; s = sqlite3_next_stmt(at.db(), s)) {
    busy = busy || sqlite3_stmt_busy(s) != 0;
  }
  if (!busy) return;
  throw busy_error("cannot deserialize while a stream, a blob or a transaction of the connection is open",
                   {SQLITE_BUSY, {}, op.location});
}

std::string pragma_of(worker& at, operation& op, const std::string& name) {
  own_statement s(at, op, "PRAGMA main." + name);
  return s.step() ? s.text(0) : std::string();
}

int page_size_of(sqlite3* db) noexcept {
  sqlite3_stmt* stmt = nullptr;
  int size = 0;
  if (sqlite3_prepare_v2(db, "PRAGMA page_size", -1, &stmt, nullptr) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
    size = sqlite3_column_int(stmt, 0);
  sqlite3_finalize(stmt);
  return size;
}

/// Whether "main" is in memory and can take the pages of \p from.
bool takes_pages(worker& at, operation& op, sqlite3* from) {
  const char* file = sqlite3_db_filename(at.db(), "main");
  if ((file && *file) || pragma_of(at, op, "journal_mode") == "delete") return false;
  const std::string size = std::to_string(page_size_of(from));
  if (pragma_of(at, op, "page_count") == "0") at.run_text(("PRAGMA main.page_size = " + size).c_str());
  return pragma_of(at, op, "page_size") == size;
}

/// Page by page into the database that there is.
void copy_pages(worker& at, operation& op, sqlite3* from) {
  constexpr int pages = 256;
  sqlite3_backup* const copy = sqlite3_backup_init(at.db(), "main", from, "main");
  if (!copy) throw_sqlite_error(at.db(), sqlite3_extended_errcode(at.db()), {}, op.location, "deserialize");
  int rc = SQLITE_OK;
  while (rc == SQLITE_OK && !at.stop_requested()) rc = sqlite3_backup_step(copy, pages);
  const int finished = sqlite3_backup_finish(copy);
  if (rc == SQLITE_OK) at.fail(op, SQLITE_INTERRUPT, {});
  if (rc != SQLITE_DONE || finished != SQLITE_OK)
    throw_sqlite_error(at.db(), rc != SQLITE_DONE ? rc : finished, {}, op.location, "deserialize");
}

/// SQLite closes the database that was there, and reads the image where it is.
void put_in_place(worker& at, operation& op, sqlite_buffer image, std::size_t size, const std::string& schema) {
  if (same_name(schema, "main") && at.extended<eponymous_use>()) {
    throw unsupported_error(
        "cannot deserialize here: this connection has used json_each, carray or another table-valued function, and SQLite "
        "would crash at its next use; open a fresh connection to \":memory:\"",
        {SQLITE_ERROR, {}, op.location});
  }
  const auto n = static_cast<sqlite3_int64>(size);
  // SQLite owns the buffer from here on, also when it fails.
  const int rc = sqlite3_deserialize(at.db(), schema.c_str(), image.release(), n, n == 0 ? 1 : n,
                                     SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE);
  if (rc == SQLITE_OK) return;
  if ((rc & 0xff) == SQLITE_BUSY) {
    throw busy_error("cannot deserialize while a backup of the database is under way", {rc, {}, op.location});
  }
  throw_sqlite_error(at.db(), rc, {}, op.location, "deserialize");
}

void deserialize_now(worker& at, operation& op, const bytes& image, const std::string& schema) {
  check_schema(at, op, schema);
  check_idle(at, op);
  sqlite_buffer copy = copy_of(image);
  private_database from = check_image(at, op, copy.get(), image.size());
  // They were compiled for the database that goes.
  at.statements().clear();
  if (same_name(schema, "main") && takes_pages(at, op, from.get())) {
    copy_pages(at, op, from.get());
  } else {
    from = nullptr;
    put_in_place(at, op, std::move(copy), image.size(), schema);
  }
  tell_of_replacement(at);
}

}  // namespace

call<bytes> serialize(const call_site& site, std::string_view schema, std::source_location where) {
  return make_callable(
      site, [schema = std::string(schema)](worker& at, operation& op) { return serialize_now(at, op, schema); }, where);
}

call<> deserialize(const call_site& site, bytes image, std::string_view schema, std::source_location where) {
  return make_callable(
      site,
      [image = std::move(image), schema = std::string(schema)](worker& at, operation& op) {
        deserialize_now(at, op, image, schema);
      },
      where);
}

}  // namespace cosqlite::detail
