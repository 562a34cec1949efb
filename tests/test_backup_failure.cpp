// Backups that are refused, stopped or fail: the destination is what it was, and both connections go on.

#include "support/backup.hpp"
#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/foreign.hpp"
#include "support/full_disk.hpp"
#include "support/on_loop.hpp"
#include "support/one_table.hpp"
#include <cosqlite/cosqlite.hpp>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::contains;
using support::failure_of;
using support::has_partial_file;
using support::on_loop;
using support::raw_database;
using support::rows_of;
using support::sample;
using support::temp_database;

namespace {

/// Where the time of a backup went whose destination or source is locked. On a busy machine a short deadline may pass
/// before the lock is met at all: it is made longer until it is.
template <class F>
task<timeout_error::stage> where_time_goes(F backup) {
  auto stage = timeout_error::stage::queue;
  for (auto deadline = 60ms; stage != timeout_error::stage::lock && deadline < 16s; deadline *= 2) {
    const timeout_error late = co_await failure_of<timeout_error>(backup(deadline));
    stage = late.spent_in();
  }
  co_return stage;
}

foreign::coroutine back_up_to_path(connection* db, std::string path) {
  co_await db->backup(path, backup_options{.pages = 10});
}

foreign::coroutine back_up_to(connection* db, connection* to) { co_await db->backup(*to, backup_options{.pages = 10}); }

}  // namespace

TEST_CASE("a backup onto itself is refused, by whatever name") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const misuse_error same = co_await failure_of<misuse_error>(db.backup(db));
    CHECK(contains(same.what(), "onto itself"));
    connection second = co_await open(at.path());
    const misuse_error file = co_await failure_of<misuse_error>(db.backup(second));
    CHECK(contains(file.what(), "onto itself"));
    const misuse_error path = co_await failure_of<misuse_error>(db.backup(at.path()));
    CHECK(contains(path.what(), "onto itself"));
    std::filesystem::create_symlink(at.path(), at.folder() / "link.db");
    const misuse_error link = co_await failure_of<misuse_error>(db.backup((at.folder() / "link.db").string()));
    const misuse_error vacuum = co_await failure_of<misuse_error>(db.vacuum_into(at.path()));
    const misuse_error memory = co_await failure_of<misuse_error>(db.backup(":memory:"));
    CHECK(contains(memory.what(), "needs the name of a file"));
    int rows = co_await rows_of(db);
    CHECK(rows == 1000);
    rows = co_await rows_of(second);
    CHECK(rows == 1000);
    connection a = co_await open(":memory:");
    connection b = co_await open(":memory:");
    co_await a.backup(b);
    co_await b.backup(a);
  });
}

TEST_CASE("two backups in opposite directions are refused instead of waiting for one another") {
  on_loop([]() -> task<> {
    connection a = co_await sample(":memory:");
    connection b = co_await sample(":memory:");
    std::string second;
    const auto opposite = [](connection* from, connection* to, std::string* what) -> task<> {
      try {
        co_await from->backup(*to);
      } catch (const misuse_error& e) {
        *what = e.what();
      }
    };
    co_await when_all(opposite(&a, &b, &second), opposite(&b, &a, &second));
    CHECK(contains(second, "is the destination of another one"));
  });
}

TEST_CASE("a backup to a connection that its own coroutine holds is refused, and with a deadline waits until that") {
  temp_database source;
  temp_database target;
  on_loop([&]() -> task<> {
    connection db = co_await sample(source.path());
    connection to = co_await cosqlite::open(target.path());
    {
      transaction tx = co_await to.begin();
      const misuse_error held = co_await failure_of<misuse_error>(db.backup(to));
      CHECK(contains(held.what(), "its destination, which its own coroutine holds"));
      CHECK(held.where().line() != 0);
      co_await failure_of<timeout_error>(db.with(20ms).backup(to));
      co_await tx.rollback();
    }
    const auto body = [&db, &to](transaction&) -> task<> {
      [[maybe_unused]] const bool local = true;
      co_await db.backup(to);
    };
    co_await failure_of<misuse_error>(to.transact(body));
    co_await db.backup(to);
    CHECK(co_await rows_of(to) == co_await rows_of(db));
  });
}

