#pragma once

#include "support/catch.hpp"

#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <string_view>

namespace support {

/// A disk that takes no more than so many bytes while it lives: SQLite's default VFS, whose writes then fail as those
/// on a full disk do. It stands for all files whose path contains \p only. One at a time; no file of it may outlive it.
class full_disk {
 public:
  full_disk(std::int64_t bytes, const char* only) : below_(sqlite3_vfs_find(nullptr)), vfs_(*below_) {
    REQUIRE(here() == nullptr);
    left_ = bytes;
    only_ = only;
    vfs_.zName = "full-disk";
    vfs_.szOsFile = static_cast<int>(sizeof(file)) + below_->szOsFile;
    vfs_.xOpen = &open;
    here() = this;
    REQUIRE(sqlite3_vfs_register(&vfs_, 1) == SQLITE_OK);
  }
  full_disk(const full_disk&) = delete;
  full_disk& operator=(const full_disk&) = delete;
  ~full_disk() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(below_, 1);
    here() = nullptr;
  }

  /// Whether a write has been refused.
  bool was_full() const { return was_full_; }
  /// There is room again.
  void make_room() { left_ = INT64_MAX; }

 private:
  struct file {
    sqlite3_file base;
    sqlite3_io_methods methods;
    bool counted;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };

  static full_disk*& here() {
    static full_disk* one = nullptr;
    return one;
  }
  static file* of(sqlite3_file* f) { return reinterpret_cast<file*>(f); }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* given) {
    file* made = of(f);
    made->base.pMethods = nullptr;
    made->counted = name != nullptr && std::string_view(name).find(here()->only_) != std::string_view::npos;
    const int rc = here()->below_->xOpen(here()->below_, name, made->real(), flags, given);
    if (rc != SQLITE_OK || made->real()->pMethods == nullptr) return rc;
    made->methods = forwarding(made->real()->pMethods->iVersion);
    made->base.pMethods = &made->methods;
    return rc;
  }

  static int write(sqlite3_file* f, const void* data, int size, sqlite3_int64 at) {
    if (of(f)->counted && (here()->left_ -= size) < 0) {
      here()->was_full_ = true;
      return SQLITE_FULL;
    }
    return of(f)->real()->pMethods->xWrite(of(f)->real(), data, size, at);
  }

  static sqlite3_io_methods forwarding(int version) {
    sqlite3_io_methods m{};
    // Without xFetch, which needs version 3: files are not mapped.
    m.iVersion = version < 2 ? version : 2;
    m.xClose = [](sqlite3_file* f) { return of(f)->real()->pMethods->xClose(of(f)->real()); };
    m.xRead = [](sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
      return of(f)->real()->pMethods->xRead(of(f)->real(), to, size, at);
    };
    m.xWrite = &write;
    m.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) {
      return of(f)->real()->pMethods->xTruncate(of(f)->real(), size);
    };
    m.xSync = [](sqlite3_file* f, int flags) { return of(f)->real()->pMethods->xSync(of(f)->real(), flags); };
    m.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
      return of(f)->real()->pMethods->xFileSize(of(f)->real(), size);
    };
    m.xLock = [](sqlite3_file* f, int level) { return of(f)->real()->pMethods->xLock(of(f)->real(), level); };
    m.xUnlock = [](sqlite3_file* f, int level) { return of(f)->real()->pMethods->xUnlock(of(f)->real(), level); };
    m.xCheckReservedLock = [](sqlite3_file* f, int* out) {
      return of(f)->real()->pMethods->xCheckReservedLock(of(f)->real(), out);
    };
    m.xFileControl = [](sqlite3_file* f, int what, void* with) {
      return of(f)->real()->pMethods->xFileControl(of(f)->real(), what, with);
    };
    m.xSectorSize = [](sqlite3_file* f) { return of(f)->real()->pMethods->xSectorSize(of(f)->real()); };
    m.xDeviceCharacteristics = [](sqlite3_file* f) {
      return of(f)->real()->pMethods->xDeviceCharacteristics(of(f)->real());
    };
    m.xShmMap = [](sqlite3_file* f, int page, int size, int extend, void volatile** to) {
      return of(f)->real()->pMethods->xShmMap(of(f)->real(), page, size, extend, to);
    };
    m.xShmLock = [](sqlite3_file* f, int offset, int n, int flags) {
      return of(f)->real()->pMethods->xShmLock(of(f)->real(), offset, n, flags);
    };
    m.xShmBarrier = [](sqlite3_file* f) { of(f)->real()->pMethods->xShmBarrier(of(f)->real()); };
    m.xShmUnmap = [](sqlite3_file* f, int remove) { return of(f)->real()->pMethods->xShmUnmap(of(f)->real(), remove); };
    return m;
  }

  sqlite3_vfs* below_;
  sqlite3_vfs vfs_;
  const char* only_ = "";
  std::atomic<std::int64_t> left_{0};
  std::atomic<bool> was_full_{false};
};

}  // namespace support
