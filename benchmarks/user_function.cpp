// The cost of a user function: the same statement with the same function, registered through the C API and through the
// library. The statement makes eight calls a row, so that their cost is most of its time; both run it through
// sqlite3_step.
#include "harness.hpp"
#include "raw.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

using namespace bench;

namespace {

constexpr int calls_a_row = 8;

std::int64_t mix(std::int64_t a, std::int64_t b) { return a * 31 + b; }

std::int64_t count_vowels(std::string_view text) {
  std::int64_t n = 0;
  for (const char c : text) n += c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' ? 1 : 0;
  return n;
}

std::string initial(std::string_view text) { return std::string(text.substr(0, 1)) + '.'; }

struct case_of {
  const char* name;
  const char* call;  // in SQL, of a row (i INTEGER, t TEXT)
  int arguments;
  void (*raw)(sqlite3_context*, int, sqlite3_value**);
};

// As careful as the library: arguments of another type are refused.
bool refuse(sqlite3_context* c, sqlite3_value* v, int type) {
  if (sqlite3_value_type(v) == type) return false;
  sqlite3_result_error(c, "wrong argument type", -1);
  return true;
}

std::string_view text_of(sqlite3_value* v) {
  const char* data = reinterpret_cast<const char*>(sqlite3_value_text(v));
  return {data, static_cast<std::size_t>(sqlite3_value_bytes(v))};
}

void raw_mix(sqlite3_context* c, int, sqlite3_value** v) {
  if (refuse(c, v[0], SQLITE_INTEGER) || refuse(c, v[1], SQLITE_INTEGER)) return;
  sqlite3_result_int64(c, mix(sqlite3_value_int64(v[0]), sqlite3_value_int64(v[1])));
}

void raw_vowels(sqlite3_context* c, int, sqlite3_value** v) {
  if (!refuse(c, v[0], SQLITE_TEXT)) sqlite3_result_int64(c, count_vowels(text_of(v[0])));
}

void raw_initial(sqlite3_context* c, int, sqlite3_value** v) {
  if (refuse(c, v[0], SQLITE_TEXT)) return;
  const std::string result = initial(text_of(v[0]));
  sqlite3_result_text(c, result.data(), static_cast<int>(result.size()), SQLITE_TRANSIENT);
}

constexpr case_of cases[] = {
    {"integers, f(i, i)", "f(i, ?1)", 2, &raw_mix},
    {"text to integer", "f(t)", 1, &raw_vowels},
    {"text to text", "length(f(t))", 1, &raw_initial},
};

std::string statement_for(const case_of& c) {
  std::string sql = "SELECT sum(";
  for (int i = 0; i < calls_a_row; ++i) sql += std::string(i == 0 ? "" : " + ") + c.call;
  return sql + ") FROM rows WHERE ?1 >= 0";
}

void fill(sqlite3* db, std::size_t rows) {
  const std::string sql =
      "CREATE TABLE rows(i INTEGER, t TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT " +
      std::to_string(rows) + ") INSERT INTO rows SELECT i, 'customer number ' || i FROM n;";
  if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    throw std::runtime_error(sqlite3_errmsg(db));
}

/// Runs the statement once for the caches and once for the watch. Gives its result.
std::int64_t run_statement(sqlite3* db, const case_of& c, std::size_t rows, stopwatch& watch) {
  sqlite3_stmt* stmt = nullptr;
  const std::string sql = statement_for(c);
  if (sqlite3_prepare_v2(db, sql.c_str(), -1, &stmt, nullptr) != SQLITE_OK)
    throw std::runtime_error(sqlite3_errmsg(db));
  std::int64_t result = 0;
  for (const bool counts : {false, true}) {
    sqlite3_reset(stmt);
    sqlite3_bind_int(stmt, 1, 7);
    if (counts) watch.start();
    if (sqlite3_step(stmt) != SQLITE_ROW) throw std::runtime_error(sqlite3_errmsg(db));
    if (counts) watch.stop(static_cast<double>(rows) * calls_a_row);
    result = sqlite3_column_int64(stmt, 0);
  }
  sqlite3_finalize(stmt);
  return result;
}

void raw_side(const case_of& c, std::size_t rows, std::int64_t& result, stopwatch& watch) {
  raw::database db(":memory:");
  fill(db.get(), rows);
  sqlite3_create_function_v2(db.get(), "f", c.arguments, SQLITE_UTF8, nullptr, c.raw, nullptr, nullptr, nullptr);
  result = run_statement(db.get(), c, rows, watch);
}

cosqlite::task<> our_side(const case_of& c, std::size_t rows, std::int64_t& result, stopwatch& watch) {
  auto db = co_await cosqlite::open(":memory:");
  if (c.raw == &raw_mix) co_await db.create_function("f", mix);
  if (c.raw == &raw_vowels) co_await db.create_function("f", count_vowels);
  if (c.raw == &raw_initial) co_await db.create_function("f", initial);
  auto work = [&](sqlite3* handle) {
    fill(handle, rows);
    result = run_statement(handle, c, rows, watch);
  };
  co_await db.run(work);
  co_await db.close();
}

}  // namespace

int main(int argc, char** argv) {
  return program("user_function", argc, argv, [](suite& s) {
    const std::size_t rows = s.scaled(100'000);
    for (const case_of& c : cases) {
      std::int64_t expected = 0;
      std::int64_t found = 0;
      // 1.3 times the cost is 0.77 times the rate.
      s.compare(
          {.name = c.name, .unit = "calls", .floor = 0.77}, [&](stopwatch& w) { raw_side(c, rows, expected, w); },
          [&](stopwatch& w) { cosqlite::run(our_side(c, rows, found, w)); });
      if (expected != found) throw std::runtime_error("the two functions do not agree");
    }
  });
}
