#include "migration/directory.hpp"

#include "migration/plan.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cosqlite::detail {

namespace {

struct file_name {
  std::int64_t version = 0;
  std::string name;
  bool up = true;
};

/// `0001_name.up.sql`; nothing when it is called otherwise.
std::optional<file_name> parse_file_name(std::string_view text) {
  file_name f;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  if (digits == 0 || digits > 18) return std::nullopt;
  f.version = std::stoll(std::string(text.substr(0, digits)));
  std::string_view rest = text.substr(digits);
  f.up = rest.ends_with(".up.sql");
  if (!f.up && !rest.ends_with(".down.sql")) return std::nullopt;
  rest.remove_suffix(f.up ? 7 : 9);
  if (rest.size() < 2 || rest[0] != '_' || rest.find('.') != std::string_view::npos) return std::nullopt;
  f.name = rest.substr(1);
  return f;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const bool opened = file.is_open();
  std::string text;
  std::array<char, 4096> part;
  while (file.read(part.data(), part.size()) || file.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!opened || file.bad())
    throw io_error("cannot read " + path.string() + ": " + std::generic_category().message(errno), {SQLITE_CANTOPEN});
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  return text;
}

/// The files of one step.
struct file_pair {
  std::string name;
  std::string up_file;
  std::string down_file;
};

using file_pairs = std::map<std::int64_t, file_pair>;

void enter(file_pairs& pairs, const std::string& file) {
  const std::optional<file_name> f = parse_file_name(file);
  if (!f || f->version == 0) {
    refuse_migration(
        "the file " + file +
            " is not named as a migration: call it like 0001_name.up.sql or 0001_name.down.sql, with a number above 0",
        0);
  }
  file_pair& pair = pairs[f->version];
  const std::string& other = pair.up_file.empty() ? pair.down_file : pair.up_file;
  std::string& place = f->up ? pair.up_file : pair.down_file;
  if (!place.empty() || (!other.empty() && pair.name != f->name)) {
    refuse_migration("two migrations have version " + std::to_string(f->version) + ": " +
                         (place.empty() ? other : place) + " and " + file + "; give one of them another number",
                     f->version);
  }
  pair.name = f->name;
  place = file;
}

std::vector<std::string> list_files(const std::filesystem::path& folder) {
  std::error_code failure;
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator it(folder, failure), end; !failure && it != end; it.increment(failure)) {
    files.push_back(it->path().filename().string());
  }
  if (failure) {
    throw io_error("cannot read the folder of migrations " + folder.string() + ": " + failure.message(),
                   {SQLITE_CANTOPEN});
  }
  std::ranges::sort(files);
  return files;
}

file_pairs pair_files(const std::vector<std::string>& files) {
  file_pairs pairs;
  for (const std::string& file : files) {
    const bool ours = file.ends_with(".sql") || (file[0] >= '0' && file[0] <= '9');
    if (ours && file[0] != '.') enter(pairs, file);
  }
  return pairs;
}

}  // namespace

migrator read_migrations(const std::filesystem::path& folder) {
  migrator steps;
  for (const auto& [version, pair] : pair_files(list_files(folder))) {
    if (pair.up_file.empty()) {
      refuse_migration(pair.down_file + " is a way back from a step that is not there: add its .up.sql", version);
    }
    steps.add(version, pair.name, read_text(folder / pair.up_file),
              pair.down_file.empty() ? std::string() : read_text(folder / pair.down_file));
  }
  return steps;
}

}  // namespace cosqlite::detail
