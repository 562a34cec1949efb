#include "engine/user_functions.hpp"
#include <cosqlite/collation.hpp>

namespace cosqlite::detail {

collation::~collation() = default;

namespace {

struct registered_collation {
  worker& at;
  std::unique_ptr<collation> order;
};

int on_compare(void* self, int a_size, const void* a, int b_size, const void* b) noexcept {
  auto& c = *static_cast<registered_collation*>(self);
  // SQLite cannot be told of a failure: the statement goes on until it can be stopped.
  if (c.at.is_spoilt()) return 0;
  try {
    return c.order->compare({static_cast<const char*>(a), static_cast<std::size_t>(a_size)},
                            {static_cast<const char*>(b), static_cast<std::size_t>(b_size)});
  } catch (...) {
    c.at.callback_spoilt(std::current_exception());
    return 0;
  }
}

}  // namespace

call<> create_collation(const call_site& site, std::string name, std::unique_ptr<collation> compare,
                        std::source_location where) {
  check_name(name, "collation", where);
  auto job = [name = std::move(name), compare = std::move(compare)](worker& at, operation& op) mutable {
    auto c = std::make_unique<registered_collation>(at, std::move(compare));
    user_functions& all = at.extend<user_functions>();
    const int rc = sqlite3_create_collation_v2(at.db(), name.c_str(), SQLITE_UTF8, c.get(), &on_compare,
                                               [](void* p) { delete static_cast<registered_collation*>(p); });
    // Other than with functions, SQLite does not destroy what it was given when it fails.
    if (rc == SQLITE_OK) static_cast<void>(c.release());
    check_registration(at, op, rc, "create the collation " + name);
    all.add(registered::collation, name);
    at.guard_commits();
    at.statements().expire();
  };
  return make_callable(site, std::move(job), where);
}

call<> remove_collation(const call_site& site, std::string name, std::source_location where) {
  check_name(name, "collation", where);
  auto job = [name = std::move(name)](worker& at, operation& op) {
    user_functions& all = at.extend<user_functions>();
    if (all.take(registered::collation, name).empty()) throw_not_registered(name, "collation", op.location);
    const int rc = sqlite3_create_collation_v2(at.db(), name.c_str(), SQLITE_UTF8, nullptr, nullptr, nullptr);
    if (rc != SQLITE_OK) all.add(registered::collation, name);
    check_registration(at, op, rc, "remove the collation " + name);
    at.statements().expire();
  };
  return make_callable(site, std::move(job), where);
}

}  // namespace cosqlite::detail
