#include "engine/statement_cache.hpp"

#include <utility>
#include <vector>

namespace cosqlite::detail {

const std::shared_ptr<const column_names>& prepared::column_names_now() {
  const int count = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_REPREPARE, 0);
  if (names && count == reprepares) return names;
  reprepares = count;
  std::vector<std::string> all;
  std::vector<std::string> declared;
  const int columns = sqlite3_column_count(stmt);
  all.reserve(static_cast<std::size_t>(columns));
  declared.reserve(static_cast<std::size_t>(columns));
  for (int i = 0; i < columns; ++i) {
    const char* name = sqlite3_column_name(stmt, i);
    const char* type = sqlite3_column_decltype(stmt, i);
    all.emplace_back(name ? name : "");
    declared.emplace_back(type ? type : "");
  }
  names = std::make_shared<const column_names>(std::move(all), std::move(declared));
  return names;
}

void statement_cache::limit(std::size_t statements, std::size_t bytes) noexcept {
  most_statements_ = statements;
  most_bytes_ = bytes;
}

std::shared_ptr<prepared> statement_cache::find(std::string_view sql) {
  // A loop over one statement finds it in front and needs no hash of its text.
  if (!order_.empty() && !order_.front()->in_use && order_.front()->sql == sql) {
    return order_.front();
  }
  const auto it = by_text_.find(sql);
  if (it == by_text_.end() || (*it->second)->in_use) {
    return nullptr;
  }
  order_.splice(order_.begin(), order_, it->second);
  return *it->second;
}

void statement_cache::insert(std::shared_ptr<prepared> p) {
  sweep();
  if (most_statements_ == 0 || p->sql.size() > most_bytes_ || by_text_.contains(p->sql)) return adopt(std::move(p));
  bytes_ += p->sql.size();
  p->cached = true;
  order_.push_front(std::move(p));
  by_text_.emplace(order_.front()->sql, order_.begin());
  shrink();
}

void statement_cache::forget(prepared& p) {
  const auto it = by_text_.find(p.sql);
  if (it == by_text_.end() || it->second->get() != &p) return;
  const position at = it->second;
  bytes_ -= p.sql.size();
  p.cached = false;
  by_text_.erase(it);
  adopt(std::move(*at));
  order_.erase(at);
}

void statement_cache::adopt(std::shared_ptr<prepared> p) { strays_.push_back(std::move(p)); }

void statement_cache::sweep() noexcept {
  std::erase_if(strays_, [](const std::shared_ptr<prepared>& p) {
    if (p->in_use || p.use_count() > 1) return false;
    sqlite3_finalize(std::exchange(p->stmt, nullptr));
    return true;
  });
}

void statement_cache::shrink() {
  auto at = order_.end();
  while (order_.size() > most_statements_ || bytes_ > most_bytes_) {
    do {
      if (at == order_.begin()) return;
      --at;
    } while ((*at)->in_use || at->use_count() > 1);
    prepared& p = **at;
    bytes_ -= p.sql.size();
    by_text_.erase(p.sql);
    sqlite3_finalize(std::exchange(p.stmt, nullptr));
    at = order_.erase(at);
  }
}

void statement_cache::expire() noexcept {
  by_text_.clear();
  bytes_ = 0;
  for (auto& p : order_) {
    p->cached = false;
    strays_.push_back(std::move(p));
  }
  order_.clear();
  // A `statement` may still hold one: it is compiled anew when it runs.
  std::erase_if(strays_, [](const std::shared_ptr<prepared>& p) {
    if (p->in_use) return false;
    sqlite3_finalize(std::exchange(p->stmt, nullptr));
    return true;
  });
}

void statement_cache::clear() noexcept {
  const auto finalize = [](prepared& p) {
    p.cached = false;
    p.in_use = false;
    sqlite3_finalize(std::exchange(p.stmt, nullptr));
  };
  by_text_.clear();
  for (const auto& p : order_) finalize(*p);
  for (const auto& p : strays_) finalize(*p);
  order_.clear();
  strays_.clear();
  bytes_ = 0;
}

}  // namespace cosqlite::detail
