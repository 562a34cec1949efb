// Migrations in the program: three steps, one of them in C++, applied when it starts.
//
//   migrate [file]    the default is notes.db; run it twice to see that each step runs once

#include <cosqlite/cosqlite.hpp>

#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace {

struct note {
  std::int64_t id;
  std::string body;
};

/// What SQL alone cannot do well: a slug of each title, made by code.
std::string slug_of(const std::string& title) {
  std::string slug;
  for (const char c : title) slug.push_back((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-');
  return slug;
}

cosqlite::task<> add_slugs(cosqlite::transaction& tx) {
  co_await tx.execute("ALTER TABLE notes ADD COLUMN slug TEXT");
  const std::vector<note> notes = co_await tx.query<note>("SELECT id, title FROM notes");
  for (const note& n : notes) co_await tx.execute("UPDATE notes SET slug = ? WHERE id = ?", slug_of(n.body), n.id);
}

cosqlite::migrator notes_schema() {
  cosqlite::migrator steps;
  steps.application_id(0x4e6f7465);
  steps.add(
      1, "notes",
      "CREATE TABLE notes(id INTEGER PRIMARY KEY, title TEXT) STRICT; INSERT INTO notes(title) VALUES ('first note');",
      "DROP TABLE notes;");
  steps.add(2, "slugs", add_slugs);
  // A new NOT NULL needs a new table: made, filled, and put in the old one's place with foreign keys off meanwhile.
  steps.add(3, "title_required", R"(-- cosqlite: foreign_keys off
    CREATE TABLE new_notes(id INTEGER PRIMARY KEY, title TEXT NOT NULL, slug TEXT) STRICT;
    INSERT INTO new_notes SELECT id, coalesce(title, ''), slug FROM notes;
    DROP TABLE notes;
    ALTER TABLE new_notes RENAME TO notes;)");
  return steps;
}

cosqlite::task<> start(std::string path) {
  cosqlite::connection db = co_await cosqlite::open(path);
  const cosqlite::migrator steps = notes_schema();
  const auto tried = co_await steps.dry_run(db);
  std::cout << tried.size() << " steps would run, and the copy of the database is sound after them\n";
  const auto applied = co_await steps.up(db);
  for (const auto& step : applied) std::cout << "applied " << step.version << " " << step.name << "\n";
  const auto all = co_await steps.status(db);
  for (const auto& step : all) std::cout << step.version << " " << step.name << ": " << to_string(step.state) << "\n";
  const auto slug = co_await db.query_one<std::string>("SELECT slug FROM notes WHERE id = 1");
  std::cout << "the first note is at /" << slug << "\n";
  co_await db.close();
}

}  // namespace

int main(int count, char** values) {
  try {
    cosqlite::run(start(count > 1 ? values[1] : "notes.db"));
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
