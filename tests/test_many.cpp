#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>

#include <array>
#include <list>
#include <memory>
#include <ranges>
#include <set>
#include <tuple>

using namespace cosqlite;
using namespace std::chrono_literals;
using support::failure_of;
using support::on_loop;
using support::raw_database;
using support::temp_database;

namespace {

struct user {
  std::int64_t id = 0;
  std::string name;
  std::optional<double> score;
};

struct sealed_letter {
  std::unique_ptr<std::string> text;
};

/// A range that can be walked only once.
class countdown {
 public:
  explicit countdown(int from) : left_(from) {}
  class iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = int;
    explicit iterator(int* left) : left_(left) {}
    int operator*() const { return *left_; }
    iterator& operator++() { return --*left_, *this; }
    void operator++(int) { --*left_; }
    bool operator==(std::default_sentinel_t) const { return *left_ == 0; }

   private:
    int* left_;
  };
  iterator begin() { return iterator(&left_); }
  std::default_sentinel_t end() const { return {}; }

 private:
  int left_;
};

}  // namespace

template <>
struct cosqlite::adapter<sealed_letter> {
  static std::string to_sqlite(const sealed_letter& l) { return *l.text; }
};

TEST_CASE("execute_many takes vectors, lists, sets and arrays, by name or as temporaries") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    const std::vector<int> numbers{1, 2, 3};
    const execute_result r = co_await db.execute_many("INSERT INTO t VALUES(?)", numbers);
    CHECK(r.changes == 3);
    CHECK(r.last_insert_rowid == 3);
    const std::list<std::string> texts{"a", "b"};
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", texts)).changes == 2);
    std::set<double> reals;
    reals.insert(0.5);
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", std::move(reals))).changes == 1);
    const std::array<std::optional<int>, 2> maybe{std::nullopt, 7};
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", maybe)).changes == 2);
    const std::vector<bool> flags(3, true);
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", flags)).changes == 3);
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", std::vector<int>(4, 9))).changes == 4);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 15);
    co_await db.close();
  });
}

TEST_CASE("rows are structs, tuples, pairs or ranges of values") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a, b, c)");
    std::vector<user> users;
    users.push_back(user{1, "one", 0.5});
    users.push_back(user{2, "two", std::nullopt});
    co_await db.execute_many("INSERT INTO t VALUES(?, ?, ?)", users);
    std::vector<std::tuple<int, std::string, double>> tuples;
    tuples.emplace_back(3, "three", 1.5);
    co_await db.execute_many("INSERT INTO t VALUES(?, ?, ?)", tuples);
    const std::vector<std::vector<value>> values(2, std::vector<value>(3, value(4)));
    co_await db.execute_many("INSERT INTO t VALUES(?, ?, ?)", values);
    const auto names =
        co_await db.query<std::optional<std::string>>("SELECT b FROM t WHERE typeof(b) = 'text' ORDER BY a");
    CHECK(names.size() == 3);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t WHERE c IS NULL") == 1);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 5);
    co_await db.close();
  });
}

TEST_CASE("views, generators and move-only rows work") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    auto squares = std::views::iota(1, 101) | std::views::transform([](int i) { return std::to_string(i * i); });
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", squares)).changes == 100);
    CHECK(co_await db.query_one<std::string>("SELECT a FROM t WHERE rowid = 12") == "144");
    countdown once(5);
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", once)).changes == 5);
    std::vector<sealed_letter> letters;
    for (int i = 0; i < 3; ++i)
      letters.push_back(sealed_letter{std::make_unique<std::string>("letter " + std::to_string(i))});
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", letters)).changes == 3);
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", std::move(letters))).changes == 3);
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t WHERE a = 'letter 2'") == 2);
    co_await db.close();
  });
}

TEST_CASE("no rows is no error and changes nothing") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    const std::vector<int> none;
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", none)).changes == 0);
    co_await failure_of<error>(db.execute_many("INSERT INTO nowhere VALUES(?)", none));
    co_await db.close();
  });
}

