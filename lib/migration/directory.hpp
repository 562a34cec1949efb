#pragma once

#include <cosqlite/migration.hpp>

#include <filesystem>

namespace cosqlite::detail {

/// The steps in the files of a folder.
[[nodiscard]] migrator read_migrations(const std::filesystem::path& folder);

}  // namespace cosqlite::detail
