#pragma once

#include <cosqlite/detail/operation.hpp>
#include <cosqlite/error.hpp>

#include <sqlite3.h>

#include <exception>
#include <string>
#include <string_view>

namespace cosqlite::detail {

/// The error that \p db reports for \p rc, as the class that people catch. \p doing: what was attempted, for errors
/// without a statement ("open /path").
[[nodiscard]] std::exception_ptr sqlite_error(sqlite3* db, int rc, std::string_view sql,
                                              const std::source_location& where, std::string_view doing = {});
[[noreturn]] void throw_sqlite_error(sqlite3* db, int rc, std::string_view sql, const std::source_location& where,
                                     std::string_view doing = {});

/// The error of a call that was stopped before its end, by the reason that stands in it.
[[nodiscard]] std::exception_ptr stopped_error(const operation& op, timeout_error::stage stage);

[[nodiscard]] std::exception_ptr closed_call_error(const operation& op);
[[nodiscard]] std::exception_ptr transaction_ended_error(const operation& op, bool by_sqlite);

/// The text of the call's statement, whichever way it came.
[[nodiscard]] std::string_view sql_of(const operation& op) noexcept;

}  // namespace cosqlite::detail
