#pragma once

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace cosqlite::detail {

class worker;

/// A read transaction that reads share: those that wait together, and in WAL mode also those that follow one another
/// closely. Between them it stays open while the worker looks for the next call, and is used again only when nobody has
/// committed meanwhile: the header of the WAL index, which every commit changes, is still what it was. So each read
/// sees exactly what it would have seen in a transaction of its own, and SQLite takes its locks once. Worker thread.
class read_snapshot {
 public:
  explicit read_snapshot(worker& at) noexcept : at_(at) {}
  read_snapshot(const read_snapshot&) = delete;
  read_snapshot& operator=(const read_snapshot&) = delete;

  [[nodiscard]] bool is_open() const noexcept { return open_; }
  /// Whether one more read alone would find it open, or is worth opening it for.
  [[nodiscard]] bool is_expected() const noexcept { return open_ || expected_; }
  /// Before \p reads reads: opens it unless it is open and still shows the newest state. False: they run without one.
  bool enter(std::size_t reads) noexcept;
  /// After them. It stays open where it can be told later whether it is still good.
  void leave() noexcept;
  /// Before anything else than a read, and before the worker sleeps.
  void close() noexcept {
    expected_ = false;
    if (open_) end();
  }
  /// A read has run by itself: another may follow.
  void expect_another() noexcept { expected_ = true; }
  /// A statement has run that may have changed the journal mode.
  void forget_mode() noexcept {
    mode_ = mode::unknown;
    index_ = nullptr;
  }

 private:
  enum class mode : std::uint8_t { unknown, shared_wal, other };
  using header = std::array<std::uint64_t, 12>;  // both copies

  void end() noexcept;
  [[nodiscard]] bool is_current() const noexcept;
  [[nodiscard]] bool is_old() const noexcept;
  [[nodiscard]] bool uses_shared_wal() noexcept;
  void find_index() noexcept;
  void read_index(header& to) const noexcept;

  worker& at_;
  bool open_ = false;
  bool expected_ = false;
  bool checkable_ = false;
  mode mode_ = mode::unknown;
  const volatile std::uint64_t* index_ = nullptr;
  header seen_{};
  std::int64_t began_ = 0;
  std::size_t reads_ = 0;
};

}  // namespace cosqlite::detail
