#pragma once

#include "engine/worker.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cosqlite::detail {

/// Lets calls that wait together share one transaction, each with exactly the answer that it would have had alone. A
/// group takes only what was waiting before it began: a read must see every write that had been answered when it was
/// submitted.
class coalescer {
 public:
  explicit coalescer(worker& at) noexcept
      : at_(at), members_(at.group_members_), next_(at.group_next_), ran_(at.group_ran_) {
    members_.clear();
    next_ = 0;
    ran_.clear();
  }
  coalescer(const coalescer&) = delete;
  coalescer& operator=(const coalescer&) = delete;
  ~coalescer() {
    members_.clear();
    next_ = 0;
  }

  /// Whether \p op may begin a group: there is company, and nothing stands in the way.
  [[nodiscard]] static bool may_lead(worker& at, const operation& op) noexcept;
  /// Runs \p first and those behind it that may share with it.
  void run(operation& first) noexcept;

 private:
  enum class kind { alone, read, write };
  class asking;

  [[nodiscard]] kind classify(operation& op) noexcept;
  void collect(operation& first);
  void run_alone(operation& op, bool claimed = false) noexcept;
  void run_reads() noexcept;
  void run_writes() noexcept;
  bool begin_writes() noexcept;
  void run_members() noexcept;
  [[nodiscard]] bool is_lost(const operation& op) const noexcept;
  void end_writes() noexcept;
  void replay() noexcept;
  [[nodiscard]] bool is_late() const noexcept;

  worker& at_;
  std::vector<operation*>& members_;
  std::size_t& next_;             // the first member that has not run
  std::vector<operation*>& ran_;  // claimed and run, not yet answered
  operation* overran_ = nullptr;  // a read that took too long to keep the others waiting
  bool lost_ = false;
  std::int64_t began_ = 0;
  std::int64_t rowid_before_ = 0;
};

}  // namespace cosqlite::detail
