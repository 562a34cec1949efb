#include "engine/execution.hpp"

#include "engine/binder.hpp"
#include "engine/watched_as_one.hpp"
#include <cosqlite/detail/results.hpp>
#include <cosqlite/execute_result.hpp>

#include <algorithm>
#include <array>
#include <vector>

namespace cosqlite::detail {

namespace {

/// Room for the cells of a row: on the stack for usual ones.
class cell_buffer {
 public:
  cell* fit(int count) {
    const auto n = static_cast<std::size_t>(count);
    if (n <= small_.size()) return small_.data();
    if (large_.size() < n) large_.resize(n);
    return large_.data();
  }

 private:
  std::array<cell, 32> small_;
  std::vector<cell> large_;
};

/// The statement that rows are being decoded from, so that a conversion error can name the column.
constinit thread_local const prepared* decoding = nullptr;
constinit thread_local const operation* decoding_for = nullptr;

struct decoding_scope {
  decoding_scope(const prepared& p, const operation& op) noexcept {
    decoding = &p;
    decoding_for = &op;
  }
  decoding_scope(const decoding_scope&) = delete;
  decoding_scope& operator=(const decoding_scope&) = delete;
  ~decoding_scope() {
    decoding = nullptr;
    decoding_for = nullptr;
  }
};

std::string column_phrase(int column) {
  if (column < 0) return "a value";
  std::string phrase = "column " + std::to_string(column);
  if (!decoding || column >= sqlite3_column_count(decoding->stmt)) return phrase;
  const char* name = sqlite3_column_name(decoding->stmt, column);
  return name ? phrase + " (" + name + ")" : phrase;
}

error::details decoding_details() {
  error::details d{SQLITE_MISMATCH};
  if (!decoding) return d;
  d.sql = decoding->sql;
  d.where = decoding_for->location;
  return d;
}

void check_text(worker& at, const void* data) {
  if (!data && sqlite3_errcode(at.db()) == SQLITE_NOMEM) throw std::bad_alloc();
}

void step_rows(worker& at, operation& op, prepared& p) {
  const operation_type& type = *op.type;
  cell_buffer buffer;
  int rc = at.step(p.stmt);
  if (type.wants_names) op.names = p.column_names_now();
  if (type.begin) type.begin(op);
  if (rc == SQLITE_ROW && type.row) {
    const int columns = sqlite3_data_count(p.stmt);
    cell* cells = buffer.fit(columns);
    const decoding_scope scope(p, op);
    do {
      read_cells(at, p.stmt, cells, columns);
      // A write goes on to its end, whatever rows it returns: only then has it happened.
      if (!type.row(op, cells, columns) && p.traits.read_only) return;
      rc = at.step(p.stmt);
    } while (rc == SQLITE_ROW);
  }
  while (rc == SQLITE_ROW) rc = at.step(p.stmt);
}

}  // namespace

void throw_conversion(const cell& from, int column, std::string_view to) {
  const std::string found(to_string(from.type));
  throw conversion_error("cannot read " + column_phrase(column) + ", which is " + found + ", as " + std::string(to),
                         decoding_details(), column, found, std::string(to));
}

void throw_out_of_range(const cell& from, int column, std::string_view to) {
  const std::string found(to_string(from.type));
  throw conversion_error("the " + found + " in " + column_phrase(column) + " does not fit " + std::string(to),
                         decoding_details(), column, found, std::string(to));
}

void throw_column_count(int columns, std::size_t members) {
  error::details d = decoding_details();
  d.code = SQLITE_MISUSE;
  throw misuse_error("the result has " + std::to_string(columns) + " column" + (columns == 1 ? "" : "s") +
                         ", the type it is read into has " + std::to_string(members),
                     std::move(d));
}

bool exact_integer(double from, std::int64_t& to) noexcept {
  constexpr double limit = 9007199254740992.0;
  if (!(from >= -limit && from <= limit)) return false;
  to = static_cast<std::int64_t>(from);
  return static_cast<double>(to) == from;
}

void throw_no_row(const operation& op) {
  throw no_row_error("the query returned no row", {SQLITE_DONE, std::string(sql_of(op)), op.location});
}

namespace {

/// Text as it lies in the row. sqlite3_column_text would copy it to put a NUL behind it; as a blob it is not touched,
/// which is the same bytes where the database keeps its text in UTF-8.
const char* text_of(sqlite3_stmt* stmt, int i, sqlite3_value* v, bool utf8) {
  return utf8 ? static_cast<const char*>(sqlite3_value_blob(v))
              : reinterpret_cast<const char*>(sqlite3_column_text(stmt, i));
}

}  // namespace

void read_cells(worker& at, sqlite3_stmt* stmt, cell* cells, int count) {
  for (int i = 0; i < count; ++i) {
    cell& c = cells[i];
    // Unprotected, as SQLite calls it: nobody else uses this connection. The type first: reading may change it.
    sqlite3_value* const v = sqlite3_column_value(stmt, i);
    switch (sqlite3_value_type(v)) {
      case SQLITE_INTEGER:
        c.type = value_type::integer;
        c.integer = sqlite3_value_int64(v);
        break;
      case SQLITE_FLOAT:
        c.type = value_type::real;
        c.real = sqlite3_value_double(v);
        break;
      case SQLITE_TEXT:
        c.type = value_type::text;
        c.data = text_of(stmt, i, v, at.keeps_utf8());
        c.size = static_cast<std::uint32_t>(sqlite3_value_bytes(v));
        if (!c.data) [[unlikely]] {
          check_text(at, c.data);
          c.data = "";
        }
        break;
      case SQLITE_BLOB:
        c.type = value_type::blob;
        c.data = static_cast<const char*>(sqlite3_value_blob(v));
        c.size = static_cast<std::uint32_t>(sqlite3_value_bytes(v));
        if (!c.data) {
          check_text(at, c.data);
          c.data = "";
        }
        break;
      default:
        c.type = value_type::null;
        c.integer = 0;
        break;
    }
  }
}

void statement_run::finish(operation& op) {
  // The message of the connection belongs to this statement only until it is reset.
  const int code = sqlite3_extended_errcode(worker_.db());
  const bool failed = (code & 0xff) != SQLITE_OK && (code & 0xff) != SQLITE_ROW && (code & 0xff) != SQLITE_DONE;
  std::exception_ptr failure;
  if (failed) {
    try {
      worker_.fail(op, code);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  const std::shared_ptr<prepared> p = std::move(p_);
  const int rc = worker_.put_back(*p);
  if (rc == SQLITE_OK) return;
  if (failure) std::rethrow_exception(std::move(failure));
  worker_.fail(op, rc);
}

namespace {

/// A call inside a savepoint or a transaction of its own: it has its whole effect or, when it throws, none.
class all_or_nothing {
 public:
  all_or_nothing(worker& at, operation& op) : at_(at), own_(at.in_autocommit()) {
    const char* sql = own_ ? "BEGIN IMMEDIATE" : "SAVEPOINT cosqlite_call";
    if (const int rc = at.run_text(sql); rc != SQLITE_OK) at.fail(op, rc);
  }
  all_or_nothing(const all_or_nothing&) = delete;
  all_or_nothing& operator=(const all_or_nothing&) = delete;
  ~all_or_nothing() {
    if (done_ || at_.in_autocommit()) return;
    // What cannot be undone by itself takes the transaction along.
    if (own_ || at_.undo("ROLLBACK TO cosqlite_call") != SQLITE_OK || at_.undo("RELEASE cosqlite_call") != SQLITE_OK) {
      at_.roll_back();
    }
  }
  void commit(operation& op) {
    if (const int rc = at_.run_text(own_ ? "COMMIT" : "RELEASE cosqlite_call"); rc != SQLITE_OK) at_.fail(op, rc);
    done_ = true;
  }

 private:
  worker& at_;
  bool own_;
  bool done_ = false;
};

void run_once(worker& at, operation& op, statement_run& run) {
  bind_arguments(at, *run, op, op.args);
  // A commit may wait for the disk.
  if (!run->traits.read_only && at.in_autocommit()) at.publish();
  // A function of the user's may take any time. A run that was long may be because another thread had the processor;
  // after two it is the statement.
  if (run->traits.impure || run->long_runs == 2) at.entrust_work();
  step_rows(at, op, *run);
  run->long_runs = at.took_long() ? std::min(run->long_runs + 1, 2) : 0;
  const bool changes_rows = run->traits.changes_rows;
  at.ran(run->traits.read_only && !run->traits.special && !run->traits.impure);
  if (run->traits.special) at.shared_reads().forget_mode();
  if (run->traits.busy_timeout >= 0) at.set_busy_timeout(run->traits.busy_timeout);
  run.finish(op);
  op.changes = changes_rows ? sqlite3_changes64(at.db()) : 0;
  op.last_insert_rowid = sqlite3_last_insert_rowid(at.db());
  if (op.type->end) op.type->end(op);
}

/// Whether the call may fail after its statement has written: where the rows of a RETURNING are decoded.
bool may_fail_late(const operation& op, const prepared& p) noexcept {
  return p.traits.changes_rows && op.type->row && !op.type->wants_names && sqlite3_column_count(p.stmt) > 0;
}

}  // namespace

void run_prepared(worker& at, operation& op, std::shared_ptr<prepared> acquired) {
  const bool guarded = may_fail_late(op, *acquired);
  statement_run run(at, std::move(acquired));
  if (!guarded) return run_once(at, op, run);
  all_or_nothing scope(at, op);
  try {
    run_once(at, op, run);
  } catch (...) {
    run.reset();  // before the rollback
    throw;
  }
  scope.commit(op);
}

void run_statement(worker& at, operation& op) { run_prepared(at, op, at.acquire(op)); }

namespace {

void end_execute(operation& op) { emplace_result<execute_result>(op, op.changes, op.last_insert_rowid); }

void begin_rows(operation& op) {
  auto& batch = emplace_result<row_batch>(op);
  batch.set_names(op.names);
  batch.expect(op.expected_rows);
}

bool add_row(operation& op, cell* cells, int count) {
  result_of<row_batch>(op).add(cells, count);
  return true;
}

}  // namespace

void run_many(worker& at, operation& op) {
  std::int64_t changes = 0;
  all_or_nothing scope(at, op);
  {
    statement_run run(at, at.acquire(op));
    const watched_as_one scope_of_runs(at);
    statement_binder binder(at, op, *run);
    sqlite3_stmt* const stmt = run->stmt;
    const bool counts = run->traits.changes_rows;
    unsigned rows = 0;
    while (op.type->next(op, binder)) {
      binder.check_complete();
      int rc = at.step(stmt);
      while (rc == SQLITE_ROW) rc = at.step(stmt);
      if (rc != SQLITE_DONE) run.finish(op);
      sqlite3_reset(stmt);
      if (counts) changes += sqlite3_changes64(at.db());
      binder.restart();
      // A row may be too few steps for the progress handler to be asked.
      if (++rows % 64 == 0 && at.stop_requested()) at.fail(op, SQLITE_INTERRUPT);
    }
  }
  if (at.stop_requested()) at.fail(op, SQLITE_INTERRUPT);
  scope.commit(op);
  emplace_result<execute_result>(op, changes, static_cast<std::int64_t>(sqlite3_last_insert_rowid(at.db())));
}

void run_script(worker& at, operation& op) {
  const char* next = op.sql.c_str();
  const char* const end = next + op.sql.size();
  while (next < end) {
    if (at.stop_requested()) at.fail(op, SQLITE_INTERRUPT);
    // The statement that ended the transaction was the last one that may run in it.
    if (op.owner != 0 && op.owner == at.owner() && at.in_autocommit()) {
      std::rethrow_exception(transaction_ended_error(op, true));
    }
    sqlite3_stmt* stmt = nullptr;
    const char* tail = nullptr;
    int rc = at.compile_script_statement(next, static_cast<int>(end - next) + 1, &stmt, &tail);
    if (rc == SQLITE_OK && stmt) {
      do rc = at.step(stmt);
      while (rc == SQLITE_ROW);
      if (rc == SQLITE_DONE) rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK) {
      std::exception_ptr failure;
      try {
        at.fail(op, sqlite3_extended_errcode(at.db()),
                std::string_view(next, static_cast<std::size_t>((tail && tail > next ? tail : end) - next)));
      } catch (...) {
        failure = std::current_exception();
      }
      sqlite3_finalize(stmt);
      std::rethrow_exception(std::move(failure));
    }
    sqlite3_finalize(stmt);
    next = tail;
  }
}

const operation_type execute_operation{.run = &run_statement,
                                       .end = &end_execute,
                                       .destroy_result = &destroy_result<execute_result>,
                                       .plain_statement = true};
const operation_type query_operation{.run = &run_statement,
                                     .row = &add_row,
                                     .begin = &begin_rows,
                                     .destroy_result = &destroy_result<row_batch>,
                                     .plain_statement = true,
                                     .wants_names = true};
const operation_type fetch_operation{.run = &run_fetch,
                                     .row = &add_row,
                                     .begin = &begin_rows,
                                     .destroy_result = &destroy_result<row_batch>,
                                     .wants_names = true};
const operation_type script_operation{.run = &run_script};

// ------------------------------------------------------------------------------------------------------------- streams

void run_fetch(worker& at, operation& op) { op.from->fetch(at, op); }

namespace {

constexpr std::uint32_t most_batch_rows = 256;
constexpr std::size_t most_batch_bytes = 128 * 1024;

}  // namespace

void cursor::start(worker& at) {
  started_ = true;
  at_ = ref<executor>(&at);
  since_ = now_ns();
  operation& from = *origin_;
  statement_ = at.acquire(from);
  try {
    bind_arguments(at, *statement_, from, from.args);
  } catch (...) {
    at.put_back(*statement_);
    statement_ = nullptr;
    throw;
  }
  at.add_cursor(*this);
}

void cursor::fetch(worker& at, operation& op) {
  const operation_type& type = *op.type;
  if (!started_) start(at);
  if (expired_) {
    throw transaction_error(
        "the pool has ended this stream: its read transaction was older than pool_options::max_read_age",
        {SQLITE_ABORT, std::string(sql_of(*origin_)), op.location});
  }
  if (ended_ || !statement_) {
    if (!statement_ && !ended_) std::rethrow_exception(closed_call_error(op));
    if (type.wants_names) op.names = std::make_shared<column_names>(std::vector<std::string>());
    type.begin(op);
    op.last = true;
    return;
  }
  prepared& p = *statement_;
  try {
    cell_buffer buffer;
    std::size_t bytes = 0;
    std::uint32_t count = 0;
    const auto step = [this, &at, &p] {
      const int code = has_given_ && !p.traits.read_only ? at.step_on(p.stmt) : at.step(p.stmt);
      has_given_ = has_given_ || code == SQLITE_ROW;
      return code;
    };
    int rc = step();
    if (type.wants_names) op.names = p.column_names_now();
    if (rc == SQLITE_ROW) op.expected_rows = batch_rows_;
    type.begin(op);
    const decoding_scope scope(p, op);
    while (rc == SQLITE_ROW) {
      const int columns = sqlite3_data_count(p.stmt);
      cell* cells = buffer.fit(columns);
      read_cells(at, p.stmt, cells, columns);
      type.row(op, cells, columns);
      for (int i = 0; i < columns; ++i) bytes += cells[i].size;
      if (++count >= batch_rows_ || bytes >= most_batch_bytes) break;
      rc = step();
    }
    batch_rows_ = std::min(most_batch_rows, batch_rows_ * 4);
    if (rc == SQLITE_ROW) return;
    if (rc != SQLITE_DONE) at.fail(op, rc);
  } catch (...) {
    end(at);
    throw;
  }
  op.last = true;
  end(at);
}

void cursor::expire(worker& at) noexcept {
  expired_ = true;
  end(at);
}

void cursor::end(worker& at) noexcept {
  if (!started_) started_ = true;
  if (ended_) return;
  ended_ = true;
  if (!statement_) return;
  at.put_back(*statement_);
  statement_ = nullptr;
  at.remove_cursor(*this);
}

}  // namespace cosqlite::detail
