/// \file
/// std::filesystem::path as text.
#pragma once

#include <cosqlite/adapter.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/value.hpp>

#include <filesystem>
#include <string>

namespace cosqlite {

/// A path is TEXT, its bytes as they are. Text with a NUL in it, which no file name can hold, is a `conversion_error`.
template <>
struct adapter<std::filesystem::path> {
  static std::string to_sqlite(const std::filesystem::path& p) { return p.string(); }
  COSQLITE_API static std::filesystem::path from_sqlite(const value_view& v);
};

}  // namespace cosqlite
