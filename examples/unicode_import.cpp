// Imports the Unicode Character Database into an SQLite file, while other coroutines search it through a connection of
// their own and a timer on the same loop measures how late it fires: the loop must never wait for the disk.
#include "unicode_data.hpp"
#include <cosqlite/cosqlite.hpp>

#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fs = std::filesystem;
using cosqlite::task;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t batch_size = 500;

constexpr std::string_view schema = R"(
  DROP TABLE IF EXISTS characters;
  DROP TABLE IF EXISTS blocks;
  CREATE TABLE blocks (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, name TEXT NOT NULL);
  CREATE TABLE characters (
    code INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, combining_class INTEGER NOT NULL,
    bidi_class TEXT NOT NULL, decomposition TEXT NOT NULL, numeric_value TEXT NOT NULL, old_name TEXT NOT NULL,
    upper INTEGER, lower INTEGER);
)";

/// Fires every millisecond on the loop and keeps the longest time by which it was late.
class metronome {
 public:
  explicit metronome(uv_loop_t* loop) : timer_(new uv_timer_t) {
    uv_timer_init(loop, timer_);
    timer_->data = this;
    last_ = uv_hrtime();
    uv_timer_start(timer_, [](uv_timer_t* t) { static_cast<metronome*>(t->data)->tick(); }, 1, 1);
  }
  metronome(const metronome&) = delete;
  metronome& operator=(const metronome&) = delete;
  ~metronome() {
    uv_close(reinterpret_cast<uv_handle_t*>(timer_), [](uv_handle_t* h) { delete reinterpret_cast<uv_timer_t*>(h); });
  }

  int ticks() const { return ticks_; }
  double worst_delay_ms() const { return static_cast<double>(worst_) / 1e6; }

 private:
  void tick() {
    const std::uint64_t now = uv_hrtime();
    const std::uint64_t due = last_ + 1'000'000;
    if (now > due) worst_ = std::max(worst_, now - due);
    last_ = now;
    ++ticks_;
  }

  uv_timer_t* timer_;
  std::uint64_t last_ = 0;
  std::uint64_t worst_ = 0;
  int ticks_ = 0;
};

/// A bar that is drawn over itself on a terminal, and a line for every quarter elsewhere.
class progress_display {
 public:
  explicit progress_display(bool bar) : bar_(bar) {}

  void show(double part, std::size_t rows) {
    if (bar_) {
      const int filled = static_cast<int>(part * width);
      std::printf("\r[%s%s] %3d %%  %zu rows", std::string(static_cast<std::size_t>(filled), '#').c_str(),
                  std::string(static_cast<std::size_t>(width - filled), '.').c_str(), static_cast<int>(part * 100),
                  rows);
      if (part >= 1) std::printf("\n");
    } else if (static_cast<int>(part * 4) > quarter_) {
      quarter_ = static_cast<int>(part * 4);
      std::printf("%3d %%  %zu rows\n", quarter_ * 25, rows);
    }
    std::fflush(stdout);
  }

  /// Leaves the bar's line, so that a message stands on its own.
  void interrupt() const {
    if (bar_) std::printf("\n");
  }

 private:
  static constexpr int width = 40;
  bool bar_;
  int quarter_ = 0;
};

/// What the importer and the searchers know of each other.
struct import_state {
  bool running = true;
  std::size_t rows = 0;
  std::size_t searches = 0;
};

struct options {
  fs::path data = "/usr/share/unicode";
  fs::path database;
  bool bar = false;
};

task<> import_all(cosqlite::connection& db, const options& from, progress_display& progress, import_state& state) {
  const std::vector<unicode::block> blocks = unicode::read_blocks(from.data / "Blocks.txt");
  unicode::character_reader characters(from.data / "UnicodeData.txt");
  co_await db.execute_many("INSERT INTO blocks VALUES (?, ?, ?)", blocks);
  state.rows += blocks.size();
  for (;;) {
    // Each batch is one hop to the connection's thread and one transaction, on the disk before the next line is read.
    const std::vector<unicode::character> batch = characters.next(batch_size);
    if (batch.empty()) break;
    co_await db.execute_many("INSERT INTO characters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", batch);
    state.rows += batch.size();
    progress.show(characters.progress(), state.rows);
  }
}

/// Ends the searchers when the import is over, whichever way; a failed import leaves empty tables.
task<> import_or_clear(cosqlite::connection& db, const options& from, progress_display& progress, import_state& state) {
  std::exception_ptr failure;
  try {
    co_await import_all(db, from, progress, state);
  } catch (...) {
    failure = std::current_exception();
  }
  state.running = false;
  if (!failure) co_return;
  progress.interrupt();
  co_await db.execute_script("DELETE FROM characters; DELETE FROM blocks;");
  std::rethrow_exception(failure);
}

/// Searches what is there so far, again and again.
task<> search(cosqlite::connection& db, std::string word, import_state& state) {
  const std::string pattern = "%" + word + "%";
  while (state.running) {
    const auto found =
        co_await db.query<std::string>("SELECT name FROM characters WHERE name LIKE ? LIMIT 10", pattern);
    ++state.searches;
    co_await cosqlite::sleep_for(2ms);
  }
}

// One line of a table, its columns padded to their widths; the last may hold characters of any width.
void print_line(const std::vector<std::string>& cells, const std::vector<int>& widths) {
  for (std::size_t i = 0; i + 1 < cells.size(); ++i) std::printf("  %-*s", widths[i], cells[i].c_str());
  std::printf("  %s\n", cells.back().c_str());
}

