#include "dump_plan.hpp"
#include "engine/worker.hpp"
#include "own_statement.hpp"
#include "sql_value.hpp"
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/dump.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/transaction.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace cosqlite::detail {

namespace {

constexpr std::size_t batch_bytes = 128 * 1024;

/// A dump under way; the worker's, but for `owner`.
class dumping {
 public:
  std::string like;
  std::string schema;
  std::uint64_t owner = 0;
  bool begun = false;
  bool ended = false;

  void fill(worker& at, operation& op, std::vector<std::string>& batch) {
    std::size_t bytes = 0;
    while (bytes < batch_bytes && next_ < steps_.size()) {
      const dump_step& s = steps_[next_];
      if (s.query.empty()) {
        bytes += s.text.size();
        batch.push_back(s.text);
        ++next_;
        continue;
      }
      if (!rows_) rows_ = std::make_unique<own_statement>(at, op, s.query);
      rows_->go_on_for(op);
      if (!rows_->step()) {
        rows_ = nullptr;
        ++next_;
        continue;
      }
      std::string sql = s.text;
      const int columns = sqlite3_column_count(rows_->get());
      for (int i = 0; i < columns; ++i) {
        if (i > 0) sql += ',';
        append_value(sql, rows_->get(), i, *reals_);
      }
      sql += ");";
      bytes += sql.size();
      batch.push_back(std::move(sql));
    }
    op.last = next_ == steps_.size();
  }
  void plan(worker& at, operation& op) {
    steps_ = plan_dump(at, op, like, schema);
    reals_ = std::make_unique<real_writer>(at.db());
  }
  void let_go() noexcept {
    ended = true;
    rows_ = nullptr;
    reals_ = nullptr;
    steps_.clear();
  }

 private:
  std::vector<dump_step> steps_;
  std::size_t next_ = 0;
  std::unique_ptr<own_statement> rows_;
  std::unique_ptr<real_writer> reals_;
};

using shared_dump = std::shared_ptr<dumping>;

/// The dumps of a connection: their statements go before it does.
class open_dumps final : public extension {
 public:
  explicit open_dumps(worker&) {}
  ~open_dumps() override {
    for (const shared_dump& d : all_) d->let_go();
  }
  void add(shared_dump d) { all_.push_back(std::move(d)); }
  void transaction_ended(std::uint64_t owner) noexcept override {
    std::erase_if(all_, [owner](const shared_dump& d) {
      if (d->owner != owner) return false;
      d->let_go();
      return true;
    });
  }

 private:
  std::vector<shared_dump> all_;
};

struct dump_job final : holder {
  shared_dump of;
};

dumping& dump_of(operation& op) noexcept { return *static_cast<dump_job&>(*op.closure).of; }

void end_dump(worker& at, dumping& d) noexcept {
  if (d.ended) return;
  d.let_go();
  if (d.begun && d.owner == at.owner()) at.end_transaction();
}

void run_next(worker& at, operation& op) {
  dumping& d = dump_of(op);
  auto& batch = emplace_result<std::vector<std::string>>(op);
  if (d.ended) throw closed_error("the dump has ended", {SQLITE_MISUSE, {}, op.location});
  try {
    d.fill(at, op, batch);
  } catch (...) {
    end_dump(at, d);
    throw;
  }
  if (op.last) end_dump(at, d);
}

void run_first(worker& at, operation& op) {
  dumping& d = dump_of(op);
  // A lease's owner has no transaction yet; somebody's own BEGIN has one.
  const bool own = (op.owner == 0 || op.owner != at.owner()) && at.in_autocommit();
  if (own) {
    at.begin(op, op.serial, "BEGIN");
    if (at.owner() == 0) return;
  }
  d.owner = own ? op.serial : op.owner;
  d.begun = own;
  at.extend<open_dumps>().add(static_cast<dump_job&>(*op.closure).of);
  try {
    d.plan(at, op);
  } catch (...) {
    d.let_go();
    if (own) at.end_transaction();
    throw;
  }
  run_next(at, op);
}

void run_end(worker& at, operation& op) { end_dump(at, dump_of(op)); }

constexpr operation_type first_operation{
    .run = &run_first, .destroy_result = &destroy_result<std::vector<std::string>>, .begins = true};
constexpr operation_type next_operation{.run = &run_next, .destroy_result = &destroy_result<std::vector<std::string>>};
constexpr operation_type end_operation{.run = &run_end, .urgent = true};

class dump_source final : public batch_source {
 public:
  dump_source(const call_site& site, const dump_options& options, const std::source_location& where)
      : site_(site), keep_(site.where), of_(std::make_shared<dumping>()), where_(where) {
    of_->like = options.like;
    of_->schema = options.schema;
  }

  operation_ref fetch() override {
    call_site s = site_;
    if (begun_) s.owner = of_->owner;
    return make(s, std::exchange(begun_, true) ? next_operation : first_operation);
  }
  void end() noexcept override {
    if (!begun_) return;
    call_site s;
    s.where = site_.where;
    start_detached(make(s, end_operation));
  }

 private:
  operation_ref make(const call_site& site, const operation_type& type) {
    operation_ref op = make_operation(site, type);
    auto job = std::make_unique<dump_job>();
    job->of = of_;
    op->closure = std::move(job);
    op->location = where_;
    return op;
  }

  call_site site_;
  ref<executor> keep_;
  shared_dump of_;
  std::source_location where_;
  bool begun_ = false;
};

}  // namespace

dump_stream dump(const call_site& site, dump_options options, std::source_location where) {
  // One deadline covers the whole.
  const call_site s = with_deadline_from_now(site);
  return dump_stream(read_ahead(ref<executor>(site.where), std::make_unique<dump_source>(s, options, where)));
}

}  // namespace cosqlite::detail

namespace cosqlite {

std::optional<std::string> dump_stream::pop() {
  if (at_ == left_.size()) {
    left_.clear();
    at_ = 0;
    if (from_.take()) left_ = std::move(detail::result_of<std::vector<std::string>>(*from_.current()));
    if (left_.empty()) return std::nullopt;
  }
  return std::move(left_[at_++]);
}

}  // namespace cosqlite
