#pragma once

#include "engine/change_tracker.hpp"
#include <cosqlite/value.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace cosqlite::detail {

/// Changes of rows, first in, first out. They stand in blocks that never move, and what few of them have stands apart:
/// keeping a row of a large transaction costs next to nothing.
class change_list {
 public:
  // Without initial values, so that a new block is not written twice.
  struct entry {
    const table_name* table;
    std::int64_t rowid;
    row_operation operation;
    bool detailed;
  };
  struct details {
    std::int64_t old_rowid = 0;
    std::vector<value> before;
    std::vector<value> after;
  };

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  void add(const entry& e) {
    if (blocks_.empty() || blocks_.back().end == blocks_.back().capacity) [[unlikely]]
      grow();
    block& b = blocks_.back();
    b.entries[b.end++] = e;
    ++size_;
  }
  /// With \p more, which takes() gives back.
  void add(entry e, details more) {
    e.detailed = true;
    details_.push_back(std::move(more));
    try {
      add(e);
    } catch (...) {
      details_.pop_back();
      throw;
    }
  }
  /// The oldest, which goes.
  entry take() noexcept {
    if (blocks_[first_].begin == blocks_[first_].end) ++first_;
    --size_;
    block& b = blocks_[first_];
    return b.entries[b.begin++];
  }
  /// What belongs to the one that was taken last, where it is `detailed`.
  details take_details() noexcept { return std::move(details_[first_details_++]); }

  /// Forgets all but the \p size oldest. Not once some have been taken.
  void truncate(std::size_t size) noexcept {
    while (size_ > size) {
      block& b = blocks_.back();
      const std::size_t left = b.end - std::min(b.end, size_ - size);
      for (std::size_t i = left; i < b.end; ++i) {
        if (b.entries[i].detailed) details_.pop_back();
      }
      size_ -= b.end - left;
      b.end = left;
      if (left == 0 && blocks_.size() > 1) blocks_.pop_back();
    }
  }
  /// Adds those of \p later, which is empty then. Neither has been taken from.
  void append(change_list& later) {
    details_.insert(details_.end(), std::make_move_iterator(later.details_.begin()),
                    std::make_move_iterator(later.details_.end()));
    if (later.size_ <= few) {
      for (const block& b : later.blocks_) {
        for (std::size_t i = 0; i < b.end; ++i) add(b.entries[i]);
      }
    } else {
      if (size_ == 0) blocks_.clear();
      blocks_.insert(blocks_.end(), std::make_move_iterator(later.blocks_.begin()),
                     std::make_move_iterator(later.blocks_.end()));
      size_ += later.size_;
      later.blocks_.clear();
    }
    later.clear();
  }
  /// Keeps a block for the next ones.
  void clear() noexcept {
    if (blocks_.size() > 1) blocks_.erase(blocks_.begin() + 1, blocks_.end());
    if (!blocks_.empty()) blocks_[0].begin = blocks_[0].end = 0;
    details_.clear();
    size_ = first_ = first_details_ = 0;
  }

 private:
  static constexpr std::size_t few = 64;
  static constexpr std::size_t many = 2048;
  struct block {
    std::unique_ptr<entry[]> entries;
    std::size_t capacity = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  void grow() {
    const std::size_t capacity = std::clamp(4 * size_, std::size_t{16}, many);
    block b{std::make_unique_for_overwrite<entry[]>(capacity), capacity, 0, 0};
    blocks_.push_back(std::move(b));
  }

  std::vector<block> blocks_;
  std::vector<details> details_;
  std::size_t size_ = 0;
  std::size_t first_ = 0;          // the block that is taken from
  std::size_t first_details_ = 0;  // and what its next one has apart
};

}  // namespace cosqlite::detail
