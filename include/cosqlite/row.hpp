/// \file
/// Rows of a query whose types are asked for one value at a time.
#pragma once

#include <cosqlite/detail/decode.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/value.hpp>

#include <compare>
#include <cstddef>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cosqlite {

namespace detail {

/// The names of a statement's columns and their declared types, shared by all its results.
class COSQLITE_API column_names {
 public:
  explicit column_names(std::vector<std::string> names, std::vector<std::string> declared_types = {}) noexcept;
  [[nodiscard]] int size() const noexcept { return static_cast<int>(names_.size()); }
  [[nodiscard]] const std::string& operator[](int i) const noexcept { return names_[static_cast<std::size_t>(i)]; }
  /// The column of that name, letter case aside when no exact match exists. Throws misuse_error when there is none.
  [[nodiscard]] int index_of(std::string_view name) const;
  /// As the schema declares it; empty for expressions.
  [[nodiscard]] std::string_view declared_type(int i) const noexcept {
    const auto at = static_cast<std::size_t>(i);
    return at < declared_types_.size() ? std::string_view(declared_types_[at]) : std::string_view();
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::string> declared_types_;
};

[[noreturn]] COSQLITE_API void throw_column_index(int column, int count);

/// Rows in one buffer: the cells side by side, text and blobs in chunks that never move.
class COSQLITE_API row_batch {
 public:
  row_batch() noexcept;
  row_batch(row_batch&& other) noexcept;
  row_batch& operator=(row_batch&& other) noexcept;
  ~row_batch();

  /// Adds a row: its text and blobs are copied, and the cells are left pointing to the copies.
  void add(cell* cells, int count);
  /// At the first row, makes room for so many.
  void expect(std::size_t rows) noexcept { expected_ = rows; }
  void set_names(std::shared_ptr<const column_names> names) noexcept { names_ = std::move(names); }
  [[nodiscard]] std::size_t size() const noexcept { return rows_; }
  [[nodiscard]] const cell* at(std::size_t row) const noexcept { return cells_.data() + row * width_; }
  [[nodiscard]] const std::shared_ptr<const column_names>& names() const noexcept { return names_; }
  /// Bytes held for text and blobs.
  [[nodiscard]] std::size_t payload() const noexcept { return payload_; }

 private:
  const char* store(const char* data, std::size_t size);

  std::vector<cell> cells_;
  std::vector<std::unique_ptr<char[]>> chunks_;
  std::size_t chunk_left_ = 0;
  char* chunk_at_ = nullptr;
  std::size_t payload_ = 0;
  std::size_t rows_ = 0;
  std::size_t width_ = 0;
  std::size_t expected_ = 0;
  std::shared_ptr<const column_names> names_;
};

}  // namespace detail

/// One row, borrowed from the `rows` or the stream that it came from: valid as long as `rows` lives, or until the
/// stream's following `next()`.
class row {
 public:
  row(const detail::cell* cells, const detail::column_names* names) noexcept : cells_(cells), names_(names) {}

  /// The number of columns.
  [[nodiscard]] int size() const noexcept { return names_->size(); }
  /// The name of column \p i.
  [[nodiscard]] const std::string& name(int i) const { return check(i), (*names_)[i]; }
  /// The column called \p name, letter case aside when no exact match exists. `misuse_error` when there is none.
  [[nodiscard]] int index_of(std::string_view name) const { return names_->index_of(name); }
  /// The type that the schema declares for column \p i, as it is written there; empty for expressions.
  [[nodiscard]] std::string_view declared_type(int i) const { return check(i), names_->declared_type(i); }
  /// The storage class of column \p i.
  [[nodiscard]] value_type type(int i) const { return check(i), cells_[i].type; }
  /// Whether column \p i is NULL.
  [[nodiscard]] bool is_null(int i) const { return type(i) == value_type::null; }
  /// Column \p i, whatever its type.
  [[nodiscard]] value_view operator[](int i) const { return check(i), value_view(cells_[i], i); }
  /// The column called \p name, whatever its type.
  [[nodiscard]] value_view operator[](std::string_view name) const { return (*this)[names_->index_of(name)]; }

