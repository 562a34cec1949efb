#include "engine/worker.hpp"
#include <cosqlite/error.hpp>
#include <cosqlite/transaction.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>

namespace cosqlite {

namespace detail {

/// What a transaction knows of itself on the loop's thread.
class transaction_state {
 public:
  /// \p undo rolls it back when it is dropped, where there may be no memory for a new call.
  transaction_state(ref<worker> w, const operation& begun, operation_ref undo)
      : worker_(std::move(w)),
        id_(begun.serial),
        deadline_(begun.deadline),
        stop_(begun.stop_token),
        undo_(std::move(undo)),
        held_(begun.in_body ? possession::kind::body : possession::kind::transaction, *worker_, nullptr, id_,
              ended.get()) {}
  transaction_state(const transaction_state&) = delete;
  transaction_state& operator=(const transaction_state&) = delete;
  ~transaction_state();

  [[nodiscard]] call_site site() const noexcept {
    call_site s;
    s.where = worker_.get();
    s.owner = id_;
    s.deadline = deadline_;
    s.stop = stop_;
    return s;
  }
  [[nodiscard]] possession& held() noexcept { return held_; }

  /// Shared with the operations that end it: whether one of them has.
  std::shared_ptr<std::atomic<bool>> ended = std::make_shared<std::atomic<bool>>(false);

