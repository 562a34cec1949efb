#pragma once

#include "engine/bridge.hpp"
#include "engine/short_mutex.hpp"
#include "engine/worker.hpp"
#include <cosqlite/connection.hpp>
#include <cosqlite/detail/operation.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cosqlite::detail {

/// The readers of a pool as one executor: calls stand in one queue, and those that serve take from it. Another reader
/// is set to work when those that serve would be busy for longer with what waits than waking one is worth, by how long
/// calls usually take; while these are short, no more of them than two for each CPU. One whose call turns out to be long
/// gives back what it has taken beyond it, and leaves the queue to others. submit() and what follows it belong to the
/// loop's thread, take() and what follows it to the readers'.
class reader_group final : public executor, public work_source, public overseer {
 public:
  using opener = std::function<ref<worker>(reader_group&)>;

  reader_group(ref<bridge> to, std::int64_t poll_ns, std::size_t most, opener open_reader);

  void submit(operation& op) noexcept override;
  std::exception_ptr refusal(const operation& op) noexcept override;
  bool accepts(const operation&) noexcept override { return accepting_; }
  [[nodiscard]] bool is_gone() const noexcept override { return false; }
  bridge& loop_bridge() noexcept override { return *bridge_; }
  [[nodiscard]] std::int64_t poll_ns() const noexcept override { return poll_ns_; }

  /// No call is accepted from now on; what is queued goes to one reader. The readers that are open.
  std::vector<ref<worker>> stop() noexcept;
  [[nodiscard]] std::vector<ref<worker>> readers() const;
  [[nodiscard]] std::size_t waiting() const noexcept;

  void look_after(bool at_once) noexcept override;

  operation* take(worker& w) noexcept override;
  void entrust_to_others(worker& w) noexcept override;
  void ran_for(std::int64_t ns) noexcept override;
  void leave(worker& w) noexcept override;

 private:
  ~reader_group() override {
    if (!stopped_) bridge_->remove(*this);  // it has not got as far as to be used
  }
  /// What is to be done with a call.
  struct placement {
    worker* to = nullptr;  // null: it has been queued
    bool opens = false;    // all that are open are at work, and there may be another
    bool watched = false;  // there are others, or may be, should those at work be held up
  };

  [[nodiscard]] bool all_are_held_by(const lineage* who) const noexcept;
  [[nodiscard]] bool wants_another() const noexcept;
  [[nodiscard]] bool is_pressing(const operation& op) const noexcept;
  worker* free_reader() noexcept;
  placement place(operation& op) noexcept;
  void open_another() noexcept;
  void wake_another() noexcept;
  [[nodiscard]] ref<worker> one_that_stays() noexcept;
  void look_after_soon() noexcept;
  void refuse_when_none_stays() noexcept;
  void refuse_for_lack_of_memory(operation& op) noexcept;

  ref<bridge> bridge_;
  std::int64_t poll_ns_;
  std::size_t most_;
  opener open_;
  bool accepting_ = true;
  std::vector<ref<worker>> readers_;
  std::uint64_t serials_ = std::uint64_t{1} << 63;  // apart from those that a worker gives

  mutable short_mutex mutex_;
  operation_queue queue_;
  std::size_t queued_ = 0;
  std::size_t staying_ = 0;       // readers that have not left
  std::vector<worker*> free_;     // the one that became free last stands last
  std::vector<worker*> serving_;  // those that look into the queue when they have done what they are doing
  bool stopped_ = false;
  std::int64_t last_take_ = 0;
  std::int64_t left_at_ = 0;                // when one has left, most likely since it could not be opened
  std::atomic<std::int64_t> usual_run_{0};  // of a call, in nanoseconds
};

}  // namespace cosqlite::detail
