#include "engine/abilities.hpp"
#include "engine/changeset_format.hpp"
#include "engine/hook_set.hpp"
#include <cosqlite/error.hpp>
#include <cosqlite/session.hpp>

#include <algorithm>

namespace cosqlite {

namespace detail {

/// A session of SQLite, on the worker; null once it has ended. Shared by the session object and the set below.
class session_state {
 public:
  sqlite3_session* handle = nullptr;
  bool leased = false;
};

namespace {

/// Ends the sessions that are left before the connection closes.
class session_set final : public extension {
 public:
  explicit session_set(worker& at) noexcept : at_(at) {}
  ~session_set() override {
    while (!open_.empty()) end(*open_.back());
  }
  void returned_to_pool() noexcept override {
    for (std::size_t i = open_.size(); i-- > 0;) {
      if (open_[i]->leased) end(*open_[i]);
    }
  }
  void add(std::shared_ptr<session_state> s) { open_.push_back(std::move(s)); }
  void end(session_state& s) noexcept {
    if (!s.handle) return;
    sqlite3session_delete(std::exchange(s.handle, nullptr));
    if (auto* hooks = at_.extended<hook_set>()) --hooks->sessions;
    std::erase_if(open_, [&s](const auto& o) { return o.get() == &s; });
  }

 private:
  worker& at_;
  std::vector<std::shared_ptr<session_state>> open_;
};

void require_sessions(const std::source_location& where) {
  if (has_sessions()) return;
  throw unsupported_error("this SQLite was compiled without SQLITE_ENABLE_SESSION and SQLITE_ENABLE_PREUPDATE_HOOK",
                          {SQLITE_ERROR, {}, where});
}

void check_set(int rc, const char* doing) {
  if (rc != SQLITE_OK) throw_sqlite_error(nullptr, rc, {}, {}, doing);
}

/// A buffer that SQLite has allocated.
class buffer {
 public:
  buffer() = default;
  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;
  ~buffer() { sqlite3_free(data); }
  [[nodiscard]] changeset take() const {
    const auto* first = static_cast<const std::byte*>(data);
    return changeset(bytes(first, first + size));
  }
  int size = 0;
  void* data = nullptr;
};

/// SQLite does not write to what it is given.
void* writable(const bytes& data) noexcept { return const_cast<std::byte*>(data.data()); }

int size_of(const bytes& data) {
  if (data.size() > INT32_MAX) throw misuse_error("a changeset cannot be larger than 2 GiB", {SQLITE_TOOBIG});
  return static_cast<int>(data.size());
}

using getter = int (*)(sqlite3_changeset_iter*, int, sqlite3_value**);

std::vector<std::optional<value>> values_of(sqlite3_changeset_iter* at, int columns, getter get) {
  std::vector<std::optional<value>> values(static_cast<std::size_t>(columns));
  for (int i = 0; i < columns; ++i) {
    sqlite3_value* v = nullptr;
    if (get(at, i, &v) == SQLITE_OK && v) values[static_cast<std::size_t>(i)] = value_of(v);
  }
  return values;
}

changeset_row row_of(sqlite3_changeset_iter* at) {
  const char* table = nullptr;
  int columns = 0;
  int operation = 0;
  int indirect = 0;
  check_set(sqlite3changeset_op(at, &table, &columns, &operation, &indirect), "read a changeset");
  changeset_row row;
  row.table = table;
  row.indirect = indirect != 0;
  unsigned char* key = nullptr;
  if (sqlite3changeset_pk(at, &key, nullptr) == SQLITE_OK && key) row.primary_key.assign(key, key + columns);
  row.operation = operation == SQLITE_INSERT   ? row_operation::insert
                  : operation == SQLITE_DELETE ? row_operation::remove
                                               : row_operation::update;
  if (row.operation != row_operation::insert) row.old_values = values_of(at, columns, sqlite3changeset_old);
  if (row.operation != row_operation::remove) row.new_values = values_of(at, columns, sqlite3changeset_new);
  return row;
}

/// One application of a changeset, as its callbacks see it.
struct application {
  worker& at;
  conflict_callback* handler;
  const std::vector<std::string>& tables;
};

int filter_table(void* context, const char* table) noexcept {
  const auto& wanted = static_cast<application*>(context)->tables;
  const auto same = [table](const std::string& name) { return sqlite3_stricmp(name.c_str(), table) == 0; };
  return wanted.empty() || std::ranges::any_of(wanted, same) ? 1 : 0;
}

conflict describe(int kind, sqlite3_changeset_iter* at) {
  conflict c;
  c.kind = static_cast<conflict_kind>(kind);
  if (kind == SQLITE_CHANGESET_FOREIGN_KEY) {
    sqlite3changeset_fk_conflicts(at, &c.violations);
    return c;
  }
  c.change = row_of(at);
  if (kind != SQLITE_CHANGESET_DATA && kind != SQLITE_CHANGESET_CONFLICT) return c;
  const char* table = nullptr;
  int columns = 0;
  int operation = 0;
  sqlite3changeset_op(at, &table, &columns, &operation, nullptr);
  c.current = values_of(at, columns, sqlite3changeset_conflict);
  return c;
}

int on_conflict(void* context, int kind, sqlite3_changeset_iter* iterator) noexcept {
  auto& a = *static_cast<application*>(context);
  if (!a.handler) return SQLITE_CHANGESET_ABORT;
  try {
    switch ((*a.handler)(describe(kind, iterator))) {
      case conflict_answer::omit: return SQLITE_CHANGESET_OMIT;
      case conflict_answer::replace: return SQLITE_CHANGESET_REPLACE;
      case conflict_answer::abort: break;
    }
  } catch (...) {
    a.at.callback_threw(std::current_exception());
  }
  return SQLITE_CHANGESET_ABORT;
}

/// A session's call on the worker; refuses one that has ended.
template <class F>
auto on_session(const call_site& site, std::shared_ptr<session_state> state, F fn, const std::source_location& where) {
  auto work = [state = std::move(state), fn = std::move(fn)](worker& at, operation& op) {
    if (!state || !state->handle) throw closed_error("the session has ended", {SQLITE_MISUSE, {}, op.location});
    return fn(at, op, state->handle);
  };
  return make_callable(site, std::move(work), where);
}

void check_call(worker& at, operation& op, int rc, const char* doing) {
  if (rc == SQLITE_OK) return;
  if (at.stop_requested()) at.fail(op, rc);
  throw_sqlite_error(at.db(), rc, {}, op.location, doing);
}

}  // namespace

call<session> open_session(const call_site& site, std::string schema, std::vector<std::string> tables,
                           std::source_location where) {
  call_site plain = site;
  plain.stop = {};
  plain.timeout = {};
  auto work = [plain, schema = std::move(schema), tables = std::move(tables)](worker& at, operation& op) {
    require_sessions(op.location);
    auto& hooks = at.extend<hook_set>();
    if (hooks.uses_preupdate()) {
      throw misuse_error(
          "on_preupdate, changes() or observe() is in use on this connection and has the preupdate hook, which a "
          "session needs for itself: drop it first (changes() can use row_source::update_hook beside a session)",
          {SQLITE_MISUSE, {}, op.location});
    }
    if (sqlite3_db_readonly(at.db(), schema.c_str()) < 0) {
      throw error("cannot create a session: no such database: " + schema, {SQLITE_ERROR, {}, op.location});
    }
    // Destroyed in the order of creation: sessions go before the hooks that they are counted in.
    auto& set = at.extend<session_set>();
    auto state = std::make_shared<session_state>();
    state->leased = is_leased(op);
    if (hooks.sessions == 0 && has_preupdate_hook()) sqlite3_preupdate_hook(at.db(), nullptr, nullptr);
    check_call(at, op, sqlite3session_create(at.db(), schema.c_str(), &state->handle), "create a session");
    ++hooks.sessions;
    set.add(state);
    // DELETE without WHERE must be compiled to go row by row.
    at.ask_authorizer_anew();
    for (const std::string& table : tables) {
      const int rc = sqlite3session_attach(state->handle, table.c_str());
      if (rc == SQLITE_OK) continue;
      set.end(*state);
      check_call(at, op, rc, "attach a table to a session");
    }
    if (tables.empty()) check_call(at, op, sqlite3session_attach(state->handle, nullptr), "attach to a session");
    call_site where_it_is = plain;
    where_it_is.where = &at;
    return session(where_it_is, std::move(state));
  };
  return make_callable(site, std::move(work), where);
}

call<> apply_changeset(const call_site& site, const changeset& changes, std::shared_ptr<conflict_callback> handler,
                       std::vector<std::string> tables, std::source_location where) {
  auto work = [data = changes.data(), handler = std::move(handler), tables = std::move(tables)](worker& at,
                                                                                                operation& op) {
    require_sessions(op.location);
    check_changeset(data, op.location);
    application a{at, handler.get(), tables};
    const int rc = sqlite3changeset_apply_v2(at.db(), size_of(data), writable(data), &filter_table, &on_conflict, &a,
                                             nullptr, nullptr, 0);
    if (rc == SQLITE_OK) return;
    if (std::exception_ptr thrown = at.take_callback_error()) std::rethrow_exception(std::move(thrown));
    if ((rc == SQLITE_ABORT || rc == SQLITE_CONSTRAINT) && !a.handler) {
      throw constraint_error(
          "the changeset conflicts with the database; nothing of it was applied: pass a handler to decide",
          {rc, {}, op.location});
    }
    check_call(at, op, rc, "apply the changeset");
  };
  return make_callable(site, std::move(work), where);
}

}  // namespace detail

using detail::check_set;

changeset changeset::inverted() const {
  detail::require_sessions({});
  detail::check_changeset(data_);
  detail::buffer out;
  check_set(sqlite3changeset_invert(detail::size_of(data_), detail::writable(data_), &out.size, &out.data),
            "invert the changeset");
  return out.take();
}

changeset changeset::concat(const changeset& next) const {
  detail::require_sessions({});
  detail::check_changeset(data_);
  detail::check_changeset(next.data_);
  detail::buffer out;
  check_set(sqlite3changeset_concat(detail::size_of(data_), detail::writable(data_), detail::size_of(next.data_),
                                    detail::writable(next.data_), &out.size, &out.data),
            "concatenate the changesets");
  return out.take();
}

std::vector<changeset_row> changeset::rows() const {
  detail::require_sessions({});
  detail::check_changeset(data_);
  sqlite3_changeset_iter* at = nullptr;
  check_set(sqlite3changeset_start(&at, detail::size_of(data_), detail::writable(data_)), "read the changeset");
  const std::unique_ptr<sqlite3_changeset_iter, int (*)(sqlite3_changeset_iter*)> owner(at, sqlite3changeset_finalize);
  std::vector<changeset_row> all;
  int rc = SQLITE_OK;
  while ((rc = sqlite3changeset_next(at)) == SQLITE_ROW) all.push_back(detail::row_of(at));
  if (rc != SQLITE_DONE) check_set(rc, "read the changeset");
  return all;
}

session::session(const detail::call_site& site, std::shared_ptr<detail::session_state> state) noexcept
    : site_(site), where_(site.where), state_(std::move(state)) {}
session::session(session&& other) noexcept = default;

session& session::operator=(session&& other) noexcept {
  if (this == &other) return *this;
  close();
  site_ = other.site_;
  where_ = std::move(other.where_);
  state_ = std::move(other.state_);
  return *this;
}

session::~session() { close(); }

void session::close() noexcept {
  if (!state_) return;
  auto work = [state = std::move(state_)](detail::worker& at, detail::operation&) {
    if (auto* set = at.extended<detail::session_set>()) set->end(*state);
  };
  using kind = detail::callable_type<decltype(work), void>;
  detail::call_site site;
  site.where = where_.get();
  detail::operation_ref op = detail::make_operation(site, kind::urgent);
  op->closure = std::make_unique<detail::callable_holder<decltype(work)>>(std::move(work));
  detail::start_detached(std::move(op));
  state_ = nullptr;
}

call<changeset> session::changeset(std::source_location where) {
  const auto fn = [](detail::worker& at, detail::operation& op, sqlite3_session* s) {
    detail::buffer out;
    detail::check_call(at, op, sqlite3session_changeset(s, &out.size, &out.data), "make a changeset");
    return out.take();
  };
  return detail::on_session(site_, state_, fn, where);
}

call<changeset> session::patchset(std::source_location where) {
  const auto fn = [](detail::worker& at, detail::operation& op, sqlite3_session* s) {
    detail::buffer out;
    detail::check_call(at, op, sqlite3session_patchset(s, &out.size, &out.data), "make a patchset");
    return out.take();
  };
  return detail::on_session(site_, state_, fn, where);
}

call<bool> session::is_empty(std::source_location where) {
  const auto fn = [](detail::worker&, detail::operation&, sqlite3_session* s) {
    return sqlite3session_isempty(s) != 0;
  };
  return detail::on_session(site_, state_, fn, where);
}

call<> session::enable(bool on, std::source_location where) {
  const auto fn = [on](detail::worker&, detail::operation&, sqlite3_session* s) {
    sqlite3session_enable(s, on ? 1 : 0);
  };
  return detail::on_session(site_, state_, fn, where);
}

call<> session::mark_indirect(bool on, std::source_location where) {
  const auto fn = [on](detail::worker&, detail::operation&, sqlite3_session* s) {
    sqlite3session_indirect(s, on ? 1 : 0);
  };
  return detail::on_session(site_, state_, fn, where);
}

call<> session::diff(std::string from, std::string table, std::source_location where) {
  auto fn = [from = std::move(from), table = std::move(table)](detail::worker& at, detail::operation& op,
                                                               sqlite3_session* s) {
    char* message = nullptr;
    const int rc = sqlite3session_diff(s, from.c_str(), table.c_str(), &message);
    const std::string why = message ? message : "";
    sqlite3_free(message);
    if (rc != SQLITE_OK && !why.empty()) {
      throw error("cannot compare the tables: " + why, {rc, {}, op.location});
    }
    detail::check_call(at, op, rc, "compare the tables");
  };
  return detail::on_session(site_, state_, std::move(fn), where);
}

}  // namespace cosqlite
