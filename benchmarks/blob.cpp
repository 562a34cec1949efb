// A blob read from its beginning to its end, and written, in pieces of 64 KiB.
#include "harness.hpp"
#include "raw.hpp"
#include <cosqlite/cosqlite.hpp>

#include <stdexcept>
#include <string>
#include <vector>

using namespace bench;

namespace {

constexpr std::size_t piece = 64 * 1024;

/// What a reader does with its data, so that it has to be there.
std::size_t sum_of(std::span<const std::byte> data) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < data.size(); i += 512) sum += static_cast<std::size_t>(data[i]);
  return sum;
}

class raw_blob {
 public:
  raw_blob(raw::database& db, bool writing) : db_(&db) {
    db.check(sqlite3_blob_open(db.get(), "main", "f", "data", 1, writing ? 1 : 0, &blob_));
  }
  raw_blob(const raw_blob&) = delete;
  raw_blob& operator=(const raw_blob&) = delete;
  ~raw_blob() { sqlite3_blob_close(blob_); }
  std::size_t size() const { return static_cast<std::size_t>(sqlite3_blob_bytes(blob_)); }
  void read(std::span<std::byte> to, std::size_t at) {
    db_->check(sqlite3_blob_read(blob_, to.data(), static_cast<int>(to.size()), static_cast<int>(at)));
  }
  void write(std::span<const std::byte> from, std::size_t at) {
    db_->check(sqlite3_blob_write(blob_, from.data(), static_cast<int>(from.size()), static_cast<int>(at)));
  }

 private:
  raw::database* db_;
  sqlite3_blob* blob_ = nullptr;
};

void fill(const std::string& path, std::size_t size) {
  raw::database db(path);
  db.run("CREATE TABLE f(id INTEGER PRIMARY KEY, data)");
  db.run(("INSERT INTO f VALUES(1, zeroblob(" + std::to_string(size) + "))").c_str());
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
}

void raw_read(const std::string& path, stopwatch& watch) {
  raw::database db(path);
  std::vector<std::byte> data(piece);
  std::size_t sum = 0;
  watch.start();
  {
    raw_blob b(db, false);
    for (std::size_t at = 0; at < b.size(); at += piece) {
      b.read(data, at);
      sum += sum_of(data);
    }
    const std::size_t count = b.size() / piece;
    watch.stop(static_cast<double>(count));
  }
  if (sum != 0) throw std::runtime_error("a read went wrong");
}

cosqlite::task<> our_read(std::string path, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  std::size_t sum = 0;
  const cosqlite::blob_location where{.table = "f", .column = "data", .rowid = 1};
  watch.start();
  {
    cosqlite::blob b = co_await db.open_blob(where);
    cosqlite::chunk_stream pieces = b.chunks(piece);
    while (auto data = co_await pieces.next()) sum += sum_of(*data);
    const std::size_t count = b.size() / piece;
    watch.stop(static_cast<double>(count));
  }
  if (sum != 0) throw std::runtime_error("a read went wrong");
  co_await db.close();
}

void raw_write(const std::string& path, stopwatch& watch) {
  raw::database db(path);
  const std::vector<std::byte> data(piece);
  watch.start();
  std::size_t count = 0;
  db.run("BEGIN IMMEDIATE");
  {
    raw_blob b(db, true);
    for (std::size_t at = 0; at < b.size(); at += piece, ++count) b.write(data, at);
  }
  db.run("COMMIT");
  watch.stop(static_cast<double>(count));
}

cosqlite::task<> our_write(std::string path, stopwatch& watch) {
  cosqlite::connection db = co_await cosqlite::open(path);
  const std::vector<std::byte> data(piece);
  const cosqlite::blob_location where{.table = "f", .column = "data", .rowid = 1};
  watch.start();
  std::size_t count = 0;
  cosqlite::transaction tx = co_await db.begin();
  {
    cosqlite::blob b = co_await tx.open_blob(where, cosqlite::blob_mode::write);
    for (std::size_t at = 0; at < b.size(); at += piece, ++count) co_await b.write(data, at);
  }
  co_await tx.commit();
  watch.stop(static_cast<double>(count));
  co_await db.close();
}

}  // namespace

int main(int argc, char** argv) {
  return program("blob", argc, argv, [](suite& s) {
    const std::string path = s.fresh_file();
    fill(path, s.scaled(64U << 20) / piece * piece);
    s.compare(
        {.name = "blob read in chunks of 64 KiB", .unit = "chunks", .floor = 0.80},
        [&](stopwatch& w) { raw_read(path, w); }, [&](stopwatch& w) { cosqlite::run(our_read(path, w)); });
    s.compare(
        {.name = "blob written in pieces of 64 KiB", .unit = "pieces"}, [&](stopwatch& w) { raw_write(path, w); },
        [&](stopwatch& w) { cosqlite::run(our_write(path, w)); });
  });
}
