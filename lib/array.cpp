#include "engine/carray.hpp"
#include "engine/user_functions.hpp"
#include <cosqlite/array.hpp>

#include <sqlite3.h>

#include <new>
#include <span>

namespace cosqlite {

void array_argument::bind_to(detail::sink& to) const { to.pointer(elements_, detail::carray_pointer); }

namespace detail {

namespace {

enum column : int { value_column, pointer_column };

struct walk final : sqlite3_vtab_cursor {
  walk() noexcept : sqlite3_vtab_cursor{} {}
  std::span<const cell> cells;
  std::size_t at = 0;
};

walk& of(sqlite3_vtab_cursor* c) noexcept { return *static_cast<walk*>(c); }

int on_connect(sqlite3* db, void*, int, const char* const*, sqlite3_vtab** made, char**) noexcept {
  const int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(value, pointer HIDDEN)");
  if (rc != SQLITE_OK) return rc;
  sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
  *made = new (std::nothrow) sqlite3_vtab{};
  return *made ? SQLITE_OK : SQLITE_NOMEM;
}

int on_disconnect(sqlite3_vtab* t) noexcept {
  delete t;
  return SQLITE_OK;
}

int on_best_index(sqlite3_vtab* t, sqlite3_index_info* info) noexcept {
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& c = info->aConstraint[i];
    if (c.iColumn != pointer_column || c.op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
    if (!c.usable) return SQLITE_CONSTRAINT;
    info->aConstraintUsage[i].argvIndex = 1;
    info->aConstraintUsage[i].omit = 1;
    info->estimatedCost = 100;
    info->estimatedRows = 100;
    return SQLITE_OK;
  }
  sqlite3_free(t->zErrMsg);
  t->zErrMsg = sqlite3_mprintf("carray needs its list: carray(?), bound to cosqlite::array(range)");
  return SQLITE_ERROR;
}

int on_open(sqlite3_vtab*, sqlite3_vtab_cursor** made) noexcept {
  *made = new (std::nothrow) walk;
  return *made ? SQLITE_OK : SQLITE_NOMEM;
}

int on_close(sqlite3_vtab_cursor* c) noexcept {
  delete static_cast<walk*>(c);
  return SQLITE_OK;
}

int on_filter(sqlite3_vtab_cursor* c, int, const char*, int, sqlite3_value** values) noexcept {
  const auto* list = static_cast<const cell_list*>(sqlite3_value_pointer(values[0], carray_pointer));
  if (!list) {
    sqlite3_free(c->pVtab->zErrMsg);
    c->pVtab->zErrMsg = sqlite3_mprintf("the argument of carray(?) is no list: bind cosqlite::array(range) to it");
    return SQLITE_MISMATCH;
  }
  of(c).cells = list->cells();
  of(c).at = 0;
  return SQLITE_OK;
}

int on_next(sqlite3_vtab_cursor* c) noexcept {
  ++of(c).at;
  return SQLITE_OK;
}

int on_eof(sqlite3_vtab_cursor* c) noexcept { return of(c).at >= of(c).cells.size() ? 1 : 0; }

int on_column(sqlite3_vtab_cursor* c, sqlite3_context* to, int i) noexcept {
  if (i != value_column) return SQLITE_OK;
  const cell& v = of(c).cells[of(c).at];
  // The list outlives the statement's run.
  switch (v.type) {
    case value_type::integer: sqlite3_result_int64(to, v.integer); break;
    case value_type::real: sqlite3_result_double(to, v.real); break;
    case value_type::text: sqlite3_result_text64(to, v.data, v.size, SQLITE_STATIC, SQLITE_UTF8); break;
    case value_type::blob: sqlite3_result_blob64(to, v.data, v.size, SQLITE_STATIC); break;
    case value_type::null: break;
  }
  return SQLITE_OK;
}

int on_rowid(sqlite3_vtab_cursor* c, sqlite3_int64* rowid) noexcept {
  *rowid = static_cast<sqlite3_int64>(of(c).at) + 1;
  return SQLITE_OK;
}

constexpr sqlite3_module carray_module = [] {
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

int register_carray(sqlite3* db) noexcept {
  return sqlite3_create_module_v2(db, "carray", &carray_module, nullptr, nullptr);
}

}  // namespace detail

}  // namespace cosqlite
