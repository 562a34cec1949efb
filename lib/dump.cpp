#include "engine/worker.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/dump.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/transaction.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>

namespace cosqlite::detail {

namespace {

// ------------------------------------------------------------------------------------------------------ text and names

std::string quoted(std::string_view text, char quote) {
  std::string q(1, quote);
  for (const char c : text) q.append(c == quote ? 2 : 1, c);
  return q += quote;
}
std::string name(std::string_view n) { return quoted(n, '"'); }
std::string literal(std::string_view text) { return quoted(text, '\''); }

std::string lower(std::string_view s) {
  std::string l(s);
  for (char& c : l) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return l;
}

bool same_name(std::string_view a, std::string_view b) { return lower(a) == lower(b); }

/// A statement of the library's own.
class select {
 public:
  select(worker& at, operation& op, const std::string& sql) : at_(at), op_(&op), sql_(sql) {
    const int rc = sqlite3_prepare_v2(at.db(), sql.c_str(), static_cast<int>(sql.size()), &stmt_, nullptr);
    if (rc != SQLITE_OK) at.fail(op, rc, sql_);
  }
  select(const select&) = delete;
  select& operator=(const select&) = delete;
  ~select() { sqlite3_finalize(stmt_); }

  select& with(std::string_view text) {
    sqlite3_bind_text(stmt_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return *this;
  }
  /// The call that it goes on for.
  void go_on_for(operation& op) noexcept { op_ = &op; }
  bool step() {
    const int rc = sqlite3_step(stmt_);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) at_.fail(*op_, rc, sql_);
    return false;
  }
  [[nodiscard]] sqlite3_stmt* get() const noexcept { return stmt_; }
  [[nodiscard]] std::string text(int i) const {
    const auto* t = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, i));
    return t ? std::string(t, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, i))) : std::string();
  }
  [[nodiscard]] std::int64_t integer(int i) const { return sqlite3_column_int64(stmt_, i); }

 private:
  worker& at_;
  operation* op_;
  std::string sql_;
  sqlite3_stmt* stmt_ = nullptr;
  int bound_ = 0;
};

// -------------------------------------------------------------------------------------------------------------- values

/// Writes reals so that SQLite, whose reader of decimals does not always round right, reads the very same number.
class real_writer {
 public:
  explicit real_writer(sqlite3* db) { sqlite3_prepare_v2(db, "SELECT CAST(?1 AS REAL)", -1, &stmt_, nullptr); }
  real_writer(const real_writer&) = delete;
  real_writer& operator=(const real_writer&) = delete;
  ~real_writer() { sqlite3_finalize(stmt_); }

  void append(std::string& to, double v) {
    if (std::isinf(v)) {
      to += v > 0 ? "9e999" : "-9e999";
      return;
    }
    std::array<char, 64> text;
    const auto shortest = std::to_chars(text.data(), text.data() + text.size(), v);
    std::string_view digits(text.data(), static_cast<std::size_t>(shortest.ptr - text.data()));
    std::string candidate(digits);
    if (candidate.find_first_of(".e") == std::string::npos) candidate += ".0";
    if (reads_back(candidate, v)) {
      to += candidate;
      return;
    }
    append_exactly(to, v);
  }