  /// Column \p i (from 0) as \p T. `std::string_view` and `std::span<const std::byte>` borrow from the row. Throws
  /// `conversion_error` when the value is not of that type (integers do not become text, NULL needs `std::optional`)
  /// and `misuse_error` when there is no such column.
  template <class T>
  [[nodiscard]] T get(int i) const {
    check(i);
    return detail::decode<T>(cells_[i], i);
  }
  /// The column called \p name as \p T.
  template <class T>
  [[nodiscard]] T get(std::string_view name) const {
    const int i = names_->index_of(name);
    return detail::decode<T>(cells_[i], i);
  }
  /// The whole row as \p T: a tuple or plain struct by position.
  template <class T>
  [[nodiscard]] T as() const {
    return detail::decode_row<T>(cells_, size());
  }

 private:
  void check(int i) const {
    if (i < 0 || i >= names_->size()) [[unlikely]]
      detail::throw_column_index(i, names_->size());
  }

  const detail::cell* cells_;
  const detail::column_names* names_;
};

/// All rows of a query, in memory, with random access. Movable; any thread may read it once it has been handed over.
class rows {
 public:
  /// A random-access iterator; `*i` makes a `row`.
  class iterator {
   public:
    using value_type = row;
    using difference_type = std::ptrdiff_t;
    using reference = row;
    using iterator_category = std::input_iterator_tag;
    using iterator_concept = std::random_access_iterator_tag;

    iterator() noexcept = default;
    iterator(const rows* all, std::ptrdiff_t at) noexcept : rows_(all), at_(at) {}
    row operator*() const { return (*rows_)[static_cast<std::size_t>(at_)]; }
    row operator[](difference_type n) const { return (*rows_)[static_cast<std::size_t>(at_ + n)]; }
    iterator& operator++() noexcept { return ++at_, *this; }
    iterator operator++(int) noexcept { return iterator(rows_, at_++); }
    iterator& operator--() noexcept { return --at_, *this; }
    iterator operator--(int) noexcept { return iterator(rows_, at_--); }
    iterator& operator+=(difference_type n) noexcept { return at_ += n, *this; }
    iterator& operator-=(difference_type n) noexcept { return at_ -= n, *this; }
    friend iterator operator+(iterator i, difference_type n) noexcept { return i += n; }
    friend iterator operator+(difference_type n, iterator i) noexcept { return i += n; }
    friend iterator operator-(iterator i, difference_type n) noexcept { return i -= n; }
    friend difference_type operator-(const iterator& a, const iterator& b) noexcept { return a.at_ - b.at_; }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.at_ == b.at_; }
    friend auto operator<=>(const iterator& a, const iterator& b) noexcept { return a.at_ <=> b.at_; }

   private:
    const rows* rows_ = nullptr;
    std::ptrdiff_t at_ = 0;
  };

  rows() = default;
  explicit rows(detail::row_batch batch) noexcept : batch_(std::move(batch)) {}

  /// The number of rows.
  [[nodiscard]] std::size_t size() const noexcept { return batch_.size(); }
  /// Whether there are no rows.
  [[nodiscard]] bool empty() const noexcept { return batch_.size() == 0; }
  /// The row at \p i; \p i must be below size().
  [[nodiscard]] row operator[](std::size_t i) const noexcept { return {batch_.at(i), batch_.names().get()}; }
  /// The same with a check: std::out_of_range.
  [[nodiscard]] row at(std::size_t i) const;
  /// The first row; std::out_of_range when there is none.
  [[nodiscard]] row front() const { return at(0); }
  /// The first row, for range-for.
  [[nodiscard]] iterator begin() const noexcept { return {this, 0}; }
  /// Behind the last row.
  [[nodiscard]] iterator end() const noexcept { return {this, static_cast<std::ptrdiff_t>(size())}; }
  /// The number of columns, also when there are no rows.
  [[nodiscard]] int columns() const noexcept { return batch_.names() ? batch_.names()->size() : 0; }
  /// The name of column \p i, also when there are no rows.
  [[nodiscard]] const std::string& column_name(int i) const { return (*batch_.names())[i]; }

 private:
  detail::row_batch batch_;
};

}  // namespace cosqlite
