#include "engine/errors.hpp"

#include "engine/cursor.hpp"
#include "engine/statement_cache.hpp"

namespace cosqlite::detail {

namespace {

template <class E>
std::exception_ptr make(const std::string& message, error::details d) {
  return std::make_exception_ptr(E(message, std::move(d)));
}

std::exception_ptr by_code(const std::string& message, error::details d) {
  switch (d.code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return make<busy_error>(message, std::move(d));
    case SQLITE_CONSTRAINT: return make<constraint_error>(message, std::move(d));
    case SQLITE_READONLY: return make<readonly_error>(message, std::move(d));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return make<corrupt_error>(message, std::move(d));
    case SQLITE_FULL: return make<full_error>(message, std::move(d));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: return make<io_error>(message, std::move(d));
    case SQLITE_INTERRUPT: return make<cancelled_error>(message, std::move(d));
    case SQLITE_MISUSE:
    case SQLITE_RANGE: return make<misuse_error>(message, std::move(d));
    default: return make<error>(message, std::move(d));
  }
}

std::string shortened(std::string_view sql) {
  constexpr std::size_t most = 300;
  if (sql.size() <= most) return std::string(sql);
  return std::string(sql.substr(0, most)) + " …";
}

std::string advice(int rc) {
  if (rc == SQLITE_BUSY_SNAPSHOT) {
    return "; another connection has written since this transaction first read: run the whole transaction again, or begin it "
           "immediate";
  }
  switch (rc & 0xff) {
    case SQLITE_BUSY: return "; another connection held the lock for longer than busy_timeout";
    case SQLITE_NOTADB: return "; it was not made by SQLite, or it is encrypted";
    default: return {};
  }
}

std::string message_for(sqlite3* db, int rc, std::string_view sql, std::string_view doing, int offset) {
  std::string message;
  if (!doing.empty()) message = "cannot " + std::string(doing) + ": ";
  const char* text = db && sqlite3_extended_errcode(db) == rc ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
  message += text;
  message += advice(rc);
  if (sql.empty()) return message;
  if (offset >= 0) message += ", at offset " + std::to_string(offset);
  return message + (offset >= 0 ? " of: " : ", in: ") + shortened(sql);
}

}  // namespace

std::exception_ptr sqlite_error(sqlite3* db, int rc, std::string_view sql, const std::source_location& where,
                                std::string_view doing) {
  int offset = -1;
  if (db && !sql.empty() && sqlite3_extended_errcode(db) == rc) offset = sqlite3_error_offset(db);
  error::details d{rc, std::string(sql), where, offset};
  return by_code(message_for(db, rc, sql, doing, offset), std::move(d));
}

void throw_sqlite_error(sqlite3* db, int rc, std::string_view sql, const std::source_location& where,
                        std::string_view doing) {
  std::rethrow_exception(sqlite_error(db, rc, sql, where, doing));
}

std::string_view sql_of(const operation& op) noexcept {
  if (op.from) return sql_of(op.from->origin());
  return op.statement ? std::string_view(op.statement->sql) : std::string_view(op.sql);
}

std::exception_ptr stopped_error(const operation& op, timeout_error::stage stage) {
  const std::string_view sql = sql_of(op);
  error::details d{SQLITE_INTERRUPT, std::string(sql), op.location};
  const std::string suffix = sql.empty() ? std::string() : ": " + shortened(sql);
  const stop_reason reason = op.stop.load(std::memory_order_relaxed);
  if (reason == stop_reason::closed)
    return make<closed_error>("the connection was dropped during the call" + suffix, std::move(d));
  if (reason != stop_reason::timed_out) {
    const char* how =
        stage == timeout_error::stage::queue ? "the call was cancelled before it ran" : "the call was cancelled";
    return make<cancelled_error>(how + suffix, std::move(d));
  }
  const char* spent = stage == timeout_error::stage::queue  ? "waiting behind other calls; it never ran"
                      : stage == timeout_error::stage::lock ? "waiting for a lock that another connection holds"
                                                            : "running";
  return std::make_exception_ptr(
      timeout_error(std::string("the deadline passed while the call was ") + spent + suffix, std::move(d), stage));
}

std::exception_ptr closed_call_error(const operation& op) {
  return make<closed_error>("the connection is closed", {SQLITE_MISUSE, std::string(sql_of(op)), op.location});
}

std::exception_ptr transaction_ended_error(const operation& op, bool by_sqlite) {
  const char* message =
      by_sqlite ? "SQLite has ended this transaction after an error (or a COMMIT or ROLLBACK that was typed); "
                  "its changes since then are undone and nothing more runs in it: roll back and begin again"
                : "this transaction has ended: begin a new one";
  return make<transaction_error>(message, {SQLITE_ABORT, std::string(sql_of(op)), op.location});
}

}  // namespace cosqlite::detail
