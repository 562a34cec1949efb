// A Unicode-aware collation: texts compare by their compatibility decomposition (NFKD) with case folded, through
// utf8proc, so that "STRASSE" finds "straße" and "é" equals "e" followed by a combining accent.
//
//   $ unicode_collation
#include <cosqlite/cosqlite.hpp>

#include <utf8proc.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

std::string folded(std::string_view text) {
  utf8proc_uint8_t* mapped = nullptr;
  constexpr auto how =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_STABLE);
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                 static_cast<utf8proc_ssize_t>(text.size()), &mapped, how);
  if (size < 0) throw std::invalid_argument(std::string("unicode collation: ") + utf8proc_errmsg(size));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  return {reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size)};
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

int compare_ascii(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return lower(a[i]) < lower(b[i]) ? -1 : 1;
  }
  return a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : 0;
}

int compare(std::string_view a, std::string_view b) {
  if (is_ascii(a) && is_ascii(b)) return compare_ascii(a, b);
  return folded(a).compare(folded(b));
}

cosqlite::task<> show() {
  auto db = co_await cosqlite::open(":memory:");
  co_await db.create_collation("unicode", compare);
  co_await db.execute("CREATE TABLE words(word TEXT COLLATE unicode UNIQUE)");
  const std::vector<std::string> words{"zebra", "Straße", "e\u0301tude", "Apfel", "ﬁn", "ÉTUI", "apricot"};
  co_await db.execute_many("INSERT INTO words VALUES(?)", words);

  const auto ordered = co_await db.query<std::string>("SELECT word FROM words ORDER BY word");
  for (const std::string& word : ordered) std::printf("%s\n", word.c_str());
  const auto street = co_await db.query_one<std::string>("SELECT word FROM words WHERE word = 'STRASSE'");
  const auto study = co_await db.query_one<std::string>("SELECT word FROM words WHERE word = 'Étude'");
  std::printf("STRASSE is %s, Étude is %s\n", street.c_str(), study.c_str());

  std::string refused = "stored twice";
  try {
    co_await db.execute("INSERT INTO words VALUES('FIN')");
  } catch (const cosqlite::constraint_error& e) {
    refused = std::string(e.name());
  }
  std::printf("FIN beside the ligature: %s\n", refused.c_str());
  co_await db.close();
}

}  // namespace

int main() { cosqlite::run(show()); }
