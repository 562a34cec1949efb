/// \file
/// Values that own their memory, one after another.
#pragma once

#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/value.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace cosqlite::detail {

/// Collects values of any type. Once sealed it is read through `cells`, from any thread.
class COSQLITE_API cell_list final : public sink {
 public:
  cell_list();
  cell_list(const cell_list&) = delete;
  cell_list& operator=(const cell_list&) = delete;
  ~cell_list();

  void null() override;
  void integer(std::int64_t v) override;
  void real(double v) override;
  void text(std::string_view v) override;
  void blob(std::span<const std::byte> v) override;
  void zeros(std::uint64_t n) override;
  void pointer(std::shared_ptr<void> object, const char* type) override;
  void name(std::string_view n) override;

  void reserve(std::size_t cells) { cells_.reserve(cells); }
  /// A copy of \p c, with its text or bytes.
  void add(const cell& c);
  /// After the last value: the cells point to their bytes from here on.
  void seal() noexcept;
  [[nodiscard]] std::span<const cell> cells() const noexcept { return cells_; }

 private:
  void store(value_type type, const void* data, std::uint64_t size);

  std::vector<cell> cells_;
  std::vector<char> bytes_;
};

/// Hands \p c to \p to, whatever it holds.
COSQLITE_API void write_cell(sink& to, const cell& c);

}  // namespace cosqlite::detail
