#include "migrate/database.hpp"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace migrate {

namespace {

std::string_view unquoted(std::string_view text) {
  const bool quoted = text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front();
  return quoted ? text.substr(1, text.size() - 2) : text;
}

std::string read_env_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::string_view rest = line;
    while (!rest.empty() && (rest.back() == '\r' || rest.back() == ' ')) rest.remove_suffix(1);
    if (rest.starts_with("export ")) rest.remove_prefix(7);
    if (rest.starts_with("DATABASE_URL=")) return std::string(unquoted(rest.substr(13)));
  }
  return {};
}

/// DATABASE_URL in the nearest file .env, here or above, or an empty string.
std::string from_env_file() {
  std::filesystem::path folder = std::filesystem::current_path();
  while (!std::filesystem::is_regular_file(folder / ".env") && folder.has_relative_path())
    folder = folder.parent_path();
  return read_env_file(folder / ".env");
}

std::string where_it_is_said(const arguments& a) {
  if (!a.database.empty()) return a.database;
  const char* environment = std::getenv("DATABASE_URL");  // NOLINT(concurrency-mt-unsafe): no other thread runs yet
  if (environment && *environment) return environment;
  return from_env_file();
}

/// A URL's text, with %20 and the like as the characters that they stand for.
std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char code = 0;
    const char* hex = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() && std::from_chars(hex, hex + 2, code, 16).ptr == hex + 2) {
      plain.push_back(static_cast<char>(code));
      i += 2;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

/// What follows `sqlite:` or `sqlite://`; nothing else has come to be used for SQLite.
std::string_view without_scheme(std::string_view url) {
  for (const std::string_view scheme : {"sqlite://", "sqlite:"}) {
    if (url.starts_with(scheme)) return url.substr(scheme.size());
  }
  throw usage_error(std::string(url.substr(0, url.find("://"))) +
                    " is not SQLite: the database is a path, or a URL that begins with sqlite:");
}

}  // namespace

void find_database(arguments& a) {
  const std::string said = where_it_is_said(a);
  if (said.empty()) throw usage_error("which database? Give --database FILE, or set DATABASE_URL");
  const bool url = said.starts_with("sqlite:") || said.find("://") != std::string::npos;
  a.database = said;
  if (!url) return;
  std::string_view rest = without_scheme(said);
  if (const std::size_t query = rest.find('?'); query != std::string_view::npos) {
    a.create = a.create || rest.find("mode=rwc", query) != std::string_view::npos;
    rest = rest.substr(0, query);
  }
  a.database = decoded(rest);
  if (a.database.empty()) throw usage_error("the URL " + said + " names no file");
}

cosqlite::task<cosqlite::connection> open_database(arguments a) {
  const bool exists = std::filesystem::exists(a.database);
  if (!exists && !a.create) {
    throw usage_error("there is no file " + a.database + "; to make a new database, add --create");
  }
  std::string path = a.database;
  cosqlite::open_options options;
  if (exists) {
    options.mode = cosqlite::access::read_write;
    options.journal_mode = cosqlite::journal::keep;
  } else if (a.dry_run) {
    path = ":memory:";
  }
  cosqlite::connection db = co_await cosqlite::open(path, options);
  co_return db;
}

}  // namespace migrate
