#include <cosqlite/detail/decode.hpp>
#include <cosqlite/value.hpp>

namespace cosqlite {

std::string_view to_string(value_type type) noexcept {
  switch (type) {
    case value_type::integer: return "INTEGER";
    case value_type::real: return "REAL";
    case value_type::text: return "TEXT";
    case value_type::blob: return "BLOB";
    case value_type::null: break;
  }
  return "NULL";
}

void value_view::refuse(std::string_view what) const { detail::throw_conversion(cell_, column_, what); }

}  // namespace cosqlite
