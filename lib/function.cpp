#include "engine/user_functions.hpp"
#include <cosqlite/function.hpp>

namespace cosqlite::detail {

scalar_function::~scalar_function() = default;

namespace {

struct registered_scalar {
  worker& at;
  std::string name;
  std::unique_ptr<scalar_function> fn;
};

void call_scalar(sqlite3_context* to, int count, sqlite3_value** values) noexcept {
  auto& f = *static_cast<registered_scalar*>(sqlite3_user_data(to));
  try {
    const argument_reader arguments(count, values);
    result_sink result(to, f.name);
    f.fn->call({arguments.values(), f.name}, result);
  } catch (...) {
    report_exception(f.at, to, f.name);
  }
}

}  // namespace

call<> create_function(const call_site& site, std::string name, int arguments, function_options options,
                       std::unique_ptr<scalar_function> fn, std::source_location where) {
  check_name(name, "function", where);
  auto job = [name = std::move(name), arguments, options, fn = std::move(fn)](worker& at, operation& op) mutable {
    auto f = std::make_unique<registered_scalar>(at, name, std::move(fn));
    user_functions& all = at.extend<user_functions>();
    // SQLite destroys what it was given also when it fails.
    const int rc =
        sqlite3_create_function_v2(at.db(), name.c_str(), arguments, function_flags(options), f.release(), &call_scalar,
                                   nullptr, nullptr, [](void* p) { delete static_cast<registered_scalar*>(p); });
    check_registration(at, op, rc, "create the SQL function " + name);
    all.add(registered::function, name, arguments);
    at.add_user_function(name);
  };
  return make_callable(site, std::move(job), where);
}

call<> remove_function(const call_site& site, std::string name, std::source_location where) {
  check_name(name, "function", where);
  auto job = [name = std::move(name)](worker& at, operation& op) {
    user_functions& all = at.extend<user_functions>();
    const std::vector<int> counts = all.take(registered::function, name);
    if (counts.empty()) throw_not_registered(name, "function", op.location);
    int failed = SQLITE_OK;
    for (const int arguments : counts) {
      const int rc = sqlite3_create_function_v2(at.db(), name.c_str(), arguments, SQLITE_UTF8, nullptr, nullptr,
                                                nullptr, nullptr, nullptr);
      if (rc == SQLITE_OK) continue;
      failed = rc;
      all.add(registered::function, name, arguments);
    }
    check_registration(at, op, failed, "remove the SQL function " + name);
  };
  return make_callable(site, std::move(job), where);
}

}  // namespace cosqlite::detail
