/// \file
/// What SQLite stores: the five storage classes, an owning `value`, a borrowed `value_view`, and the small argument
/// types `zeroblob` and `named`.
#pragma once

#include <cosqlite/detail/export.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cosqlite {

/// A sequence of bytes that owns its memory: what a BLOB is read into.
using bytes = std::vector<std::byte>;

/// The storage class of a value.
enum class value_type : std::uint8_t { null, integer, real, text, blob };

/// The SQL name of a storage class: "NULL", "INTEGER", "REAL", "TEXT" or "BLOB".
[[nodiscard]] COSQLITE_API std::string_view to_string(value_type type) noexcept;

namespace detail {

/// One value as it crosses the library: sixteen bytes, text and blobs borrowed from whoever filled it in.
struct cell {
  union {
    std::int64_t integer;
    double real;
    const char* data;
  };
  std::uint32_t size = 0;
  value_type type = value_type::null;

  cell() noexcept : integer(0) {}
  [[nodiscard]] std::string_view text() const noexcept { return {data, size}; }
  [[nodiscard]] std::span<const std::byte> blob() const noexcept {
    return {reinterpret_cast<const std::byte*>(data), size};
  }
};

}  // namespace detail

/// An owning value of any storage class, for code that does not know the type beforehand. Regular: copy, compare,
/// store.
class value {
 public:
  /// NULL, INTEGER, REAL, TEXT, BLOB, in this order.
  using storage = std::variant<std::monostate, std::int64_t, double, std::string, bytes>;

  /// NULL.
  value() noexcept = default;
  value(std::nullptr_t) noexcept {}
  /// From whatever SQLite stores.
  value(std::int64_t v) noexcept : storage_(v) {}
  value(int v) noexcept : storage_(std::int64_t{v}) {}
  value(double v) noexcept : storage_(v) {}
  value(std::string v) noexcept : storage_(std::move(v)) {}
  value(std::string_view v) : storage_(std::string(v)) {}
  value(const char* v) : storage_(std::string(v)) {}
  value(bytes v) noexcept : storage_(std::move(v)) {}

  /// Its storage class.
  [[nodiscard]] value_type type() const noexcept { return static_cast<value_type>(storage_.index()); }
  /// Whether it is NULL.
  [[nodiscard]] bool is_null() const noexcept { return storage_.index() == 0; }
  /// The variant itself, for std::visit and std::get.
  [[nodiscard]] const storage& variant() const noexcept { return storage_; }
  /// The value as \p T, by the rules of `row::get`. Throws `conversion_error`.
  template <class T>
  [[nodiscard]] T get() const;

  friend bool operator==(const value&, const value&) = default;

 private:
  storage storage_;
};

/// A value that belongs to somebody else: to a row, to the arguments of a user function, to an adapter's caller. Valid
/// as long as its owner says; copy it into a `value` (`get<value>()`) to keep it.
class value_view {
 public:
  explicit value_view(const detail::cell& c, int column = -1) noexcept : cell_(c), column_(column) {}
  /// Its storage class.
  [[nodiscard]] value_type type() const noexcept { return cell_.type; }
  /// Whether it is NULL.
  [[nodiscard]] bool is_null() const noexcept { return cell_.type == value_type::null; }
  /// The value as \p T, by the rules of `row::get`. Throws `conversion_error`.
  template <class T>
  [[nodiscard]] T get() const;
  [[nodiscard]] const detail::cell& raw() const noexcept { return cell_; }
  /// The column (or argument) that it stands in, from 0; -1 when unknown.
  [[nodiscard]] int column() const noexcept { return column_; }
  /// For adapters: throws the `conversion_error` "cannot read column 2 (id), which is TEXT, as \p what".
  [[noreturn]] COSQLITE_API void refuse(std::string_view what) const;

 private:
  detail::cell cell_;
  int column_;
};

/// Binds a BLOB of \p size zero bytes without building it in memory; write it later through `connection::open_blob`.
struct zeroblob {
  explicit zeroblob(std::uint64_t n) noexcept : size(n) {}
  std::uint64_t size;  ///< bytes
};

/// An argument for a named parameter; build it with `named`.
template <class T>
class named_argument {
 public:
  named_argument(std::string_view name, T v) : name_(name), value_(std::move(v)) {}
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const T& get() const noexcept { return value_; }

 private:
  std::string name_;
  T value_;
};

/// Binds \p v to the parameter \p name, written with its prefix as in the SQL text: `named(":id", 7)`. `@id` and `$id`
/// work too. A name that the statement does not have is a `misuse_error`.
template <class T>
[[nodiscard]] auto named(std::string_view name, T&& v) {
  using stored =
      std::conditional_t<std::is_convertible_v<T&&, std::string_view> && !std::is_same_v<std::decay_t<T>, value>,
                         std::string, std::decay_t<T>>;
  return named_argument<stored>(name, stored(std::forward<T>(v)));
}

}  // namespace cosqlite
