// What is undone although there is no memory: none for the program, or none for SQLite.
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <string>

namespace {

thread_local bool refuses_memory = false;

}  // namespace

// Sanitizers have their own: there the tests run with all the memory they want.
#if !COSQLITE_TEST_SANITIZED

namespace {

void* allocate(std::size_t size, std::size_t alignment) {
  const std::size_t whole = (size / alignment + 1) * alignment;
  void* const p = refuses_memory ? nullptr : std::aligned_alloc(alignment, whole);
  if (!p) throw std::bad_alloc();
  return p;
}

// Inlined, GCC 12 would take it for a mismatch: operator new beside free.
[[gnu::noinline]] void deallocate(void* p) noexcept { std::free(p); }

constexpr std::size_t usual = alignof(std::max_align_t);

}  // namespace

void* operator new(std::size_t size) { return allocate(size, usual); }
void* operator new[](std::size_t size) { return allocate(size, usual); }
void* operator new(std::size_t size, std::align_val_t a) { return allocate(size, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return allocate(size, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { deallocate(p); }
void operator delete[](void* p) noexcept { deallocate(p); }
void operator delete(void* p, std::size_t) noexcept { deallocate(p); }
void operator delete[](void* p, std::size_t) noexcept { deallocate(p); }
void operator delete(void* p, std::align_val_t) noexcept { deallocate(p); }
void operator delete[](void* p, std::align_val_t) noexcept { deallocate(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { deallocate(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { deallocate(p); }

#endif

namespace {

using cosqlite::connection;
using cosqlite::task;
using cosqlite::transaction;
using cosqlite::transaction_error;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

/// This thread gets no memory from C++ while it lives.
class no_memory {
 public:
  no_memory() { refuses_memory = true; }
  no_memory(const no_memory&) = delete;
  no_memory& operator=(const no_memory&) = delete;
  ~no_memory() { refuses_memory = false; }
};

/// SQLite gets no more memory, in the whole process, from `begin` on.
class starved_sqlite {
 public:
  starved_sqlite() = default;
  starved_sqlite(const starved_sqlite&) = delete;
  starved_sqlite& operator=(const starved_sqlite&) = delete;
  ~starved_sqlite() { end(); }
  static void begin() { sqlite3_hard_heap_limit64(1); }
  static void end() { sqlite3_hard_heap_limit64(0); }
};

void starve(sqlite3*) { starved_sqlite::begin(); }

/// Without a cache SQLite needs memory for each ROLLBACK.
task<connection> open_with_table(std::string path) {
  cosqlite::open_options no_cache;
  no_cache.statement_cache = 0;
  connection db = co_await cosqlite::open(std::move(path), no_cache);
  co_await db.execute_script(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE); INSERT INTO t(v) VALUES ('first')");
  co_return db;
}

std::int64_t rows(const temp_database& file) { return raw_database(file.path()).number("SELECT count(*) FROM t"); }

constexpr const char* insert = "INSERT INTO t(v) VALUES (?)";

}  // namespace

TEST_CASE("transactions and savepoints are dropped without memory") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    std::optional<transaction> tx = co_await db.begin();
    co_await tx->execute(insert, "kept");
    std::optional<cosqlite::savepoint> point = co_await tx->savepoint();
    co_await tx->execute(insert, "undone");
    {
      const no_memory now;
      point.reset();
    }
    CHECK(co_await tx->query_one<int>("SELECT count(*) FROM t") == 2);
    {
      const no_memory now;
      tx.reset();
    }
    co_await db.execute(insert, "after");
    CHECK(rows(file) == 2);
  });
}

TEST_CASE("a lease is given back without memory") {
  const temp_database file;
  on_loop([&]() -> task<> {
    connection creator = co_await open_with_table(file.path());
    cosqlite::pool db = co_await cosqlite::pool::open(file.path());
    std::optional<cosqlite::leased_connection> lease = co_await db.acquire_writer();
    co_await lease->execute_script("BEGIN; INSERT INTO t(v) VALUES ('undone')");
    {
      const no_memory now;
      lease.reset();
    }
    co_await db.execute(insert, "after");
    CHECK(rows(file) == 2);
  });
}

TEST_CASE("a failed rollback stands beside what the body threw, and is made up for before the next call") {
  const temp_database file;
  const starved_sqlite until_the_end;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    const auto body = [](transaction& tx) -> task<> {
      co_await tx.execute(insert, "undone");
      std::exception_ptr failure;
      try {
        co_await tx.execute(insert, "first");
      } catch (const cosqlite::constraint_error&) {
        failure = std::current_exception();
      }
      co_await tx.run(&starve);
      std::rethrow_exception(failure);
    };
    const auto e = co_await failure_of<cosqlite::constraint_error>(db.transact(body));
    REQUIRE(e.also() != nullptr);
    int second = SQLITE_OK;
    try {
      std::rethrow_exception(e.also());
    } catch (const cosqlite::error& rollback) {
      second = rollback.primary();
      CHECK(rollback.sql() == "ROLLBACK");
    }
    CHECK(second == SQLITE_NOMEM);
    // Nothing gets into what should be gone.
    const auto refused = co_await failure_of<transaction_error>(db.execute(insert, "too early"));
    CHECK(refused.primary() == SQLITE_NOMEM);
    starved_sqlite::end();
    co_await db.execute(insert, "after");
    CHECK(rows(file) == 2);
    transaction next = co_await db.begin();
    co_await next.rollback();
  });
}

TEST_CASE("a savepoint that cannot be undone takes its transaction along") {
  const temp_database file;
  const starved_sqlite until_the_end;
  on_loop([&]() -> task<> {
    connection db = co_await open_with_table(file.path());
    transaction tx = co_await db.begin();
    std::optional<cosqlite::savepoint> point = co_await tx.savepoint();
    co_await tx.execute(insert, "undone");
    co_await tx.run(&starve);
    point.reset();
    co_await failure_of<transaction_error>(tx.execute(insert, "too early"));
    starved_sqlite::end();
    co_await failure_of<transaction_error>(tx.execute(insert, "too late"));
    co_await failure_of<transaction_error>(tx.commit());
    co_await tx.rollback();
    co_await db.execute(insert, "after");
    CHECK(rows(file) == 2);
  });
}
