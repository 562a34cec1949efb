#include "engine/hook_set.hpp"
#include <cosqlite/error.hpp>

#include <string>

namespace cosqlite {

std::string_view to_string(row_operation operation) noexcept {
  switch (operation) {
    case row_operation::insert: return "insert";
    case row_operation::update: return "update";
    case row_operation::remove: break;
  }
  return "remove";
}

namespace detail {

namespace {

/// Adds a callback to the list that \p member names, checks and installs.
template <class Callback, class Prepare>
call<subscription> add(const call_site& site, std::shared_ptr<Callback> fn, hook_list<Callback> hook_set::* member,
                       Prepare prepare, const std::source_location& where) {
  auto work = [fn = std::move(fn), member, prepare](worker& at, operation& op) mutable {
    static_cast<void>(at.keeps_utf8());  // asked now, it does not show up among the callbacks
    auto& hooks = at.extend<hook_set>();
    auto h = std::make_shared<hook<Callback>>(std::move(fn), is_leased(op));
    prepare(hooks, *h, op);
    (hooks.*member).push_back(h);
    hooks.install();
    return subscription(ref<executor>(&at), std::move(h));
  };
  return make_callable(site, std::move(work), where);
}

constexpr auto nothing_more = [](hook_set&, auto&, operation&) {};

}  // namespace

call<subscription> add_authorizer(const call_site& site, std::shared_ptr<authorize_callback> fn,
                                  std::source_location where) {
  return add(site, std::move(fn), &hook_set::authorizers, nothing_more, where);
}

call<subscription> add_trace(const call_site& site, std::shared_ptr<trace_callback> fn, trace_options options,
                             std::source_location where) {
  const auto prepare = [options](hook_set&, auto& h, operation&) { h.traces = options; };
  return add(site, std::move(fn), &hook_set::traces, prepare, where);
}

call<subscription> add_progress(const call_site& site, std::shared_ptr<progress_callback> fn, int steps,
                                std::source_location where) {
  if (steps < 1)
    throw misuse_error("a progress callback needs a number of steps of at least 1", {SQLITE_MISUSE, {}, where});
  const auto prepare = [steps](hook_set&, auto& h, operation&) { h.steps = steps; };
  return add(site, std::move(fn), &hook_set::progresses, prepare, where);
}

call<subscription> add_update_hook(const call_site& site, std::shared_ptr<update_callback> fn,
                                   std::source_location where) {
  return add(site, std::move(fn), &hook_set::updates, nothing_more, where);
}

call<subscription> add_preupdate_hook(const call_site& site, std::shared_ptr<preupdate_callback> fn,
                                      std::source_location where) {
  const auto prepare = [](hook_set& hooks, auto&, operation& op) { hooks.check_preupdate(op); };
  return add(site, std::move(fn), &hook_set::preupdates, prepare, where);
}

call<subscription> add_commit_hook(const call_site& site, std::shared_ptr<commit_callback> fn,
                                   std::source_location where) {
  return add(site, std::move(fn), &hook_set::commits, nothing_more, where);
}

call<subscription> add_rollback_hook(const call_site& site, std::shared_ptr<rollback_callback> fn,
                                     std::source_location where) {
  return add(site, std::move(fn), &hook_set::rollbacks, nothing_more, where);
}

call<subscription> add_wal_hook(const call_site& site, std::shared_ptr<wal_callback> fn, std::source_location where) {
  return add(site, std::move(fn), &hook_set::wals, nothing_more, where);
}

}  // namespace detail

int preupdate::size() const noexcept { return sqlite3_preupdate_count(db_); }
int preupdate::depth() const noexcept { return sqlite3_preupdate_depth(db_); }
int preupdate::blob_column() const noexcept {
  return sqlite3_preupdate_blobwrite ? sqlite3_preupdate_blobwrite(db_) : -1;
}

namespace {

/// Where all columns have a place none needs to be looked for.
detail::row_shape shape_for(const preupdate& row, sqlite3* db, int (*get)(sqlite3*, int, sqlite3_value**)) {
  sqlite3_value* last = nullptr;
  if (get(db, sqlite3_preupdate_count(db) - 1, &last) != SQLITE_RANGE) return {};
  return detail::this_worker()->extended<detail::hook_set>()->shape_of(row.schema.data(), row.table.data());
}

[[noreturn]] void throw_no_column(int code) { throw misuse_error("no such column of the row", {code}); }

}  // namespace

value preupdate::old_value(int i) const {
  if (operation == row_operation::insert)
    throw misuse_error("a row that is inserted has no old values", {SQLITE_MISUSE});
  const detail::row_shape shape = shape_for(*this, db_, &sqlite3_preupdate_old);
  value found;
  if (const int rc = shape.old_value(db_, i, found); rc != SQLITE_OK) throw_no_column(rc);
  return found;
}

value preupdate::new_value(int i) const {
  if (operation == row_operation::remove)
    throw misuse_error("a row that is deleted has no new values", {SQLITE_MISUSE});
  const detail::row_shape shape = shape_for(*this, db_, &sqlite3_preupdate_new);
  value found;
  if (const int rc = shape.new_value(db_, i, found); rc != SQLITE_OK) throw_no_column(rc);
  return found;
}

subscription::subscription() noexcept = default;
subscription::subscription(detail::ref<detail::executor> where, std::shared_ptr<detail::hook_entry> entry) noexcept
    : where_(std::move(where)), entry_(std::move(entry)) {}
subscription::subscription(subscription&& other) noexcept = default;

subscription& subscription::operator=(subscription&& other) noexcept {
  if (this == &other) return *this;
  remove();
  where_ = std::move(other.where_);
  entry_ = std::move(other.entry_);
  return *this;
}

subscription::~subscription() { remove(); }

void subscription::detach() noexcept {
  entry_ = nullptr;
  where_ = {};
}

bool subscription::is_active() const noexcept { return entry_ && entry_->active.load(std::memory_order_acquire); }

std::exception_ptr subscription::failure() const { return entry_ ? entry_->failure() : nullptr; }

void subscription::remove() noexcept {
  if (!entry_) return;
  entry_->active.store(false, std::memory_order_release);
  auto work = [entry = std::move(entry_)](detail::worker& at, detail::operation&) {
    if (auto* hooks = at.extended<detail::hook_set>()) hooks->remove(entry);
  };
  using kind = detail::callable_type<decltype(work), void>;
  const detail::ref<detail::executor> where = std::move(where_);
  detail::call_site site;
  site.where = where.get();
  detail::operation_ref op = detail::make_operation(site, kind::urgent);
  op->closure = std::make_unique<detail::callable_holder<decltype(work)>>(std::move(work));
  detail::worker* const here = detail::this_worker();
  if (!here) return detail::start_detached(std::move(op));
  if (here != where.get()) return;
  // A callback takes one away: once the call has ended, since the lists are in use until then.
  op->at = here;
  op->serial = std::uint64_t{1} << 63;  // not counted as queued
  op->state.store(detail::op_state::queued, std::memory_order_relaxed);
  here->sort_in(*op.leak());
}

}  // namespace cosqlite
