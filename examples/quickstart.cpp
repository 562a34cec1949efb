#include <cosqlite/cosqlite.hpp>

#include <iostream>

struct user {
  std::int64_t id;
  std::string name;
  std::optional<int> age;
};

cosqlite::task<> greet() {
  auto db = co_await cosqlite::open("users.db");
  co_await db.execute("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER)");
  auto added = co_await db.execute("INSERT INTO users (name, age) VALUES (?, ?)", "Ada", 36);
  auto ada = co_await db.query_one<user>("SELECT * FROM users WHERE id = ?", added.last_insert_rowid);
  std::cout << ada.name << " is number " << ada.id << '\n';

  auto all = db.stream<user>("SELECT * FROM users ORDER BY id");
  while (auto u = co_await all.next()) std::cout << u->id << ": " << u->name << '\n';
  co_await db.close();
}

int main() { cosqlite::run(greet()); }
