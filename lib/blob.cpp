#include "engine/worker.hpp"
#include <cosqlite/blob.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/error.hpp>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

namespace cosqlite {

namespace detail {

namespace {

/// The most that one sqlite3_blob_read or _write moves: between them the call can be stopped.
constexpr std::size_t piece_size = 1 << 20;
/// What a chunk stream reads in one go, so that the hand-over between the threads costs little.
constexpr std::size_t batch_size = 256 * 1024;

}  // namespace

/// What the loop's thread and the worker share of a blob. The handles are the worker's.
class blob_state {
 public:
  std::string schema;
  std::string table;
  std::string column;
  bool writable = false;
  std::uint64_t owner = 0;  ///< the transaction that it ends with; 0: none
  std::atomic<std::int64_t> rowid{0};
  std::atomic<std::size_t> size{0};
  std::atomic<std::size_t> position{0};
  std::atomic<bool> closed{false};

  /// Open as long as the blob is: it notices changes of the row, and keeps reading cheap.
  sqlite3_blob* reader = nullptr;
  /// Open during a write, and in a transaction until another call runs: an open writer keeps SQLite from committing.
  sqlite3_blob* writer = nullptr;
  bool expired = false;

  [[nodiscard]] std::string name() const {
    return schema + "." + table + "." + column + " of row " + std::to_string(rowid.load());
  }
  int close_writer() noexcept { return sqlite3_blob_close(std::exchange(writer, nullptr)); }
  void close_handles() noexcept {
    close_writer();
    sqlite3_blob_close(std::exchange(reader, nullptr));
  }
};

namespace {

using shared_blob = std::shared_ptr<blob_state>;

/// What a call on a blob carries.
struct blob_job final : holder {
  shared_blob blob;
  std::span<std::byte> to;
  std::span<const std::byte> from;
  std::size_t offset = 0;
  std::int64_t rowid = 0;
  call_site site;  ///< for opening: where the blob's own calls go
};

/// The blobs that are open on a connection.
class open_blobs final : public extension, public start_listener {
 public:
  explicit open_blobs(worker& at) : at_(at) { at.before_calls = this; }
  ~open_blobs() override {
    at_.before_calls = nullptr;
    for (const shared_blob& b : all_) b->close_handles();
  }

  void add(shared_blob b) { all_.push_back(std::move(b)); }
  void close(blob_state& b) noexcept {
    b.closed = true;
    b.close_handles();
    std::erase_if(all_, [&b](const shared_blob& other) { return other.get() == &b; });
  }

  /// SQLite neither commits nor releases a savepoint while something is being written.
  void before_call(const operation& op) noexcept override {
    if (all_.empty() || dynamic_cast<const blob_job*>(op.closure.get())) return;
    for (const shared_blob& b : all_) b->close_writer();
  }
  void returned_to_pool() noexcept override {
    close_if([](const blob_state& b) { return b.owner != 0; });
  }
  void transaction_ended(std::uint64_t owner) noexcept override {
    close_if([owner](const blob_state& b) { return b.owner == owner; });
  }

 private:
  template <class F>
  void close_if(F belongs) noexcept {
    std::erase_if(all_, [&belongs](const shared_blob& b) {
      if (!belongs(*b)) return false;
      b->closed = true;
      b->close_handles();
      return true;
    });
  }

