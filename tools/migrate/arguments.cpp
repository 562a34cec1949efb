#include "migrate/arguments.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <system_error>
#include <utility>
#include <vector>

namespace migrate {

const std::string_view usage =
    R"(usage: cosqlite-migrate [options] <command>

commands:
  status            the steps, and how each stands in the database (also: info)
  up                apply all pending steps (also: run)
  down              take the latest step back (also: revert)
  new <name>        make the files of a new step: <number>_<name>.up.sql and .down.sql (also: add)

options:
  -D, --database <file>   the database: a path, or a URL such as sqlite:app.db or sqlite://app.db?mode=rwc.
                          Without it: the environment's DATABASE_URL, or the one in a file .env, here or further up
                          (also: --database-url)
  --source <folder>       where the steps are; default: migrations
  --to <version>          up, down: stop at this version; down --to 0 takes everything back (also: --target-version)
  --dry-run               up, down: try it on a copy of the database, and check the copy
  --create                make the database when there is none (as ?mode=rwc does)
  -t, --timestamp         new: number it by the time (UTC) instead of the number after the last one
  -s, --sequential        new: the number after the last one, even where that is a time
  -h, --help              this text
  -V, --version           the version of this program

Exit codes: 0 it is done; 1 it failed or was refused, and nothing of the failing step was kept; 2 the command is wrong.
)";

namespace {

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
    if (inline_value_) throw usage_error(word_ + " takes no value");
    if (at_ == rest_.size()) return false;
    word_ = rest_[at_++];
    const std::size_t equals = word_.find('=');
    if (word_.starts_with("--") && equals != std::string::npos) {
      inline_value_ = word_.substr(equals + 1);
      word_.resize(equals);
    }
    return true;
  }
  [[nodiscard]] const std::string& word() const { return word_; }
  std::string value() {
    if (inline_value_) return *std::exchange(inline_value_, std::nullopt);
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

void take_option(arguments& a, command_line& line) {
  const std::string word = line.word();
  if (word == "-h" || word == "--help") {
    a.help = true;
  } else if (word == "-V" || word == "--version") {
    a.version = true;
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
  } else if (word == "-t" || word == "--timestamp") {
    a.number = numbering::timestamp;
  } else if (word == "-s" || word == "--sequential") {
    a.number = numbering::sequential;
  } else if (word != "-r") {  // in sqlx: make both files; here they are made anyway
    throw usage_error("there is no option " + word);
  }
}

void check(const arguments& a) {
  const std::string_view known[] = {"status", "up", "down", "new"};
  if (a.command.empty()) throw usage_error("which command? status, up, down or new");
  if (std::ranges::find(known, a.command) == std::end(known))
    throw usage_error("there is no command \"" + a.command + "\"");
  const bool moves = a.command == "up" || a.command == "down";
  if (a.command == "new" && a.name.empty()) throw usage_error("new wants a name: cosqlite-migrate new add_users");
  if (a.to && !moves) throw usage_error("--to goes with up and down");
  if (a.dry_run && !moves) throw usage_error("--dry-run goes with up and down");
}

}  // namespace

arguments parse(int count, char** values) {
  arguments a;
  command_line line(count, values);
  while (line.next()) {
    if (line.word().starts_with("-")) {
      take_option(a, line);
    } else {
      take_positional(a, line.word());
    }
  }
  if (!a.help && !a.version) check(a);
  return a;
}

}  // namespace migrate
