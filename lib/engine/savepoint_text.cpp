#include "engine/savepoint_text.hpp"

namespace cosqlite::detail {

namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

bool is_word(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

/// Words and quoted names, one after another.
class reader {
 public:
  explicit reader(std::string_view text) noexcept : text_(text) {}

  /// The next word in lower case; empty at the end, and at anything else.
  std::string next() {
    skip();
    if (text_.empty()) return {};
    const char first = text_.front();
    if (first == '"' || first == '\'' || first == '`') return quoted(first);
    if (first == '[') return bracketed();
    std::size_t n = 0;
    while (n < text_.size() && is_word(text_[n])) ++n;
    return take(n, n);
  }

 private:
  void skip() noexcept {
    for (;;) {
      std::size_t n = 0;
      while (n < text_.size() && (is_space(text_[n]) || text_[n] == ';')) ++n;
      text_.remove_prefix(n);
      if (text_.starts_with("--")) {
        drop_to("\n");
      } else if (text_.starts_with("/*")) {
        text_.remove_prefix(2);
        drop_to("*/");
      } else {
        return;
      }
    }
  }
  void drop_to(std::string_view end) noexcept {
    const std::size_t at = text_.find(end);
    text_.remove_prefix(at == std::string_view::npos ? text_.size() : at + end.size());
  }
  std::string take(std::size_t n, std::size_t drop) {
    std::string word(text_.substr(0, n));
    for (char& c : word) c = lower(c);
    text_.remove_prefix(drop);
    return word;
  }
  std::string quoted(char quote) {
    std::string word;
    std::size_t i = 1;
    for (; i < text_.size(); ++i) {
      if (text_[i] == quote && (i + 1 == text_.size() || text_[i + 1] != quote)) break;
      if (text_[i] == quote) ++i;
      word += lower(text_[i]);
    }
    text_.remove_prefix(i < text_.size() ? i + 1 : i);
    return word;
  }
  std::string bracketed() {
    text_.remove_prefix(1);
    const std::size_t end = text_.find(']');
    return end == std::string_view::npos ? take(text_.size(), text_.size()) : take(end, end + 1);
  }

  std::string_view text_;
};

}  // namespace

savepoint_statement read_savepoint_statement(std::string_view sql) {
  using verb = savepoint_statement::verb;
  reader words(sql);
  const std::string first = words.next();
  if (first == "savepoint") return {verb::begin, words.next()};
  if (first == "create" || first == "drop" || first == "alter") return {verb::schema, {}};
  if (first != "release" && first != "rollback") return {};
  std::string word = words.next();
  if (first == "release") {
    if (word != "savepoint") return {verb::release, word};
    const std::string name = words.next();
    return {verb::release, name.empty() ? word : name};
  }
  // ROLLBACK [TRANSACTION [name]] TO [SAVEPOINT] name
  for (int i = 0; i < 3 && word != "to"; ++i) word = words.next();
  if (word != "to") return {};
  word = words.next();
  if (word != "savepoint") return {verb::roll_back_to, word};
  const std::string name = words.next();
  return {verb::roll_back_to, name.empty() ? word : name};
}

}  // namespace cosqlite::detail
