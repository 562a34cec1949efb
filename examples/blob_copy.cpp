// Copies a large file into a blob and the blob into another file, piece by piece: blob_copy [MiB]
// However large the blob, the program needs a few megabytes.
#include "progress_bar.hpp"
#include <cosqlite/cosqlite.hpp>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace fs = std::filesystem;
using cosqlite::task;

namespace {

constexpr std::size_t piece = 256 * 1024;

struct closed {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using file = std::unique_ptr<std::FILE, closed>;

file open_file(const fs::path& path, const char* mode) {
  file f(std::fopen(path.c_str(), mode));
  if (!f) throw std::runtime_error("cannot open " + path.string());
  return f;
}

void write_all(std::FILE* to, std::span<const std::byte> data) {
  if (std::fwrite(data.data(), 1, data.size(), to) != data.size()) throw std::runtime_error("cannot write: disk full?");
}

/// A file of bytes that do not repeat.
void make_file(const fs::path& path, std::size_t size) {
  const file to = open_file(path, "wb");
  std::vector<std::byte> data(piece);
  std::uint64_t state = 1;
  for (std::size_t done = 0; done < size; done += piece) {
    for (std::byte& b : data) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      b = static_cast<std::byte>(state >> 56);
    }
    write_all(to.get(), data);
  }
}

/// In one transaction: the blob is there as a whole or not at all, and SQLite keeps its place in it between the writes.
task<std::int64_t> copy_in(cosqlite::connection* db, fs::path from) {
  const std::size_t size = fs::file_size(from);
  const file source = open_file(from, "rb");
  progress_bar bar("file to blob");
  cosqlite::transaction tx = co_await db->begin();
  const auto row = co_await tx.execute("INSERT INTO files(data) VALUES(?)", cosqlite::zeroblob(size));
  const cosqlite::blob_location where{.table = "files", .column = "data", .rowid = row.last_insert_rowid};
  cosqlite::blob blob = co_await tx.open_blob(where, cosqlite::blob_mode::write);
  std::vector<std::byte> data(piece);
  while (const std::size_t n = std::fread(data.data(), 1, data.size(), source.get())) {
    const std::span<const std::byte> read(data.data(), n);
    co_await blob.write(read);
    bar.show(blob.position(), size);
  }
  co_await tx.commit();
  co_return row.last_insert_rowid;
}

task<> copy_out(cosqlite::connection* db, std::int64_t rowid, fs::path to) {
  const file target = open_file(to, "wb");
  progress_bar bar("blob to file");
  const cosqlite::blob_location where{.table = "files", .column = "data", .rowid = rowid};
  cosqlite::blob blob = co_await db->open_blob(where);
  std::size_t done = 0;
  cosqlite::chunk_stream pieces = blob.chunks();
  while (auto data = co_await pieces.next()) {
    write_all(target.get(), *data);
    done += data->size();
    bar.show(done, blob.size());
  }
}

bool same(const fs::path& a, const fs::path& b) {
  const file first = open_file(a, "rb");
  const file second = open_file(b, "rb");
  std::vector<char> x(piece);
  std::vector<char> y(piece);
  for (;;) {
    const std::size_t n = std::fread(x.data(), 1, piece, first.get());
    const std::size_t m = std::fread(y.data(), 1, piece, second.get());
    if (n != m || !std::equal(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n), y.begin())) return false;
    if (n < piece) return std::ferror(first.get()) == 0 && std::ferror(second.get()) == 0;
  }
}

/// Of this program alone: getrusage counts in what its parent had before it became this program.
double peak_megabytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  double kilobytes = 0;
  while (status >> word && word != "VmHWM:") continue;
  status >> kilobytes;
  return kilobytes / 1024;
}

task<> copy_there_and_back(fs::path folder, std::size_t size) {
  make_file(folder / "original", size);
  cosqlite::connection db = co_await cosqlite::open((folder / "files.db").string());
  co_await db.execute("CREATE TABLE files(id INTEGER PRIMARY KEY, data BLOB NOT NULL)");
  const std::int64_t rowid = co_await copy_in(&db, folder / "original");
  co_await copy_out(&db, rowid, folder / "copy");
  co_await db.close();
  if (!same(folder / "original", folder / "copy")) throw std::runtime_error("the copy differs");
  std::printf("%zu MiB there and back, the same; at most %.1f MB of memory\n", size >> 20, peak_megabytes());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view text = argc > 1 ? argv[1] : "256";
  std::size_t mebibytes = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), mebibytes);
  // SQLite's blobs end at a billion bytes.
  if (argc > 2 || failure != std::errc() || end != text.data() + text.size() || mebibytes == 0 || mebibytes > 953) {
    std::cerr << "usage: blob_copy [MiB]   from 1 to 953; default: 256\n";
    return 2;
  }
  std::string folder = (fs::temp_directory_path() / "blob_copy-XXXXXX").string();
  if (!mkdtemp(folder.data())) {
    std::cerr << "cannot make a folder such as " << folder << '\n';
    return 1;
  }
  int status = 0;
  try {
    cosqlite::run(copy_there_and_back(folder, mebibytes << 20));
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    status = 1;
  }
  fs::remove_all(folder);
  return status;
}
