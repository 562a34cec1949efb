#include "engine/opening.hpp"
#include "engine/reader_group.hpp"
#include "engine/worker.hpp"
#include <cosqlite/error.hpp>
#include <cosqlite/pool.hpp>
#include <cosqlite/run.hpp>

namespace cosqlite {

namespace detail {

/// The connections of a pool. Loop thread.
class pool_core {
 public:
  pool_core(connection writer, ref<worker> writer_worker, ref<reader_group> readers) noexcept
      : writer_(std::move(writer)), writer_worker_(std::move(writer_worker)), readers_(std::move(readers)) {}
  pool_core(const pool_core&) = delete;
  pool_core& operator=(const pool_core&) = delete;
  ~pool_core() { drop(); }

  [[nodiscard]] connection& writer() noexcept { return writer_; }
  [[nodiscard]] bool is_open() const noexcept { return writer_.is_open(); }
  [[nodiscard]] call_site write_site() const noexcept { return writer_.site(); }
  /// A database in memory has one connection, which also reads.
  [[nodiscard]] call_site read_site() const noexcept {
    if (!readers_) return writer_.site();
    call_site s;
    s.where = readers_.get();
    return s;
  }
  [[nodiscard]] pool_stats stats() const;
  /// Has the readers refuse calls from now on. All connections, in the order in which they are to be closed.
  std::vector<ref<worker>> stop();

 private:
  void stop_readers() noexcept {
    if (readers_ && stopped_.empty()) stopped_ = readers_->stop();
  }
  void drop() noexcept {
    stop_readers();
    // Connections that are dropped open close in the background.
    for (ref<worker>& w : stopped_) const connection dropped(std::move(w));
  }