 private:
  bool reads_back(const std::string& text, double v) {
    if (!stmt_) return true;
    sqlite3_bind_text(stmt_, 1, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    const bool same = sqlite3_step(stmt_) == SQLITE_ROW &&
                      std::bit_cast<std::uint64_t>(sqlite3_column_double(stmt_, 0)) == std::bit_cast<std::uint64_t>(v);
    sqlite3_reset(stmt_);
    return same;
  }
  /// As a whole number times or over powers of two, each of which SQLite reads and multiplies exactly.
  static void append_exactly(std::string& to, double v) {
    int exponent = 0;
    const double fraction = std::frexp(v, &exponent);
    const auto mantissa = static_cast<std::int64_t>(std::ldexp(fraction, 53));
    exponent -= 53;
    to += "(CAST(" + std::to_string(mantissa) + " AS REAL)";
    const char* sign = exponent < 0 ? "/" : "*";
    for (int left = std::abs(exponent); left > 0; left -= std::min(left, 52)) {
      to += sign + std::to_string(std::int64_t{1} << std::min(left, 52)) + ".0";
    }
    to += ")";
  }

  sqlite3_stmt* stmt_ = nullptr;
};

/// SQL cannot hold a NUL: another mark stands for it, and is put back when the statement runs.
void append_text(std::string& to, std::string_view text) {
  if (text.find('\0') == std::string_view::npos) {
    to += literal(text);
    return;
  }
  std::string mark = "\x01";
  while (text.find(mark) != std::string_view::npos) mark = "{nul" + std::to_string(mark.size()) + "}" + mark;
  std::string marked;
  for (const char c : text) {
    if (c == '\0') {
      marked += mark;
    } else {
      marked += c;
    }
  }
  to += "replace(" + literal(marked) + "," + literal(mark) + ",char(0))";
}

void append_blob(std::string& to, const unsigned char* data, std::size_t size) {
  constexpr char digits[] = "0123456789abcdef";
  to += "x'";
  for (std::size_t i = 0; i < size; ++i) {
    to += digits[data[i] >> 4];
    to += digits[data[i] & 15];
  }
  to += '\'';
}

void append_value(std::string& to, sqlite3_stmt* stmt, int i, real_writer& reals) {
  switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER: to += std::to_string(sqlite3_column_int64(stmt, i)); break;
    case SQLITE_FLOAT: reals.append(to, sqlite3_column_double(stmt, i)); break;
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt, i));
      if (!text) throw std::bad_alloc();
      append_text(to, {text, static_cast<std::size_t>(sqlite3_column_bytes(stmt, i))});
      break;
    }
    case SQLITE_BLOB: {
      const auto* data = static_cast<const unsigned char*>(sqlite3_column_blob(stmt, i));
      const int size = sqlite3_column_bytes(stmt, i);
      if (!data && size > 0) throw std::bad_alloc();
      append_blob(to, data, static_cast<std::size_t>(size));
      break;
    }
    default: to += "NULL"; break;
  }
}

// ---------------------------------------------------------------------------------------------------- what is to be
// done

/// A literal statement, or the rows of a query behind the beginning of an INSERT.
struct step {
  std::string text;
  std::string query;
};

struct object {
  std::string type, name, table, sql;
};

struct table_column {
  std::string name, type;
  int primary_key = 0;
  int hidden = 0;
};

/// The text between the parentheses of a CREATE VIRTUAL TABLE, split at its commas, without the module's name.
struct module_call {
  std::string module;
  std::vector<std::string> arguments;
};

/// Skips one token of SQL: a quoted piece, a comment, or a character.
std::size_t token_end(std::string_view sql, std::size_t i) {
  const char c = sql[i];
  const auto past = [&](std::string_view end, std::size_t from) {
    const std::size_t found = sql.find(end, from);
    return found == std::string_view::npos ? sql.size() : found + end.size();
  };
  if (c == '[') return past("]", i + 1);
  if (sql.substr(i, 2) == "--") return past("\n", i + 2);
  if (sql.substr(i, 2) == "/*") return past("*/", i + 2);
  if (c != '"' && c != '\'' && c != '`') return i + 1;
  // A doubled quote ends one token here and begins another, which comes to the same.
  return past(std::string_view(&sql[i], 1), i + 1);
}

std::string trimmed(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\r\n\f");
  if (first == std::string_view::npos) return {};
  return std::string(s.substr(first, s.find_last_not_of(" \t\r\n\f") - first + 1));
}

std::string unquoted(const std::string& s) {
  if (s.size() < 2 || (s[0] != '"' && s[0] != '\'' && s[0] != '`' && s[0] != '[')) return s;
  std::string u;
  for (std::size_t i = 1; i + 1 < s.size(); ++i) {
    if (s[i] == s[0] && s[i + 1] == s[0]) ++i;
    u += s[i];
  }
  return u;
}

