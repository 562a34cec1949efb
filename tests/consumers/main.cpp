// What the three consumers build: it needs the headers, the exported symbols, and that an exception thrown in the
// library is recognised here.
#include <cosqlite/cosqlite.hpp>

#include <iostream>
#include <string>

cosqlite::task<std::string> greeting() {
  auto db = co_await cosqlite::open(":memory:");
  co_await db.execute("CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT UNIQUE)");
  co_await db.execute("INSERT INTO word (text) VALUES (?)", "installed");
  bool refused = false;
  try {
    co_await db.execute("INSERT INTO word (text) VALUES (?)", "installed");
  } catch (const cosqlite::constraint_error&) {
    refused = true;
  }
  auto text = co_await db.query_one<std::string>("SELECT text FROM word");
  co_await db.close();
  co_return refused ? text : "the constraint was not reported";
}

int main() {
  const std::string text = cosqlite::run(greeting());
  std::cout << text << '\n';
  return text == "installed" ? 0 : 1;
}
