// A function that gives JSON, and SQLite's own JSON functions at work on its result: query strings of URLs in SQL.
//
//   $ json_function
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace {

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? digit(text[i + 1]) : -1;
    const int low = high >= 0 ? digit(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(16 * high + low);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    char code[8];
    if (c == '"' || c == '\\') {
      out.append(1, '\\').append(1, c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      out += code;
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// "a=1&b=x+y" → {"a":"1","b":"x y"}
std::string query_to_json(std::string_view query) {
  std::string out = "{";
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (out.size() > 1) out += ',';
    out += json_quoted(decoded(pair.substr(0, equals))) + ':' +
           json_quoted(decoded(pair.substr(std::min(equals + 1, pair.size()))));
  }
  return out + '}';
}

struct campaign {
  std::string name;
  int visits;
};

cosqlite::task<> show() {
  auto db = co_await cosqlite::open(":memory:");
  // Deterministic functions may stand in an index.
  co_await db.create_function("query_to_json", query_to_json, {.deterministic = true});
  co_await db.execute_script(R"(
    CREATE TABLE visits(query TEXT);
    CREATE INDEX by_campaign ON visits(query_to_json(query) ->> 'campaign');)");
  const std::vector<std::string> visits{"campaign=spring+sale&lang=en", "lang=de&campaign=spring+sale",
                                        "campaign=%22news%22", "lang=fr"};
  co_await db.execute_many("INSERT INTO visits VALUES(?)", visits);

  const auto campaigns = co_await db.query<campaign>(R"(
    SELECT query_to_json(query) ->> 'campaign' AS name, count(*) FROM visits WHERE name IS NOT NULL GROUP BY name ORDER BY 2 DESC)");
  for (const campaign& c : campaigns) std::printf("%-12s %d\n", c.name.c_str(), c.visits);

  const auto keys =
      co_await db.query<std::string>("SELECT DISTINCT key FROM visits, json_each(query_to_json(query)) ORDER BY key");
  for (const std::string& key : keys) std::printf("parameter %s\n", key.c_str());
  co_await db.close();
}

}  // namespace

int main() { cosqlite::run(show()); }
