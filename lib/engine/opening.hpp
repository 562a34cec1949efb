#pragma once

#include "engine/worker.hpp"
#include <cosqlite/connection.hpp>

#include <string>

namespace cosqlite::detail {

/// The call that opens a connection; its result is a `connection`, or nothing when it is \p bare. \p at receives the
/// worker that will serve it. Throws misuse_error when the path has a NUL in it.
[[nodiscard]] operation_ref make_opening(std::string path, const open_options& options,
                                         const std::source_location& where, ref<worker>& at, bool bare = false);

}  // namespace cosqlite::detail