  worker& at_;
  std::vector<shared_blob> all_;
};

std::string_view advice_for(std::string_view message) noexcept {
  if (message.starts_with("cannot open value of type")) {
    return "; only a BLOB or TEXT can be opened: store one there first, zeroblob(n) for instance";
  }
  if (message.starts_with("cannot open view") || message.starts_with("cannot open virtual table") ||
      message.starts_with("cannot open table without rowid")) {
    return "; incremental blobs need an ordinary table with rowids: read the column with a query";
  }
  return {};
}

[[noreturn]] void throw_open_error(worker& at, operation& op, const blob_state& b, int rc) {
  if (op.stop.load(std::memory_order_relaxed) != stop_reason::none) at.fail(op, rc, {});
  if ((rc & 0xff) != SQLITE_ERROR) throw_sqlite_error(at.db(), rc, {}, op.location, "open the blob " + b.name());
  const std::string message = sqlite3_errmsg(at.db());
  throw error("cannot open the blob " + b.name() + ": " + message + std::string(advice_for(message)),
              {rc, {}, op.location});
}

[[noreturn]] void throw_expired(operation& op, const blob_state& b) {
  throw blob_expired_error("the blob " + b.name() + " has expired: its row was changed or deleted since; reopen it",
                           {SQLITE_ABORT, {}, op.location});
}

int open_handle(worker& at, const blob_state& b, bool writing, sqlite3_blob** handle) noexcept {
  return sqlite3_blob_open(at.db(), b.schema.c_str(), b.table.c_str(), b.column.c_str(), b.rowid.load(),
                           writing ? 1 : 0, handle);
}

std::size_t size_of(sqlite3_blob* handle) noexcept { return static_cast<std::size_t>(sqlite3_blob_bytes(handle)); }

void open_reader(worker& at, operation& op, blob_state& b) {
  if (const int rc = open_handle(at, b, false, &b.reader); rc != SQLITE_OK) throw_open_error(at, op, b, rc);
}

/// Closes what a change of the row has made useless, and says so.
[[noreturn]] void expire(operation& op, blob_state& b) {
  b.close_handles();
  b.expired = true;
  throw_expired(op, b);
}

[[noreturn]] void throw_transfer_error(worker& at, operation& op, blob_state& b, int rc, const char* doing) {
  if (op.stop.load(std::memory_order_relaxed) != stop_reason::none) at.fail(op, rc, {});
  if ((rc & 0xff) == SQLITE_ABORT) expire(op, b);
  throw_sqlite_error(at.db(), rc, {}, op.location, doing + b.name());
}

void check_usable(operation& op, const blob_state& b) {
  if (b.closed) throw closed_error("the blob " + b.name() + " is closed", {SQLITE_MISUSE, {}, op.location});
  if (b.expired || !b.reader) throw_expired(op, b);
}

void check_bounds(operation& op, const blob_state& b, std::size_t offset, std::size_t count) {
  const std::size_t size = b.size;
  if (offset <= size && count <= size - offset) return;
  throw misuse_error(std::to_string(count) + " bytes at offset " + std::to_string(offset) +
                         " are outside of the blob " + b.name() + ", which has " + std::to_string(size) +
                         " bytes and cannot grow",
                     {SQLITE_RANGE, {}, op.location});
}

void read_bytes(worker& at, operation& op, blob_state& b, std::span<std::byte> to, std::size_t offset) {
  sqlite3_blob* const from = b.writer ? b.writer : b.reader;
  while (!to.empty()) {
    if (at.stop_requested()) at.fail(op, SQLITE_INTERRUPT, {});
    const std::size_t n = std::min(to.size(), piece_size);
    const int rc = sqlite3_blob_read(from, to.data(), static_cast<int>(n), static_cast<int>(offset));
    if (rc != SQLITE_OK) throw_transfer_error(at, op, b, rc, "read the blob ");
    to = to.subspan(n);
    offset += n;
  }
}

/// Whether the row is still the one that was opened.
void check_row(worker& at, operation& op, blob_state& b) {
  std::byte probe{};
  const int n = b.size == 0 ? 0 : 1;
  const int rc = sqlite3_blob_read(b.reader, &probe, n, 0);
  if (rc != SQLITE_OK) throw_transfer_error(at, op, b, rc, "read the blob ");
}

/// Opens the writer without the snapshot in between: SQLite waits for a lock, and gets past what others have written,
/// only where nothing is being read.
void wait_for_writer(worker& at, operation& op, blob_state& b) {
  sqlite3_blob_close(std::exchange(b.reader, nullptr));
  const int rc = open_handle(at, b, true, &b.writer);
  std::exception_ptr failure;
  if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_ERROR) {
    try {
      throw_open_error(at, op, b, rc);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  const bool same = open_handle(at, b, false, &b.reader) == SQLITE_OK && size_of(b.reader) == b.size;
  if (failure) std::rethrow_exception(std::move(failure));
  if (rc != SQLITE_OK || !same) expire(op, b);
}

void open_writer(worker& at, operation& op, blob_state& b) {
  check_row(at, op, b);
  const int rc = open_handle(at, b, true, &b.writer);
  if (rc == SQLITE_OK) return;
  if ((rc & 0xff) == SQLITE_BUSY && at.in_autocommit()) return wait_for_writer(at, op, b);
  throw_open_error(at, op, b, rc);
}

void write_bytes(worker& at, operation& op, blob_state& b, std::span<const std::byte> from, std::size_t offset) {
  if (!b.writer) open_writer(at, op, b);
  std::exception_ptr failure;
  try {
    while (!from.empty()) {
      if (at.stop_requested()) at.fail(op, SQLITE_INTERRUPT, {});
      const std::size_t n = std::min(from.size(), piece_size);
      const int rc = sqlite3_blob_write(b.writer, from.data(), static_cast<int>(n), static_cast<int>(offset));
      if (rc != SQLITE_OK) throw_transfer_error(at, op, b, rc, "write the blob ");
      from = from.subspan(n);
      offset += n;
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure && !at.in_autocommit()) return;
  // Outside of a transaction this commits: what has been written of a stopped call stays, as it does in SQLite.
  const int rc = b.close_writer();
  if (failure) std::rethrow_exception(std::move(failure));
  if (rc != SQLITE_OK) throw_transfer_error(at, op, b, rc, "write the blob ");
}

blob_job& job_of(operation& op) noexcept { return static_cast<blob_job&>(*op.closure); }

void run_open(worker& at, operation& op) {
  blob_job& job = job_of(op);
  blob_state& b = *job.blob;
  open_reader(at, op, b);
  b.size = size_of(b.reader);
  try {
    // What keeps it from being written must show here, not at the first write.
    if (b.writable) {
      open_writer(at, op, b);
      const int rc = b.close_writer();
      if (rc != SQLITE_OK) throw_open_error(at, op, b, rc);
    }
    at.extend<open_blobs>().add(job.blob);
  } catch (...) {
    b.close_handles();
    throw;
  }
  emplace_result<blob>(op, job.site, job.blob);
}

void run_read_at(worker& at, operation& op) {
  blob_job& job = job_of(op);
  check_usable(op, *job.blob);
  check_bounds(op, *job.blob, job.offset, job.to.size());
  read_bytes(at, op, *job.blob, job.to, job.offset);
}

void run_read(worker& at, operation& op) {
  blob_job& job = job_of(op);
  blob_state& b = *job.blob;
  check_usable(op, b);
  const std::size_t offset = b.position;
  check_bounds(op, b, offset, 0);
  const std::size_t n = std::min(job.to.size(), b.size - offset);
  read_bytes(at, op, b, job.to.first(n), offset);
  b.position = offset + n;
  emplace_result<std::size_t>(op, n);
}

void check_writable(operation& op, const blob_state& b) {
  if (b.writable) return;
  throw readonly_error("the blob " + b.name() + " was opened for reading: open it with blob_mode::read_write",
                       {SQLITE_READONLY, {}, op.location});
}

void write_from(worker& at, operation& op, blob_job& job, std::size_t offset) {
  check_usable(op, *job.blob);
  check_writable(op, *job.blob);
  check_bounds(op, *job.blob, offset, job.from.size());
  write_bytes(at, op, *job.blob, job.from, offset);
}

void run_write_at(worker& at, operation& op) {
  blob_job& job = job_of(op);
  write_from(at, op, job, job.offset);
}

void run_write(worker& at, operation& op) {
  blob_job& job = job_of(op);
  const std::size_t offset = job.blob->position;
  write_from(at, op, job, offset);
  job.blob->position = offset + job.from.size();
}

/// Moves an open handle to the row, which is much cheaper than opening one.
bool move_reader(blob_state& b) noexcept {
  if (!b.reader) return false;
  if (sqlite3_blob_reopen(b.reader, b.rowid) == SQLITE_OK) return true;
  sqlite3_blob_close(std::exchange(b.reader, nullptr));
  return false;
}

void run_reopen(worker& at, operation& op) {
  blob_job& job = job_of(op);
  blob_state& b = *job.blob;
  if (b.closed) throw closed_error("the blob " + b.name() + " is closed", {SQLITE_MISUSE, {}, op.location});
  b.close_writer();
  b.rowid = job.rowid;
  b.position = 0;
  b.size = 0;
  b.expired = true;
  if (!move_reader(b)) open_reader(at, op, b);
  b.size = size_of(b.reader);
  b.expired = false;
}

void run_close(worker& at, operation& op) {
  blob_state& b = *job_of(op).blob;
  if (auto* all = at.extended<open_blobs>()) all->close(b);
}

struct chunk_batch {
  std::unique_ptr<std::byte[]> data;
  std::size_t size = 0;
};

/// How far the fetches of a chunk stream have come; the worker's.
struct chunk_progress {
  std::size_t offset = 0;
};

struct fetch_job final : holder {
  shared_blob blob;
  std::shared_ptr<chunk_progress> progress;
  std::unique_ptr<std::byte[]> buffer;
  std::size_t capacity = 0;
};

void run_fetch_chunks(worker& at, operation& op) {
  auto& job = static_cast<fetch_job&>(*op.closure);
  blob_state& b = *job.blob;
  check_usable(op, b);
  const std::size_t offset = std::min<std::size_t>(job.progress->offset, b.size);
  const std::size_t n = std::min(job.capacity, b.size - offset);
  if (!job.buffer) job.buffer = std::make_unique_for_overwrite<std::byte[]>(std::max<std::size_t>(n, 1));
  read_bytes(at, op, b, {job.buffer.get(), n}, offset);
  job.progress->offset = offset + n;
  op.last = offset + n == b.size;
  auto& batch = emplace_result<chunk_batch>(op);
  batch.data = std::move(job.buffer);
  batch.size = n;
}

constexpr operation_type open_operation{.run = &run_open, .destroy_result = &destroy_result<blob>};
constexpr operation_type read_at_operation{.run = &run_read_at};
constexpr operation_type read_operation{.run = &run_read, .destroy_result = &destroy_result<std::size_t>};
constexpr operation_type write_at_operation{.run = &run_write_at};
constexpr operation_type write_operation{.run = &run_write};
constexpr operation_type reopen_operation{.run = &run_reopen};
constexpr operation_type close_operation{.run = &run_close};
constexpr operation_type drop_operation{.run = &run_close, .urgent = true};
constexpr operation_type chunks_operation{.run = &run_fetch_chunks, .destroy_result = &destroy_result<chunk_batch>};

struct built {
  operation_ref op;
  blob_job* job;
};

built make_blob_operation(const call_site& site, const operation_type& type, shared_blob b,
                          const std::source_location& where) {
  if (!b) throw misuse_error("this blob has been moved from", {SQLITE_MISUSE, {}, where});
  built made{make_operation(site, type), nullptr};
  auto job = std::make_unique<blob_job>();
  job->blob = std::move(b);
  made.job = job.get();
  made.op->closure = std::move(job);
  made.op->location = where;
  return made;
}

class chunk_source final : public batch_source {
 public:
  chunk_source(const call_site& site, shared_blob b, std::size_t chunk, const std::source_location& where)
      : site_(site),
        blob_(std::move(b)),
        progress_(std::make_shared<chunk_progress>()),
        capacity_(chunk >= batch_size ? chunk : batch_size / chunk * chunk),
        where_(where) {}

  operation_ref fetch() override {
    operation_ref op = make_operation(site_, chunks_operation);
    auto job = std::make_unique<fetch_job>();
    job->blob = blob_;
    job->progress = progress_;
    job->buffer = std::move(spare_);
    job->capacity = capacity_;
    op->closure = std::move(job);
    op->location = where_;
    return op;
  }
  void end() noexcept override {}
  /// A buffer that has been read, for the following fetch. All but the last have the same size.
  void give_back(chunk_batch& read) noexcept {
    if (read.size == capacity_) spare_ = std::move(read.data);
  }

 private:
  call_site site_;
  shared_blob blob_;
  std::shared_ptr<chunk_progress> progress_;
  std::unique_ptr<std::byte[]> spare_;
  std::size_t capacity_;
  std::source_location where_;
};

void check_name(std::string_view name, const char* what, const std::source_location& where) {
  if (name.find('\0') == std::string_view::npos) return;
  throw misuse_error(std::string("the name of a ") + what + " cannot have a NUL character in it",
                     {SQLITE_MISUSE, {}, where});
}

}  // namespace

call<blob> open_blob(const call_site& site, blob_location what, blob_mode mode, std::source_location where) {
  check_name(what.schema, "schema", where);
  check_name(what.table, "table", where);
  check_name(what.column, "column", where);
  auto b = std::make_shared<blob_state>();
  b->schema = what.schema;
  b->table = what.table;
  b->column = what.column;
  b->rowid = what.rowid;
  b->writable = mode == blob_mode::read_write;
  b->owner = site.owner;
  built made = make_blob_operation(site, open_operation, std::move(b), where);
  made.job->site = site;
  return call<blob>(std::move(made.op));
}

call<> read_blob_at(const call_site& site, shared_blob b, std::span<std::byte> to, std::size_t offset,
                    std::source_location where) {
  built made = make_blob_operation(site, read_at_operation, std::move(b), where);
  made.job->to = to;
  made.job->offset = offset;
  made.op->borrows = true;
  return call<>(std::move(made.op));
}

call<std::size_t> read_blob(const call_site& site, shared_blob b, std::span<std::byte> to, std::source_location where) {
  built made = make_blob_operation(site, read_operation, std::move(b), where);
  made.job->to = to;
  made.op->borrows = true;
  return call<std::size_t>(std::move(made.op));
}

call<> write_blob_at(const call_site& site, shared_blob b, std::span<const std::byte> from, std::size_t offset,
                     std::source_location where) {
  built made = make_blob_operation(site, write_at_operation, std::move(b), where);
  made.job->from = from;
  made.job->offset = offset;
  made.op->borrows = true;
  return call<>(std::move(made.op));
}

call<> write_blob(const call_site& site, shared_blob b, std::span<const std::byte> from, std::source_location where) {
  built made = make_blob_operation(site, write_operation, std::move(b), where);
  made.job->from = from;
  made.op->borrows = true;
  return call<>(std::move(made.op));
}

call<> reopen_blob(const call_site& site, shared_blob b, std::int64_t rowid, std::source_location where) {
  built made = make_blob_operation(site, reopen_operation, std::move(b), where);
  made.job->rowid = rowid;
  return call<>(std::move(made.op));
}

chunk_stream blob_chunks(const call_site& site, shared_blob b, std::size_t size, std::source_location where) {
  if (size == 0) throw misuse_error("a chunk must have at least one byte", {SQLITE_MISUSE, {}, where});
  auto from = std::make_unique<chunk_source>(site, std::move(b), size, where);
  return chunk_stream(read_ahead(ref<executor>(site.where), std::move(from)), size);
}

}  // namespace detail

std::optional<std::span<const std::byte>> chunk_stream::pop() {
  if (left_.empty()) {
    if (detail::operation* read = from_.current()) {
      static_cast<detail::chunk_source&>(from_.source()).give_back(detail::result_of<detail::chunk_batch>(*read));
    }
    if (from_.take()) {
      const auto& batch = detail::result_of<detail::chunk_batch>(*from_.current());
      left_ = {batch.data.get(), batch.size};
    }
    if (left_.empty()) return std::nullopt;
  }
  const std::span<const std::byte> piece = left_.first(std::min(chunk_, left_.size()));
  left_ = left_.subspan(piece.size());
  return piece;
}

blob::blob(detail::call_site site, std::shared_ptr<detail::blob_state> state) noexcept
    : site_(std::move(site)), where_(site_.where), state_(std::move(state)) {}
blob::blob(blob&&) noexcept = default;

blob& blob::operator=(blob&& other) noexcept {
  if (this == &other) return *this;
  drop();
  site_ = std::move(other.site_);
  where_ = std::move(other.where_);
  state_ = std::move(other.state_);
  return *this;
}

blob::~blob() { drop(); }

void blob::drop() noexcept {
  if (!state_ || state_->closed) return;
  detail::call_site s;
  s.where = where_.get();
  detail::start_detached(detail::make_blob_operation(s, detail::drop_operation, std::move(state_), {}).op);
}

std::size_t blob::size() const noexcept { return state_ ? state_->size.load() : 0; }
std::int64_t blob::rowid() const noexcept { return state_ ? state_->rowid.load() : 0; }
std::size_t blob::position() const noexcept { return state_ ? state_->position.load() : 0; }
void blob::seek(std::size_t position) noexcept {
  if (state_) state_->position = position;
}

call<> blob::close(std::source_location where) {
  // One that has been closed with its transaction has no order to keep any more.
  const bool closed = state_ && state_->closed;
  detail::call_site s = site_;
  s.stop = {};
  return call<>(
      detail::make_blob_operation(s, closed ? detail::drop_operation : detail::close_operation, state_, where).op);
}

limited_blob blob::with(std::chrono::nanoseconds timeout) const { return with(std::stop_token(), timeout); }
limited_blob blob::with(std::stop_token stop) const { return with(std::move(stop), std::chrono::nanoseconds(0)); }
limited_blob blob::with(std::stop_token stop, std::chrono::nanoseconds timeout) const {
  detail::call_site s = site_;
  if (stop.stop_possible()) s.stop = std::move(stop);
  s.timeout = timeout;
  return limited_blob(std::move(s), state_);
}

}  // namespace cosqlite
