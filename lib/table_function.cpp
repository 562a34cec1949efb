#include "engine/user_functions.hpp"
#include <cosqlite/table_function.hpp>

#include <bit>
#include <string>
#include <vector>

namespace cosqlite::detail {

table_rows::~table_rows() = default;
table_source::~table_source() = default;

namespace {

/// A table-valued function of one connection; SQLite owns it and the tables refer to it.
struct registered_table {
  worker& at;
  std::string name;
  std::string declaration;
  table_shape shape;
  table_function_options options;
  std::unique_ptr<table_source> source;
};

struct table final : sqlite3_vtab {
  explicit table(registered_table& r) noexcept : sqlite3_vtab{}, of(r) {}
  registered_table& of;
};

struct walk final : sqlite3_vtab_cursor {
  explicit walk(registered_table& r) noexcept : sqlite3_vtab_cursor{}, of(r) {}
  registered_table& of;
  std::unique_ptr<argument_copy> arguments;
  std::unique_ptr<table_rows> rows;
  bool at_end = true;
  sqlite3_int64 rowid = 0;
};

int fail_table(registered_table& of, sqlite3_vtab* t) noexcept {
  of.at.callback_threw(std::current_exception());
  sqlite3_free(t->zErrMsg);
  t->zErrMsg = nullptr;
  try {
    t->zErrMsg = sqlite3_mprintf("%s", describe_exception(of.name, {}).c_str());
  } catch (...) {
    return SQLITE_NOMEM;
  }
  return SQLITE_ERROR;
}

std::string quoted(std::string_view name) {
  std::string q = "\"";
  for (const char c : name) {
    if (c == '"') q += '"';
    q += c;
  }
  return q + '"';
}

std::string_view trimmed(std::string_view s) {
  while (s.starts_with(' ')) s.remove_prefix(1);
  while (s.ends_with(' ')) s.remove_suffix(1);
  return s;
}

std::vector<std::string> names_in(std::string_view list) {
  std::vector<std::string> names;
  for (;;) {
    const std::size_t comma = list.find(',');
    names.emplace_back(trimmed(list.substr(0, comma)));
    if (comma == std::string_view::npos) return names;
    list.remove_prefix(comma + 1);
  }
}

std::vector<std::string> column_names_of(const std::string& table_name, std::string_view list, int columns,
                                         const std::source_location& where) {
  std::vector<std::string> names;
  if (trimmed(list).empty()) {
    if (columns == 1) return {"value"};
    for (int i = 1; i <= columns; ++i) names.push_back("c" + std::to_string(i));
    return names;
  }
  names = names_in(list);
  if (static_cast<int>(names.size()) == columns) return names;
  throw misuse_error("the table-valued function " + table_name + " gives " + std::to_string(columns) +
                         (columns == 1 ? " column, " : " columns, ") + std::to_string(names.size()) +
                         (names.size() == 1 ? " name" : " names") + " given",
                     {SQLITE_MISUSE, {}, where});
}

std::string declare(const std::string& table_name, const table_shape& shape, std::string_view columns,
                    const std::source_location& where) {
  std::string sql = "CREATE TABLE x(";
  for (const std::string& c : column_names_of(table_name, columns, shape.columns, where)) sql += quoted(c) + ", ";
  for (int i = 1; i <= shape.arguments; ++i) sql += "arg" + std::to_string(i) + " HIDDEN, ";
  sql.resize(sql.size() - 2);
  return sql + ")";
}

// --- the module

int on_connect(sqlite3* db, void* aux, int, const char* const*, sqlite3_vtab** made, char**) noexcept {
  auto& r = *static_cast<registered_table*>(aux);
  const int rc = sqlite3_declare_vtab(db, r.declaration.c_str());
  if (rc != SQLITE_OK) return rc;
  if (r.options.direct_only) sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  if (r.options.innocuous) sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
  *made = new (std::nothrow) table(r);
  return *made ? SQLITE_OK : SQLITE_NOMEM;
}

int on_disconnect(sqlite3_vtab* t) noexcept {
  delete static_cast<table*>(t);
  return SQLITE_OK;
}

int refuse_missing(sqlite3_vtab* t, const registered_table& r, std::uint32_t given) noexcept {
  sqlite3_free(t->zErrMsg);
  const int missing = std::countr_one(given | ~r.shape.required) + 1;
  t->zErrMsg = sqlite3_mprintf("the table-valued function %s needs its argument %d", r.name.c_str(), missing);
  return SQLITE_ERROR;
}

int on_best_index(sqlite3_vtab* t, sqlite3_index_info* info) noexcept {
  const registered_table& r = static_cast<table*>(t)->of;
  std::uint32_t given = 0;
  std::uint32_t usable = 0;
  int constraint_of[32] = {};
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& c = info->aConstraint[i];
    const int argument = c.iColumn - r.shape.columns;
    if (argument < 0 || c.op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
    given |= 1U << argument;
    if (!c.usable || (usable & 1U << argument) != 0) continue;
    usable |= 1U << argument;
    constraint_of[argument] = i;
  }
  if ((r.shape.required & ~given) != 0) return refuse_missing(t, r, given);
  // Another order of the joined tables will know the value.
  if (given != usable) return SQLITE_CONSTRAINT;
  int position = 0;
  for (int a = 0; a < r.shape.arguments; ++a) {
    if ((usable & 1U << a) == 0) continue;
    auto& usage = info->aConstraintUsage[constraint_of[a]];
    usage.argvIndex = ++position;
    usage.omit = 1;
  }
  info->idxNum = static_cast<int>(usable);
  info->estimatedCost = 1000;
  info->estimatedRows = 1000;
  return SQLITE_OK;
}

int on_open(sqlite3_vtab* t, sqlite3_vtab_cursor** made) noexcept {
  *made = new (std::nothrow) walk(static_cast<table*>(t)->of);
  return *made ? SQLITE_OK : SQLITE_NOMEM;
}

int on_close(sqlite3_vtab_cursor* c) noexcept {
  delete static_cast<walk*>(c);
  return SQLITE_OK;
}

void advance(walk& w) {
  w.at_end = true;
  w.at_end = !w.rows->advance();
  ++w.rowid;
}

int on_filter(sqlite3_vtab_cursor* c, int given, const char*, int, sqlite3_value** values) noexcept {
  auto& w = *static_cast<walk*>(c);
  try {
    w.at_end = true;
    w.rows = nullptr;
    w.rowid = 0;
    std::vector<value_view> arguments;
    for (int a = 0; a < w.of.shape.arguments; ++a) {
      const bool has = (static_cast<std::uint32_t>(given) & 1U << a) != 0;
      arguments.push_back(has ? read_value(*values++) : value_view(cell()));
    }
    w.arguments = std::make_unique<argument_copy>(argument_list{arguments, w.of.name});
    w.rows = w.of.source->run(w.arguments->list());
    advance(w);
    return SQLITE_OK;
  } catch (...) {
    return fail_table(w.of, c->pVtab);
  }
}

int on_next(sqlite3_vtab_cursor* c) noexcept {
  auto& w = *static_cast<walk*>(c);
  try {
    advance(w);
    return SQLITE_OK;
  } catch (...) {
    return fail_table(w.of, c->pVtab);
  }
}

int on_eof(sqlite3_vtab_cursor* c) noexcept { return static_cast<walk*>(c)->at_end ? 1 : 0; }

int on_column(sqlite3_vtab_cursor* c, sqlite3_context* to, int i) noexcept {
  auto& w = *static_cast<walk*>(c);
  try {
    result_sink sink(to, w.of.name);
    if (i < w.of.shape.columns) {
      w.rows->column(i, sink);
    } else {
      write_cell(sink, w.arguments->list().values[static_cast<std::size_t>(i - w.of.shape.columns)].raw());
    }
    return SQLITE_OK;
  } catch (...) {
    return fail_table(w.of, c->pVtab);
  }
}

int on_rowid(sqlite3_vtab_cursor* c, sqlite3_int64* rowid) noexcept {
  *rowid = static_cast<walk*>(c)->rowid;
  return SQLITE_OK;
}

constexpr sqlite3_module table_module = [] {
  sqlite3_module m{};
  m.xConnect = &on_connect;
  m.xBestIndex = &on_best_index;
  m.xDisconnect = &on_disconnect;
  m.xOpen = &on_open;
  m.xClose = &on_close;
  m.xFilter = &on_filter;
  m.xNext = &on_next;
  m.xEof = &on_eof;
  m.xColumn = &on_column;
  m.xRowid = &on_rowid;
  return m;
}();

}  // namespace

call<> create_table_function(const call_site& site, std::string name, std::unique_ptr<table_source> source,
                             table_shape shape, table_function_options options, std::source_location where) {
  check_name(name, "table-valued function", where);
  std::string declaration = declare(name, shape, options.columns, where);
  options.columns = {};
  auto job = [name = std::move(name), declaration = std::move(declaration), shape, options, source = std::move(source)](
                 worker& at, operation& op) mutable {
    user_functions& all = at.extend<user_functions>();
    auto r = std::make_unique<registered_table>(at, name, std::move(declaration), shape, options, std::move(source));
    // SQLite destroys what it was given also when it fails.
    const int rc = sqlite3_create_module_v2(at.db(), name.c_str(), &table_module, r.release(),
                                            [](void* p) { delete static_cast<registered_table*>(p); });
    check_registration(at, op, rc, "create the table-valued function " + name);
    all.add(registered::table, name);
    at.add_user_function(name);
  };
  return make_callable(site, std::move(job), where);
}

call<> remove_table_function(const call_site& site, std::string name, std::source_location where) {
  check_name(name, "table-valued function", where);
  auto job = [name = std::move(name)](worker& at, operation& op) {
    user_functions& all = at.extend<user_functions>();
    if (all.take(registered::table, name).empty()) throw_not_registered(name, "table-valued function", op.location);
    const int rc = sqlite3_create_module_v2(at.db(), name.c_str(), nullptr, nullptr, nullptr);
    check_registration(at, op, rc, "remove the table-valued function " + name);
    at.statements().expire();
  };
  return make_callable(site, std::move(job), where);
}

}  // namespace cosqlite::detail
