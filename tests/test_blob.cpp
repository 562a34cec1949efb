#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/foreign.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::contains;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

bytes pattern(std::size_t size) {
  bytes b(size);
  for (std::size_t i = 0; i < size; ++i) b[i] = static_cast<std::byte>(i * 31 + i / 251);
  return b;
}

bytes text_bytes(std::string_view s) {
  bytes b(s.size());
  std::memcpy(b.data(), s.data(), s.size());
  return b;
}

std::string text_of(std::span<const std::byte> b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

/// Its frame, which holds the memory, may be destroyed at any time.
foreign::coroutine read_into_own_memory(blob* b) {
  bytes memory(1'000'000);
  co_await b->read(memory, 0);
}

constexpr blob_location first{.table = "f", .column = "data", .rowid = 1};

/// A database with f(id, data, note): 1 'hello world', 2 of 1,000,000 bytes, 3 empty, 4 NULL, 5 text, 6 an integer.
task<connection> sample(const temp_database& at) {
  connection db = co_await open(at.path());
  co_await db.execute("CREATE TABLE f(id INTEGER PRIMARY KEY, data, note)");
  co_await db.execute("INSERT INTO f VALUES(1, ?, 'a')", text_bytes("hello world"));
  co_await db.execute("INSERT INTO f VALUES(2, ?, 'b')", pattern(1'000'000));
  co_await db.execute("INSERT INTO f VALUES(3, x'', 'c'), (4, NULL, 'd'), (5, 'some text', 'e'), (6, 17, 'f')");
  co_return db;
}

task<std::string> data_of(connection& db, int id) {
  const bytes b = co_await db.query_one<bytes>("SELECT CAST(data AS BLOB) FROM f WHERE id = ?", id);
  co_return text_of(b);
}

}  // namespace

TEST_CASE("a blob is read at any place, and in sequence") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    blob b = co_await db.open_blob(first);
    CHECK(b.size() == 11);
    CHECK(b.rowid() == 1);
    bytes five(5);
    co_await b.read(five, 6);
    CHECK(text_of(five) == "world");
    std::size_t n = co_await b.read(five);
    CHECK(n == 5);
    CHECK(text_of(five) == "hello");
    CHECK(b.position() == 5);
    b.seek(9);
    n = co_await b.read(five);
    CHECK(n == 2);
    CHECK(text_of(five).substr(0, 2) == "ld");
    n = co_await b.read(five);
    CHECK(n == 0);
    co_await b.close();
    co_await b.close();
  });
}

TEST_CASE("a blob opened for reading and writing is changed in place, and each write is durable when it is done") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    raw_database other(at.path());
    blob b = co_await db.open_blob(first, blob_mode::write);
    const bytes there = text_bytes("THERE");
    co_await b.write(there, 6);
    CHECK(other.text("SELECT CAST(data AS TEXT) FROM f WHERE id = 1") == "hello THERE");
    const bytes start = text_bytes("HE");
    co_await b.write(start);
    co_await b.write(start);
    CHECK(b.position() == 4);
    CHECK(other.text("SELECT CAST(data AS TEXT) FROM f WHERE id = 1") == "HEHEo THERE");
    bytes all(11);
    co_await b.read(all, 0);
    CHECK(text_of(all) == "HEHEo THERE");
  });
}

TEST_CASE("a blob that is open for writing keeps nobody from writing, and no call from being durable") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    raw_database other(at.path());
    blob b = co_await db.open_blob(first, blob_mode::write);
    const bytes x = text_bytes("x");
    co_await b.write(x, 0);
    co_await db.execute("UPDATE f SET note = 'changed' WHERE id = 2");
    CHECK(other.text("SELECT note FROM f WHERE id = 2") == "changed");
    other.execute("UPDATE f SET note = 'other' WHERE id = 3");
    co_await b.write(x, 1);
    CHECK(other.text("SELECT CAST(data AS TEXT) FROM f WHERE id = 1") == "xxllo world");
    transaction tx = co_await db.begin();
    co_await tx.execute("UPDATE f SET note = 'tx' WHERE id = 2");
    co_await tx.commit();
    co_await b.write(x, 2);
    CHECK(other.text("SELECT CAST(data AS TEXT) FROM f WHERE id = 1") == "xxxlo world");
  });
}

