#pragma once

#include "engine/worker.hpp"
#include <cosqlite/detail/parameters.hpp>

#include <sqlite3.h>

namespace cosqlite::detail {

/// Binds the call's arguments; they stay with the operation, which outlives the run. Throws misuse_error when they do
/// not match the statement's parameters.
void bind_arguments(worker& at, const prepared& p, const operation& op, const parameters& args);

/// Binds values straight to a statement. They must live until it is reset.
class statement_binder final : public sink {
 public:
  statement_binder(worker& at, const operation& op, const prepared& p) noexcept
      : worker_(at), op_(op), p_(p), stmt_(p.stmt), parameters_(p.parameters) {}

  /// Before each row.
  void restart() noexcept {
    next_ = 0;
    if (plain_) return;
    filled_.clear();
    objects_.clear();
    plain_ = true;
  }
  /// After each row: throws when it bound too few.
  void check_complete() const {
    if (next_ != parameters_) refuse_count(next_);
  }

  void null() override;
  void integer(std::int64_t v) override;
  void real(double v) override;
  void text(std::string_view v) override;
  void blob(std::span<const std::byte> v) override;
  void zeros(std::uint64_t n) override;
  void pointer(std::shared_ptr<void> object, const char* type) override;
  void name(std::string_view n) override;

 private:
  int slot() {
    if (plain_ && next_ < parameters_) return ++next_;
    return special_slot();
  }
  int special_slot();
  void check(int rc) const {
    if (rc != SQLITE_OK) refuse_value(rc);
  }
  [[noreturn]] void refuse_count(int given) const;
  [[noreturn]] void refuse_value(int rc) const;
  [[nodiscard]] sqlite3_destructor_type lifetime() const noexcept;

  worker& worker_;
  const operation& op_;
  const prepared& p_;
  sqlite3_stmt* const stmt_;
  const int parameters_;
  int next_ = 0;
  bool plain_ = true;  // in this row nothing has been named or kept
  int named_ = 0;
  std::vector<bool> filled_;
  std::vector<std::shared_ptr<void>> objects_;
};

}  // namespace cosqlite::detail
