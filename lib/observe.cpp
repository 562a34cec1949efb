#include "engine/abilities.hpp"
#include "engine/change_tracker.hpp"
#include "engine/hook_set.hpp"
#include "engine/notifier.hpp"
#include "sql_quoting.hpp"
#include <cosqlite/observe.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cosqlite::detail {

// Schema and table. Where no column is read, as in count(*), SQLite gives both as they stand in the statement: in any
// case, and often without the schema, which then may be any.
using table_id = std::pair<std::string, std::string>;
using table_list = std::vector<table_id>;

namespace {

/// Copies arguments for another run.
void copy_arguments(const parameters& from, parameters& to) {
  for (const parameters::slot& s : from.slots()) {
    if (s.name_size != 0) to.name({from.data() + s.name_at, s.name_size});
    switch (s.what) {
      case parameters::kind::null: to.null(); break;
      case parameters::kind::integer: to.integer(s.integer); break;
      case parameters::kind::real: to.real(s.real); break;
      case parameters::kind::text: to.text({from.data() + s.at, s.size}); break;
      case parameters::kind::blob:
        to.blob({reinterpret_cast<const std::byte*>(from.data() + s.at), static_cast<std::size_t>(s.size)});
        break;
      case parameters::kind::zeros: to.zeros(s.size); break;
      case parameters::kind::pointer: to.pointer(from.objects()[s.at].data, from.objects()[s.at].type); break;
    }
  }
}

/// What a statement reads, views resolved, as the authorizer hears it.
table_list tables_read(worker& at, const std::string& sql) {
  auto& hooks = at.extend<hook_set>();
  table_list tables;
  authorizer_listener* before = std::exchange(at.authorizer, &hooks);
  hooks.tables_read = &tables;
  sqlite3_stmt* stmt = nullptr;
  sqlite3_prepare_v2(at.db(), sql.c_str(), static_cast<int>(sql.size() + 1), &stmt, nullptr);
  sqlite3_finalize(stmt);
  hooks.tables_read = nullptr;
  at.authorizer = before;
  at.take_callback_error();  // the run itself meets it again
  std::ranges::sort(tables);
  tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
  return tables;
}

struct table_kind {
  bool is_virtual = false;
  bool without_rowid = false;
};

table_kind kind_of(sqlite3* db, const table_id& table) {
  constexpr int type_column = 2;
  constexpr int without_rowid_column = 4;
  std::string sql = "PRAGMA ";
  if (!table.first.empty()) sql += quoted_name(table.first) + ".";
  sql += "table_list(" + quoted_text(table.second) + ")";
  sqlite3_stmt* stmt = nullptr;
  sqlite3_prepare_v2(db, sql.c_str(), -1, &stmt, nullptr);
  table_kind kind;
  while (sqlite3_step(stmt) == SQLITE_ROW) {
    const auto* type = reinterpret_cast<const char*>(sqlite3_column_text(stmt, type_column));
    if (type && std::string_view(type) == "virtual") kind.is_virtual = true;
    if (sqlite3_column_int(stmt, without_rowid_column) != 0) kind.without_rowid = true;
  }
  sqlite3_finalize(stmt);
  return kind;
}

bool is_called(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && sqlite3_strnicmp(a.data(), b.data(), static_cast<int>(a.size())) == 0;
}

/// Wakes a live query when what it reads has been committed to.
class live_signal final : public notifier, public row_sink {
 public:
  live_signal(worker& at, row_source_kind source) noexcept : notifier(at), source_(source) {}

  /// Watches \p tables, from now on. Gives whether that may be something new.
  bool watch(table_list tables, sqlite3* db) {
    settle();
    if (!std::exchange(schema_changed_, false) && tables == tables_) return false;
    tables_ = std::move(tables);
    kinds_.clear();
    blind_ = false;
    for (const table_id& t : tables_) {
      kinds_.push_back(kind_of(db, t));
      // The update hook does not tell of its rows: any commit may have changed them.
      if (source_ == row_source_kind::update_hook && kinds_.back().without_rowid) blind_ = true;
    }
    return true;
  }
  /// What has been committed up to now is going to be read. Any thread.
  void settle() noexcept {
    const std::lock_guard lock(mutex_);
    touched_ = false;
  }
  [[nodiscard]] bool is_closed() noexcept {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

  bool wants(const table_name& table) noexcept override {
    const std::string_view name = table.table;
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      const auto& [schema, read] = tables_[i];
      if (!schema.empty() && !is_called(schema, table.schema)) continue;
      if (is_called(read, name)) return true;
      // A virtual table keeps its rows in tables of its own.
      const std::size_t size = read.size();
      if (kinds_[i].is_virtual && name.size() > size && is_called(name.substr(0, size), read) && name[size] == '_') {
        return true;
      }
    }
    return false;
  }
  void add(const row_event&, const table_name&, sqlite3*) noexcept override { ++rows_; }
  // A view may read other tables from then on, or the rows come in other columns.
  void schema_changes() noexcept override {
    ++rows_;
    schema_changed_ = true;
  }
  void contents_replaced() noexcept override {
    schema_changes();
    publish();
  }
  [[nodiscard]] position now() const noexcept override { return {rows_, 0}; }
  void go_back(position to) noexcept override { rows_ = to.kept; }
  void publish() noexcept override {
    if (std::exchange(rows_, 0) == 0 && !blind_) return;
    operation* waiter = nullptr;
    {
      const std::lock_guard lock(mutex_);
      touched_ = true;
      waiter = take_waiter();
    }
    complete(waiter);
  }
  void end() noexcept override { close(); }

