/// \file
/// What SQLite this is, and what is risky about it and about a connection.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/operation.hpp>

#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace cosqlite {

/// The version of the SQLite that runs, such as "3.40.1".
[[nodiscard]] COSQLITE_API std::string_view sqlite_version() noexcept;
/// The same as a number, such as 3040001.
[[nodiscard]] COSQLITE_API int sqlite_version_number() noexcept;
/// The check-in that it was built from.
[[nodiscard]] COSQLITE_API std::string_view sqlite_source_id() noexcept;
/// The options that it was compiled with, without the prefix "SQLITE_".
[[nodiscard]] COSQLITE_API std::vector<std::string> sqlite_compile_options();
/// Whether it was compiled with \p option, with or without the prefix.
[[nodiscard]] COSQLITE_API bool sqlite_compiled_with(std::string_view option);
/// The version of this library.
[[nodiscard]] COSQLITE_API std::string_view version() noexcept;

/// Whether this SQLite has the WAL-reset bug: a connection that checkpoints while another one writes can corrupt the
/// file. So have 3.7.0 to 3.51.2, but for 3.44.6 and 3.50.7. A pool is safe (its writer alone checkpoints), and so is a
/// single connection; several connections or processes on one file are at risk.
[[nodiscard]] COSQLITE_API bool sqlite_wal_reset_vulnerable() noexcept;
/// The same for any version, as a number such as 3040001.
[[nodiscard]] COSQLITE_API bool sqlite_wal_reset_vulnerable(int version_number) noexcept;

/// Whether \p sql ends with a complete statement, as far as its tokens show: for reading SQL line by line.
[[nodiscard]] COSQLITE_API bool complete_statement(std::string_view sql);

/// How bad it is: worth knowing, worth changing, or able to lose data.
enum class severity : std::uint8_t { note, warning, danger };
/// "note", "warning" or "danger".
[[nodiscard]] COSQLITE_API std::string_view to_string(severity level) noexcept;

/// Something worth knowing.
struct diagnostic {
  severity level{};  ///< how bad it is
  std::string name;  ///< stable and short, such as "wal-reset"
  std::string text;  ///< what it means, and what to do
};

/// What is risky or missing in this SQLite itself.
[[nodiscard]] COSQLITE_API std::vector<diagnostic> sqlite_diagnostics();

namespace detail {

COSQLITE_API call<std::vector<diagnostic>> diagnose(const call_site& site, std::source_location where);

}  // namespace detail

/// Diagnostics of a connection.
template <class Self>
class diagnostics_calls {
 public:
  /// What is risky in this SQLite and in how this connection is set: switches that were softened, a synchronous level
  /// that can lose commits, foreign keys off, and so on. Empty would be perfect.
  [[nodiscard]] call<std::vector<diagnostic>> diagnostics(
      std::source_location where = std::source_location::current()) {
    return detail::diagnose(static_cast<Self&>(*this).site(), where);
  }
};

}  // namespace cosqlite
