#include "engine/changeset_format.hpp"

#include <cosqlite/error.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cosqlite::detail {

namespace {

constexpr std::uint64_t most_columns = 32767;

/// Walks over the bytes, by the format that sqlite3session.c describes.
class walker {
 public:
  walker(const bytes& data, const std::source_location& where) noexcept : data_(data), where_(where) {}

  void whole() {
    while (at_ < data_.size()) {
      const unsigned kind = byte();
      if (kind == 'T' || kind == 'P') {
        table(kind == 'P');
      } else {
        change(kind);
      }
    }
  }

 private:
  void table(bool is_patchset) {
    if (!keys_.empty() && is_patchset != is_patchset_) fail();
    is_patchset_ = is_patchset;
    const std::uint64_t columns = number();
    if (columns == 0 || columns > most_columns) fail();
    keys_.clear();
    for (std::uint64_t i = 0; i < columns; ++i) keys_.push_back(byte() != 0);
    while (byte() != 0) {
    }
  }

  void change(unsigned operation) {
    if (keys_.empty()) fail();  // a change of no table
    static_cast<void>(byte());  // whether it is indirect
    switch (operation) {
      case SQLITE_INSERT: return row();
      case SQLITE_DELETE: return is_patchset_ ? row_of_keys() : row();
      case SQLITE_UPDATE:
        row();
        if (!is_patchset_) row();
        return;
      default: fail();
    }
  }

  void row() {
    for (std::size_t i = 0; i < keys_.size(); ++i) field();
  }
  void row_of_keys() {
    for (const bool is_key : keys_) {
      if (is_key) field();
    }
  }

  void field() {
    constexpr unsigned absent = 0;
    switch (byte()) {
      case absent:
      case SQLITE_NULL: return;
      case SQLITE_INTEGER:
      case SQLITE_FLOAT: return skip(8);
      case SQLITE_TEXT:
      case SQLITE_BLOB: return skip(number());
      default: fail();
    }
  }

  unsigned byte() {
    if (at_ == data_.size()) fail();
    return std::to_integer<unsigned>(data_[at_++]);
  }
  void skip(std::uint64_t count) {
    if (count > data_.size() - at_) fail();
    at_ += static_cast<std::size_t>(count);
  }
  /// SQLite's variable length: seven bits a byte, the most significant ones first, and eight in a ninth.
  std::uint64_t number() {
    std::uint64_t n = 0;
    for (int i = 0; i < 8; ++i) {
      const unsigned b = byte();
      n = (n << 7) | (b & 0x7f);
      if (b < 0x80) return n;
    }
    return (n << 8) | byte();
  }
  [[noreturn]] void fail() const {
    throw corrupt_error(
        "the changeset is damaged or cut short, at byte " + std::to_string(at_) + " of " + std::to_string(data_.size()),
        {SQLITE_CORRUPT, {}, where_});
  }

  const bytes& data_;
  const std::source_location& where_;
  std::size_t at_ = 0;
  std::vector<bool> keys_;  // of the table's columns
  bool is_patchset_ = false;
};

}  // namespace

void check_changeset(const bytes& data, const std::source_location& where) { walker(data, where).whole(); }

}  // namespace cosqlite::detail