TEST_CASE("what cannot be a destination is left as it is") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const std::string text = (at.folder() / "notes.txt").string();
    std::ofstream(text) << "these are the notes of somebody, and no database; they are long enough to have a header of "
                           "one hundred bytes, and more";
    const auto size = std::filesystem::file_size(text);
    const corrupt_error e = co_await failure_of<corrupt_error>(db.backup(text));
    CHECK(contains(e.what(), "notes.txt"));
    CHECK(std::filesystem::file_size(text) == size);
    const io_error folder = co_await failure_of<io_error>(db.backup(at.folder().string()));
    const io_error missing =
        co_await failure_of<io_error>(db.backup((at.folder() / "no" / "such" / "copy.db").string()));
    CHECK_FALSE(has_partial_file(at));
    const misuse_error schema = co_await failure_of<misuse_error>(db.backup(text, {.from = "nowhere"}));
    CHECK(contains(schema.what(), "nowhere"));
    const int rows = co_await rows_of(db);
    CHECK(rows == 1000);
  });
}

TEST_CASE("a destination that cannot take the copy says why, and stays usable and unchanged") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const std::string path = (at.folder() / "to.db").string();
    {
      raw_database small(path);
      small.execute("PRAGMA page_size = 1024");
      small.execute("CREATE TABLE small(a)");
    }
    {
      connection to = co_await open(path);
      const readonly_error e = co_await failure_of<readonly_error>(db.backup(to));
      CHECK(contains(e.what(), "another page size"));
      const int n = co_await to.query_one<int>("SELECT count(*) FROM small");
      CHECK(n == 0);
      co_await to.close();
    }
    connection memory = co_await sample(":memory:");
    {
      row_stream reading = memory.stream("SELECT * FROM t");
      co_await reading.next();
      const error in_use = co_await failure_of<error>(db.backup(memory));
      CHECK(contains(in_use.what(), "in use"));
    }
    co_await memory.execute("BEGIN");
    const misuse_error inside = co_await failure_of<misuse_error>(db.backup(memory));
    co_await memory.execute("COMMIT");
    co_await memory.execute("PRAGMA max_page_count = 1");
    connection fresh = co_await open(":memory:");
    co_await db.backup(memory);
    memory = connection();
    const closed_error gone = co_await failure_of<closed_error>(db.backup(memory));
    const int rows = co_await rows_of(db);
    CHECK(rows == 1000);
  });
}

TEST_CASE("a backup that is stopped, late, or whose progress throws leaves nothing") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const std::string copy = (at.folder() / "copy.db").string();
    std::stop_source stop;
    const auto stop_soon = [&stop](const backup_progress& p) {
      if (p.remaining < p.total / 2) stop.request_stop();
    };
    const cancelled_error e = co_await failure_of<cancelled_error>(
        db.with(stop.get_token()).backup(copy, backup_options{.pages = 50}, stop_soon));
    CHECK_FALSE(std::filesystem::exists(copy));
    CHECK_FALSE(has_partial_file(at));
    const timeout_error late =
        co_await failure_of<timeout_error>(db.with(30ms).backup(copy, backup_options{.pages = 1, .pause = 5ms}));
    CHECK_FALSE(has_partial_file(at));
    const auto throws = [](const backup_progress&) { throw std::runtime_error("enough"); };
    const std::runtime_error thrown =
        co_await failure_of<std::runtime_error>(db.backup(copy, backup_options(), throws));
    CHECK(std::string(thrown.what()) == "enough");
    CHECK_FALSE(std::filesystem::exists(copy));
    CHECK_FALSE(has_partial_file(at));

    connection to = co_await open(":memory:");
    co_await to.execute("CREATE TABLE before(a)");
    const std::runtime_error again = co_await failure_of<std::runtime_error>(db.backup(to, backup_options(), throws));
    const int n = co_await to.query_one<int>("SELECT count(*) FROM before");
    CHECK(n == 0);
    co_await db.backup(to);
    const int rows = co_await rows_of(to);
    CHECK(rows == 1000);
  });
}

