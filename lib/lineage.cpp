#include <cosqlite/detail/lineage.hpp>
#include <cosqlite/detail/operation.hpp>

namespace cosqlite::detail {

void lineage::let_go() noexcept {
  while (has) has->forget();
}

void possession::give_to(const lineage& who) noexcept {
  holder_ = &who;
  fresh_ = true;
  next_ = std::exchange(who.has, this);
  next_there_ = std::exchange(of_->possessions, this);
}

void possession::forget() noexcept {
  if (!holder_) return;
  possession** link = &holder_->has;
  while (*link != this) link = &(*link)->next_;
  *link = next_;
  link = &of_->possessions;
  while (*link != this) link = &(*link)->next_there_;
  *link = next_there_;
  holder_ = nullptr;
}

}  // namespace cosqlite::detail
