#include "engine/worker.hpp"
#include <cosqlite/checkpoint.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/error.hpp>

#include <sqlite3.h>

namespace cosqlite::detail {

namespace {

int code_of(checkpoint_mode mode) noexcept {
  switch (mode) {
    case checkpoint_mode::full: return SQLITE_CHECKPOINT_FULL;
    case checkpoint_mode::restart: return SQLITE_CHECKPOINT_RESTART;
    case checkpoint_mode::truncate: return SQLITE_CHECKPOINT_TRUNCATE;
    case checkpoint_mode::passive: break;
  }
  return SQLITE_CHECKPOINT_PASSIVE;
}

}  // namespace

call<checkpoint_result> checkpoint(const call_site& site, checkpoint_mode mode, std::string schema,
                                   std::source_location where) {
  auto work = [mode, schema = std::move(schema)](worker& at, operation& op) {
    checkpoint_result result;
    const int rc = sqlite3_wal_checkpoint_v2(at.db(), schema.empty() ? nullptr : schema.c_str(), code_of(mode),
                                             &result.log, &result.checkpointed);
    if (rc == SQLITE_OK) return result;
    if ((rc & 0xff) != SQLITE_BUSY || at.stop_requested()) at.fail(op, rc, {});
    result.busy = true;
    return result;
  };
  return make_callable(site, std::move(work), where);
}

call<> optimize(const call_site& site, std::source_location where) {
  const auto work = [](worker& at, operation& op) {
    if (const int rc = at.run_text("PRAGMA optimize"); rc != SQLITE_OK) at.fail(op, rc, "PRAGMA optimize");
  };
  return make_callable(site, work, where);
}

}  // namespace cosqlite::detail