void print_table(const std::string& title, const cosqlite::rows& table) {
  std::vector<std::string> heading;
  for (int c = 0; c < table.columns(); ++c) heading.push_back(table.column_name(c));
  std::vector<std::vector<std::string>> lines;
  lines.push_back(heading);
  for (const cosqlite::row row : table) {
    std::vector<std::string> cells;
    for (int c = 0; c < row.size(); ++c) cells.push_back(row.get<std::string>(c));
    lines.push_back(std::move(cells));
  }
  std::vector<int> widths(heading.size(), 0);
  for (const auto& line : lines) {
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], static_cast<int>(line[c].size()));
  }
  std::printf("\n%s\n", title.c_str());
  for (const auto& line : lines) print_line(line, widths);
}

task<> print_results(cosqlite::connection& db) {
  const cosqlite::rows categories = co_await db.query(
      "SELECT category, CAST(count(*) AS TEXT) AS lines FROM characters GROUP BY category "
      "ORDER BY count(*) DESC, category LIMIT 5");
  print_table("Most frequent general categories", categories);
  const cosqlite::rows blocks = co_await db.query(
      "SELECT b.name AS block, printf('U+%04X', b.first) AS first, CAST(count(*) AS TEXT) AS lines "
      "FROM blocks b JOIN characters c ON c.code BETWEEN b.first AND b.last "
      "GROUP BY b.first ORDER BY count(*) DESC, b.first LIMIT 5");
  print_table("Blocks with the most named characters", blocks);
  const cosqlite::rows found = co_await db.query(
      "SELECT printf('U+%04X', code) AS code, name, char(code) AS character FROM characters "
      "WHERE name LIKE ? ORDER BY code",
      "%SNOWMAN%");
  print_table("Characters called SNOWMAN", found);
}

task<> import_and_report(options o) {
  auto writer = co_await cosqlite::open(o.database.string());
  co_await writer.execute_script(schema);
  cosqlite::open_options reading;
  reading.mode = cosqlite::access::read_only;
  auto reader = co_await cosqlite::open(o.database.string(), reading);

  std::printf("importing %s into %s\n", o.data.c_str(), o.database.c_str());
  import_state state;
  progress_display progress(o.bar);
  double worst_delay = 0;
  int ticks = 0;
  const auto begin = std::chrono::steady_clock::now();
  {
    const metronome clock(cosqlite::this_loop());
    auto import = import_or_clear(writer, o, progress, state);
    auto arrows = search(reader, "ARROW", state);
    auto greek = search(reader, "GREEK SMALL", state);
    auto hearts = search(reader, "HEART", state);
    co_await cosqlite::when_all(std::move(import), std::move(arrows), std::move(greek), std::move(hearts));
    worst_delay = clock.worst_delay_ms();
    ticks = clock.ticks();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;

  co_await print_results(reader);
  std::printf("\n%zu rows in %.2f s: %.0f rows/s; %zu searches answered meanwhile\n", state.rows, took.count(),
              static_cast<double>(state.rows) / took.count(), state.searches);
  std::printf("the loop's 1 ms timer fired %d times, at worst %.1f ms late\n", ticks, worst_delay);
  co_await reader.close();
  co_await writer.close();
}

/// A folder of its own for the database, removed at the end.
class temporary_folder {
 public:
  temporary_folder() {
    std::string name = (fs::temp_directory_path() / "cosqlite-unicode-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder can be made: " + name);
    path_ = name;
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

constexpr std::string_view usage =
    "usage: unicode_import [--data FOLDER] [--progress] [DATABASE]\n"
    "  --data FOLDER   where UnicodeData.txt and Blocks.txt are; default: /usr/share/unicode\n"
    "  --progress      draw the progress bar also where the output is no terminal\n"
    "  DATABASE        the file to import into; default: one in a temporary folder, removed at the end\n"
    "exit code: 0 imported, 1 the input is missing or malformed, 2 wrong usage, 3 the database failed\n";

/// Throws std::invalid_argument.
void parse_arguments(const std::vector<std::string>& arguments, options& o) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--progress") {
      o.bar = true;
    } else if (argument == "--data") {
      if (++i == arguments.size()) throw std::invalid_argument("--data wants a folder");
      o.data = arguments[i];
    } else if (argument.starts_with("-")) {
      throw std::invalid_argument("there is no option " + argument);
    } else if (argument.empty() || !o.database.empty()) {
      throw std::invalid_argument("one file to import into, please");
    } else {
      o.database = argument;
    }
  }
}

int run_import(options o) {
  try {
    if (!o.database.empty()) {
      cosqlite::run(import_and_report(std::move(o)));
      return 0;
    }
    const temporary_folder folder;
    o.database = folder.path() / "unicode.db";
    cosqlite::run(import_and_report(std::move(o)));
    return 0;
  } catch (const unicode::input_error& e) {
    std::cerr << "unicode_import: " << e.what() << "; nothing was imported\n";
    return 1;
  } catch (const std::exception& e) {
    std::cerr << "unicode_import: " << e.what() << '\n';
    return 3;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (std::find(arguments.begin(), arguments.end(), "--help") != arguments.end()) {
    std::cout << usage;
    return 0;
  }
  options o;
  o.bar = isatty(STDOUT_FILENO) == 1;
  try {
    parse_arguments(arguments, o);
  } catch (const std::invalid_argument& e) {
    std::cerr << "unicode_import: " << e.what() << '\n' << usage;
    return 2;
  }
  return run_import(std::move(o));
}
