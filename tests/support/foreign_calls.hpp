#pragma once

#include "support/foreign.hpp"
#include "support/plug.hpp"
#include <cosqlite/connection.hpp>

namespace foreign {

/// Plugs the worker.
inline coroutine hold(support::plug& p, cosqlite::connection& db) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  co_await p.hold(db);
}

/// Inserts into the only column of t; \p resumed counts it when it has been answered.
inline coroutine insert(cosqlite::connection& db, int v, int* resumed = nullptr) {
  [[maybe_unused]] const bool gcc_needs_a_local = true;
  co_await db.execute("INSERT INTO t VALUES(?)", v);
  if (resumed) ++*resumed;
}

}  // namespace foreign
