// cosqlite-migrate: brings a database to another version with the steps in a folder.

#include <cosqlite/connection.hpp>
#include <cosqlite/migration.hpp>
#include <cosqlite/run.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::migration_state;
using cosqlite::migration_status;
using cosqlite::migrator;
using cosqlite::task;

constexpr int success = 0;
constexpr int failed = 1;
constexpr int bad_usage = 2;

constexpr std::string_view usage =
    R"(usage: cosqlite-migrate [options] <command>

commands:
  status            the steps, and how each stands in the database (also: info)
  up                apply all pending steps (also: run)
  down              take the latest step back (also: revert)
  new <name>        make the files of a new step: <number>_<name>.up.sql and .down.sql (also: add)

options:
  -D, --database <file>   the database: a path, or a URL such as sqlite:app.db or sqlite://app.db?mode=rwc.
                          Without it: the environment's DATABASE_URL, or the one in the file .env here
  --source <folder>       where the steps are; default: migrations
  --to <version>          up, down: stop at this version; down --to 0 takes everything back (also: --target-version)
  --dry-run               up: try it on a copy of the database, and check the copy; down: say what would be taken back
  --create                make the database when there is none (as ?mode=rwc does)
  -h, --help              this text

Exit codes: 0 it is done; 1 it failed or was refused, and nothing of the failing step was kept; 2 the command is wrong.
)";

/// The command line is wrong, or something that it names is not there.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct arguments {
  std::string command;
  std::string name;
  std::string database;
  std::filesystem::path source = "migrations";
  std::optional<std::int64_t> to;
  bool dry_run = false;
  bool create = false;
  bool help = false;
};

std::int64_t parse_version(std::string_view text) {
  std::int64_t version = -1;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (failure != std::errc() || end != text.data() + text.size() || version < 0) {
    throw usage_error("--to wants the number of a version, not \"" + std::string(text) + "\"");
  }
  return version;
}

std::string canonical(std::string_view command) {
  if (command == "info") return "status";
  if (command == "run") return "up";
  if (command == "revert") return "down";
  if (command == "add") return "new";
  return std::string(command);
}

/// Reads `--option value` and `--option=value`.
class command_line {
 public:
  command_line(int count, char** values) : rest_(values + 1, values + count) {}

  bool next() {
    if (at_ == rest_.size()) return false;
    word_ = rest_[at_++];
    inline_value_.reset();
    const std::size_t equals = word_.find('=');
    if (word_.starts_with("--") && equals != std::string::npos) {
      inline_value_ = word_.substr(equals + 1);
      word_.resize(equals);
    }
    return true;
  }
  [[nodiscard]] const std::string& word() const { return word_; }
  std::string value() {
    if (inline_value_) return *inline_value_;
    if (at_ == rest_.size()) throw usage_error(word_ + " wants a value");
    return rest_[at_++];
  }

 private:
  std::vector<std::string> rest_;
  std::size_t at_ = 0;
  std::string word_;
  std::optional<std::string> inline_value_;
};

void take_positional(arguments& a, const std::string& word) {
  if (a.command.empty() && word == "migrate") return;  // as in `sqlx migrate run`
  if (a.command.empty()) {
    a.command = canonical(word);
  } else if (a.command == "new" && a.name.empty()) {
    a.name = word;
  } else {
    throw usage_error("\"" + word + "\" is one word too many");
  }
}

arguments parse(int count, char** values) {
  arguments a;
  command_line line(count, values);
  while (line.next()) {
    const std::string& word = line.word();
    if (word == "-h" || word == "--help") {
      a.help = true;
    } else if (word == "-D" || word == "--database" || word == "--database-url") {
      a.database = line.value();
    } else if (word == "--source") {
      a.source = line.value();
    } else if (word == "--to" || word == "--target-version") {
      a.to = parse_version(line.value());
    } else if (word == "--dry-run") {
      a.dry_run = true;
    } else if (word == "--create") {
      a.create = true;
    } else if (word == "-r" && a.command == "new") {
      continue;  // both files are made anyway
    } else if (word.starts_with("-")) {
      throw usage_error("there is no option " + word);
    } else {
      take_positional(a, word);
    }
  }
  if (a.help) return a;
  const std::string_view known[] = {"status", "up", "down", "new"};
  if (a.command.empty()) throw usage_error("which command? status, up, down or new");
  if (std::ranges::find(known, a.command) == std::end(known))
    throw usage_error("there is no command \"" + a.command + "\"");
  if (a.command == "new" && a.name.empty()) throw usage_error("new wants a name: cosqlite-migrate new add_users");
  if (a.to && a.command != "up" && a.command != "down") throw usage_error("--to goes with up and down");
  if (a.dry_run && a.command != "up" && a.command != "down") throw usage_error("--dry-run goes with up and down");
  return a;
}