TEST_CASE("bytes outside of a blob are an error, and nothing is read or written") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    blob b = co_await db.open_blob(first, blob_mode::write);
    bytes five(5);
    misuse_error e = co_await failure_of<misuse_error>(b.read(five, 7));
    CHECK(contains(e.what(), "5 bytes at offset 7 are outside of the blob main.f.data of row 1, which has 11 bytes"));
    e = co_await failure_of<misuse_error>(b.read(five, SIZE_MAX));
    e = co_await failure_of<misuse_error>(b.write(five, 7));
    e = co_await failure_of<misuse_error>(b.write(five, 12));
    b.seek(8);
    e = co_await failure_of<misuse_error>(b.write(five));
    CHECK(b.position() == 8);
    b.seek(12);
    e = co_await failure_of<misuse_error>(b.read(five));
    const bytes nothing;
    co_await b.write(nothing, 11);
    const std::string now = co_await data_of(db, 1);
    CHECK(now == "hello world");
  });
}

TEST_CASE("chunks give the whole blob in pieces of the size asked for") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    blob b = co_await db.open_blob({.table = "f", .column = "data", .rowid = 2});
    const bytes expected = pattern(1'000'000);
    for (const std::size_t size : std::initializer_list<std::size_t>{1000, 65536, 300'000, 1'000'000, 5'000'000}) {
      bytes found;
      bool sizes_right = true;
      chunk_stream pieces = b.chunks(size);
      while (auto piece = co_await pieces.next()) {
        sizes_right = sizes_right && piece->size() == std::min(size, expected.size() - found.size());
        found.insert(found.end(), piece->begin(), piece->end());
      }
      CHECK(sizes_right);
      CHECK(found == expected);
      auto more = co_await pieces.next();
      CHECK_FALSE(more.has_value());
    }
    co_await b.reopen(3);
    chunk_stream none = b.chunks(10);
    auto piece = co_await none.next();
    CHECK_FALSE(piece.has_value());
    CHECK_THROWS_AS(b.chunks(0), misuse_error);
  });
}

TEST_CASE("a chunk stream may be left early, and several may be read at once") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    blob b = co_await db.open_blob({.table = "f", .column = "data", .rowid = 2});
    {
      chunk_stream left = b.chunks(100);
      co_await left.next();
    }
    chunk_stream one = b.chunks(400'000);
    chunk_stream two = b.chunks(400'000);
    std::size_t total = 0;
    for (int i = 0; i < 3; ++i) {
      auto p = co_await one.next();
      total += p->size();
      p = co_await two.next();
      total += p->size();
    }
    CHECK(total == 2'000'000);
    chunk_stream stopped = b.chunks(1000);
    co_await stopped.next();
    stopped.close();
    auto p = co_await stopped.next();
    CHECK_FALSE(p.has_value());
  });
}

TEST_CASE("a change of the row expires its blobs, and reopen brings them back") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    bytes one(1);
    for (const blob_mode mode : {blob_mode::read, blob_mode::write}) {
      blob b = co_await db.open_blob(first, mode);
      co_await db.execute("UPDATE f SET note = 'z' WHERE id = 1");
      const blob_expired_error e = co_await failure_of<blob_expired_error>(b.read(one, 0));
      CHECK(contains(e.what(), "main.f.data of row 1 has expired"));
      CHECK(e.primary() == 4);
      const blob_expired_error again = co_await failure_of<blob_expired_error>(b.read(one));
      chunk_stream pieces = b.chunks(4);
      const blob_expired_error third = co_await failure_of<blob_expired_error>(pieces.next());
      co_await b.reopen(1);
      co_await b.read(one, 0);
      CHECK(text_of(one) == "h");
    }
    blob w = co_await db.open_blob(first, blob_mode::write);
    co_await db.execute("UPDATE f SET note = 'y' WHERE id = 1");
    const blob_expired_error e = co_await failure_of<blob_expired_error>(w.write(one, 0));
    blob gone = co_await db.open_blob({.table = "f", .column = "data", .rowid = 2});
    co_await db.execute("DELETE FROM f WHERE id = 2");
    const blob_expired_error deleted = co_await failure_of<blob_expired_error>(gone.read(one, 0));
    const error no_row = co_await failure_of<error>(gone.reopen(2));
    CHECK(contains(no_row.what(), "no such rowid: 2"));
    co_await gone.reopen(1);
    co_await gone.read(one, 4);
    CHECK(text_of(one) == "o");
  });
}

