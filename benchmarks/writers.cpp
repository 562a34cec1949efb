// Sixty-four coroutines that contend for one connection's transactions: does everyone get a turn?
#include "events.hpp"
#include <cosqlite/cosqlite.hpp>

#include <uv.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

using namespace bench;

namespace {

constexpr std::size_t writer_count = 64;

double milliseconds() { return static_cast<double>(uv_hrtime()) * 1e-6; }

cosqlite::task<> write_until(cosqlite::connection& db, double end, std::vector<double>& waits) {
  const std::string message = events::message;
  while (milliseconds() < end) {
    const double asked = milliseconds();
    cosqlite::transaction tx = co_await db.begin();
    waits.push_back(milliseconds() - asked);
    co_await tx.execute(events::insert, 1, message);
    co_await tx.commit();
  }
}

cosqlite::task<> contend(std::string path, double time, std::vector<double>& waits) {
  cosqlite::connection db = co_await cosqlite::open(path);
  const double end = milliseconds() + time;
  std::vector<cosqlite::task<>> all;
  for (std::size_t w = 0; w < writer_count; ++w) all.push_back(write_until(db, end, waits));
  co_await when_all(std::move(all));
  co_await db.close();
}

}  // namespace

int main(int argc, char** argv) {
  return program("writers", argc, argv, [](suite& s) {
    const double time = s.quick() ? 2'000 : 10'000;
    std::vector<double> waits;
    cosqlite::run(contend(events::file(s), time, waits));
    double sum = 0;
    for (const double w : waits) sum += w;
    const double mean = sum / static_cast<double>(waits.size());
    const double longest = *std::ranges::max_element(waits);
    s.fact("64 writers: transactions done", static_cast<double>(waits.size()), "transactions");
    s.fact("64 writers: mean wait for BEGIN", mean, "ms");
    s.fact("64 writers: longest wait for BEGIN", longest, "ms");
    s.fact("64 writers: longest wait as a multiple of the mean", longest / mean, "x", 3);
  });
}