// ---------------------------------------------------------------------------------------------------------- the
// database

/// DATABASE_URL in the file .env of this folder, or an empty string.
std::string from_env_file() {
  std::ifstream file(".env");
  for (std::string line; std::getline(file, line);) {
    std::string_view rest = line;
    if (rest.ends_with('\r')) rest.remove_suffix(1);
    if (rest.starts_with("export ")) rest.remove_prefix(7);
    if (!rest.starts_with("DATABASE_URL=")) continue;
    rest.remove_prefix(13);
    if (rest.size() >= 2 && (rest.front() == '"' || rest.front() == '\'') && rest.back() == rest.front()) {
      rest = rest.substr(1, rest.size() - 2);
    }
    return std::string(rest);
  }
  return {};
}

/// The path in \p a.database, or wherever else it is given; a URL's mode may ask for a new file.
std::string database_path(arguments& a) {
  std::string text = a.database;
  const char* environment = std::getenv("DATABASE_URL");
  if (text.empty() && environment) text = environment;
  if (text.empty()) text = from_env_file();
  if (text.empty()) throw usage_error("which database? Give --database FILE, or set DATABASE_URL");
  if (text.starts_with("sqlite://")) {
    text.erase(0, 9);
  } else if (text.starts_with("sqlite:")) {
    text.erase(0, 7);
  } else if (const std::size_t scheme = text.find("://"); scheme != std::string::npos) {
    throw usage_error(text.substr(0, scheme) +
                      " is not SQLite: the database is a path, or a URL that begins with sqlite:");
  } else {
    return text;
  }
  if (const std::size_t query = text.find('?'); query != std::string::npos) {
    if (text.find("mode=rwc", query) != std::string::npos) a.create = true;
    text.resize(query);
  }
  return text;
}

task<connection> open_database(arguments a) {
  const std::string path = a.database;
  const bool exists = std::filesystem::exists(path);
  if (!exists && !a.create) throw usage_error("there is no file " + path + "; to make a new database, add --create");
  cosqlite::open_options options;
  options.mode = cosqlite::access::read_write;
  options.journal_mode = cosqlite::journal::keep;
  if (!exists) {
    options.mode = cosqlite::access::read_write_create;
    options.journal_mode = cosqlite::journal::wal;
  }
  connection db = co_await cosqlite::open(path, options);
  co_return db;
}

migrator steps_of(const arguments& a) {
  if (!std::filesystem::is_directory(a.source)) {
    throw usage_error("there is no folder " + a.source.string() +
                      " of migrations: name it with --source, or begin one with `new`");
  }
  return migrator::from_directory(a.source);
}

// ---------------------------------------------------------------------------------------------------------- the
// commands

std::string milliseconds(std::chrono::microseconds duration) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(duration.count()) / 1000);
  return text;
}

std::int64_t current_version(const std::vector<migration_status>& all) {
  std::int64_t version = 0;
  for (const migration_status& s : all) version = s.applied_at ? std::max(version, s.version) : version;
  return version;
}

task<int> show_status(arguments a) {
  const migrator steps = steps_of(a);
  connection db = co_await open_database(a);
  const std::vector<migration_status> all = co_await steps.status(db);
  bool sound = true;
  for (const migration_status& s : all) {
    const bool fine = s.state == migration_state::applied || s.state == migration_state::pending;
    sound = sound && fine;
    std::string when;
    if (s.applied_at)
      when.append("  ").append(cosqlite::adapter<decltype(s.applied_at)::value_type>::to_sqlite(*s.applied_at));
    std::cout << s.version << "/" << to_string(s.state) << " " << s.name << when << "\n";
  }
  if (all.empty()) std::cout << "no migrations in " << a.source.string() << "\n";
  if (!sound) std::cerr << "cosqlite-migrate: the steps do not fit this database; `up` says why\n";
  co_await db.close();
  co_return sound ? success : failed;
}

