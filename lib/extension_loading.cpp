#include "engine/worker.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/extension_loading.hpp>

#include <sqlite3.h>

namespace cosqlite::detail {

namespace {

/// Loading through the C API, and only there, is allowed while it lives.
class loading_allowed {
 public:
  explicit loading_allowed(sqlite3* db) noexcept : db_(db) { set(1); }
  loading_allowed(const loading_allowed&) = delete;
  loading_allowed& operator=(const loading_allowed&) = delete;
  ~loading_allowed() { set(0); }

 private:
  void set(int on) noexcept { sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, on, nullptr); }
  sqlite3* db_;
};

}  // namespace

call<> load_extension(const call_site& site, std::string path, std::string entry, std::source_location where) {
  if (path.find('\0') != std::string::npos || entry.find('\0') != std::string::npos) {
    throw misuse_error("the path of an extension cannot have a NUL character in it", {SQLITE_MISUSE, {}, where});
  }
  auto work = [path = std::move(path), entry = std::move(entry)](worker& at, operation& op) {
    if (!at.options().load_extensions) {
      throw misuse_error("extensions are off for this connection: open it with open_options::load_extensions = true",
                         {SQLITE_AUTH, {}, op.location});
    }
    char* message = nullptr;
    int rc = SQLITE_OK;
    {
      const loading_allowed scope(at.db());
      rc = sqlite3_load_extension(at.db(), path.c_str(), entry.empty() ? nullptr : entry.c_str(), &message);
    }
    const std::string why = message ? message : "";
    sqlite3_free(message);
    if (rc != SQLITE_OK) throw error("cannot load the extension " + path + ": " + why, {rc, {}, op.location});
    // It may have brought functions that statements prepared before are to use now.
    at.ask_authorizer_anew();
  };
  return make_callable(site, std::move(work), where);
}

}  // namespace cosqlite::detail