  connection writer_;
  ref<worker> writer_worker_;
  ref<reader_group> readers_;
  std::vector<ref<worker>> stopped_;  // the readers, once they are to be closed
};

/// The writer comes last: it moves the log into the file.
std::vector<ref<worker>> pool_core::stop() {
  stop_readers();
  std::vector<ref<worker>> all = stopped_;
  all.push_back(writer_worker_);
  return all;
}

namespace {

void add(pool_stats& s, const worker::counters& c) {
  const auto get = [](const auto& counter) { return counter.load(std::memory_order_relaxed); };
  s.leased += get(c.leased) ? 1 : 0;
  s.in_use += get(c.leased) || get(c.running) ? 1 : 0;
  s.wait += std::chrono::nanoseconds(get(c.wait_ns));
  s.run += std::chrono::nanoseconds(get(c.run_ns));
  s.cache_hits += get(c.cache_hits);
  s.cache_misses += get(c.cache_misses);
  s.groups += get(c.groups);
  s.grouped_calls += get(c.grouped_calls);
}

open_options reader_options(open_options o) noexcept {
  o.mode = access::read_only;
  o.journal_mode = journal::keep;
  o.query_only = true;
  o.quick_check = false;
  o.optimize_on_close = false;
  return o;
}

}  // namespace

pool_stats pool_core::stats() const {
  pool_stats s;
  add(s, writer_worker_->counted);
  s.writes = writer_worker_->counted.calls.load(std::memory_order_relaxed);
  s.wal_pages = static_cast<std::size_t>(writer_worker_->counted.wal_pages.load(std::memory_order_relaxed));
  s.checkpoints = writer_worker_->counted.checkpoints.load(std::memory_order_relaxed);
  s.waiting = writer_worker_->in_queue();
  if (!readers_) return s;
  for (const ref<worker>& r : readers_->readers()) {
    ++s.readers;
    add(s, r->counted);
    s.reads += r->counted.calls.load(std::memory_order_relaxed);
    s.waiting += r->in_queue();
  }
  s.waiting += readers_->waiting();
  return s;
}

// ------------------------------------------------------------------------------------------------------------- leases

namespace {

void run_give_back(worker& at, operation& op) { at.end_lease(op); }

constexpr operation_type give_back_operation{.run = &run_give_back, .urgent = true};

}  // namespace

call<leased_connection> acquire(const call_site& site, const std::source_location& where) {
  // There may be no memory for it when the lease is dropped.
  auto work = [give_back = make_operation({}, give_back_operation)](worker& at, operation& op) mutable {
    auto held = std::make_unique<possession>(possession::kind::lease, at, at.group(), op.serial, nullptr);
    op.gives = held.get();
    at.begin_lease(op.serial);
    // Nobody waits for it any more: dropping the result gives it back at once.
    return leased_connection(ref<executor>(&at), std::move(held), std::move(give_back));
  };
  return make_callable(site, std::move(work), where);
}

}  // namespace detail

leased_connection::leased_connection(detail::ref<detail::executor> where, std::unique_ptr<detail::possession> held,
                                     detail::operation_ref give_back) noexcept
    : where_(std::move(where)), held_(std::move(held)), give_back_(std::move(give_back)) {}

leased_connection::leased_connection(leased_connection&& other) noexcept
    : where_(std::move(other.where_)), held_(std::move(other.held_)), give_back_(std::move(other.give_back_)) {
  if (held_) held_->pass_on();
}

leased_connection& leased_connection::operator=(leased_connection&& other) noexcept {
  if (this == &other) return *this;
  release();
  where_ = std::move(other.where_);
  held_ = std::move(other.held_);
  give_back_ = std::move(other.give_back_);
  if (held_) held_->pass_on();
  return *this;
}

leased_connection::~leased_connection() { release(); }

void leased_connection::release() noexcept {
  if (!held_) return;
  give_back_->where = where_;
  give_back_->owner = std::exchange(held_, nullptr)->id();
  detail::start_detached(std::move(give_back_));
}

detail::call_site leased_connection::site() const noexcept {
  detail::call_site s;
  if (!held_) return s;
  s.where = where_.get();
  s.owner = held_->id();
  return s;
}

limited_lease leased_connection::with(std::chrono::nanoseconds timeout) const {
  return with(std::stop_token(), timeout);
}
limited_lease leased_connection::with(std::stop_token stop) const {
  return with(std::move(stop), std::chrono::nanoseconds(0));
}
limited_lease leased_connection::with(std::stop_token stop, std::chrono::nanoseconds timeout) const {
  detail::call_site s = site();
  s.stop = std::move(stop);
  s.timeout = timeout;
  return limited_lease(std::move(s));
}

// --------------------------------------------------------------------------------------------------------------- pool

task<pool> pool::open(std::string path, pool_options options, std::source_location where) {
  uv_loop_t* loop = options.connection.loop ? options.connection.loop : this_loop();
  options.connection.loop = loop;
  const std::string vfs(options.connection.vfs);
  options.connection.vfs = vfs;
  detail::ref<detail::worker> at;
  call<connection> opening(detail::make_opening(path, options.connection, where, at));
  at->join_pool(false, options.max_read_age, static_cast<int>(options.checkpoint_pages));
  connection opened = co_await std::move(opening);
  detail::ref<detail::reader_group> readers;
  if (path != ":memory:" && !path.empty() && options.readers > 0) {
    auto open_reader = [path, vfs, options, where](detail::reader_group& source) {
      open_options o = detail::reader_options(options.connection);
      o.vfs = vfs;
      detail::ref<detail::worker> reader;
      detail::operation_ref op = detail::make_opening(path, o, where, reader, true);
      reader->join_pool(true, options.max_read_age, 0);
      reader->serve(source, source);
      detail::start_detached(std::move(op));
      return reader;
    };
    const std::int64_t poll = std::chrono::duration_cast<std::chrono::nanoseconds>(options.connection.poll).count();
    readers = detail::ref<detail::reader_group>::adopt(
        new detail::reader_group(detail::bridge::of(loop), poll, options.readers, std::move(open_reader)));
  }
  co_return pool(std::make_unique<detail::pool_core>(std::move(opened), std::move(at), std::move(readers)));
}

pool::pool(std::unique_ptr<detail::pool_core> core) noexcept : core_(std::move(core)) {}
pool::pool(pool&&) noexcept = default;
pool& pool::operator=(pool&&) noexcept = default;
pool::~pool() = default;

detail::call_site pool::read_site() const noexcept { return core_ ? core_->read_site() : detail::call_site(); }
detail::call_site pool::site() const noexcept { return core_ ? core_->write_site() : detail::call_site(); }

limited_pool pool::with(std::chrono::nanoseconds timeout) const { return with(std::stop_token(), timeout); }
limited_pool pool::with(std::stop_token stop) const { return with(std::move(stop), std::chrono::nanoseconds(0)); }
limited_pool pool::with(std::stop_token stop, std::chrono::nanoseconds timeout) const {
  detail::call_site read = read_site();
  detail::call_site write = site();
  read.stop = write.stop = std::move(stop);
  read.timeout = write.timeout = timeout;
  return limited_pool(std::move(read), std::move(write));
}

pool_stats pool::stats() const { return core_ ? core_->stats() : pool_stats(); }
bool pool::is_open() const noexcept { return core_ && core_->is_open(); }

connection& pool::writer() noexcept { return core_->writer(); }

task<> pool::close() {
  if (!core_) co_return;
  // Whoever closes it beside this one waits for the same connections; and the pool may be moved meanwhile.
  const std::vector<detail::ref<detail::worker>> all = core_->stop();
  for (const detail::ref<detail::worker>& w : all) {
    connection one(w);
    co_await one.close();
  }
}

}  // namespace cosqlite
