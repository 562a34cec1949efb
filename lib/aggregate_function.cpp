#include "engine/user_functions.hpp"
#include <cosqlite/aggregate_function.hpp>

#include <vector>

namespace cosqlite::detail {

namespace {

struct registered_aggregate {
  worker& at;
  std::string name;
  const aggregate_type& type;
};

/// The memory that SQLite keeps for a group, zeroed at first; the user's object follows.
struct alignas(8) group {
  bool built;
  bool failed;

  [[nodiscard]] void* object() noexcept { return this + 1; }
};

registered_aggregate& aggregate_in(sqlite3_context* in) noexcept {
  return *static_cast<registered_aggregate*>(sqlite3_user_data(in));
}

group* group_in(sqlite3_context* in, const aggregate_type& type) noexcept {
  return static_cast<group*>(sqlite3_aggregate_context(in, static_cast<int>(sizeof(group) + type.size)));
}

void build(const registered_aggregate& a, group& g) {
  if (g.built) return;
  a.type.construct(g.object());
  g.built = true;
}

void take_row(sqlite3_context* in, int count, sqlite3_value** values, void (*method)(void*, const argument_list&),
              std::string_view method_name) noexcept {
  const registered_aggregate& a = aggregate_in(in);
  group* g = group_in(in, a.type);
  if (!g) return sqlite3_result_error_nomem(in);
  if (g->failed) return;
  try {
    build(a, *g);
    const argument_reader arguments(count, values);
    method(g->object(), {arguments.values(), a.name});
  } catch (...) {
    g->failed = true;
    report_exception(a.at, in, a.name, method_name);
  }
}

void on_step(sqlite3_context* in, int count, sqlite3_value** values) noexcept {
  take_row(in, count, values, aggregate_in(in).type.step, "step");
}

void on_inverse(sqlite3_context* in, int count, sqlite3_value** values) noexcept {
  take_row(in, count, values, aggregate_in(in).type.inverse, "inverse");
}

/// The result of a group that no row has come to.
void give_empty(const registered_aggregate& a, void (*method)(void*, sink&), sink& to) {
  std::vector<std::max_align_t> memory(a.type.size / sizeof(std::max_align_t) + 1);
  a.type.construct(memory.data());
  struct guard {
    const registered_aggregate& a;
    void* object;
    ~guard() { a.type.destroy(object); }
  } const destroyed{a, memory.data()};
  method(memory.data(), to);
}

void give(sqlite3_context* in, group* g, void (*method)(void*, sink&), std::string_view method_name) noexcept {
  const registered_aggregate& a = aggregate_in(in);
  try {
    result_sink to(in, a.name);
    if (g && g->built) {
      method(g->object(), to);
    } else {
      give_empty(a, method, to);
    }
  } catch (...) {
    if (g) g->failed = true;
    report_exception(a.at, in, a.name, method_name);
  }
}

void on_value(sqlite3_context* in) noexcept {
  group* g = static_cast<group*>(sqlite3_aggregate_context(in, 0));
  if (g && g->failed) return;
  give(in, g, aggregate_in(in).type.value, "value");
}

// Called for every group, also when its statement has failed.
void on_finalize(sqlite3_context* in) noexcept {
  group* g = static_cast<group*>(sqlite3_aggregate_context(in, 0));
  if (!g || !g->failed) give(in, g, aggregate_in(in).type.finalize, "finalize");
  if (g && g->built) {
    g->built = false;
    aggregate_in(in).type.destroy(g->object());
  }
}

}  // namespace

call<> create_aggregate(const call_site& site, std::string name, const aggregate_type& type, function_options options,
                        std::source_location where) {
  check_name(name, "function", where);
  auto job = [name = std::move(name), &type, options](worker& at, operation& op) {
    user_functions& all = at.extend<user_functions>();
    auto a = std::make_unique<registered_aggregate>(at, name, type);
    const auto destroy = [](void* p) { delete static_cast<registered_aggregate*>(p); };
    const int flags = function_flags(options);
    // SQLite destroys what it was given also when it fails.
    const int rc = type.value
                       ? sqlite3_create_window_function(at.db(), name.c_str(), type.arguments, flags, a.release(),
                                                        &on_step, &on_finalize, &on_value, &on_inverse, destroy)
                       : sqlite3_create_function_v2(at.db(), name.c_str(), type.arguments, flags, a.release(), nullptr,
                                                    &on_step, &on_finalize, destroy);
    check_registration(at, op, rc, "create the SQL function " + name);
    all.add(registered::function, name, type.arguments);
    at.add_user_function(name);
  };
  return make_callable(site, std::move(job), where);
}

}  // namespace cosqlite::detail