TEST_CASE("a backup whose coroutine is destroyed leaves nothing, and both connections usable") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const std::string copy = (at.folder() / "copy.db").string();
    connection to = co_await open(":memory:");
    co_await to.execute("CREATE TABLE before(a)");
    for (int i = 0; i < 12; ++i) {
      {
        const foreign::coroutine one = back_up_to_path(&db, copy);
        const foreign::coroutine two = back_up_to(&db, &to);
        for (int k = 0; k < i; ++k) co_await sleep_for(0ns);
      }
      const int n = co_await to.query_one<int>("SELECT count(*) FROM before");
      CHECK(n == 0);
    }
    co_await db.close();
    CHECK_FALSE(std::filesystem::exists(copy));
  });
  CHECK_FALSE(has_partial_file(at));
}

TEST_CASE("a source or destination that closes during a backup ends it") {
  temp_database at;
  on_loop([&]() -> task<> {
    const std::string copy = (at.folder() / "copy.db").string();
    {
      connection db = co_await sample(at.path());
      const auto drop = [&db](const backup_progress&) { db = connection(); };
      const closed_error e = co_await failure_of<closed_error>(db.backup(copy, backup_options{.pages = 10}, drop));
      CHECK_FALSE(std::filesystem::exists(copy));
      CHECK_FALSE(has_partial_file(at));
    }
    connection db = co_await open(at.path());
    connection to = co_await open(":memory:");
    bool dropped = false;
    const auto drop = [&](const backup_progress&) {
      if (!std::exchange(dropped, true)) to = connection();
    };
    const closed_error e =
        co_await failure_of<closed_error>(db.backup(to, backup_options{.pages = 1, .pause = 1ms}, drop));
    CHECK(contains(e.what(), "destination"));
    connection last = co_await open(":memory:");
    const auto drop_source = [&db](const backup_progress&) { db = connection(); };
    const closed_error gone =
        co_await failure_of<closed_error>(db.backup(last, backup_options{.pages = 10}, drop_source));
    co_await last.execute("CREATE TABLE usable(a)");
  });
}

TEST_CASE("a source that is locked is tried again until the deadline") {
  temp_database at;
  on_loop([&]() -> task<> {
    {
      raw_database file(at.path());
      file.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, pad)");
      file.execute("INSERT INTO t(pad) VALUES(1)");
    }
    open_options options;
    options.journal_mode = journal::keep;
    options.busy_timeout = 5ms;
    connection db = co_await open(at.path(), options);
    connection to = co_await open(":memory:");
    raw_database other(at.path());
    other.execute("BEGIN EXCLUSIVE");
    auto to_the_lock = [&db, &to](std::chrono::milliseconds deadline) { return db.with(deadline).backup(to); };
    CHECK(co_await where_time_goes(to_the_lock) == timeout_error::stage::lock);
    const busy_error busy = co_await failure_of<busy_error>(db.backup(to));
    const auto release = [](const raw_database* locked) -> task<> {
      const auto pause = 30ms;
      co_await sleep_for(pause);
      locked->execute("COMMIT");
    };
    spawn(release(&other));
    co_await db.with(20s).backup(to);
    const int rows = co_await rows_of(to);
    CHECK(rows == 1);
    co_await db.execute("BEGIN IMMEDIATE");
    co_await db.execute("INSERT INTO t(pad) VALUES(2)");
    const timeout_error own = co_await failure_of<timeout_error>(db.with(40ms).backup(to));
    co_await db.execute("COMMIT");
    co_await db.backup(to);
  });
}

TEST_CASE("a destination that somebody opens meanwhile is waited for until the stop, the deadline or busy_timeout") {
  temp_database at;
  on_loop([&]() -> task<> {
    open_options patient;
    patient.busy_timeout = std::chrono::hours(1);
    connection db = co_await sample(at.path());
    connection patient_db = co_await open(at.path(), patient);
    const std::string copy = (at.folder() / "copy.db").string();
    raw_database(copy).execute("CREATE TABLE old(a)");
    std::optional<raw_database> other;
    const auto take_the_place = [&other, &copy](const backup_progress&) {
      if (!other) other.emplace(copy).execute("BEGIN IMMEDIATE");
    };
    std::stop_source stop;
    const auto stop_later = [](std::stop_source s) -> task<> {
      const auto pause = 30ms;
      co_await sleep_for(pause);
      s.request_stop();
    };
    const auto stop_when_copied = [&](const backup_progress& p) {
      take_the_place(p);
      if (p.remaining == 0) spawn(stop_later(stop));
    };
    co_await failure_of<cancelled_error>(
        patient_db.with(stop.get_token()).backup(copy, backup_options{.verify = true}, stop_when_copied));
    other.reset();
    auto to_the_place = [&](std::chrono::milliseconds deadline) {
      other.reset();
      return patient_db.with(deadline).backup(copy, backup_options(), take_the_place);
    };
    CHECK(co_await where_time_goes(to_the_place) == timeout_error::stage::lock);
    other.reset();
    open_options hasty;
    hasty.busy_timeout = 10ms;
    connection hasty_db = co_await open(at.path(), hasty);
    const busy_error busy = co_await failure_of<busy_error>(hasty_db.backup(copy, backup_options(), take_the_place));
    CHECK(contains(busy.what(), "another connection has it open"));
    CHECK_FALSE(has_partial_file(at));
    other.reset();
    CHECK(raw_database(copy).number("SELECT count(*) FROM old") == 0);
    co_await patient_db.backup(copy);
    CHECK(raw_database(copy).number("SELECT count(*) FROM t") == 1000);
  });
}

