#include "engine/binder.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace cosqlite::detail {

namespace {

[[noreturn]] void wrong_count(const operation& op, int wanted, std::size_t given) {
  throw misuse_error("the statement has " + std::to_string(wanted) + " parameter" + (wanted == 1 ? "" : "s") + ", " +
                         std::to_string(given) + " given",
                     {SQLITE_RANGE, std::string(sql_of(op)), op.location});
}

int named_index(const operation& op, const prepared& p, std::string_view name) {
  const std::string text(name);
  if (const int exact = sqlite3_bind_parameter_index(p.stmt, text.c_str())) return exact;
  for (const char* prefix : {":", "@", "$"}) {
    if (const int found = sqlite3_bind_parameter_index(p.stmt, (prefix + text).c_str())) return found;
  }
  throw misuse_error("the statement has no parameter named " + text,
                     {SQLITE_RANGE, std::string(sql_of(op)), op.location});
}

/// Where some arguments are named: those before the first stand at their positions, and none may take another's place,
/// since then a parameter would silently stay NULL.
void fill(const operation& op, const prepared& p, std::vector<bool>& filled, int parameter, int position) {
  const auto at = static_cast<std::size_t>(parameter) - 1;
  if (filled.empty()) {
    filled.resize(static_cast<std::size_t>(p.parameters));
    std::fill_n(filled.begin(), position - 1, true);
  }
  if (filled[at]) {
    const char* name = sqlite3_bind_parameter_name(p.stmt, parameter);
    throw misuse_error("parameter " + std::to_string(parameter) +
                           (name ? " (" + std::string(name) + ")" : std::string()) +
                           " is bound twice: an argument without a name is for the parameter at its own position",
                       {SQLITE_RANGE, std::string(sql_of(op)), op.location});
  }
  filled[at] = true;
}

// sqlite3_bind_text and sqlite3_bind_blob take a null pointer for NULL, also with no bytes.
const char* not_null(const char* p) noexcept { return p ? p : ""; }

int bind_slot(sqlite3_stmt* stmt, int i, const parameters::slot& s, const parameters& args) {
  switch (s.what) {
    case parameters::kind::null: return sqlite3_bind_null(stmt, i);
    case parameters::kind::integer: return sqlite3_bind_int64(stmt, i, s.integer);
    case parameters::kind::real: return sqlite3_bind_double(stmt, i, s.real);
    case parameters::kind::text:
      return sqlite3_bind_text64(stmt, i, s.size ? args.data() + s.at : "", s.size, SQLITE_STATIC, SQLITE_UTF8);
    case parameters::kind::blob:
      return s.size ? sqlite3_bind_blob64(stmt, i, args.data() + s.at, s.size, SQLITE_STATIC)
                    : sqlite3_bind_zeroblob(stmt, i, 0);
    case parameters::kind::zeros: return sqlite3_bind_zeroblob64(stmt, i, s.size);
    case parameters::kind::pointer: {
      const parameters::object& o = args.objects()[s.at];
      return sqlite3_bind_pointer(stmt, i, o.data.get(), o.type, nullptr);
    }
  }
  return SQLITE_MISUSE;
}

}  // namespace

void bind_arguments(worker& at, const prepared& p, const operation& op, const parameters& args) {
  const auto slots = args.slots();
  if (slots.size() != static_cast<std::size_t>(p.parameters)) wrong_count(op, p.parameters, slots.size());
  int position = 0;
  std::vector<bool> filled;
  for (const parameters::slot& s : slots) {
    ++position;
    const int i = s.name_size == 0 ? position : named_index(op, p, {args.data() + s.name_at, s.name_size});
    if (s.name_size != 0 || !filled.empty()) fill(op, p, filled, i, position);
    const int rc = bind_slot(p.stmt, i, s, args);
    if (rc != SQLITE_OK) throw_sqlite_error(at.db(), rc, p.sql, op.location, "bind parameter " + std::to_string(i));
  }
}

int statement_binder::special_slot() {
  if (next_ >= parameters_) refuse_count(next_ + 1);
  const int named = std::exchange(named_, 0);
  ++next_;
  const int i = named != 0 ? named : next_;
  if (named != 0 || !filled_.empty()) fill(op_, p_, filled_, i, next_);
  return i;
}

void statement_binder::refuse_count(int given) const { wrong_count(op_, parameters_, static_cast<std::size_t>(given)); }

void statement_binder::refuse_value(int rc) const {
  throw_sqlite_error(worker_.db(), rc, p_.sql, op_.location, "bind parameter " + std::to_string(next_));
}

void statement_binder::null() { check(sqlite3_bind_null(stmt_, slot())); }
void statement_binder::integer(std::int64_t v) { check(sqlite3_bind_int64(stmt_, slot(), v)); }
void statement_binder::real(double v) { check(sqlite3_bind_double(stmt_, slot(), v)); }
void statement_binder::text(std::string_view v) {
  check(sqlite3_bind_text64(stmt_, slot(), not_null(v.data()), v.size(), lifetime(), SQLITE_UTF8));
}
void statement_binder::blob(std::span<const std::byte> v) {
  if (v.empty()) return zeros(0);
  check(sqlite3_bind_blob64(stmt_, slot(), v.data(), v.size(), lifetime()));
}
void statement_binder::zeros(std::uint64_t n) { check(sqlite3_bind_zeroblob64(stmt_, slot(), n)); }
void statement_binder::pointer(std::shared_ptr<void> object, const char* type) {
  plain_ = false;
  objects_.push_back(std::move(object));
  check(sqlite3_bind_pointer(stmt_, slot(), objects_.back().get(), type, nullptr));
}
void statement_binder::name(std::string_view n) {
  plain_ = false;
  named_ = named_index(op_, p_, n);
}

sqlite3_destructor_type statement_binder::lifetime() const noexcept {
  return transient ? SQLITE_TRANSIENT : SQLITE_STATIC;
}

}  // namespace cosqlite::detail