module_call module_of(std::string_view sql) {
  module_call found;
  std::size_t i = 0;
  // "USING" as a word of its own, outside of quotes.
  std::string word;
  bool named = false;
  while (i < sql.size()) {
    const std::size_t end = token_end(sql, i);
    const auto c = static_cast<unsigned char>(sql[i]);
    const bool in_word = end == i + 1 && (std::isalnum(c) || c == '_');
    if (in_word) {
      word += sql[i];
    } else if (!word.empty()) {
      if (named) break;
      named = lower(word) == "using";
      word.clear();
    }
    if (named && !in_word && end > i + 1 && sql[i] != '-' && sql[i] != '/') {
      word = unquoted(std::string(sql.substr(i, end - i)));
      i = end;
      break;
    }
    i = end;
  }
  found.module = lower(word);
  while (i < sql.size() && sql[i] != '(') i = token_end(sql, i);
  if (i == sql.size()) return found;
  std::string argument;
  int depth = 1;
  for (++i; i < sql.size();) {
    const std::size_t end = token_end(sql, i);
    if (sql[i] == '(') ++depth;
    if (sql[i] == ')' && --depth == 0) break;
    if (sql[i] == ',' && depth == 1) {
      found.arguments.push_back(trimmed(argument));
      argument.clear();
    } else {
      argument += sql.substr(i, end - i);
    }
    i = end;
  }
  found.arguments.push_back(trimmed(argument));
  return found;
}

/// The value of `key=value` among the arguments.
std::optional<std::string> option_of(const module_call& call, std::string_view key) {
  for (const std::string& a : call.arguments) {
    const auto equals = a.find('=');
    if (equals == std::string::npos || !same_name(trimmed(a.substr(0, equals)), key)) continue;
    return unquoted(trimmed(a.substr(equals + 1)));
  }
  return std::nullopt;
}

std::string ended(const std::string& sql) {
  const auto last_line = sql.find_last_of('\n');
  const bool comment = sql.find("--", last_line == std::string::npos ? 0 : last_line) != std::string::npos;
  return sql + (comment ? "\n;" : ";");
}

/// Reads the schema and decides on all steps.
class planner {
 public:
  planner(worker& at, operation& op, std::string like, std::string schema)
      : at_(at), op_(op), like_(std::move(like)), schema_(std::move(schema)) {}

  std::vector<step> plan() {
    if (sqlite3_db_readonly(at_.db(), schema_.c_str()) < 0) {
      throw error("unknown database " + schema_, {SQLITE_ERROR, {}, op_.location});
    }
    read_schema();
    if (const std::string encoding = pragma("encoding"); encoding != "UTF-8")
      say("PRAGMA encoding = '" + encoding + "';");
    say("PRAGMA foreign_keys=OFF;");
    say("BEGIN TRANSACTION;");
    for (const char* p : {"application_id", "user_version"}) {
      const std::string v = pragma(p);
      if (like_.empty() && v != "0") say(std::string("PRAGMA ") + p + "=" + v + ";");
    }
    for (const object& o : objects_) {
      if (o.type == "table" && !is_virtual(o) && wanted(o.name)) add_table(o);
    }
    for (const object& o : objects_) {
      if (is_virtual(o) && wanted(o.name)) add_virtual_table(o);
    }
    add_sequences();
    add_others("index");
    add_others("view");
    add_others("trigger");
    for (std::string& s : rebuilds_) say(std::move(s));
    add_statistics();
    say("COMMIT;");
    return std::move(steps_);
  }

 private:
  void say(std::string text) { steps_.push_back({std::move(text), {}}); }
  [[nodiscard]] std::string in_schema(std::string_view table) const { return name(schema_) + "." + name(table); }

  std::string pragma(const std::string& p) {
    select s(at_, op_, "PRAGMA " + name(schema_) + "." + p);
    return s.step() ? s.text(0) : std::string();
  }

