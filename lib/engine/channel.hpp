#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <new>
#include <utility>

namespace cosqlite::detail {

/// Pointers from one thread to one other, first in, first out, without bound. Neither side writes what the other polls,
/// and neither needs an atomic exchange. They stand in blocks, of which one that is used up is kept for the next time.
template <class T>
class channel {
 public:
  channel() : head_(new block), tail_(head_) {}
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;
  ~channel() {
    for (block* b = head_; b;) delete std::exchange(b, b->next.load(std::memory_order_relaxed));
    delete spare_.load(std::memory_order_relaxed);
  }

  // --- the thread that puts in
  /// False: there is no memory for another block.
  [[nodiscard]] bool push(T* item) noexcept {
    if (put_ == size) {
      block* b = take_spare();
      if (!b) return false;
      tail_->next.store(b, std::memory_order_release);
      tail_ = b;
      put_ = 0;
    }
    tail_->slots[put_++].store(item, std::memory_order_release);
    return true;
  }

  // --- the thread that takes out
  [[nodiscard]] bool empty() noexcept { return !front(); }
  /// The oldest, or null.
  T* pop() noexcept {
    T* item = front();
    if (item) ++taken_;
    return item;
  }

 private:
  static constexpr std::size_t size = 63;
  struct alignas(64) block {
    std::array<std::atomic<T*>, size> slots{};
    std::atomic<block*> next{nullptr};
  };

  T* front() noexcept {
    if (taken_ == size) {
      block* b = head_->next.load(std::memory_order_acquire);
      if (!b) return nullptr;
      keep_spare(std::exchange(head_, b));
      taken_ = 0;
    }
    return head_->slots[taken_].load(std::memory_order_acquire);
  }
  block* take_spare() noexcept {
    block* b = spare_.exchange(nullptr, std::memory_order_acquire);
    if (!b) return new (std::nothrow) block;
    for (std::atomic<T*>& s : b->slots) s.store(nullptr, std::memory_order_relaxed);
    b->next.store(nullptr, std::memory_order_relaxed);
    return b;
  }
  void keep_spare(block* b) noexcept { delete spare_.exchange(b, std::memory_order_acq_rel); }

  alignas(64) block* head_;
  std::size_t taken_ = 0;
  alignas(64) block* tail_;
  std::size_t put_ = 0;
  alignas(64) std::atomic<block*> spare_{nullptr};
};

}  // namespace cosqlite::detail
