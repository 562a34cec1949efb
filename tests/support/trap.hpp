#pragma once

#include "support/catch.hpp"

#include <sqlite3.h>

#include <array>
#include <atomic>
#include <mutex>
#include <thread>

namespace support {

/// Holds other threads inside SQLite: where a statement begins, where a file is read, written or locked, where a
/// statement that reads from `trapped` is compiled, and where the function twice() goes. Connections that are opened
/// while it lives are in it. One at a time; none of them may outlive it.
class trap {
 public:
  trap() : below_(sqlite3_vfs_find(nullptr)), vfs_(*below_) {
    REQUIRE(here() == nullptr);
    here() = this;
    vfs_.zName = "trap";
    vfs_.xOpen = &open;
    REQUIRE(sqlite3_vfs_register(&vfs_, 1) == SQLITE_OK);
    REQUIRE(sqlite3_auto_extension(reinterpret_cast<void (*)()>(&set_on)) == SQLITE_OK);
  }
  trap(const trap&) = delete;
  trap& operator=(const trap&) = delete;
  ~trap() {
    sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(&set_on));
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(below_, 1);
    here() = nullptr;
  }

  /// Holds whoever comes by as the \p nth from now (from 1), and all that follow.
  void set(int nth) {
    before_ = nth;
    caught_ = false;
    set_ = true;
  }
  [[nodiscard]] bool has_caught() const { return caught_; }
  void release() { set_ = false; }

 private:
  struct patched : sqlite3_io_methods {
    const sqlite3_io_methods* original = nullptr;
  };

  static trap*& here() {
    static trap* one = nullptr;
    return one;
  }

  void pass() noexcept {
    if (!set_ || std::this_thread::get_id() == owner_) return;
    if (before_.fetch_sub(1) > 1) return;
    caught_ = true;
    while (set_) std::this_thread::yield();
  }

  static int on_statement(unsigned, void*, void*, void*) {
    pass_by();
    return 0;
  }
  static int set_on(sqlite3* db, char**, const void*) {
    const auto nothing = [](sqlite3_context* to, int, sqlite3_value**) { sqlite3_result_null(to); };
    const auto gone = [](void*) { pass_by(); };
    sqlite3_create_function_v2(db, "twice", 1, SQLITE_UTF8, nullptr, nothing, nullptr, nullptr, gone);
    sqlite3_create_module_v2(db, "trapped", &table(), nullptr, nullptr);
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, &on_statement, nullptr);
  }
  /// A table without rows.
  static const sqlite3_module& table() {
    static const sqlite3_module module = [] {
      sqlite3_module m{};
      m.xConnect = [](sqlite3* db, void*, int, const char* const*, sqlite3_vtab** made, char**) {
        *made = new sqlite3_vtab{};
        return sqlite3_declare_vtab(db, "CREATE TABLE t(v)");
      };
      m.xDisconnect = [](sqlite3_vtab* t) {
        delete t;
        return SQLITE_OK;
      };
      m.xBestIndex = [](sqlite3_vtab*, sqlite3_index_info*) {
        pass_by();
        return SQLITE_OK;
      };
      m.xOpen = [](sqlite3_vtab*, sqlite3_vtab_cursor** made) {
        *made = new sqlite3_vtab_cursor{};
        return SQLITE_OK;
      };
      m.xClose = [](sqlite3_vtab_cursor* c) {
        delete c;
        return SQLITE_OK;
      };
      m.xFilter = [](sqlite3_vtab_cursor*, int, const char*, int, sqlite3_value**) { return SQLITE_OK; };
      m.xNext = [](sqlite3_vtab_cursor*) { return SQLITE_OK; };
      m.xEof = [](sqlite3_vtab_cursor*) { return 1; };
      m.xColumn = [](sqlite3_vtab_cursor*, sqlite3_context*, int) { return SQLITE_OK; };
      m.xRowid = [](sqlite3_vtab_cursor*, sqlite3_int64*) { return SQLITE_OK; };
      return m;
    }();
    return module;
  }

  static const sqlite3_io_methods* original(sqlite3_file* f) {
    return static_cast<const patched*>(f->pMethods)->original;
  }
  static int open(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* given) {
    const int rc = here()->below_->xOpen(here()->below_, name, f, flags, given);
    if (f->pMethods) f->pMethods = patch(f->pMethods);
    return rc;
  }
  /// The file stays SQLite's own; some of what it can do goes through here first.
  static const sqlite3_io_methods* patch(const sqlite3_io_methods* methods) {
    // There are as many as SQLite has ways to lock a file. Files may be closed after the trap has gone.
    static std::mutex mutex;
    static std::array<patched, 8> known;
    const std::lock_guard lock(mutex);
    for (patched& p : known) {
      if (p.original == methods) return &p;
      if (p.original) continue;
      static_cast<sqlite3_io_methods&>(p) = *methods;
      p.original = methods;
      p.xRead = [](sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
        pass_by();
        return original(f)->xRead(f, to, size, at);
      };
      p.xWrite = [](sqlite3_file* f, const void* from, int size, sqlite3_int64 at) {
        pass_by();
        return original(f)->xWrite(f, from, size, at);
      };
      if (methods->xShmLock) {
        p.xShmLock = [](sqlite3_file* f, int offset, int n, int how) {
          // Those that give a lock back are of calls that are over.
          if ((how & SQLITE_SHM_LOCK) != 0) pass_by();
          return original(f)->xShmLock(f, offset, n, how);
        };
      }
      return &p;
    }
    return methods;
  }
  static void pass_by() noexcept {
    if (here()) here()->pass();
  }

  sqlite3_vfs* below_;
  sqlite3_vfs vfs_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::atomic<int> before_{0};
  std::atomic<bool> set_{false};
  std::atomic<bool> caught_{false};
};

}  // namespace support