  void read_schema() {
    select all(at_, op_, "SELECT type, name, tbl_name, sql FROM " + name(schema_) + ".sqlite_schema ORDER BY rowid");
    while (all.step()) objects_.push_back({all.text(0), all.text(1), all.text(2), all.text(3)});
    select kinds(at_, op_, "SELECT name, type, wr FROM pragma_table_list WHERE schema = ?1");
    kinds.with(schema_);
    while (kinds.step()) {
      const std::string n = kinds.text(0);
      if (kinds.text(1) == "shadow") shadows_.insert(lower(n));
      if (kinds.integer(2) != 0) without_rowid_.insert(lower(n));
    }
    select match(at_, op_, "SELECT name FROM " + name(schema_) + ".sqlite_schema WHERE ?1 = '' OR name LIKE ?1");
    match.with(like_);
    while (match.step()) wanted_.insert(lower(match.text(0)));
  }

  [[nodiscard]] bool wanted(const std::string& n) const {
    return wanted_.contains(lower(n)) && !shadows_.contains(lower(n)) && !lower(n).starts_with("sqlite_");
  }
  static bool is_virtual(const object& o) {
    return o.type == "table" && lower(trimmed(o.sql)).starts_with("create virtual");
  }

  std::vector<table_column> columns_of(const std::string& table) {
    select s(at_, op_, "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?1, ?2) ORDER BY cid");
    s.with(table).with(schema_);
    std::vector<table_column> columns;
    while (s.step()) {
      columns.push_back({s.text(0), s.text(1), static_cast<int>(s.integer(2)), static_cast<int>(s.integer(3))});
    }
    return columns;
  }

  /// The name by which the rowid can be read and written, where no column is it.
  std::string hidden_rowid(const std::string& table, const std::vector<table_column>& columns) {
    if (without_rowid_.contains(lower(table))) return {};
    const auto keys = std::ranges::count_if(columns, [](const table_column& c) { return c.primary_key > 0; });
    const auto key = std::ranges::find_if(columns, [](const table_column& c) { return c.primary_key > 0; });
    if (keys == 1 && same_name(key->type, "INTEGER")) {
      select own_index(at_, op_, "SELECT 1 FROM pragma_index_list(?1, ?2) WHERE origin = 'pk'");
      own_index.with(table).with(schema_);
      if (!own_index.step()) return {};
    }
    for (const char* candidate : {"rowid", "_rowid_", "oid"}) {
      const bool taken =
          std::ranges::any_of(columns, [&](const table_column& c) { return same_name(c.name, candidate); });
      if (!taken) return candidate;
    }
    return {};
  }

  void add_rows(const std::string& table, const std::vector<std::string>& columns) {
    std::string list;
    for (const std::string& c : columns) list += (list.empty() ? "" : ",") + c;
    steps_.push_back(
        {"INSERT INTO " + name(table) + "(" + list + ") VALUES(", "SELECT " + list + " FROM " + in_schema(table)});
  }

  void add_table(const object& o) {
    say(ended(o.sql));
    const std::vector<table_column> columns = columns_of(o.name);
    std::vector<std::string> names;
    if (std::string rowid = hidden_rowid(o.name, columns); !rowid.empty()) names.push_back(std::move(rowid));
    for (const table_column& c : columns) {
      if (c.hidden == 0) names.push_back(name(c.name));
    }
    add_rows(o.name, names);
  }

  [[nodiscard]] bool has_shadow(const std::string& table, const char* suffix) const {
    return shadows_.contains(lower(table) + suffix);
  }

  void add_virtual_table(const object& o) {
    say(ended(o.sql));
    const module_call call = module_of(o.sql);
    if (call.module == "fts5") return add_fts(o, call, "rowid");
    if (call.module == "fts4" || call.module == "fts3") return add_fts(o, call, "docid");
    if (call.module == "rtree" || call.module == "rtree_i32") return add_columns(o, {});
    if (call.module == "geopoly") return add_columns(o, "rowid");
    const bool keeps_tables =
        std::ranges::any_of(shadows_, [&o](const std::string& s) { return s.starts_with(lower(o.name) + "_"); });
    if (keeps_tables) refuse(o, "belongs to the module " + call.module + ", whose tables cannot be written as SQL");
  }