TEST_CASE("a full disk ends a backup: the destination is what it was, and both connections go on") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    const std::string copy = (at.folder() / "copy.db").string();
    raw_database(copy).execute("CREATE TABLE old(a)");
    {
      const support::full_disk disk(200'000, ".partial");
      co_await failure_of<full_error>(db.backup(copy, backup_options{.pages = 10}));
      CHECK(disk.was_full());
      CHECK_FALSE(has_partial_file(at));
      connection there = co_await open(at.path());
      co_await failure_of<full_error>(there.vacuum_into(copy));
      CHECK_FALSE(has_partial_file(at));
      const int rows = co_await rows_of(there);
      CHECK(rows == 1000);
      co_await there.close();
    }
    CHECK(raw_database(copy).number("SELECT count(*) FROM old") == 0);
    int rows = co_await rows_of(db);
    CHECK(rows == 1000);
    co_await db.backup(copy);
    CHECK(raw_database(copy).number("SELECT count(*) FROM t") == 1000);
  });
}

TEST_CASE("a destination connection that is full is as it was before, and takes the copy when there is room") {
  temp_database at;
  on_loop([&]() -> task<> {
    connection db = co_await sample(at.path());
    connection to = co_await open((at.folder() / "to.db").string());
    co_await to.execute("CREATE TABLE before(a)");
    co_await to.execute("PRAGMA max_page_count = 20");
    co_await failure_of<full_error>(db.backup(to, {.pages = 10}));
    const int n = co_await to.query_one<int>("SELECT count(*) FROM before");
    CHECK(n == 0);
    co_await to.execute("INSERT INTO before VALUES(1)");
    co_await to.execute("PRAGMA max_page_count = 1000000");
    co_await db.backup(to);
    int rows = co_await rows_of(to);
    CHECK(rows == 1000);
    rows = co_await rows_of(db);
    CHECK(rows == 1000);
  });
}

TEST_CASE("a source that is damaged is told by verify, and no copy of it takes the name") {
  temp_database at;
  on_loop([&]() -> task<> {
    {
      connection db = co_await sample(at.path());
      co_await db.close();
    }
    {
      std::fstream file(at.path(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(200 * 4096);
      file << std::string(4096, 'x');
    }
    connection db = co_await open(at.path());
    const std::string copy = (at.folder() / "copy.db").string();
    const corrupt_error damaged = co_await failure_of<corrupt_error>(db.backup(copy, {.verify = true}));
    CHECK(contains(damaged.what(), "the source is damaged"));
    CHECK_FALSE(std::filesystem::exists(copy));
    CHECK_FALSE(has_partial_file(at));
  });
}

TEST_CASE("a destination on another thread's loop is refused") {
  on_loop([]() -> task<> {
    connection db = co_await sample(":memory:");
    std::atomic<connection*> elsewhere{nullptr};
    std::atomic<bool> done{false};
    std::thread thread([&elsewhere, &done] {
      const auto body = [&elsewhere, &done]() -> task<> {
        connection there = co_await open(":memory:");
        elsewhere = &there;
        while (!done) co_await sleep_for(1ms);
      };
      run(body());
    });
    while (!elsewhere) co_await sleep_for(1ms);
    const misuse_error e = co_await failure_of<misuse_error>(db.backup(*elsewhere));
    done = true;
    thread.join();
    CHECK(contains(e.what(), "loop"));
  });
}
