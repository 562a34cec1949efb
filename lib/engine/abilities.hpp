#pragma once

// What SQLite may or may not have been compiled with. Include before anything else that includes <sqlite3.h>.
#ifndef SQLITE_ENABLE_PREUPDATE_HOOK
#define SQLITE_ENABLE_PREUPDATE_HOOK
#endif
#ifndef SQLITE_ENABLE_SESSION
#define SQLITE_ENABLE_SESSION
#endif

#include <sqlite3.h>

// Weak: the library also links, and loads, against an SQLite without them; then they are null.
#pragma weak sqlite3_preupdate_hook
#pragma weak sqlite3_preupdate_old
#pragma weak sqlite3_preupdate_new
#pragma weak sqlite3_preupdate_count
#pragma weak sqlite3_preupdate_depth
#pragma weak sqlite3_preupdate_blobwrite
#pragma weak sqlite3session_create
#pragma weak sqlite3session_delete
#pragma weak sqlite3session_enable
#pragma weak sqlite3session_indirect
#pragma weak sqlite3session_attach
#pragma weak sqlite3session_changeset
#pragma weak sqlite3session_patchset
#pragma weak sqlite3session_isempty
#pragma weak sqlite3session_diff
#pragma weak sqlite3changeset_start
#pragma weak sqlite3changeset_next
#pragma weak sqlite3changeset_op
#pragma weak sqlite3changeset_pk
#pragma weak sqlite3changeset_old
#pragma weak sqlite3changeset_new
#pragma weak sqlite3changeset_conflict
#pragma weak sqlite3changeset_fk_conflicts
#pragma weak sqlite3changeset_finalize
#pragma weak sqlite3changeset_invert
#pragma weak sqlite3changeset_concat
#pragma weak sqlite3changeset_apply_v2

namespace cosqlite::detail {

/// Whether the preupdate hook is compiled in and linked.
inline bool has_preupdate_hook() noexcept {
  return sqlite3_preupdate_hook && sqlite3_preupdate_old && sqlite3_compileoption_used("ENABLE_PREUPDATE_HOOK") != 0;
}

/// Whether the session extension is compiled in and linked.
inline bool has_sessions() noexcept {
  return sqlite3session_create && sqlite3changeset_apply_v2 && sqlite3_compileoption_used("ENABLE_SESSION") != 0;
}

}  // namespace cosqlite::detail