  [[noreturn]] void refuse(const object& o, const std::string& why) const {
    throw unsupported_error("cannot dump the virtual table " + o.name + ": it " + why +
                                "; leave it out with dump_options::like, or use backup",
                            {SQLITE_ERROR, {}, op_.location});
  }

  void add_columns(const object& o, const std::string& rowid) {
    std::vector<std::string> names;
    if (!rowid.empty()) names.push_back(rowid);
    for (const table_column& c : columns_of(o.name)) {
      if (c.hidden == 0) names.push_back(name(c.name));
    }
    add_rows(o.name, names);
  }

  void add_fts(const object& o, const module_call& call, const char* rowid) {
    const bool five = call.module == "fts5";
    if (five) add_fts5_settings(o);
    const std::optional<std::string> content = option_of(call, "content");
    if (content && content->empty()) {
      const char* suffix = has_shadow(o.name, "_docsize") ? "_docsize" : five ? "_idx" : "_segdir";
      select any(at_, op_, "SELECT 1 FROM " + in_schema(o.name + suffix) + " LIMIT 1");
      if (any.step()) refuse(o, "is contentless, so its text is not in the database");
      return;
    }
    if (content) {
      rebuilds_.push_back("INSERT INTO " + name(o.name) + "(" + name(o.name) + ") VALUES('rebuild');");
      return;
    }
    std::vector<std::string> names{rowid};
    const std::vector<table_column> columns = columns_of(o.name);
    for (const table_column& c : columns) {
      if (c.hidden == 0) names.push_back(name(c.name));
    }
    if (const auto language = option_of(call, "languageid")) names.push_back(name(*language));
    add_rows(o.name, names);
  }

  void add_fts5_settings(const object& o) {
    if (!has_shadow(o.name, "_config")) return;
    const std::string begin = "INSERT INTO " + name(o.name) + "(" + name(o.name) + ",rank) VALUES(";
    steps_.push_back({begin, "SELECT k, v FROM " + in_schema(o.name + "_config") + " WHERE k <> 'version'"});
  }

  void add_others(const char* type) {
    for (const object& o : objects_) {
      const bool taken = o.type == "view" ? wanted(o.name) : wanted(o.table);
      if (o.type == type && taken && !o.sql.empty()) say(ended(o.sql));
    }
  }

  [[nodiscard]] bool has_table(const char* table) const {
    return std::ranges::any_of(objects_, [table](const object& o) { return o.type == "table" && o.name == table; });
  }

  void add_sequences() {
    if (!has_table("sqlite_sequence")) return;
    select all(at_, op_, "SELECT name, seq FROM " + name(schema_) + ".sqlite_sequence");
    while (all.step()) {
      const std::string table = all.text(0);
      if (!wanted(table)) continue;
      std::string values;
      append_text(values, table);
      say("DELETE FROM sqlite_sequence WHERE name=" + values + ";");
      say("INSERT INTO sqlite_sequence(name,seq) VALUES(" + values + "," + std::to_string(all.integer(1)) + ");");
    }
  }

  void add_statistics() {
    if (!has_table("sqlite_stat1")) return;
    say("ANALYZE sqlite_schema;");
    std::string only;
    if (!like_.empty()) only = " WHERE tbl LIKE " + literal(like_);
    say("DELETE FROM sqlite_stat1" + only + ";");
    steps_.push_back({"INSERT INTO sqlite_stat1(tbl,idx,stat) VALUES(",
                      "SELECT tbl, idx, stat FROM " + name(schema_) + ".sqlite_stat1" + only});
    say("ANALYZE sqlite_schema;");
  }

  worker& at_;
  operation& op_;
  std::string like_;
  std::string schema_;
  std::vector<object> objects_;
  std::set<std::string> shadows_;
  std::set<std::string> without_rowid_;
  std::set<std::string> wanted_;
  std::vector<std::string> rebuilds_;
  std::vector<step> steps_;
};

// ------------------------------------------------------------------------------------------------------------ the
// stream

constexpr std::size_t batch_bytes = 128 * 1024;