TEST_CASE("a write finds the blob expired when another connection has deleted the row or changed its size") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    raw_database other(at.path());
    const bytes x = text_bytes("x");
    blob b = co_await db.open_blob(first, blob_mode::write);
    other.execute("UPDATE f SET data = 'short' WHERE id = 1");
    const blob_expired_error e = co_await failure_of<blob_expired_error>(b.write(x, 0));
    co_await b.reopen(1);
    CHECK(b.size() == 5);
    other.execute("DELETE FROM f WHERE id = 1");
    const blob_expired_error gone = co_await failure_of<blob_expired_error>(b.write(x, 0));
  });
}

TEST_CASE("reopen moves from row to row and takes the size of each") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    blob b = co_await db.open_blob(first);
    b.seek(4);
    co_await b.reopen(2);
    CHECK(b.size() == 1'000'000);
    CHECK(b.position() == 0);
    co_await b.reopen(5);
    CHECK(b.size() == 9);
    bytes all(9);
    co_await b.read(all);
    CHECK(text_of(all) == "some text");
    const error e = co_await failure_of<error>(b.reopen(4));
    CHECK(contains(e.what(), "cannot open value of type null"));
    const blob_expired_error unusable = co_await failure_of<blob_expired_error>(b.read(all, 0));
    co_await b.reopen(1);
    CHECK(b.size() == 11);
  });
}

TEST_CASE("what cannot be opened says why") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    co_await db.execute_script(
        "CREATE TABLE w(id PRIMARY KEY, data) WITHOUT ROWID; CREATE VIEW v AS SELECT * FROM f;"
        "CREATE TABLE i(data BLOB UNIQUE); INSERT INTO i VALUES(x'00');"
        "CREATE VIRTUAL TABLE r USING rtree(id, a, b)");
    const auto message = [&db](std::string_view table, std::string_view column, std::int64_t rowid,
                               blob_mode mode) -> task<std::string> {
      const blob_location where{.table = table, .column = column, .rowid = rowid};
      const error e = co_await failure_of<error>(db.open_blob(where, mode));
      co_return e.what();
    };
    std::string m = co_await message("f", "data", 4, blob_mode::read);
    CHECK(
        contains(m, "cannot open the blob main.f.data of row 4: cannot open value of type null; only a BLOB or TEXT"));
    m = co_await message("f", "data", 6, blob_mode::read);
    CHECK(contains(m, "value of type integer"));
    m = co_await message("f", "data", 99, blob_mode::read);
    CHECK(contains(m, "no such rowid: 99"));
    m = co_await message("f", "dada", 1, blob_mode::read);
    CHECK(contains(m, "no such column: \"dada\""));
    m = co_await message("g", "data", 1, blob_mode::read);
    CHECK(contains(m, "no such table"));
    m = co_await message("w", "data", 1, blob_mode::read);
    CHECK(contains(m, "without rowid"));
    m = co_await message("v", "data", 1, blob_mode::read);
    CHECK(contains(m, "cannot open view"));
    m = co_await message("r", "a", 1, blob_mode::read);
    CHECK(contains(m, "virtual table"));
    m = co_await message("i", "data", 1, blob_mode::write);
    CHECK(contains(m, "indexed column for writing"));
    CHECK_THROWS_AS(db.open_blob({.table = std::string_view("f\0g", 3), .column = "data", .rowid = 1}), misuse_error);
    blob b = co_await db.open_blob(first);
    const bytes x(1);
    const readonly_error e = co_await failure_of<readonly_error>(b.write(x, 0));
    CHECK(contains(e.what(), "blob_mode::read_write"));
    const int rows = co_await db.query_one<int>("SELECT count(*) FROM f");
    CHECK(rows == 6);
  });
}

