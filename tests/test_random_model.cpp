// Many coroutines, connections, transactions, cancellations, drops and closes over one file, checked against a model in
// memory. The seed is printed; COSQLITE_SEED repeats a run, COSQLITE_SOAK_SECONDS goes on for so long.

#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include "support/randomised.hpp"
#include "support/sanitized.hpp"
#include <cosqlite/cosqlite.hpp>

#include <chrono>
#include <coroutine>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace {

using cosqlite::connection;
using cosqlite::task;
using cosqlite::transaction;
using support::temp_database;

constexpr int operations_in_ci = support::sanitized ? 8'000 : 100'000;

constexpr int keys = 40;  // for each actor

using state = std::map<int, std::string>;

/// What all actors share.
struct world {
  std::string path;
  std::mt19937_64 random;
  std::int64_t operations = 0;
  std::int64_t limit = 0;
  std::chrono::steady_clock::time_point until;
  std::int64_t cancelled = 0;
  std::int64_t reopened = 0;
  std::int64_t pairs = 0;

  int below(int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); }
  bool goes_on() { return operations < limit || std::chrono::steady_clock::now() < until; }
};

/// One that has keys of its own: the model of them is exact.
struct actor {
  world& all;
  int number;
  std::shared_ptr<connection> db;
  state model;

  [[nodiscard]] int key() const { return number * 1000 + all.below(keys); }
};

[[noreturn]] void differ(const std::string& what) {
  throw std::logic_error("the database differs from the model: " + what);
}

task<connection> open_file(std::string path) {
  cosqlite::open_options o;
  o.synchronous = cosqlite::sync::off;
  o.busy_timeout = std::chrono::seconds(60);
  connection db = co_await cosqlite::open(std::move(path), o);
  co_return db;
}

constexpr const char* put = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v";

task<> write_one(actor& a) {
  const int k = a.key();
  const std::string v = std::to_string(a.all.random());
  co_await a.db->execute(put, k, v);
  a.model[k] = v;
}

task<> read_one(actor& a) {
  const int k = a.key();
  const auto v = co_await a.db->query_optional<std::string>("SELECT v FROM kv WHERE k = ?", k);
  const auto known = a.model.find(k);
  if (v.has_value() != (known != a.model.end()) || (v && *v != known->second)) differ("key " + std::to_string(k));
}

task<> read_all(actor& a) {
  auto rows = a.db->stream<std::pair<int, std::string>>("SELECT k, v FROM kv WHERE k BETWEEN ? AND ? ORDER BY k",
                                                        a.number * 1000, a.number * 1000 + 999);
  const bool leave_early = a.all.below(4) == 0;
  auto known = a.model.begin();
  while (auto row = co_await rows.next()) {
    if (known == a.model.end() || known->first != row->first || known->second != row->second) differ("a scan");
    ++known;
    if (leave_early) co_return;
  }
  if (known != a.model.end()) differ("a scan that ended early");
}

/// Stopped at a random moment: the outcome says whether it was written.
task<> write_under_stop(actor& a) {
  const int k = a.key();
  const std::string v = std::to_string(a.all.random());
  std::stop_source stop;
  const auto stopping = [](std::stop_source s, int turns) -> task<> {
    for (int i = 0; i < turns; ++i) co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
    s.request_stop();
  };
  cosqlite::spawn(stopping(stop, a.all.below(4)));
  bool written = false;
  try {
    co_await a.db->with(stop.get_token(), std::chrono::seconds(60)).execute(put, k, v);
    written = true;
  } catch (const cosqlite::cancelled_error&) {
    ++a.all.cancelled;
  }
  if (written) a.model[k] = v;
}

task<> write_in_transaction(actor& a) {
  state changed = a.model;
  const int steps = 1 + a.all.below(5);
  const int end = a.all.below(4);
  {
    transaction tx = co_await a.db->begin();
    for (int i = 0; i < steps; ++i) {
      const int k = a.key();
      if (a.all.below(3) == 0) {
        co_await tx.execute("DELETE FROM kv WHERE k = ?", k);
        changed.erase(k);
        continue;
      }
      const std::string v = std::to_string(a.all.random());
      cosqlite::savepoint point = co_await tx.savepoint();
      co_await point.execute(put, k, v);
      if (a.all.below(3) == 0) {
        co_await point.rollback();
      } else {
        co_await point.release();
        changed[k] = v;
      }
    }
    if (end == 0) co_await tx.rollback();
    if (end >= 2) co_await tx.commit();
  }
  if (end >= 2) a.model = std::move(changed);
}

task<> write_many(actor& a) {
  std::vector<std::pair<int, std::string>> rows;
  for (int i = 0; i < 5; ++i) rows.emplace_back(a.key(), std::to_string(a.all.random()));
  co_await a.db->execute_many(put, rows);
  for (const auto& [k, v] : rows) a.model[k] = v;
}

task<> reopen(actor& a) {
  if (a.all.below(2) == 0) co_await a.db->close();
  connection fresh = co_await open_file(a.all.path);
  *a.db = std::move(fresh);
  ++a.all.reopened;
}