/// A dump under way; the worker's, but for `owner`.
class dumping {
 public:
  std::string like;
  std::string schema;
  std::uint64_t owner = 0;
  bool begun = false;
  bool ended = false;

  void fill(worker& at, operation& op, std::vector<std::string>& batch) {
    std::size_t bytes = 0;
    while (bytes < batch_bytes && next_ < steps_.size()) {
      const step& s = steps_[next_];
      if (s.query.empty()) {
        bytes += s.text.size();
        batch.push_back(s.text);
        ++next_;
        continue;
      }
      if (!rows_) rows_ = std::make_unique<select>(at, op, s.query);
      rows_->go_on_for(op);
      if (!rows_->step()) {
        rows_ = nullptr;
        ++next_;
        continue;
      }
      std::string sql = s.text;
      const int columns = sqlite3_column_count(rows_->get());
      for (int i = 0; i < columns; ++i) {
        if (i > 0) sql += ',';
        append_value(sql, rows_->get(), i, *reals_);
      }
      sql += ");";
      bytes += sql.size();
      batch.push_back(std::move(sql));
    }
    op.last = next_ == steps_.size();
  }
  void plan(worker& at, operation& op) {
    steps_ = planner(at, op, like, schema).plan();
    reals_ = std::make_unique<real_writer>(at.db());
  }
  void let_go() noexcept {
    ended = true;
    rows_ = nullptr;
    reals_ = nullptr;
    steps_.clear();
  }

 private:
  std::vector<step> steps_;
  std::size_t next_ = 0;
  std::unique_ptr<select> rows_;
  std::unique_ptr<real_writer> reals_;
};

using shared_dump = std::shared_ptr<dumping>;

/// The dumps of a connection: their statements go before it does.
class open_dumps final : public extension {
 public:
  explicit open_dumps(worker&) {}
  ~open_dumps() override {
    for (const shared_dump& d : all_) d->let_go();
  }
  void add(shared_dump d) { all_.push_back(std::move(d)); }
  void transaction_ended(std::uint64_t owner) noexcept override {
    std::erase_if(all_, [owner](const shared_dump& d) {
      if (d->owner != owner) return false;
      d->let_go();
      return true;
    });
  }

 private:
  std::vector<shared_dump> all_;
};

struct dump_job final : holder {
  shared_dump of;
};

dumping& dump_of(operation& op) noexcept { return *static_cast<dump_job&>(*op.closure).of; }

void end_dump(worker& at, dumping& d) noexcept {
  if (d.ended) return;
  d.let_go();
  if (d.begun && d.owner == at.owner()) at.end_transaction();
}

void run_next(worker& at, operation& op) {
  dumping& d = dump_of(op);
  auto& batch = emplace_result<std::vector<std::string>>(op);
  if (d.ended) throw closed_error("the dump has ended", {SQLITE_MISUSE, {}, op.location});
  try {
    d.fill(at, op, batch);
  } catch (...) {
    end_dump(at, d);
    throw;
  }
  if (op.last) end_dump(at, d);
}

void run_first(worker& at, operation& op) {
  dumping& d = dump_of(op);
  const bool own = op.owner == 0;
  if (own) {
    at.begin(op, op.serial, "BEGIN");
    if (at.owner() == 0) return;
  }
  d.owner = own ? op.serial : op.owner;
  d.begun = own;
  at.extend<open_dumps>().add(static_cast<dump_job&>(*op.closure).of);
  try {
    d.plan(at, op);
  } catch (...) {
    d.let_go();
    if (own) at.end_transaction();
    throw;
  }
  run_next(at, op);
}

void run_end(worker& at, operation& op) { end_dump(at, dump_of(op)); }

constexpr operation_type first_operation{
    .run = &run_first, .destroy_result = &destroy_result<std::vector<std::string>>, .begins = true};
constexpr operation_type next_operation{.run = &run_next, .destroy_result = &destroy_result<std::vector<std::string>>};
constexpr operation_type end_operation{.run = &run_end, .urgent = true};

class dump_source final : public batch_source {
 public:
  dump_source(const call_site& site, const dump_options& options, const std::source_location& where)
      : site_(site), keep_(site.where), of_(std::make_shared<dumping>()), where_(where) {
    of_->like = options.like;
    of_->schema = options.schema;
  }