task<int> go_up(arguments a) {
  const migrator steps = steps_of(a);
  connection db = co_await open_database(a);
  if (a.dry_run) {
    std::vector<migration_status> done;
    if (a.to) {
      done = co_await steps.dry_run(db, *a.to);
    } else {
      done = co_await steps.dry_run(db);
    }
    for (const migration_status& s : done) {
      std::cout << "Can apply " << s.version << "/" << s.name << " (" << milliseconds(s.duration) << ")\n";
    }
    if (done.empty()) std::cout << "Nothing to apply\n";
    co_await db.close();
    co_return success;
  }
  // One step a time, so that what was done is said when a later one fails.
  std::size_t count = 0;
  const std::vector<migration_status> all = co_await steps.status(db);
  for (const migration_status& s : all) {
    if (s.state != migration_state::pending || (a.to && s.version > *a.to)) continue;
    std::vector<migration_status> done;
    try {
      done = co_await steps.up(db, s.version);
    } catch (const cosqlite::migration_error& e) {
      if (e.also()) throw;
      break;  // another process may have gone past this step meanwhile: the call below judges
    }
    for (const migration_status& d : done) {
      std::cout << "Applied " << d.version << "/" << d.name << " (" << milliseconds(d.duration) << ")" << std::endl;
    }
    count += done.size();
  }
  std::vector<migration_status> rest;
  if (a.to) {
    rest = co_await steps.up(db, *a.to);
  } else {
    rest = co_await steps.up(db);
  }
  for (const migration_status& d : rest) {
    std::cout << "Applied " << d.version << "/" << d.name << " (" << milliseconds(d.duration) << ")\n";
  }
  if (count + rest.size() == 0) std::cout << "Nothing to apply\n";
  co_await db.close();
  co_return success;
}

/// Where `down` without --to leads: one step back.
std::int64_t one_step_back(const std::vector<migration_status>& all) {
  std::int64_t target = 0;
  for (const migration_status& s : all) {
    if (s.applied_at && s.version < current_version(all)) target = s.version;
  }
  return target;
}

task<int> go_down(arguments a) {
  const migrator steps = steps_of(a);
  connection db = co_await open_database(a);
  const std::vector<migration_status> all = co_await steps.status(db);
  std::int64_t target = one_step_back(all);
  if (a.to) target = *a.to;
  if (a.dry_run) {
    for (std::size_t i = all.size(); i-- > 0;) {
      if (!all[i].applied_at || all[i].version <= target) continue;
      std::cout << (all[i].reversible ? "Can take back " : "Cannot take back (no way down) ") << all[i].version << "/"
                << all[i].name << "\n";
    }
    co_await db.close();
    co_return success;
  }
  const std::vector<migration_status> done = co_await steps.down(db, target);
  for (const migration_status& s : done) {
    std::cout << "Took back " << s.version << "/" << s.name << " (" << milliseconds(s.duration) << ")\n";
  }
  if (done.empty()) std::cout << "Nothing to take back\n";
  co_await db.close();
  co_return success;
}

/// The number in front of a file's name; 0: none.
std::int64_t number_of(const std::string& file) {
  std::int64_t n = 0;
  std::from_chars(file.data(), file.data() + file.size(), n);
  return n;
}

std::string safe_name(std::string name) {
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (c == ' ') {
      c = '_';
    } else if (!plain) {
      throw usage_error("a step's name is made of letters, digits, _ and -");
    }
  }
  return name;
}

void write_new(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  if (!file) throw std::runtime_error("cannot write " + path.string());
  std::cout << "Created " << path.string() << "\n";
}

int make_new(const arguments& a) {
  const std::string name = safe_name(a.name);
  std::filesystem::create_directories(a.source);
  std::int64_t last = 0;
  for (const auto& entry : std::filesystem::directory_iterator(a.source)) {
    last = std::max(last, number_of(entry.path().filename().string()));
  }
  std::string number = std::to_string(last + 1);
  if (number.size() < 4) number.insert(0, 4 - number.size(), '0');
  const std::string stem = number + "_" + name;
  write_new(a.source / (stem + ".up.sql"), "-- " + name + "\n");
  write_new(a.source / (stem + ".down.sql"),
            "-- takes " + name + " back; leave it empty or delete it where there is no way back\n");
  return success;
}

int perform(arguments a) {
  if (a.command == "new") return make_new(a);
  a.database = database_path(a);
  if (a.command == "status") return cosqlite::run(show_status(std::move(a)));
  if (a.command == "up") return cosqlite::run(go_up(std::move(a)));
  return cosqlite::run(go_down(std::move(a)));
}

}  // namespace

int main(int count, char** values) {
  try {
    arguments a = parse(count, values);
    if (!a.help) return perform(std::move(a));
    std::cout << usage;
    return success;
  } catch (const usage_error& e) {
    std::cerr << "cosqlite-migrate: " << e.what() << "\n`cosqlite-migrate --help` tells more.\n";
    return bad_usage;
  } catch (const std::exception& e) {
    std::cerr << "cosqlite-migrate: " << e.what() << "\n";
    return failed;
  }
}