 private:
  ~live_signal() override = default;
  [[nodiscard]] bool has_something() const noexcept override { return touched_; }

  const row_source_kind source_;
  table_list tables_;
  std::vector<table_kind> kinds_;  // of the tables
  bool schema_changed_ = true;
  bool blind_ = false;
  std::size_t rows_ = 0;
  bool touched_ = false;
};

}  // namespace

/// Shared by the query on the loop's thread and its runs. The signal is made by the first that watches, on the worker.
class live_source {
 public:
  ref<live_signal> signal;
};

/// What one run on a reader has found; written by it, then read on the loop's thread.
class live_reading {
 public:
  table_list tables;
};

namespace {

struct live_run final : holder {
  std::shared_ptr<live_source> source;    // to be watched where it runs, or
  std::shared_ptr<live_reading> reading;  // to be told what it reads
};

void watch(worker& at, const operation& op, live_source& source, table_list tables) {
  auto& tracker = at.extend<change_tracker>();
  if (!source.signal) {
    auto& hooks = at.extend<hook_set>();
    const bool precise = has_preupdate_hook() && hooks.sessions == 0;
    const auto kind = precise ? row_source_kind::preupdate_hook : row_source_kind::update_hook;
    source.signal = ref<live_signal>::adopt(new live_signal(at, kind));
    tracker.add(*source.signal, source.signal, kind, is_leased(op));
  }
  if (source.signal->watch(std::move(tables), at.db())) tracker.ask_again(*source.signal);
}

}  // namespace

void run_observed(worker& at, operation& op) {
  auto& run = static_cast<live_run&>(*op.closure);
  run_statement(at, op);
  // Afterwards: by its run the connection has noticed what others have done to the schema.
  table_list tables = tables_read(at, op.sql);
  if (run.reading) {
    run.reading->tables = std::move(tables);
  } else {
    watch(at, op, *run.source, std::move(tables));
  }
}

const operation_type& observe_operation() noexcept {
  static const operation_type type = [] {
    operation_type t = query_operation;
    t.run = &run_observed;
    t.plain_statement = false;
    return t;
  }();
  return type;
}

live_state::live_state(const call_site& read, const call_site& write, operation_ref origin)
    : read_(read),
      write_(write),
      reads_at_(read.where),
      writes_at_(write.where),
      origin_(std::move(origin)),
      source_(std::make_shared<live_source>()) {}

live_state::~live_state() {
  // A run that nobody waits for any more may still be using it: it is let go of where it is used.
  auto work = [source = source_](worker& at, operation&) {
    const ref<live_signal> signal = std::move(source->signal);
    auto* tracker = at.extended<change_tracker>();
    if (signal && tracker) tracker->remove(*signal);
    if (signal) signal->close();  // it and a wait that timed out would keep each other
  };
  using kind = callable_type<decltype(work), void>;
  call_site site;
  site.where = writes_at_.get();
  operation_ref op = make_operation(site, kind::urgent);
  op->closure = std::make_unique<callable_holder<decltype(work)>>(std::move(work));
  start_detached(std::move(op));
}

operation_ref live_state::make_run(const operation_type& type) {
  operation_ref op = make_operation(read_, type);
  op->sql = origin_->sql;
  op->location = origin_->location;
  copy_arguments(origin_->args, op->args);
  auto run = std::make_unique<live_run>();
  run->source = source_;
  if (reads_elsewhere()) {
    // Before the run is queued: a commit that it does not see comes later.
    source_->signal->settle();
    reading_ = std::make_shared<live_reading>();
    run->source = nullptr;
    run->reading = reading_;
  }
  op->closure = std::move(run);
  return op;
}

bool live_state::must_watch() const noexcept { return reads_elsewhere() && (!watched_ || wanted_); }

bool live_state::is_up_to_date() noexcept {
  if (!reads_elsewhere() || reading_->tables == watched_->tables) return true;
  // The schema has changed: what was read is not what was watched meanwhile.
  wanted_ = std::move(reading_);
  return false;
}

task<> live_state::watch(std::shared_ptr<live_state> state) {
  std::shared_ptr<live_reading> found = state->wanted_;
  if (!found) {
    auto look = [sql = state->origin_->sql](worker& at, operation&) { return tables_read(at, sql); };
    call<table_list> looking = make_callable(state->read_, std::move(look), state->origin_->location);
    found = std::make_shared<live_reading>();
    found->tables = co_await std::move(looking);
  }
  auto work = [source = state->source_, found](worker& at, operation& op) {
    detail::watch(at, op, *source, found->tables);
  };
  call<> watching = make_callable(state->write_, std::move(work), state->origin_->location);
  co_await std::move(watching);
  state->watched_ = std::move(found);
  state->wanted_ = nullptr;
}

wait_for_notifier live_state::wait() const noexcept {
  call_site site;
  site.where = source_->signal.get();
  site.timeout = read_.timeout;
  site.stop = read_.stop;
  return wait_for_notifier(site);
}

bool live_state::has_ended() const noexcept { return has_run_ && source_->signal && source_->signal->is_closed(); }

}  // namespace cosqlite::detail
