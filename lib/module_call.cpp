#include "module_call.hpp"

#include "sql_quoting.hpp"

#include <cctype>

namespace cosqlite::detail {

module_call module_of(std::string_view sql) {
  module_call found;
  std::size_t i = 0;
  // "USING" as a word of its own, outside of quotes.
  std::string word;
  bool named = false;
  while (i < sql.size()) {
    const std::size_t end = token_end(sql, i);
    const auto c = static_cast<unsigned char>(sql[i]);
    const bool in_word = end == i + 1 && (std::isalnum(c) || c == '_');
    if (in_word) {
      word += sql[i];
    } else if (!word.empty()) {
      if (named) break;
      named = lower_case(word) == "using";
      word.clear();
    }
    if (named && !in_word && end > i + 1 && sql[i] != '-' && sql[i] != '/') {
      word = unquoted(std::string(sql.substr(i, end - i)));
      i = end;
      break;
    }
    i = end;
  }
  found.module = lower_case(word);
  while (i < sql.size() && sql[i] != '(') i = token_end(sql, i);
  if (i == sql.size()) return found;
  std::string argument;
  int depth = 1;
  for (++i; i < sql.size();) {
    const std::size_t end = token_end(sql, i);
    if (sql[i] == '(') ++depth;
    if (sql[i] == ')' && --depth == 0) break;
    if (sql[i] == ',' && depth == 1) {
      found.arguments.push_back(trimmed(argument));
      argument.clear();
    } else {
      argument += sql.substr(i, end - i);
    }
    i = end;
  }
  found.arguments.push_back(trimmed(argument));
  return found;
}

std::optional<std::string> option_of(const module_call& call, std::string_view key) {
  for (const std::string& a : call.arguments) {
    const auto equals = a.find('=');
    if (equals == std::string::npos || !same_name(trimmed(a.substr(0, equals)), key)) continue;
    return unquoted(trimmed(a.substr(equals + 1)));
  }
  return std::nullopt;
}

}  // namespace cosqlite::detail
