/// \file
/// Which coroutine awaits which, and what it has that keeps others waiting: enough to see that a call can never be
/// answered.
#pragma once

#include <cosqlite/detail/export.hpp>

#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <utility>

namespace cosqlite::detail {

class executor;
class possession;
class worker;

/// What the promises of the library's coroutines have in common. On the thread that runs the coroutine.
struct lineage {
  lineage() = default;
  lineage(const lineage&) = delete;
  lineage& operator=(const lineage&) = delete;
  ~lineage() {
    if (has) [[unlikely]]
      let_go();
  }

  const lineage* awaited_by = nullptr;    ///< the coroutine that waits for this one, if it is known
  const worker* waited_for_by = nullptr;  ///< the worker that stands still until this coroutine ends
  bool beside_others = false;             ///< whoever waits for this one waits for others at the same time
  mutable possession* has = nullptr;      ///< what it was given and has not passed on

  /// Whether \p w stands still until \p of, or a coroutine that waits for it, has ended.
  [[nodiscard]] static bool holds_up(const lineage* of, const worker& w) noexcept {
    for (; of; of = of->awaited_by) {
      if (of->waited_for_by == &w) return true;
    }
    return false;
  }
  /// Whether \p of is \p who, or is awaited by it.
  [[nodiscard]] static bool descends(const lineage* of, const lineage* who) noexcept {
    while (of && of != who) of = of->awaited_by;
    return of != nullptr;
  }

 private:
  COSQLITE_API void let_go() noexcept;
};

/// What keeps other calls waiting while it is there (a transaction, a lease), with the coroutine that has it. That is
/// known from when its call was awaited until it is moved elsewhere, or another coroutine is seen to use it. On the
/// loop's thread, but for its construction.
class COSQLITE_API possession {
 public:
  enum class kind : std::uint8_t { transaction, body, lease };

  /// \p group: the pool's readers of which \p of is one, if so. \p over: set when it keeps nobody waiting any more.
  possession(kind what, executor& of, const executor* group, std::uint64_t id, const std::atomic<bool>* over) noexcept
      : of_(&of), group_(group), id_(id), over_(over), what_(what) {}
  possession(const possession&) = delete;
  possession& operator=(const possession&) = delete;
  ~possession() { forget(); }

  void give_to(const lineage& who) noexcept;
  /// It has been moved: the first time to whoever awaited it, then to somebody who is not known.
  void pass_on() noexcept {
    if (holder_ && !std::exchange(fresh_, false)) forget();
  }
  void forget() noexcept;
  [[nodiscard]] const lineage* holder() const noexcept { return holder_; }
  [[nodiscard]] bool is_over() const noexcept { return over_ && over_->load(std::memory_order_relaxed); }
  /// The next one of the same coroutine.
  [[nodiscard]] possession* next() const noexcept { return next_; }
  /// The next one on the same executor.
  [[nodiscard]] possession* next_there() const noexcept { return next_there_; }

  [[nodiscard]] kind what() const noexcept { return what_; }
  [[nodiscard]] const executor& of() const noexcept { return *of_; }
  [[nodiscard]] const executor* group() const noexcept { return group_; }
  /// What its own calls have as their owner.
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }

 private:
  executor* of_;
  const executor* group_;
  std::uint64_t id_;
  const std::atomic<bool>* over_;
  const lineage* holder_ = nullptr;
  possession* next_ = nullptr;
  possession* next_there_ = nullptr;
  kind what_;
  bool fresh_ = false;
};

/// The lineage of a coroutine that is about to wait; null for coroutines of other libraries.
template <class Promise>
[[nodiscard]] const lineage* lineage_of(std::coroutine_handle<Promise> h) noexcept {
  if constexpr (std::derived_from<Promise, lineage>) {
    return &h.promise();
  } else {
    return nullptr;
  }
}
inline const lineage* lineage_of(std::coroutine_handle<>) noexcept { return nullptr; }

}  // namespace cosqlite::detail
