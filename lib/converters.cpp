#include <cosqlite/converters.hpp>

namespace cosqlite::detail {

std::string folded_type(std::string_view declared) {
  std::string folded;
  folded.reserve(declared.size());
  bool blank = false;
  for (const char c : declared) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      blank = !folded.empty();
      continue;
    }
    if (blank) folded.push_back(' ');
    blank = false;
    folded.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
  }
  return folded;
}

std::string_view first_word(std::string_view folded) noexcept { return folded.substr(0, folded.find_first_of(" (")); }

std::string type_in_name(std::string_view column_name) {
  if (!column_name.ends_with(']')) return {};
  const std::size_t open = column_name.rfind('[');
  if (open == std::string_view::npos) return {};
  return folded_type(column_name.substr(open + 1, column_name.size() - open - 2));
}

}  // namespace cosqlite::detail
