/// \file
/// Lists as arguments of SQL: `WHERE id IN carray(?)`.
#pragma once

#include <cosqlite/detail/cell_list.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/parameters.hpp>

#include <cstddef>
#include <memory>
#include <ranges>
#include <utility>

namespace cosqlite {

/// A list for `carray(?)`; built by `array`. Copies share the elements.
class COSQLITE_API array_argument {
 public:
  explicit array_argument(std::shared_ptr<detail::cell_list> elements) noexcept : elements_(std::move(elements)) {}
  /// The number of elements.
  [[nodiscard]] std::size_t size() const noexcept { return elements_->cells().size(); }
  void bind_to(detail::sink& to) const;

 private:
  std::shared_ptr<detail::cell_list> elements_;
};

/// Makes a copy of \p elements, a range of anything that can be bound, as one argument: the table `carray(?)`, with one
/// column `value` and a row for each element, in their order.
/// \code
/// co_await db.query<item>("SELECT id, name FROM items WHERE id IN carray(?)", array(ids));
/// co_await db.query<item>("SELECT i.id, i.name FROM carray(?) AS a JOIN items AS i ON i.id = a.value", array(ids));
/// \endcode
/// Throws what binding an element throws.
template <std::ranges::input_range R>
[[nodiscard]] array_argument array(R&& elements) {
  using element = std::ranges::range_value_t<R>;
  auto list = std::make_shared<detail::cell_list>();
  if constexpr (std::ranges::sized_range<R>) list->reserve(static_cast<std::size_t>(std::ranges::size(elements)));
  for (auto&& e : elements) detail::bind(*list, static_cast<const element&>(e));
  list->seal();
  return array_argument(std::move(list));
}

}  // namespace cosqlite
