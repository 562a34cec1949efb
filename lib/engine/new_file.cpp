#include "engine/new_file.hpp"

#include "engine/errors.hpp"
#include <cosqlite/error.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <random>
#include <system_error>
#include <thread>

#include <sys/stat.h>

namespace cosqlite::detail {

namespace {

[[noreturn]] void throw_io(const std::string& doing, const std::source_location& where) {
  throw io_error("cannot " + doing + ": " + std::generic_category().message(errno), {SQLITE_IOERR, {}, where});
}

std::string random_name() {
  std::random_device random;
  char text[20];
  std::snprintf(text, sizeof text, "%08x%08x", random(), random());
  return text;
}

/// The file itself, also where \p path is a link to it.
std::string resolved(std::string_view path) {
  std::error_code failed;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(std::filesystem::path(path), failed);
  return failed ? std::filesystem::absolute(std::filesystem::path(path)).string() : whole.string();
}

/// How long somebody who has the place is waited for.
struct patience {
  std::chrono::steady_clock::time_point until;
  const std::function<bool()>* stopped;

  static int wait(void* self, int) noexcept {
    const auto& p = *static_cast<patience*>(self);
    if ((*p.stopped)() || std::chrono::steady_clock::now() >= p.until) return 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return 1;
  }
};

/// Holds the database that stands where the new one goes: nobody else has it open, and it has no journal any more.
class held_database {
 public:
  /// \p for_good: it goes, so its log must go too; SQLite would apply it to the new file.
  held_database(const std::string& path, bool for_good, patience waiting, const std::source_location& where) {
    struct stat there{};
    if (stat(path.c_str(), &there) != 0) return;
    const auto doing = "replace " + path;
    if (!S_ISREG(there.st_mode)) {
      throw io_error("cannot " + doing + ": it is no ordinary file", {SQLITE_CANTOPEN, {}, where});
    }
    int rc = sqlite3_open_v2(
        path.c_str(), &db_,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE, nullptr);
    if (rc == SQLITE_OK) {
      sqlite3_busy_handler(db_, &patience::wait, &waiting);
      // In WAL mode an exclusive lock needs everybody else to have gone.
      const char* hold = for_good ? "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE"
                                  : "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
      rc = sqlite3_exec(db_, hold, nullptr, nullptr, nullptr);
    }
    sqlite3_busy_handler(db_, nullptr, nullptr);
    if (rc == SQLITE_OK) return;
    const bool busy = (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED;
    std::exception_ptr failure =
        busy ? std::make_exception_ptr(busy_error(
                   "cannot " + doing + ": another connection has it open; close that one, or choose another path",
                   {rc, {}, where}))
             : sqlite_error(db_, rc, {}, where, doing);
    sqlite3_close(db_);
    std::rethrow_exception(std::move(failure));
  }
  held_database(const held_database&) = delete;
  held_database& operator=(const held_database&) = delete;
  ~held_database() { sqlite3_close(db_); }
  [[nodiscard]] bool exists() const noexcept { return db_ != nullptr; }

 private:
  sqlite3* db_ = nullptr;
};

void remove_journals(const std::string& path) noexcept {
  for (const char* suffix : {"-wal", "-shm", "-journal"}) unlink((path + suffix).c_str());
}

void sync_folder(const std::string& path) noexcept {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  ::close(fd);
}

}  // namespace

bool is_same_file(const char* a, const char* b) noexcept {
  struct stat first{};
  struct stat second{};
  if (!a || !b || !*a || !*b) return false;
  if (stat(a, &first) != 0 || stat(b, &second) != 0) return false;
  return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

void sync_file(const std::string& path, const std::source_location& where) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw_io("open " + path, where);
  const int rc = fsync(fd);
  const int failed = errno;
  ::close(fd);
  errno = failed;
  if (rc != 0) throw_io("sync " + path, where);
}

new_file::new_file(std::string_view path, const std::source_location& where) : where_(where) {
  if (path.find('\0') != std::string_view::npos) {
    throw misuse_error("the path of a database cannot have a NUL character in it", {SQLITE_MISUSE, {}, where});
  }
  if (path.empty() || path == ":memory:") {
    throw misuse_error(
        "a backup to a path needs the name of a file; for one in memory, open it and back up to the connection",
        {SQLITE_MISUSE, {}, where});
  }
  path_ = resolved(path);
  temporary_ = path_ + "." + random_name() + ".partial";
}

new_file::~new_file() {
  if (!published_) unlink(temporary_.c_str());
  // Looking into a copy in WAL mode makes a log, which SQLite leaves behind when the file has been renamed.
  remove_journals(temporary_);
}

void new_file::check_place(const char* source) const {
  if (is_same_file(source, path_.c_str())) {
    throw misuse_error("a database cannot be backed up onto itself: " + path_, {SQLITE_MISUSE, {}, where_});
  }
  const std::function<bool()> at_once = [] { return true; };
  const held_database there(path_, false, {std::chrono::steady_clock::now(), &at_once}, where_);
}

void new_file::take_permissions_of(const char* source) const noexcept {
  struct stat of{};
  if (!source || !*source || stat(source, &of) != 0) return;
  // Best effort: a file system may know no permissions.
  if (chmod(temporary_.c_str(), of.st_mode & 0777) != 0) return;
}

void new_file::publish(std::chrono::milliseconds how_long, const std::function<bool()>& stopped) {
  const held_database there(path_, true, {std::chrono::steady_clock::now() + how_long, &stopped}, where_);
  if (!there.exists()) remove_journals(path_);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) throw_io("rename " + temporary_ + " to " + path_, where_);
  published_ = true;
  sync_folder(path_);
}

}  // namespace cosqlite::detail
