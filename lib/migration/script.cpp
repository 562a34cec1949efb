#include "migration/script.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace cosqlite::detail {

namespace {

bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool is_word(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::string upper(std::string_view word) {
  std::string s(word);
  for (char& c : s) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return s;
}

/// The words, names and signs of an SQL text, without blanks and comments.
class lexer {
 public:
  explicit lexer(std::string_view sql) noexcept : sql_(sql) {}

  /// The next one, empty at the end.
  std::string_view next() noexcept {
    skip();
    const std::size_t first = at_;
    if (at_ == sql_.size()) return {};
    const char c = sql_[at_++];
    if (c == '\'' || c == '"' || c == '`') {
      quoted(c);
    } else if (c == '[') {
      at_ = std::min(sql_.find(']', at_), sql_.size() - 1) + 1;
    } else if (is_word(c)) {
      while (at_ < sql_.size() && is_word(sql_[at_])) ++at_;
    }
    return sql_.substr(first, at_ - first);
  }
  /// Right behind what `next` gave.
  [[nodiscard]] std::size_t position() const noexcept { return at_; }

 private:
  void skip() noexcept {
    while (at_ < sql_.size()) {
      const std::string_view rest = sql_.substr(at_);
      if (is_space(rest[0])) {
        ++at_;
      } else if (rest.starts_with("--")) {
        at_ = std::min(sql_.find('\n', at_), sql_.size());
      } else if (rest.starts_with("/*")) {
        const std::size_t end = sql_.find("*/", at_ + 2);
        at_ = end == std::string_view::npos ? sql_.size() : end + 2;
      } else {
        return;
      }
    }
  }
  void quoted(char quote) noexcept {
    while (at_ < sql_.size()) {
      if (sql_[at_++] != quote) continue;
      if (at_ == sql_.size() || sql_[at_] != quote) return;
      ++at_;
    }
  }

  std::string_view sql_;
  std::size_t at_ = 0;
};

/// The first words of a statement, in upper case.
using opening_words = std::array<std::string, 4>;

/// Why a statement that begins so cannot stand in a step; empty: it can.
std::string objection(const opening_words& words) {
  static constexpr std::string_view control[] = {"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"};
  if (std::ranges::find(control, words[0]) != std::end(control)) {
    return words[0] + ": a step runs in a transaction of its own; take the statement out";
  }
  if (words[0] == "VACUUM") return "VACUUM, which cannot run in a transaction: run it apart from the steps";
  const std::string& pragma = words[2] == "." ? words[3] : words[1];
  if (words[0] == "PRAGMA" && pragma == "FOREIGN_KEYS") {
    return "PRAGMA foreign_keys, which does nothing in a transaction: write `-- cosqlite: foreign_keys off` in the first line instead";
  }
  return {};
}

std::string_view trimmed(std::string_view s) noexcept {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return s;
}

/// The first line, when it is a word to us: what follows `-- cosqlite:`.
bool read_marker(std::string_view sql, script_facts& facts) {
  std::string_view line = trimmed(sql.substr(0, sql.find('\n')));
  if (!line.starts_with("--")) return true;
  line = trimmed(line.substr(2));
  if (!line.starts_with("cosqlite:")) return true;
  lexer words(line.substr(9));
  const std::string what = upper(words.next());
  const std::string how = upper(words.next());
  facts.foreign_keys_off = what == "FOREIGN_KEYS" && how == "OFF" && words.next().empty();
  if (!facts.foreign_keys_off)
    facts.fault = "its first line is not understood: `-- cosqlite:` is followed by `foreign_keys off`";
  return facts.foreign_keys_off;
}

}  // namespace

script_facts examine_script(std::string_view sql) {
  script_facts facts;
  if (sql.find('\0') != std::string_view::npos) {
    facts.fault = "it holds a NUL character";
    return facts;
  }
  if (!read_marker(sql, facts)) return facts;
  lexer words(sql);
  std::size_t begin = 0;
  std::size_t seen = 0;
  opening_words opening;
  for (std::string_view word = words.next();; word = words.next()) {
    const bool at_end = word.empty();
    // Inside a trigger a semicolon does not end the statement; SQLite knows.
    const bool ends =
        at_end ||
        (word == ";" &&
         (seen == 0 || sqlite3_complete(std::string(sql.substr(begin, words.position() - begin)).c_str()) != 0));
    if (!ends) {
      if (seen < opening.size()) opening[seen] = upper(word);
      ++seen;
      continue;
    }
    if (seen > 0) {
      ++facts.statements;
      if (const std::string why = objection(opening); !why.empty()) {
        facts.fault = "statement " + std::to_string(facts.statements) + " is " + why;
        return facts;
      }
    }
    if (at_end) return facts;
    begin = words.position();
    seen = 0;
    opening.fill({});
  }
}

}  // namespace cosqlite::detail
