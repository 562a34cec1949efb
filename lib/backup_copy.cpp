#include "backup_copy.hpp"

#include "backup_job.hpp"
#include "backup_loan.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/sleep.hpp>
#include <cosqlite/transaction.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

namespace cosqlite::detail {

namespace {

/// A job on the loop's side: ends it, whatever becomes of the coroutine.
class running_backup {
 public:
  running_backup(call_site source, shared_job job) noexcept
      : source_(std::move(source)), keep_(source_.where), job_(std::move(job)) {}
  running_backup(const running_backup&) = delete;
  running_backup& operator=(const running_backup&) = delete;
  ~running_backup() {
    if (!begun_ || over_) return;
    auto work = [job = job_](worker& at, operation&) { end_job(at, job); };
    using kind = callable_type<decltype(work), void>;
    call_site s;
    s.where = source_.where;
    operation_ref op = make_operation(s, kind::urgent);
    op->closure = std::make_unique<callable_holder<decltype(work)>>(std::move(work));
    start_detached(std::move(op));
  }

  call<> begin(const std::source_location& where) {
    begun_ = true;
    return make_callable(
        source_,
        [job = job_](worker& at, operation& op) {
          try {
            start_job(at, op, job);
          } catch (...) {
            end_job(at, job);
            throw;
          }
        },
        where);
  }
  call<std::optional<bool>> step(int pages, const std::source_location& where) {
    return make_callable(
        source_, [job = job_, pages](worker& at, operation& op) { return step_job(at, op, job, pages); }, where);
  }
  void mark_over() noexcept { over_ = true; }
  [[nodiscard]] const backup_progress& progress() const noexcept { return job_->progress; }

 private:
  call_site source_;
  ref<executor> keep_;
  shared_job job_;
  bool begun_ = false;
  bool over_ = false;
};

std::exception_ptr busy_to_the_end(const call_site& site, const std::source_location& where) {
  if (site.deadline != 0) {
    return std::make_exception_ptr(
        timeout_error("the deadline passed while the backup was waiting for a lock on its source or destination",
                      {SQLITE_BUSY, {}, where}, timeout_error::stage::lock));
  }
  return std::make_exception_ptr(busy_error(
      "cannot go on with the backup: its source or destination was locked for longer than busy_timeout, by another connection "
      "or by a transaction of its own",
      {SQLITE_BUSY, {}, where}));
}

/// Steps until the copy is complete.
task<> copy_pages(running_backup* job, call_site site, const backup_plan* plan, const progress_function* report,
                  std::int64_t patience) {
  int pages = plan->pages;
  std::int64_t busy_since = 0;
  std::chrono::milliseconds nap(1);
  for (;;) {
    std::optional<bool> complete;
    try {
      complete = co_await job->step(pages, plan->where);
    } catch (const timeout_error& late) {
      // A step that came too late to run: what it has waited for is the lock.
      if (busy_since == 0 || late.spent_in() == timeout_error::stage::run) throw;
      std::rethrow_exception(busy_to_the_end(site, plan->where));
    }
    if (complete && *report) (*report)(job->progress());
    if (complete && *complete) co_return;
    if (job->progress().restarts > plan->restarts) pages = 0;
    if (complete) {
      busy_since = 0;
      nap = std::chrono::milliseconds(1);
      if (plan->pause.count() > 0) co_await sleep_for(plan->pause);
      continue;
    }
    const std::int64_t now = now_ns();
    if (busy_since == 0) busy_since = now;
    const bool up = site.deadline != 0 ? now >= site.deadline : now - busy_since >= patience;
    if (up) std::rethrow_exception(busy_to_the_end(site, plan->where));
    std::chrono::nanoseconds pause = nap;
    if (site.deadline != 0) pause = std::min(pause, std::chrono::nanoseconds(site.deadline - now));
    co_await sleep_for(pause);
    if (site.deadline != 0 && now_ns() >= site.deadline) std::rethrow_exception(busy_to_the_end(site, plan->where));
    nap = std::min(2 * nap, std::chrono::milliseconds(25));
  }
}

/// The destinations of the backups of this thread's loops: a source among them would wait for itself in the end.
thread_local std::vector<const executor*> destinations;

class destination_mark {
 public:
  explicit destination_mark(const executor* to) : to_(to) { destinations.push_back(to); }
  destination_mark(const destination_mark&) = delete;
  destination_mark& operator=(const destination_mark&) = delete;
  ~destination_mark() { destinations.erase(std::ranges::find(destinations, to_)); }

 private:
  const executor* to_;
};

}  // namespace

task<backup_progress> copy_between(call_site source, ref<executor> keep_source, ref<worker> to, backup_plan plan,
                                   progress_function report) {
  source = with_deadline_from_now(std::move(source));
  if (!keep_source) throw closed_error("the connection is closed", {SQLITE_MISUSE, {}, plan.where});
  if (!to) throw closed_error("the destination of the backup is closed", {SQLITE_MISUSE, {}, plan.where});
  if (static_cast<executor*>(to.get()) == keep_source.get()) {
    throw misuse_error("a database cannot be backed up onto itself", {SQLITE_MISUSE, {}, plan.where});
  }
  if (std::ranges::find(destinations, keep_source.get()) != destinations.end()) {
    throw misuse_error("the source of this backup is the destination of another one that is under way",
                       {SQLITE_MISUSE, {}, plan.where});
  }
  const destination_mark mark(to.get());
  auto* const from = dynamic_cast<worker*>(keep_source.get());
  const std::int64_t patience =
      from ? std::chrono::nanoseconds(from->busy_timeout()).count() : std::int64_t{5'000'000'000};
  auto job = std::make_shared<backup_job>();
  job->from = plan.from;
  job->to = plan.to;
  job->destination = std::make_shared<loan>(
      ref<gate>::adopt(new gate(ref<bridge>(&keep_source->loop_bridge()), keep_source->poll_ns(), to)));
  running_backup running(source, job);
  call_site destination;
  destination.where = to.get();
  ask_for_loan(destination, job->destination, plan.where);
  co_await wait_for_loan(source, job->destination, plan.where);
  co_await running.begin(plan.where);
  co_await copy_pages(&running, source, &plan, &report, patience);
  running.mark_over();
  co_return running.progress();
}

}  // namespace cosqlite::detail