TEST_CASE("blobs of attached and temporary databases are named by their schema") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    co_await db.execute_script("CREATE TEMP TABLE t(x); INSERT INTO t VALUES(x'010203')");
    blob b = co_await db.open_blob({.table = "t", .column = "x", .rowid = 1, .schema = "temp"});
    CHECK(b.size() == 3);
    open_options options;
    options.attach = true;
    connection other = co_await open(":memory:", options);
    co_await other.execute("ATTACH ? AS side", at.path());
    blob attached =
        co_await other.open_blob({.table = "f", .column = "data", .rowid = 1, .schema = "side"}, blob_mode::read_write);
    CHECK(attached.size() == 11);
    const bytes start = text_bytes("HELLO");
    co_await attached.write(start, 0);
    co_await attached.close();
    const std::string changed = co_await data_of(db, 1);
    CHECK(changed == "HELLO world");
    const error unknown =
        co_await failure_of<error>(other.open_blob({.table = "f", .column = "data", .rowid = 1, .schema = "nowhere"}));
    CHECK(contains(unknown.what(), "nowhere"));
  });
}

TEST_CASE("the writes of a blob in a transaction belong to it, and the blob ends with it") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    raw_database other(at.path());
    const bytes x = text_bytes("XXXX");
    bytes one(1);

    transaction tx = co_await db.begin();
    blob b = co_await tx.open_blob(first, blob_mode::write);
    co_await b.write(x, 0);
    CHECK(other.text("SELECT CAST(data AS TEXT) FROM f WHERE id = 1") == "hello world");
    co_await tx.execute("UPDATE f SET note = 'q' WHERE id = 2");
    co_await b.write(x, 4);
    co_await tx.commit();
    CHECK(other.text("SELECT CAST(data AS TEXT) FROM f WHERE id = 1") == "XXXXXXXXrld");
    const transaction_error ended = co_await failure_of<transaction_error>(b.read(one, 0));
    const transaction_error no_write = co_await failure_of<transaction_error>(b.write(x, 0));
    co_await b.close();

    tx = co_await db.begin();
    b = co_await tx.open_blob(first, blob_mode::write);
    const bytes y = text_bytes("yyyy");
    co_await b.write(y, 0);
    co_await tx.rollback();
    CHECK(other.text("SELECT CAST(data AS TEXT) FROM f WHERE id = 1") == "XXXXXXXXrld");
    tx = co_await db.begin();
    const transaction_error still = co_await failure_of<transaction_error>(b.read(one, 0));
    co_await b.close();
    co_await tx.execute("UPDATE f SET note = 'r' WHERE id = 2");
    co_await tx.commit();
    // Nothing of the ended blobs holds a lock.
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    CHECK(other.text("PRAGMA wal_checkpoint(TRUNCATE)") == "0");
  });
}

TEST_CASE("an open writer keeps no savepoint from being released or undone") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    const bytes x = text_bytes("1234");
    transaction tx = co_await db.begin();
    blob b = co_await tx.open_blob(first, blob_mode::write);
    {
      savepoint s = co_await tx.savepoint();
      co_await b.write(x, 0);
      co_await s.release();
    }
    {
      savepoint s = co_await tx.savepoint();
      co_await b.write(x, 4);
      co_await s.rollback();
    }
    const std::vector<int> ids{10, 11};
    co_await b.write(x, 0);
    co_await tx.execute_many("INSERT INTO f(id) VALUES(?)", ids);
    bytes all(11);
    co_await b.read(all, 0);
    CHECK(text_of(all) == "1234o world");
    co_await tx.commit();
    const std::string now = co_await data_of(db, 1);
    CHECK(now == "1234o world");
  });
}

