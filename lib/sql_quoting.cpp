#include "sql_quoting.hpp"

namespace cosqlite::detail {

namespace {

std::string quoted(std::string_view text, char quote) {
  std::string q(1, quote);
  for (const char c : text) q.append(c == quote ? 2 : 1, c);
  return q += quote;
}

}  // namespace

std::string quoted_name(std::string_view name) { return quoted(name, '"'); }
std::string quoted_text(std::string_view text) { return quoted(text, '\''); }

std::string unquoted(const std::string& s) {
  if (s.size() < 2 || (s[0] != '"' && s[0] != '\'' && s[0] != '`' && s[0] != '[')) return s;
  std::string u;
  for (std::size_t i = 1; i + 1 < s.size(); ++i) {
    if (s[i] == s[0] && s[i + 1] == s[0]) ++i;
    u += s[i];
  }
  return u;
}

std::string lower_case(std::string_view s) {
  std::string l(s);
  for (char& c : l) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return l;
}

bool same_name(std::string_view a, std::string_view b) { return lower_case(a) == lower_case(b); }

std::string trimmed(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\r\n\f");
  if (first == std::string_view::npos) return {};
  return std::string(s.substr(first, s.find_last_not_of(" \t\r\n\f") - first + 1));
}

std::size_t token_end(std::string_view sql, std::size_t i) {
  const char c = sql[i];
  const auto past = [&](std::string_view end, std::size_t from) {
    const std::size_t found = sql.find(end, from);
    return found == std::string_view::npos ? sql.size() : found + end.size();
  };
  if (c == '[') return past("]", i + 1);
  if (sql.substr(i, 2) == "--") return past("\n", i + 2);
  if (sql.substr(i, 2) == "/*") return past("*/", i + 2);
  if (c != '"' && c != '\'' && c != '`') return i + 1;
  // A doubled quote ends one token here and begins another, which comes to the same.
  return past(std::string_view(&sql[i], 1), i + 1);
}

}  // namespace cosqlite::detail