TEST_CASE("execute_many is all or nothing") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a UNIQUE)");
    std::vector<int> numbers;
    for (int i = 0; i < 1000; ++i) numbers.push_back(i);
    numbers.push_back(500);
    const auto e = co_await failure_of<constraint_error>(db.execute_many("INSERT INTO t VALUES(?)", numbers));
    CHECK(e.name() == "SQLITE_CONSTRAINT_UNIQUE");
    CHECK(e.sql() == "INSERT INTO t VALUES(?)");
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    CHECK((co_await db.run([](sqlite3* raw) { return sqlite3_get_autocommit(raw); })) == 1);
    numbers.pop_back();
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(?)", numbers)).changes == 1000);
    co_await db.close();
  });
}

TEST_CASE("inside a transaction a failed execute_many undoes only itself") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a UNIQUE)");
    transaction tx = co_await db.begin();
    co_await tx.execute("INSERT INTO t VALUES(1)");
    const std::vector<int> clash{2, 3, 1};
    co_await failure_of<constraint_error>(tx.execute_many("INSERT INTO t VALUES(?)", clash));
    const std::vector<int> fine{4, 5};
    CHECK((co_await tx.execute_many("INSERT INTO t VALUES(?)", fine)).changes == 2);
    co_await tx.commit();
    CHECK(co_await db.query_one<std::string>("SELECT group_concat(a) FROM t") == "1,4,5");
    co_await db.close();
  });
}

TEST_CASE("a row with the wrong number of values is a misuse, and nothing stays") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a, b)");
    std::vector<std::vector<int>> rows(3, std::vector<int>(2, 1));
    rows.push_back(std::vector<int>(1, 1));
    co_await failure_of<misuse_error>(db.execute_many("INSERT INTO t VALUES(?, ?)", rows));
    rows.back().resize(3);
    co_await failure_of<misuse_error>(db.execute_many("INSERT INTO t VALUES(?, ?)", rows));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("a value that cannot be bound, in the middle, leaves nothing behind") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a)");
    std::vector<std::uint64_t> numbers(10, 1);
    numbers.push_back(std::numeric_limits<std::uint64_t>::max());
    co_await failure_of<conversion_error>(db.execute_many("INSERT INTO t VALUES(?)", numbers));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("a deadline stops execute_many and undoes it") {
  temp_database file;
  on_loop([&]() -> task<> {
    connection db = co_await open(file.path());
    co_await db.execute("CREATE TABLE t(a)");
    auto endless = std::views::iota(std::int64_t{0}, std::int64_t{1} << 40) |
                   std::views::transform([](std::int64_t i) { return i; });
    struct lazily {
      decltype(endless) numbers;
      auto begin() const { return numbers.begin(); }
      auto end() const { return numbers.end(); }
      auto size() const { return std::size_t{1} << 40; }
    };
    const lazily rows{endless};
    co_await failure_of<timeout_error>(db.with(30ms).execute_many("INSERT INTO t VALUES(?)", rows));
    CHECK(co_await db.query_one<int>("SELECT count(*) FROM t") == 0);
    co_await db.close();
  });
}

TEST_CASE("named arguments work in rows, and rows of RETURNING are dropped") {
  on_loop([]() -> task<> {
    connection db = co_await open(":memory:");
    co_await db.execute("CREATE TABLE t(a, b)");
    std::vector<std::tuple<named_argument<int>, named_argument<std::string>>> rows;
    rows.emplace_back(named(":b", 1), named(":a", std::string("x")));
    rows.emplace_back(named(":b", 2), named(":a", std::string("y")));
    CHECK((co_await db.execute_many("INSERT INTO t VALUES(:a, :b) RETURNING a", rows)).changes == 2);
    CHECK(co_await db.query_one<std::string>("SELECT group_concat(a || b) FROM t") == "x1,y2");
    co_await db.close();
  });
}