 private:
  ref<worker> worker_;
  std::uint64_t id_;
  std::int64_t deadline_;
  std::stop_token stop_;
  operation_ref undo_;
  possession held_;
};

namespace {

const char* begin_text(tx_mode mode) noexcept {
  switch (mode) {
    case tx_mode::deferred: return "BEGIN DEFERRED";
    case tx_mode::exclusive: return "BEGIN EXCLUSIVE";
    case tx_mode::immediate: break;
  }
  return "BEGIN IMMEDIATE";
}

struct begin_job final : holder {
  tx_mode mode{};
  operation_ref undo;
};

void run_begin(worker& at, operation& op) {
  auto& job = static_cast<begin_job&>(*op.closure);
  at.begin(op, op.serial, begin_text(job.mode));
  if (at.owner() == 0) return;  // abandoned
  try {
    auto state = std::make_unique<transaction_state>(ref<worker>(&at), op, std::move(job.undo));
    op.gives = &state->held();
    emplace_result<transaction>(op, std::move(state));
  } catch (...) {
    at.end_transaction();
    throw;
  }
}

struct end_job final : holder {
  std::shared_ptr<std::atomic<bool>> ended;
};

void run_commit(worker& at, operation& op) {
  at.commit(op);
  static_cast<end_job&>(*op.closure).ended->store(true);
}

void run_rollback(worker& at, operation& op) {
  at.rollback(op);
  if (op.closure) static_cast<end_job&>(*op.closure).ended->store(true);
}

constexpr operation_type begin_operation{
    .run = &run_begin, .destroy_result = &destroy_result<transaction>, .begins = true};
constexpr operation_type commit_operation{.run = &run_commit, .ends = true};
constexpr operation_type rollback_operation{.run = &run_rollback, .ends = true};
constexpr operation_type dropped_operation{.run = &run_rollback, .urgent = true, .ends = true};

operation_ref make_end(const call_site& site, const operation_type& type, std::shared_ptr<std::atomic<bool>> ended,
                       const std::source_location& where) {
  operation_ref op = make_operation(site, type);
  auto job = std::make_unique<end_job>();
  job->ended = std::move(ended);
  op->closure = std::move(job);
  op->location = where;
  return op;
}

}  // namespace

transaction_state::~transaction_state() {
  if (ended->load()) return;
  undo_->where = ref<executor>(worker_.get());
  undo_->owner = id_;
  start_detached(std::move(undo_));
}

call<transaction> begin_transaction(const call_site& site, tx_mode mode, std::source_location where, bool in_body) {
  operation_ref op = make_operation(site, begin_operation);
  auto job = std::make_unique<begin_job>();
  job->mode = mode;
  job->undo = make_operation({}, dropped_operation);
  op->closure = std::move(job);
  op->location = where;
  op->in_body = in_body;
  return call<transaction>(std::move(op));
}

task<> roll_back_and_rethrow(transaction& tx, std::exception_ptr failure) {
  std::exception_ptr second;
  if (tx.is_open()) {
    try {
      co_await tx.rollback();
    } catch (...) {
      second = std::current_exception();
    }
  }
  if (!second) std::rethrow_exception(std::move(failure));
  try {
    std::rethrow_exception(std::move(failure));
  } catch (error& e) {
    e.attach(std::move(second));
    throw;
  }
}

bool worth_repeating(const std::exception_ptr& failure, const call_site& site) noexcept {
  if (site.deadline != 0 && now_ns() >= site.deadline) return false;
  if (site.stop.stop_requested()) return false;
  try {
    std::rethrow_exception(failure);
  } catch (const busy_error& e) {
    return e.retryable() == retry::transaction || e.sql().starts_with("BEGIN");
  } catch (...) {
    return false;
  }
}

std::chrono::nanoseconds jittered(std::chrono::nanoseconds pause, const call_site& site) {
  thread_local std::minstd_rand random(std::random_device{}());
  std::int64_t ns = std::uniform_int_distribution<std::int64_t>(pause.count() / 2, pause.count())(random);
  if (site.deadline != 0) ns = std::min(ns, std::max<std::int64_t>(0, site.deadline - now_ns()));
  return std::chrono::nanoseconds(ns);
}

call_site with_deadline_from_now(call_site site) noexcept {
  if (site.timeout.count() == 0) return site;
  const std::int64_t own = now_ns() + site.timeout.count();
  site.deadline = site.deadline == 0 ? own : std::min(own, site.deadline);
  site.timeout = std::chrono::nanoseconds(0);
  return site;
}

}  // namespace detail

transaction::transaction(std::unique_ptr<detail::transaction_state> state) noexcept : state_(std::move(state)) {}

transaction::transaction(transaction&& other) noexcept : state_(std::move(other.state_)) {
  if (state_) state_->held().pass_on();
}

transaction& transaction::operator=(transaction&& other) noexcept {
  state_ = std::move(other.state_);
  if (state_) state_->held().pass_on();
  return *this;
}

transaction::~transaction() = default;

bool transaction::is_open() const noexcept { return state_ && !state_->ended->load(); }

detail::call_site transaction::site() const noexcept { return state_ ? state_->site() : detail::call_site(); }

call<> transaction::commit(std::source_location where) {
  return call<>(detail::make_end(site(), detail::commit_operation, state_ ? state_->ended : nullptr, where));
}

call<> transaction::rollback(std::source_location where) {
  // Undoing must work when the time is up.
  detail::call_site s = site();
  s.deadline = 0;
  s.stop = {};
  return call<>(detail::make_end(s, detail::rollback_operation, state_ ? state_->ended : nullptr, where));
}

// --- savepoints

namespace detail {

namespace {

/// A statement about the savepoint at \p depth, without memory from the heap.
class savepoint_text {
 public:
  savepoint_text(const char* verb, std::size_t depth) noexcept {
    std::snprintf(text_.data(), text_.size(), "%s cosqlite_savepoint%zu", verb, depth);
  }
  [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }

