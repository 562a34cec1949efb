#include <cosqlite/detail/decode.hpp>
#include <cosqlite/filesystem.hpp>

#include <string_view>

namespace cosqlite {

std::filesystem::path adapter<std::filesystem::path>::from_sqlite(const value_view& v) {
  const auto text = v.get<std::string_view>();
  if (text.find('\0') != std::string_view::npos) v.refuse("a path (it holds a NUL)");
  return text;
}

}  // namespace cosqlite