  operation_ref fetch() override {
    call_site s = site_;
    if (begun_) s.owner = of_->owner;
    return make(s, std::exchange(begun_, true) ? next_operation : first_operation);
  }
  void end() noexcept override {
    if (!begun_) return;
    call_site s;
    s.where = site_.where;
    start_detached(make(s, end_operation));
  }

 private:
  operation_ref make(const call_site& site, const operation_type& type) {
    operation_ref op = make_operation(site, type);
    auto job = std::make_unique<dump_job>();
    job->of = of_;
    op->closure = std::move(job);
    op->location = where_;
    return op;
  }

  call_site site_;
  ref<executor> keep_;
  shared_dump of_;
  std::source_location where_;
  bool begun_ = false;
};

}  // namespace

dump_stream dump(const call_site& site, dump_options options, std::source_location where) {
  // One deadline covers the whole.
  const call_site s = with_deadline_from_now(site);
  return dump_stream(read_ahead(ref<executor>(site.where), std::make_unique<dump_source>(s, options, where)));
}

// --------------------------------------------------------------------------------------------------------------
// restore

namespace {

constexpr std::size_t text_due = 64 * 1024;

/// What a restore has changed of the connection, until its transaction ends.
class restore_settings final : public extension {
 public:
  explicit restore_settings(worker& at) : at_(at) {}

  /// Rows come before what they refer to, and schemas may be older than the rules for them.
  void relax() noexcept {
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_ENABLE_FKEY, -1, &foreign_keys_);
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_DQS_DDL, -1, &double_quotes_);
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_ENABLE_FKEY, 0, nullptr);
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_DQS_DDL, 1, nullptr);
  }
  void set_back() noexcept {
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_ENABLE_FKEY, foreign_keys_, nullptr);
    sqlite3_db_config(at_.db(), SQLITE_DBCONFIG_DQS_DDL, double_quotes_, nullptr);
    owner = 0;
  }
  void transaction_ended(std::uint64_t ended) noexcept override {
    if (ended == owner) set_back();
  }
  std::uint64_t owner = 0;

 private:
  worker& at_;
  int foreign_keys_ = 1;
  int double_quotes_ = 0;
};

bool is_transaction_control(std::string_view sql) {
  std::string word;
  for (std::size_t i = 0; i < sql.size();) {
    const auto c = static_cast<unsigned char>(sql[i]);
    if (std::isalpha(c)) {
      word += static_cast<char>(std::tolower(c));
      ++i;
      continue;
    }
    if (!word.empty()) break;
    const bool skipped = std::isspace(c) || c == ';' || sql.substr(i, 2) == "--" || sql.substr(i, 2) == "/*";
    if (!skipped) break;
    i = token_end(sql, i);
  }
  return word == "begin" || word == "commit" || word == "end";
}

void run_piece(worker& at, operation& op, const char* from, const char* end, const char*& tail) {
  sqlite3_stmt* stmt = nullptr;
  int rc = at.compile_script_statement(from, static_cast<int>(end - from) + 1, &stmt, &tail);
  const bool passed_over = rc == SQLITE_OK && is_transaction_control({from, static_cast<std::size_t>(tail - from)});
  if (rc == SQLITE_OK && stmt && !passed_over) {
    do rc = sqlite3_step(stmt);
    while (rc == SQLITE_ROW);
    if (rc == SQLITE_DONE) rc = SQLITE_OK;
  }
  std::exception_ptr failure;
  if (rc != SQLITE_OK) {
    const char* last = tail && tail > from ? tail : end;
    try {
      at.fail(op, sqlite3_extended_errcode(at.db()), std::string_view(from, static_cast<std::size_t>(last - from)));
    } catch (...) {
      failure = std::current_exception();
    }
  }
  sqlite3_finalize(stmt);
  if (failure) std::rethrow_exception(std::move(failure));
}

