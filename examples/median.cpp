// An aggregate and window function from a plain struct: the median.
//
//   $ median
#include <cosqlite/cosqlite.hpp>

#include <cstdio>
#include <iterator>
#include <optional>
#include <set>
#include <string>

namespace {

/// Keeps its values sorted, so that the oldest can leave again as the window slides.
struct median {
  void step(std::optional<double> v) {
    if (v) values.insert(*v);
  }
  void inverse(std::optional<double> v) {
    if (v) values.erase(values.find(*v));
  }
  std::optional<double> value() const {
    if (values.empty()) return std::nullopt;
    const auto upper = std::next(values.begin(), static_cast<std::ptrdiff_t>(values.size() / 2));
    if (values.size() % 2 == 1) return *upper;
    return (*std::prev(upper) + *upper) / 2;
  }
  std::optional<double> finalize() const { return value(); }

  std::multiset<double> values;
};

struct team_time {
  std::string team;
  double seconds;
};

struct smoothed {
  int day;
  double seconds;
  double around;
};

cosqlite::task<> show() {
  auto db = co_await cosqlite::open(":memory:");
  co_await db.create_aggregate<median>("median", {.deterministic = true});
  co_await db.execute_script(R"(
    CREATE TABLE runs(day INTEGER, team TEXT, seconds REAL);
    INSERT INTO runs VALUES (1,'red',62), (2,'red',58), (3,'red',190), (4,'red',57),
                            (1,'blue',61), (2,'blue',60), (3,'blue',NULL), (4,'blue',63);)");

  const auto teams = co_await db.query<team_time>("SELECT team, median(seconds) FROM runs GROUP BY team ORDER BY team");
  for (const team_time& t : teams) std::printf("%-5s %5.1f s\n", t.team.c_str(), t.seconds);

  const auto days = co_await db.query<smoothed>(R"(
    SELECT day, seconds, median(seconds) OVER (ORDER BY day ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)
    FROM runs WHERE team = 'red' ORDER BY day)");
  for (const smoothed& d : days) std::printf("day %d: %5.1f s, around it %5.1f s\n", d.day, d.seconds, d.around);
  co_await db.close();
}

}  // namespace

int main() { cosqlite::run(show()); }