 private:
  std::array<char, 64> text_{};
};

std::uint64_t open_savepoint(worker& at, operation& op) {
  at.savepoints.reserve(at.savepoints.size() + 1);
  const savepoint_text sql("SAVEPOINT", at.savepoints.size() + 1);
  if (const int rc = at.run_text(sql.c_str()); rc != SQLITE_OK) at.fail(op, rc, sql.c_str());
  at.savepoints.push_back(op.serial);
  return op.serial;
}

/// Its place from 1, or 0 when it has ended.
std::size_t depth_of(const worker& at, std::uint64_t number) noexcept {
  const auto it = std::ranges::find(at.savepoints, number);
  return it == at.savepoints.end() ? 0 : static_cast<std::size_t>(it - at.savepoints.begin()) + 1;
}

void end_savepoint(worker& at, operation& op, std::uint64_t number, bool undo) {
  const std::size_t depth = depth_of(at, number);
  const error::details d{SQLITE_MISUSE, {}, op.location};
  if (depth == 0) throw transaction_error("this savepoint has ended", d);
  if (depth != at.savepoints.size()) {
    throw misuse_error("a savepoint inside this one is still open: savepoints end in reverse order", d);
  }
  const auto run = [&at, &op, undo](const savepoint_text& sql) {
    const int rc = undo ? at.undo(sql.c_str()) : at.run_text(sql.c_str());
    if (rc != SQLITE_OK) at.fail(op, rc, sql.c_str());
  };
  if (undo) run(savepoint_text("ROLLBACK TO", depth));
  run(savepoint_text("RELEASE", depth));
  at.savepoints.pop_back();
}

struct drop_job final : holder {
  std::uint64_t number = 0;
};

/// A savepoint that was dropped takes those inside it along; one that cannot be undone takes the transaction.
void run_drop(worker& at, operation& op) {
  const std::size_t depth = depth_of(at, static_cast<const drop_job&>(*op.closure).number);
  if (depth == 0 || op.owner != at.owner() || at.in_autocommit()) return;
  const bool undone = at.undo(savepoint_text("ROLLBACK TO", depth).c_str()) == SQLITE_OK &&
                      at.undo(savepoint_text("RELEASE", depth).c_str()) == SQLITE_OK;
  if (!undone) at.roll_back();
  at.savepoints.resize(depth - 1);
}

// In its turn: the calls that were made through it and still wait are undone with it.
constexpr operation_type drop_operation{.run = &run_drop};

call<savepoint> begin_savepoint(const call_site& site, const std::source_location& where) {
  operation_ref undo = make_operation({}, drop_operation);
  undo->closure = std::make_unique<drop_job>();
  auto work = [site, undo = std::move(undo), ended = std::make_shared<std::atomic<bool>>(false)](
                  worker& at, operation& op) mutable {
    const std::uint64_t number = open_savepoint(at, op);
    static_cast<drop_job&>(*undo->closure).number = number;
    return savepoint(site, number, std::move(ended), std::move(undo));
  };
  return make_callable(site, std::move(work), where);
}

call<> finish_savepoint(const call_site& site, std::uint64_t number, bool undo,
                        std::shared_ptr<std::atomic<bool>> ended, const std::source_location& where) {
  return make_callable(
      site,
      [number, undo, ended = std::move(ended)](worker& at, operation& op) {
        end_savepoint(at, op, number, undo);
        ended->store(true);
      },
      where);
}

}  // namespace

}  // namespace detail

call<savepoint> transaction::savepoint(std::source_location where) { return detail::begin_savepoint(site(), where); }

savepoint::savepoint(detail::call_site site, std::uint64_t number, std::shared_ptr<std::atomic<bool>> ended,
                     detail::operation_ref undo) noexcept
    : site_(std::move(site)), where_(site_.where), number_(number), ended_(std::move(ended)), undo_(std::move(undo)) {}

savepoint::savepoint(savepoint&& other) noexcept
    : site_(other.site_),
      where_(std::move(other.where_)),
      number_(std::exchange(other.number_, 0)),
      ended_(std::move(other.ended_)),
      undo_(std::move(other.undo_)) {}

savepoint& savepoint::operator=(savepoint&& other) noexcept {
  if (this == &other) return *this;
  drop();
  site_ = other.site_;
  where_ = std::move(other.where_);
  number_ = std::exchange(other.number_, 0);
  ended_ = std::move(other.ended_);
  undo_ = std::move(other.undo_);
  return *this;
}

savepoint::~savepoint() { drop(); }

void savepoint::drop() noexcept {
  const bool open = is_open();
  const std::uint64_t number = std::exchange(number_, 0);
  if (!open || number == 0) return;
  undo_->where = detail::ref<detail::executor>(where_.get());
  undo_->owner = site_.owner;
  detail::start_detached(std::move(undo_));
}

call<> savepoint::release(std::source_location where) {
  return detail::finish_savepoint(site_, number_, false, ended_, where);
}

call<> savepoint::rollback(std::source_location where) {
  detail::call_site s = site_;
  s.deadline = 0;
  s.stop = {};
  return detail::finish_savepoint(s, number_, true, ended_, where);
}

call<savepoint> savepoint::nested(std::source_location where) { return detail::begin_savepoint(site_, where); }

}  // namespace cosqlite
