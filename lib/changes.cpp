#include "engine/change_queue.hpp"
#include <cosqlite/error.hpp>

#include <algorithm>

namespace cosqlite {

namespace detail {

namespace {

bool same_name(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && sqlite3_strnicmp(a.data(), b.data(), static_cast<int>(a.size())) == 0;
}

row_operation operation_of(int code) noexcept {
  if (code == SQLITE_INSERT) return row_operation::insert;
  return code == SQLITE_DELETE ? row_operation::remove : row_operation::update;
}

row_source_kind source_for(const changes_options& options, const hook_set& hooks, const operation& op) {
  if (options.values && options.source == row_source::update_hook) {
    throw misuse_error("the update hook does not tell values: use row_source::automatic",
                       {SQLITE_MISUSE, {}, op.location});
  }
  const bool automatic = options.source == row_source::automatic && !options.values;
  if (options.source == row_source::update_hook || (automatic && !has_preupdate_hook()))
    return row_source_kind::update_hook;
  hooks.check_preupdate(op);
  return row_source_kind::preupdate_hook;
}

void stop_watching(const ref<executor>& queue) noexcept {
  auto work = [queue](worker& at, operation&) {
    auto* tracker = at.extended<change_tracker>();
    auto& q = static_cast<change_queue&>(*queue);
    if (tracker) tracker->remove(q);
  };
  using kind = callable_type<decltype(work), void>;
  call_site site;
  site.where = &static_cast<change_queue&>(*queue).at();
  operation_ref op = make_operation(site, kind::urgent);
  op->closure = std::make_unique<callable_holder<decltype(work)>>(std::move(work));
  start_detached(std::move(op));
}

}  // namespace

change_queue::change_queue(worker& at, change_tracker& tracker, const changes_options& options,
                           std::vector<std::string> tables)
    : notifier(at), options_(options), wanted_(std::move(tables)), tables_(tracker.tables()) {}

bool change_queue::wants(const table_name& table) noexcept {
  if (wanted_.empty()) return true;
  return std::ranges::any_of(wanted_, [&table](std::string_view name) {
    if (same_name(name, table.table)) return true;
    const std::size_t dot = name.find('.');
    return dot != std::string_view::npos && same_name(name.substr(0, dot), table.schema) &&
           same_name(name.substr(dot + 1), table.table);
  });
}

void change_queue::add(const row_event& row, const table_name& table, sqlite3* db) noexcept {
  if (pending_.size() >= options_.buffer) {
    ++dropped_;
    return;
  }
  try {
    record& r = pending_.emplace_back();
    r.table = &table;
    r.operation = operation_of(row.operation);
    r.old_rowid = row.old_rowid;
    r.rowid = row.operation == SQLITE_DELETE ? row.old_rowid : row.new_rowid;
    if (r.operation != row_operation::update) r.old_rowid = r.rowid;
    if (!options_.values || !row.has_values) return;
    r.values = std::make_unique<row_values>();
    const bool by_blob = sqlite3_preupdate_blobwrite && sqlite3_preupdate_blobwrite(db) >= 0;
    if (r.operation != row_operation::insert) r.values->before = old_row(db);
    if (r.operation != row_operation::remove && !by_blob) r.values->after = new_row(db);
  } catch (const std::bad_alloc&) {
    if (!pending_.empty() && !pending_.back().table) pending_.pop_back();
    ++dropped_;
  }
}

void change_queue::go_back(position to) noexcept {
  pending_.resize(std::min(pending_.size(), to.kept));
  dropped_ = std::min(dropped_, to.dropped);
}

void change_queue::add_gap(std::uint64_t missed) {
  if (ready_.empty() || ready_.back().table) ready_.emplace_back();
  record& gap = ready_.back();
  gap.rowid += static_cast<std::int64_t>(missed);
  gap.commit = commits_;
}

void change_queue::publish() noexcept {
  if (pending_.empty() && dropped_ == 0) return;
  ++commits_;
  for (record& r : pending_) r.commit = commits_;
  operation* waiter = nullptr;
  {
    const std::lock_guard lock(mutex_);
    try {
      if (dropped_ != 0 || pending_.size() + ready_.size() > options_.buffer) {
        add_gap(pending_.size() + dropped_);
      } else if (ready_.empty()) {
        ready_.swap(pending_);
      } else {
        ready_.insert(ready_.end(), std::make_move_iterator(pending_.begin()), std::make_move_iterator(pending_.end()));
      }
    } catch (const std::bad_alloc&) {
      // The reader meets the end of the stream rather than a hole that it is not told of.
      closed_ = true;
    }
    waiter = take_waiter();
  }
  pending_.clear();
  dropped_ = 0;
  complete(waiter);
}

void change_queue::end() noexcept { close(); }

std::optional<change> change_queue::take() {
  if (!has_batch()) {
    batch_.clear();
    read_ = 0;
    const std::lock_guard lock(mutex_);
    batch_.swap(ready_);
  }
  if (!has_batch()) return std::nullopt;
  record& r = batch_[read_++];
  change c;
  c.commit = r.commit;
  if (!r.table) {
    c.missed = static_cast<std::uint64_t>(r.rowid);
    return c;
  }
  c.operation = r.operation;
  c.schema = r.table->schema;
  c.table = r.table->table;
  c.rowid = r.rowid;
  c.old_rowid = r.old_rowid;
  if (r.values) {
    c.old_values = std::move(r.values->before);
    c.new_values = std::move(r.values->after);
  }
  return c;
}

call<change_stream> watch_changes(const call_site& site, const changes_options& options,
                                  std::vector<std::string> tables, std::source_location where) {
  auto work = [options, tables = std::move(tables), timeout = site.timeout, stop = site.stop](worker& at,
                                                                                              operation& op) mutable {
    auto& hooks = at.extend<hook_set>();
    const row_source_kind source = source_for(options, hooks, op);
    auto& tracker = at.extend<change_tracker>();
    auto queue = ref<change_queue>::adopt(new change_queue(at, tracker, options, std::move(tables)));
    tracker.add(*queue, queue, source, is_leased(op));
    call_site reading;
    reading.where = queue.get();
    reading.timeout = timeout;
    reading.stop = stop;
    return change_stream(reading);
  };
  return make_callable(site, std::move(work), where);
}

bool wait_for_notifier::ready() const noexcept {
  return !site_.where || static_cast<notifier&>(*site_.where).is_ready();
}

bool wait_for_notifier::suspend(std::coroutine_handle<> waiter) {
  op_ = make_operation(site_, wait_operation);
  return start(*op_, waiter);
}

void wait_for_notifier::finish() {
  if (op_) check(*op_);
}

}  // namespace detail

change_stream::change_stream(const detail::call_site& site) noexcept : site_(site), queue_(site.where) {}
change_stream::change_stream(change_stream&& other) noexcept
    : site_(std::exchange(other.site_, detail::call_site())), queue_(std::move(other.queue_)) {}

change_stream& change_stream::operator=(change_stream&& other) noexcept {
  if (this == &other) return *this;
  close();
  site_ = std::exchange(other.site_, detail::call_site());
  queue_ = std::move(other.queue_);
  return *this;
}

change_stream::~change_stream() { close(); }

void change_stream::close() noexcept {
  if (!queue_) return;
  detail::stop_watching(queue_);
  queue_ = {};
  site_ = detail::call_site();
}

bool change_stream::has_batch() const noexcept {
  return queue_ && static_cast<detail::change_queue&>(*queue_).has_batch();
}

std::optional<change> change_stream::take() {
  if (!queue_) return std::nullopt;
  return static_cast<detail::change_queue&>(*queue_).take();
}

}  // namespace cosqlite