void run_text_of(worker& at, operation& op, const std::string& text) {
  const char* next = text.c_str();
  const char* const end = next + text.size();
  while (next < end) {
    if (at.stop_requested()) at.fail(op, SQLITE_INTERRUPT, {});
    if (at.in_autocommit()) std::rethrow_exception(transaction_ended_error(op, true));
    const char* tail = nullptr;
    run_piece(at, op, next, end, tail);
    next = tail;
  }
}

}  // namespace

class restore_state {
 public:
  restore_state(call_site s, std::source_location w) : site(std::move(s)), keep(site.where), where(w) {}
  restore_state(const restore_state&) = delete;
  restore_state& operator=(const restore_state&) = delete;
  ~restore_state();

  call_site site;
  ref<executor> keep;
  std::source_location where;
  std::string text;
  std::size_t due = text_due;
};

namespace {

void run_begin_restore(worker& at, operation& op) {
  auto& settings = at.extend<restore_settings>();
  settings.relax();
  try {
    at.begin(op, op.serial, "BEGIN IMMEDIATE");
  } catch (...) {
    settings.set_back();
    throw;
  }
  if (at.owner() == 0) return settings.set_back();  // abandoned
  settings.owner = op.serial;
  call_site s;
  s.where = &at;
  s.owner = op.serial;
  s.deadline = op.deadline;
  s.stop = op.stop_token;
  emplace_result<restore_session>(op, std::make_unique<restore_state>(std::move(s), op.location));
}

void run_commit_restore(worker& at, operation& op) { at.commit(op); }
void run_drop_restore(worker& at, operation& op) { at.rollback(op); }

constexpr operation_type begin_operation{
    .run = &run_begin_restore, .destroy_result = &destroy_result<restore_session>, .begins = true};
constexpr operation_type commit_operation{.run = &run_commit_restore, .ends = true};
constexpr operation_type drop_operation{.run = &run_drop_restore, .urgent = true, .ends = true};

}  // namespace

restore_state::~restore_state() {
  call_site s;
  s.where = site.where;
  s.owner = site.owner;
  start_detached(make_operation(s, drop_operation));
}

restore_session::restore_session(std::unique_ptr<restore_state> state) noexcept : state_(std::move(state)) {}
restore_session::restore_session(restore_session&&) noexcept = default;
restore_session& restore_session::operator=(restore_session&&) noexcept = default;
restore_session::~restore_session() = default;

void restore_session::add(std::string_view sql) {
  if (sql.find('\0') != std::string_view::npos) {
    throw misuse_error("the SQL text has a NUL character in it, where SQLite would stop reading",
                       {SQLITE_MISUSE, {}, state_->where});
  }
  state_->text += sql;
  // A statement a piece, without its line's end.
  if (!sql.empty() && sql.back() == ';') state_->text += '\n';
}

bool restore_session::is_due() const noexcept {
  if (state_->text.size() < state_->due) return false;
  if (sqlite3_complete(state_->text.c_str()) != 0) return true;
  state_->due *= 2;
  return false;
}

call<> restore_session::flush() {
  state_->due = text_due;
  std::string text = std::exchange(state_->text, {});
  return make_callable(
      state_->site, [text = std::move(text)](worker& at, operation& op) { run_text_of(at, op, text); }, state_->where);
}

call<> restore_session::commit() {
  operation_ref op = make_operation(state_->site, commit_operation);
  op->location = state_->where;
  return call<>(std::move(op));
}

call<restore_session> begin_restore(const call_site& site, std::source_location where) {
  operation_ref op = make_operation(site, begin_operation);
  op->location = where;
  return call<restore_session>(std::move(op));
}

call_site restore_site(call_site site) noexcept { return with_deadline_from_now(std::move(site)); }

}  // namespace cosqlite::detail

namespace cosqlite {

std::optional<std::string> dump_stream::pop() {
  if (at_ == left_.size()) {
    left_.clear();
    at_ = 0;
    if (from_.take()) left_ = std::move(detail::result_of<std::vector<std::string>>(*from_.current()));
    if (left_.empty()) return std::nullopt;
  }
  return std::move(left_[at_++]);
}

}  // namespace cosqlite
