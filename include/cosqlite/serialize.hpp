/// \file
/// A whole database as one piece of memory.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>
#include <cosqlite/value.hpp>

#include <source_location>
#include <string_view>
#include <utility>

namespace cosqlite {

namespace detail {

COSQLITE_API call<bytes> serialize(const call_site& site, std::string_view schema, std::source_location where);
COSQLITE_API call<> deserialize(const call_site& site, bytes image, std::string_view schema,
                                std::source_location where);

}  // namespace detail

/// What a connection offers for databases in memory.
template <class Self>
class serialize_calls {
 public:
  /// The database \p schema as it would be on disk, from one snapshot. An empty database may give no bytes at all.
  [[nodiscard]] call<bytes> serialize(std::string_view schema = "main",
                                      std::source_location where = std::source_location::current()) {
    return detail::serialize(here(), schema, where);
  }

  /// Puts the database in \p image in the place of \p schema, which lives in memory from then on: its file, if it has
  /// one, is left alone. The image is checked first (PRAGMA quick_check): one that is damaged, cut short or no database
  /// at all is a `corrupt_error`, and nothing has changed. `busy_error` while a stream, blob, backup or transaction of
  /// the connection is open (a backup of a database in memory copies the new one). Streams of changes have a gap then,
  /// live queries read anew. `unsupported_error` where "main" is a file, or in memory with another page size, and the
  /// connection has used json_each, carray or another table-valued function: SQLite would crash at its next use.
  [[nodiscard]] call<> deserialize(bytes image, std::string_view schema = "main",
                                   std::source_location where = std::source_location::current()) {
    return detail::deserialize(here(), std::move(image), schema, where);
  }

 private:
  [[nodiscard]] detail::call_site here() { return static_cast<Self&>(*this).site(); }
};

}  // namespace cosqlite