TEST_CASE("a blob of the connection outlives transactions") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    blob b = co_await db.open_blob(first, blob_mode::write);
    bytes five(5);
    {
      transaction tx = co_await db.begin();
      co_await tx.execute("UPDATE f SET note = 'tx' WHERE id = 2");
      co_await tx.rollback();
    }
    co_await b.read(five, 0);
    CHECK(text_of(five) == "hello");
    {
      transaction tx = co_await db.begin();
      co_await tx.execute("UPDATE f SET note = 'tx' WHERE id = 1");
    }
    const blob_expired_error e = co_await failure_of<blob_expired_error>(b.read(five, 0));
  });
}

TEST_CASE("a dropped blob lets go of its lock at once") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    raw_database other(at.path());
    other.execute("PRAGMA busy_timeout = 0");
    std::optional<blob> b;
    b.emplace(co_await db.open_blob(first));
    co_await db.execute("UPDATE f SET note = 'n' WHERE id = 2");
    CHECK(other.text("PRAGMA wal_checkpoint(TRUNCATE)") == "1");
    b.reset();
    co_await db.query("SELECT 1");
    CHECK(other.text("PRAGMA wal_checkpoint(TRUNCATE)") == "0");
  });
}

TEST_CASE("a closed blob, and one whose connection has closed, refuse every call") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    bytes one(1);
    blob b = co_await db.open_blob(first);
    co_await b.close();
    const closed_error e = co_await failure_of<closed_error>(b.read(one, 0));
    CHECK(contains(e.what(), "the blob main.f.data of row 1 is closed"));
    const closed_error reopened = co_await failure_of<closed_error>(b.reopen(1));
    blob left = co_await db.open_blob(first, blob_mode::write);
    chunk_stream pieces = left.chunks(2);
    co_await db.close();
    const closed_error gone = co_await failure_of<closed_error>(left.read(one, 0));
    const closed_error ended = co_await failure_of<closed_error>(pieces.next());
    blob moved = std::move(left);
    CHECK_THROWS_AS(left.read(one, 0), misuse_error);
  });
}

TEST_CASE("calls on a blob can be stopped, and are bounded by a deadline") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    bytes one(1);
    std::stop_source stop;
    blob b = co_await db.open_blob(first, blob_mode::write);
    limited_blob limited = b.with(stop.get_token());
    co_await limited.read(one, 0);
    stop.request_stop();
    const cancelled_error e = co_await failure_of<cancelled_error>(limited.read(one, 0));
    const timeout_error late = co_await failure_of<timeout_error>(b.with(1ns).read(one, 0));
    raw_database other(at.path());
    other.execute("BEGIN IMMEDIATE");
    const timeout_error locked = co_await failure_of<timeout_error>(b.with(20ms).write(one, 0));
    CHECK(locked.spent_in() == timeout_error::stage::lock);
    other.execute("COMMIT");
    co_await b.write(one, 0);
  });
}

TEST_CASE("a call on a blob that is destroyed leaves the caller's memory alone") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    blob b = co_await db.open_blob({.table = "f", .column = "data", .rowid = 2}, blob_mode::write);
    for (int i = 0; i < 50; ++i) {
      {
        const foreign::coroutine reader = read_into_own_memory(&b);
        if (i % 3 == 0) co_await sleep_for(0ns);
        if (i % 3 == 1) std::this_thread::yield();
      }
      if (i % 5 == 0) co_await db.query("SELECT 1");
    }
  });
}

TEST_CASE("an empty blob, and a large one made of zeros") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at);
    blob none = co_await db.open_blob({.table = "f", .column = "data", .rowid = 3}, blob_mode::write);
    CHECK(none.size() == 0);
    bytes nothing;
    co_await none.read(nothing, 0);
    const std::size_t n = co_await none.read(nothing);
    CHECK(n == 0);
    co_await none.close();
    co_await db.execute("INSERT INTO f VALUES(20, ?, '')", zeroblob(20'000'000));
    transaction tx = co_await db.begin();
    blob large = co_await tx.open_blob({.table = "f", .column = "data", .rowid = 20}, blob_mode::write);
    const bytes mark = text_bytes("mark");
    co_await large.write(mark, 19'999'996);
    co_await tx.commit();
    const std::string end =
        co_await db.query_one<std::string>("SELECT CAST(substr(data, -4) AS TEXT) FROM f WHERE id = 20");
    CHECK(end == "mark");
  });
}
