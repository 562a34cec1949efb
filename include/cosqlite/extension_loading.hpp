/// \file
/// Loading SQLite's run-time extensions.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>

#include <source_location>
#include <string>
#include <utility>

namespace cosqlite {

namespace detail {

COSQLITE_API call<> load_extension(const call_site& site, std::string path, std::string entry,
                                   std::source_location where);

}  // namespace detail

/// Extensions of a connection.
template <class Self>
class extension_calls {
 public:
  /// Loads the shared library at \p path and calls \p entry in it (empty: the name that SQLite derives from the
  /// file's). Only where open_options::load_extensions allows it: otherwise misuse_error. Loading is allowed while this
  /// call runs and not otherwise; the SQL function load_extension() stays off. Native code is loaded into the process:
  /// only from a path that you trust.
  [[nodiscard]] call<> load_extension(std::string path, std::string entry = {},
                                      std::source_location where = std::source_location::current()) {
    return detail::load_extension(static_cast<Self&>(*this).site(), std::move(path), std::move(entry), where);
  }
};

}  // namespace cosqlite
