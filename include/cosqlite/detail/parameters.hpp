/// \file
/// Arguments on their way to SQLite: the sink that binding writes to, the buffer that carries arguments to the worker,
/// and `bind`, which turns a C++ value into one of the sink's calls.
#pragma once

#include <cosqlite/adapter.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/value.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace cosqlite::detail {

/// Where bound values go. Text and blobs outlive the statement's run, unless `transient` says that they are valid
/// during the call only.
class sink {
 public:
  bool transient = false;
  virtual void null() = 0;
  virtual void integer(std::int64_t v) = 0;
  virtual void real(double v) = 0;
  virtual void text(std::string_view v) = 0;
  virtual void blob(std::span<const std::byte> v) = 0;
  virtual void zeros(std::uint64_t n) = 0;
  /// An object for a table-valued function, by sqlite3_bind_pointer; \p type has static lifetime.
  virtual void pointer(std::shared_ptr<void> object, const char* type) = 0;
  /// The next value is for this named parameter.
  virtual void name(std::string_view n) = 0;

 protected:
  ~sink() = default;
};

/// The arguments of one call, copied so that the caller's may go away. Keeps its memory when it is cleared.
class COSQLITE_API parameters final : public sink {
 public:
  enum class kind : std::uint8_t { null, integer, real, text, blob, zeros, pointer };
  struct slot {
    kind what;
    std::uint32_t name_size = 0;  // > 0: a name stands in `bytes` at `name_at`
    std::uint64_t name_at = 0;
    union {
      std::int64_t integer;
      double real;
      std::uint64_t at;
    };
    std::uint64_t size = 0;
  };
  struct object {
    std::shared_ptr<void> data;
    const char* type;
  };

  parameters();
  parameters(const parameters&) = delete;
  parameters& operator=(const parameters&) = delete;
  ~parameters();

  void null() override;
  void integer(std::int64_t v) override;
  void real(double v) override;
  void text(std::string_view v) override;
  void blob(std::span<const std::byte> v) override;
  void zeros(std::uint64_t n) override;
  void pointer(std::shared_ptr<void> object, const char* type) override;
  void name(std::string_view n) override;

  void clear() noexcept;
  [[nodiscard]] std::span<const slot> slots() const noexcept { return slots_; }
  [[nodiscard]] const char* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] const std::vector<object>& objects() const noexcept { return objects_; }

 private:
  slot& add(kind k);
  std::uint64_t store(const void* data, std::size_t size);

  std::vector<slot> slots_;
  std::vector<char> bytes_;
  std::vector<object> objects_;
  std::uint32_t name_size_ = 0;
  std::uint64_t name_at_ = 0;
};

[[noreturn]] COSQLITE_API void throw_unsigned_too_large();
[[noreturn]] COSQLITE_API void throw_nan();

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_named = false;
template <class T>
inline constexpr bool is_named<named_argument<T>> = true;

template <class T> concept text_like = std::convertible_to<const T&, std::string_view>;
template <class T>
concept bytes_like =
    std::ranges::contiguous_range<const T> && std::same_as<std::ranges::range_value_t<const T>, std::byte>;

template <class T>
inline constexpr bool cannot_be_bound = false;

/// What is bound meanwhile is a temporary.
class transient_scope {
 public:
  explicit transient_scope(sink& s) noexcept : sink_(s), before_(std::exchange(s.transient, true)) {}
  transient_scope(const transient_scope&) = delete;
  transient_scope& operator=(const transient_scope&) = delete;
  ~transient_scope() { sink_.transient = before_; }

 private:
  sink& sink_;
  bool before_;
};

void bind(sink& to, const value& v);

/// Hands \p v to \p to. Throws `conversion_error` for what SQLite cannot hold: unsigned integers above the largest
/// signed one, and NaN (SQLite would silently store NULL).
template <class T>
void bind(sink& to, const T& v) {
  if constexpr (is_named<T>) {
    to.name(v.name());
    detail::bind(to, v.get());
  } else if constexpr (adapted_for_binding<T>) {
    const transient_scope temporary(to);
    detail::bind(to, adapter<T>::to_sqlite(v));
  } else if constexpr (is_optional<T>) {
    if (v) return detail::bind(to, *v);
    to.null();
  } else if constexpr (std::same_as<T, std::nullptr_t> || std::same_as<T, std::nullopt_t>) {
    to.null();
  } else if constexpr (std::is_enum_v<T> && !std::same_as<T, std::byte>) {
    detail::bind(to, static_cast<std::underlying_type_t<T>>(v));
  } else if constexpr (std::integral<T>) {
    if constexpr (std::unsigned_integral<T> && sizeof(T) >= sizeof(std::int64_t)) {
      if (v > static_cast<T>(INT64_MAX)) throw_unsigned_too_large();
    }
    to.integer(static_cast<std::int64_t>(v));
  } else if constexpr (std::floating_point<T>) {
    if (std::isnan(v)) throw_nan();
    to.real(static_cast<double>(v));
  } else if constexpr (std::is_pointer_v<T> && std::convertible_to<T, const char*>) {
    if (v == nullptr) return to.null();
    to.text(v);
  } else if constexpr (text_like<T>) {
    to.text(v);
  } else if constexpr (bytes_like<T>) {
    to.blob(std::span<const std::byte>(std::ranges::data(v), std::ranges::size(v)));
  } else if constexpr (std::same_as<T, zeroblob>) {
    to.zeros(v.size);
  } else if constexpr (requires { v.bind_to(to); }) {
    v.bind_to(to);
  } else {
    static_assert(cannot_be_bound<T>,
                  "this type cannot be bound to an SQL parameter: specialise cosqlite::adapter for it");
  }
}

inline void bind(sink& to, const value& v) {
  std::visit(
      [&to](const auto& held) {
        if constexpr (std::same_as<std::decay_t<decltype(held)>, std::monostate>) {
          to.null();
        } else {
          detail::bind(to, held);
        }
      },
      v.variant());
}

}  // namespace cosqlite::detail
