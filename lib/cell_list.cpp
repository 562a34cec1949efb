#include <cosqlite/detail/cell_list.hpp>
#include <cosqlite/error.hpp>

#include <sqlite3.h>

#include <limits>

namespace cosqlite::detail {

cell_list::cell_list() = default;
cell_list::~cell_list() = default;

void cell_list::null() { cells_.emplace_back(); }

void cell_list::integer(std::int64_t v) {
  cell& c = cells_.emplace_back();
  c.type = value_type::integer;
  c.integer = v;
}

void cell_list::real(double v) {
  cell& c = cells_.emplace_back();
  c.type = value_type::real;
  c.real = v;
}

void cell_list::text(std::string_view v) { store(value_type::text, v.data(), v.size()); }

void cell_list::blob(std::span<const std::byte> v) { store(value_type::blob, v.data(), v.size()); }

void cell_list::zeros(std::uint64_t n) {
  store(value_type::blob, nullptr, 0);
  cells_.back().size = static_cast<std::uint32_t>(n);
  bytes_.resize(bytes_.size() + n);
}

void cell_list::pointer(std::shared_ptr<void>, const char*) {
  throw misuse_error("a list cannot hold another list", {SQLITE_MISUSE});
}

void cell_list::name(std::string_view) {
  throw misuse_error("a list holds values, not named arguments", {SQLITE_MISUSE});
}

void cell_list::store(value_type type, const void* data, std::uint64_t size) {
  if (size > std::numeric_limits<std::uint32_t>::max()) {
    throw misuse_error("a text or blob of 4 GiB or more is too large for SQLite", {SQLITE_TOOBIG});
  }
  cell& c = cells_.emplace_back();
  c.type = type;
  c.integer = static_cast<std::int64_t>(bytes_.size());
  c.size = static_cast<std::uint32_t>(size);
  const char* from = static_cast<const char*>(data);
  if (size != 0) bytes_.insert(bytes_.end(), from, from + size);
}

void cell_list::add(const cell& c) {
  if (c.type == value_type::text || c.type == value_type::blob) return store(c.type, c.data, c.size);
  cells_.push_back(c);
}

void cell_list::seal() noexcept {
  for (cell& c : cells_) {
    if (c.type != value_type::text && c.type != value_type::blob) continue;
    const auto at = static_cast<std::size_t>(c.integer);
    c.data = bytes_.empty() ? "" : bytes_.data() + at;
  }
}

void write_cell(sink& to, const cell& c) {
  switch (c.type) {
    case value_type::integer: return to.integer(c.integer);
    case value_type::real: return to.real(c.real);
    case value_type::text: return to.text(c.text());
    case value_type::blob: return to.blob(c.blob());
    case value_type::null: return to.null();
  }
}

}  // namespace cosqlite::detail
