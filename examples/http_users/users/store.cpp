#include "store.hpp"

#include <chrono>
#include <tuple>
#include <utility>

namespace users {

using cosqlite::task;

namespace {

// %, _ and \ in what a client searches for stand for themselves.
std::string like_pattern(std::string_view text) {
  std::string pattern = "%";
  for (const char c : text) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern + "%";
}

}  // namespace

cosqlite::migrator schema() {
  cosqlite::migrator steps;
  steps.application_id(0x75736572);
  steps.lock_timeout(std::chrono::seconds(30));
  steps.add(1, "users",
            "CREATE TABLE users(\n"
            "  id INTEGER PRIMARY KEY,\n"
            "  email TEXT NOT NULL UNIQUE COLLATE NOCASE,\n"
            "  name TEXT NOT NULL,\n"
            "  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))\n"
            ") STRICT",
            "DROP TABLE users");
  steps.add(2, "profiles",
            "CREATE TABLE profiles(\n"
            "  user_id INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,\n"
            "  bio TEXT NOT NULL,\n"
            "  city TEXT\n"
            ") STRICT",
            "DROP TABLE profiles");
  return steps;
}

task<> migrate(cosqlite::pool& db) {
  const cosqlite::migrator steps = schema();
  co_await steps.up(db.writer());
}

task<user> create(cosqlite::limited_pool db, new_user u) {
  auto both = [&u](cosqlite::transaction& tx) -> task<user> {
    auto [id, created_at] = co_await tx.query_one<std::tuple<std::int64_t, std::string>>(
        "INSERT INTO users (email, name) VALUES (?, ?) RETURNING id, created_at", u.email, u.name);
    co_await tx.execute("INSERT INTO profiles (user_id, bio, city) VALUES (?, ?, ?)", id, u.bio, u.city);
    user added{id, u.email, u.name, created_at, u.bio, u.city};
    co_return added;
  };
  user added = co_await db.transact(both);
  co_return added;
}

task<std::optional<user>> find(cosqlite::limited_pool db, std::int64_t id) {
  auto found = co_await db.query_optional<user>(
      "SELECT id, email, name, created_at, bio, city FROM users JOIN profiles ON user_id = id WHERE id = ?", id);
  co_return found;
}

task<std::vector<user>> list(cosqlite::limited_pool db, std::int64_t after, std::int64_t limit) {
  auto found = co_await db.query<user>(
      "SELECT id, email, name, created_at, bio, city FROM users JOIN profiles ON user_id = id "
      "WHERE id > ? ORDER BY id LIMIT ?",
      after, limit);
  co_return found;
}

task<std::vector<user>> search(cosqlite::limited_pool db, std::string text, std::int64_t limit) {
  const std::string pattern = like_pattern(text);
  auto found = co_await db.query<user>(
      "SELECT id, email, name, created_at, bio, city FROM users JOIN profiles ON user_id = id "
      "WHERE name LIKE ?1 ESCAPE '\\' OR email LIKE ?1 ESCAPE '\\' ORDER BY name, id LIMIT ?2",
      pattern, limit);
  co_return found;
}

task<bool> remove(cosqlite::limited_pool db, std::int64_t id) {
  const auto done = co_await db.execute("DELETE FROM users WHERE id = ?", id);
  co_return done.changes == 1;
}

}  // namespace users
