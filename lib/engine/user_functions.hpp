#pragma once

#include "engine/worker.hpp"
#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/detail/signature.hpp>
#include <cosqlite/function.hpp>

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cosqlite::detail {

/// Where a function's result goes. Everything is copied by SQLite before the call returns.
class result_sink final : public sink {
 public:
  result_sink(sqlite3_context* to, std::string_view function) noexcept : to_(to), function_(function) {}
  void null() override;
  void integer(std::int64_t v) override;
  void real(double v) override;
  void text(std::string_view v) override;
  void blob(std::span<const std::byte> v) override;
  void zeros(std::uint64_t n) override;
  void pointer(std::shared_ptr<void> object, const char* type) override;
  void name(std::string_view n) override;

 private:
  sqlite3_context* to_;
  std::string_view function_;
};

// Here rather than in the source: a function is called for every row, and what is done for each argument counts.

[[nodiscard]] inline value_view read_value(sqlite3_value* v) {
  cell c;
  switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER:
      c.type = value_type::integer;
      c.integer = sqlite3_value_int64(v);
      break;
    case SQLITE_FLOAT:
      c.type = value_type::real;
      c.real = sqlite3_value_double(v);
      break;
    case SQLITE_TEXT:
      c.type = value_type::text;
      c.data = reinterpret_cast<const char*>(sqlite3_value_text(v));
      if (!c.data) throw std::bad_alloc();
      c.size = static_cast<std::uint32_t>(sqlite3_value_bytes(v));
      break;
    case SQLITE_BLOB:
      c.type = value_type::blob;
      c.data = static_cast<const char*>(sqlite3_value_blob(v));
      c.size = static_cast<std::uint32_t>(sqlite3_value_bytes(v));
      if (!c.data && c.size != 0) throw std::bad_alloc();
      if (!c.data) c.data = "";
      break;
    default: break;
  }
  return value_view(c);
}

/// SQLite's values as views, during one call.
class argument_reader {
 public:
  argument_reader(int count, sqlite3_value** values) : count_(static_cast<std::size_t>(count)) {
    if (count_ <= most_inside) {
      auto* const inside = reinterpret_cast<value_view*>(inside_.data());
      for (std::size_t i = 0; i < count_; ++i) ::new (static_cast<void*>(inside + i)) value_view(read_value(values[i]));
      first_ = std::launder(inside);
      return;
    }
    outside_.reserve(count_);
    for (std::size_t i = 0; i < count_; ++i) outside_.push_back(read_value(values[i]));
    first_ = outside_.data();
  }
  argument_reader(const argument_reader&) = delete;
  argument_reader& operator=(const argument_reader&) = delete;
  [[nodiscard]] std::span<const value_view> values() const noexcept { return {first_, count_}; }

 private:
  static constexpr std::size_t most_inside = 8;

  std::size_t count_;
  const value_view* first_;
  alignas(value_view) std::array<std::byte, most_inside * sizeof(value_view)> inside_;
  std::vector<value_view> outside_;
};

/// In a catch block of a callback: the exception becomes the error of the running call; SQLite gets its text, which
/// names the function and, for an aggregate, the \p method.
void report_exception(worker& at, sqlite3_context* to, std::string_view function,
                      std::string_view method = {}) noexcept;
[[nodiscard]] std::string describe_exception(std::string_view function, std::string_view method);

enum class registered : std::uint8_t { function, collation, table };

/// The names that a connection's own functions, collations and tables have, for their removal. On the worker.
class user_functions final : public extension {
 public:
  explicit user_functions(worker&) noexcept {}

  void add(registered kind, const std::string& name, int arguments = 0);
  /// The argument counts under that name; taken out.
  [[nodiscard]] std::vector<int> take(registered kind, const std::string& name);

 private:
  struct entry {
    registered kind;
    std::string name;
    int arguments;
  };
  std::vector<entry> entries_;
};

/// Throws misuse_error for a NUL in \p name or none at all; \p what: "function".
void check_name(const std::string& name, std::string_view what, const std::source_location& where);
/// Throws for \p rc of a registration; \p doing: "create the function f".
void check_registration(worker& at, const operation& op, int rc, const std::string& doing);
[[noreturn]] void throw_not_registered(const std::string& name, std::string_view what,
                                       const std::source_location& where);

[[nodiscard]] int function_flags(const function_options& options) noexcept;

}  // namespace cosqlite::detail
