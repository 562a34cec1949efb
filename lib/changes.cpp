#include "engine/change_queue.hpp"
#include <cosqlite/error.hpp>

#include <algorithm>
#include <utility>

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
    : notifier(at), tracker_(tracker), options_(options), wanted_(std::move(tables)), tables_(tracker.tables()) {}

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
  const row_operation operation = operation_of(row.operation);
  const bool removes = operation == row_operation::remove;
  const change_list::entry e{&table, removes ? row.old_rowid : row.new_rowid, operation, false};
  try {
    if (options_.values && row.has_values) {
      pending_.add(e, details_of(row, table, db));
    } else if (operation == row_operation::update && row.old_rowid != row.new_rowid) {
      pending_.add(e, {row.old_rowid, {}, {}});
    } else {
      pending_.add(e);
    }
  } catch (const std::bad_alloc&) {
    ++dropped_;
  }
}

change_list::details change_queue::details_of(const row_event& row, const table_name& table, sqlite3* db) {
  change_list::details d;
  d.old_rowid = row.operation == SQLITE_INSERT ? row.new_rowid : row.old_rowid;
  const bool by_blob = sqlite3_preupdate_blobwrite && sqlite3_preupdate_blobwrite(db) >= 0;
  const row_shape& shape = tracker_.shape_of(table);
  if (row.operation != SQLITE_INSERT) d.before = shape.old_row(db);
  if (row.operation != SQLITE_DELETE && !by_blob) d.after = shape.new_row(db);
  return d;
}

void change_queue::go_back(position to) noexcept {
  pending_.truncate(to.kept);
  dropped_ = std::min(dropped_, to.dropped);
}

void change_queue::published::add_gap(std::uint64_t commit, std::uint64_t missed) {
  if (parts.empty() || parts.back().missed == 0) parts.push_back({commit, 0, 0});
  parts.back().commit = commit;
  parts.back().missed += missed;
}

void change_queue::publish() noexcept {
  if (pending_.size() != 0 || dropped_ != 0) publish(dropped_ != 0);
}

void change_queue::contents_replaced() noexcept {
  pending_.clear();
  dropped_ = 1;
  publish(true);
}

void change_queue::publish(bool as_gap) noexcept {
  ++commits_;
  const std::size_t rows = pending_.size();
  operation* waiter = nullptr;
  {
    const std::lock_guard lock(mutex_);
    try {
      if (closed_) {
        // Nobody reads it.
      } else if (as_gap || rows + ready_.rows.size() > options_.buffer) {
        ready_.add_gap(commits_, rows + dropped_);
      } else {
        ready_.parts.push_back({commits_, rows, 0});
        ready_.rows.append(pending_);
      }
    } catch (const std::bad_alloc&) {
      // The reader meets the end of the stream rather than a hole that it is not told of.
      closed_ = true;
      ready_.rows.clear();
      ready_.parts.clear();
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
    batch_.rows.clear();
    batch_.parts.clear();
    read_ = 0;
    const std::lock_guard lock(mutex_);
    std::swap(batch_, ready_);
  }
  if (!has_batch()) return std::nullopt;
  part& p = batch_.parts[read_];
  change c;
  c.commit = p.commit;
  c.missed = p.missed;
  if (p.rows == 0) {
    ++read_;
    return c;
  }
  const change_list::entry e = batch_.rows.take();
  if (--p.rows == 0) ++read_;
  c.operation = e.operation;
  c.schema = e.table->schema;
  c.table = e.table->table;
  c.rowid = c.old_rowid = e.rowid;
  if (e.detailed) {
    change_list::details d = batch_.rows.take_details();
    c.old_rowid = d.old_rowid;
    c.old_values = std::move(d.before);
    c.new_values = std::move(d.after);
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
