#include <cosqlite/error.hpp>
#include <cosqlite/row.hpp>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace cosqlite {

namespace detail {

namespace {

bool same_letters(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

constexpr std::size_t first_chunk = 4 * 1024;
constexpr std::size_t usual_chunk = 64 * 1024;

}  // namespace

column_names::column_names(std::vector<std::string> names, std::vector<std::string> declared_types) noexcept
    : names_(std::move(names)), declared_types_(std::move(declared_types)) {}

int column_names::index_of(std::string_view name) const {
  const auto exact = std::ranges::find(names_, name);
  if (exact != names_.end()) return static_cast<int>(exact - names_.begin());
  const auto loose = std::ranges::find_if(names_, [&](const std::string& n) { return same_letters(n, name); });
  if (loose != names_.end()) return static_cast<int>(loose - names_.begin());
  std::string message = "no such column in the result: " + std::string(name) + "; it has";
  for (const std::string& n : names_) message += " " + n;
  throw misuse_error(message, {25});
}

void throw_column_index(int column, int count) {
  throw misuse_error("no column " + std::to_string(column) + " in a result of " + std::to_string(count) +
                         " columns; columns count from 0",
                     {25});
}

row_batch::row_batch() noexcept = default;
row_batch::row_batch(row_batch&& other) noexcept = default;
row_batch& row_batch::operator=(row_batch&& other) noexcept = default;
row_batch::~row_batch() = default;

void row_batch::add(cell* cells, int count) {
  if (rows_ == 0) {
    width_ = static_cast<std::size_t>(count);
    cells_.reserve(width_ * expected_);
  }
  // All of a row goes to the batch at once: its memory was last used by the other thread, and writing there is slow.
  for (cell* c = cells; c != cells + count; ++c) {
    if (c->type == value_type::text || c->type == value_type::blob) c->data = store(c->data, c->size);
  }
  cells_.insert(cells_.end(), cells, cells + count);
  ++rows_;
}

const char* row_batch::store(const char* data, std::size_t size) {
  if (size == 0) return "";
  payload_ += size;
  if (size > chunk_left_) {
    if (size >= usual_chunk / 4) {
      chunks_.push_back(std::make_unique_for_overwrite<char[]>(size));
      std::memcpy(chunks_.back().get(), data, size);
      return chunks_.back().get();
    }
    chunk_left_ = std::max(size, chunks_.empty() ? first_chunk : usual_chunk);
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(chunk_left_));
    chunk_at_ = chunks_.back().get();
  }
  char* at = chunk_at_;
  std::memcpy(at, data, size);
  chunk_at_ += size;
  chunk_left_ -= size;
  return at;
}

}  // namespace detail

COSQLITE_API row rows::at(std::size_t i) const {
  if (i >= size()) {
    throw std::out_of_range("no row " + std::to_string(i) + " in a result of " + std::to_string(size()) + " rows");
  }
  return (*this)[i];
}

}  // namespace cosqlite