task<> act(actor& a) {
  while (a.all.goes_on()) {
    ++a.all.operations;
    const int choice = a.all.below(200);
    if (choice < 60) {
      co_await write_one(a);
    } else if (choice < 120) {
      co_await read_one(a);
    } else if (choice < 135) {
      co_await read_all(a);
    } else if (choice < 160) {
      co_await write_under_stop(a);
    } else if (choice < 185) {
      co_await write_in_transaction(a);
    } else if (choice < 199) {
      co_await write_many(a);
    } else {
      co_await reopen(a);
    }
  }
}

/// A coroutine that can be destroyed wherever it stands.
class fleeting {
 public:
  struct promise_type {
    fleeting get_return_object() { return fleeting(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const { throw; }
  };
  fleeting(fleeting&& o) noexcept : handle_(std::exchange(o.handle_, {})) {}
  fleeting& operator=(fleeting&& o) noexcept {
    std::swap(handle_, o.handle_);
    return *this;
  }
  ~fleeting() {
    if (handle_) handle_.destroy();
  }

 private:
  explicit fleeting(std::coroutine_handle<promise_type> h) : handle_(h) {}
  std::coroutine_handle<promise_type> handle_;
};

/// Both halves of a pair, or none: whoever destroys it, wherever.
fleeting write_pair(connection& db, std::int64_t id) {
  transaction tx = co_await db.begin();
  co_await tx.execute("INSERT INTO pair VALUES (?, 1)", id);
  co_await tx.execute("INSERT INTO pair VALUES (?, 2)", id);
  co_await tx.commit();
}

/// Begins pairs on one connection and leaves them at random moments.
task<> abandon_things(world& all) {
  connection db = co_await open_file(all.path);
  while (all.goes_on()) {
    std::vector<fleeting> some;
    const int n = 1 + all.below(3);
    for (int i = 0; i < n; ++i) some.push_back(write_pair(db, ++all.pairs));
    all.operations += n;
    const int turns = all.below(6);
    for (int i = 0; i < turns; ++i) co_await cosqlite::sleep_for(std::chrono::nanoseconds(0));
    some.clear();
    const int halves =
        co_await db.query_one<int>("SELECT count(*) FROM (SELECT id FROM pair GROUP BY id HAVING count(*) <> 2)");
    if (halves != 0) differ("half a transaction");
    if (all.below(20) == 0) co_await db.execute("DELETE FROM pair");
    if (all.below(50) == 0) {
      connection fresh = co_await open_file(all.path);
      db = std::move(fresh);
    }
  }
  co_await db.close();
}

task<> check_end(world& all, const std::vector<std::unique_ptr<actor>>& actors) {
  connection db = co_await open_file(all.path);
  state expected;
  for (const auto& a : actors) expected.insert(a->model.begin(), a->model.end());
  const auto rows = co_await db.query<std::pair<int, std::string>>("SELECT k, v FROM kv");
  if (state(rows.begin(), rows.end()) != expected) differ("in the end");
  if (co_await db.query_one<std::string>("PRAGMA integrity_check") != "ok") differ("integrity_check");
}

task<> live(world& all) {
  {
    connection db = co_await open_file(all.path);
    co_await db.execute_script("CREATE TABLE kv(k INTEGER PRIMARY KEY, v TEXT); CREATE TABLE pair(id, half)");
  }
  std::vector<std::unique_ptr<actor>> actors;
  std::vector<std::shared_ptr<connection>> connections;
  for (int i = 0; i < 3; ++i) {
    connection db = co_await open_file(all.path);
    connections.push_back(std::make_shared<connection>(std::move(db)));
  }
  // Three with a connection each, and three that share theirs.
  for (int i = 0; i < 3; ++i)
    actors.push_back(std::make_unique<actor>(all, i, connections[static_cast<std::size_t>(i)], state()));
  connection common = co_await open_file(all.path);
  const auto shared = std::make_shared<connection>(std::move(common));
  const auto act_on_shared = [](actor& a) -> task<> {
    while (a.all.goes_on()) {
      ++a.all.operations;
      const int choice = a.all.below(3);
      if (choice == 0) co_await write_one(a);
      if (choice == 1) co_await read_one(a);
      if (choice == 2) co_await write_in_transaction(a);
    }
  };
  std::vector<task<>> lives;
  for (auto& a : actors) lives.push_back(act(*a));
  for (int i = 3; i < 6; ++i) {
    actors.push_back(std::make_unique<actor>(all, i, shared, state()));
    lives.push_back(act_on_shared(*actors.back()));
  }
  lives.push_back(abandon_things(all));
  co_await cosqlite::when_all(std::move(lives));
  co_await check_end(all, actors);
}

}  // namespace

TEST_CASE("whatever coroutines do to each other, the database is what the model says") {
  const temp_database file;
  const std::uint64_t seed = support::seed_for("random model");
  world all{.path = file.path(), .random = std::mt19937_64(seed), .limit = operations_in_ci, .until = {}};
  const std::chrono::seconds soak = support::soak_time();
  all.until = std::chrono::steady_clock::now() + soak;
  INFO("seed " << seed);
  support::test_loop loop(std::chrono::minutes(4) + soak);
  loop.run(live(all));
  CHECK(all.operations >= operations_in_ci);
  CHECK(all.cancelled > 0);
  CHECK(all.reopened > 0);
}
