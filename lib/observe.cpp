#include "engine/abilities.hpp"
#include "engine/change_tracker.hpp"
#include "engine/hook_set.hpp"
#include "engine/notifier.hpp"
#include <cosqlite/observe.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cosqlite::detail {

namespace {

using table_id = std::pair<std::string, std::string>;  // schema, table

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

/// What the statement reads, views resolved, as the authorizer hears it.
std::vector<table_id> tables_read(worker& at, const operation& op) {
  auto& hooks = at.extend<hook_set>();
  std::vector<table_id> tables;
  authorizer_listener* before = std::exchange(at.authorizer, &hooks);
  hooks.tables_read = &tables;
  sqlite3_stmt* stmt = nullptr;
  sqlite3_prepare_v2(at.db(), op.sql.c_str(), static_cast<int>(op.sql.size() + 1), &stmt, nullptr);
  sqlite3_finalize(stmt);
  hooks.tables_read = nullptr;
  at.authorizer = before;
  at.take_callback_error();  // the run itself meets it again
  std::ranges::sort(tables);
  tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
  return tables;
}

bool is_virtual(sqlite3* db, const table_id& table) {
  sqlite3_stmt* stmt = nullptr;
  sqlite3_prepare_v2(db, "SELECT 1 FROM pragma_table_list WHERE schema = ? AND name = ? AND type = 'virtual'", -1,
                     &stmt, nullptr);
  sqlite3_bind_text(stmt, 1, table.first.c_str(), -1, SQLITE_STATIC);
  sqlite3_bind_text(stmt, 2, table.second.c_str(), -1, SQLITE_STATIC);
  const bool found = sqlite3_step(stmt) == SQLITE_ROW;
  sqlite3_finalize(stmt);
  return found;
}

/// Wakes a live query when what it reads has been committed to.
class live_signal final : public notifier, public row_sink {
 public:
  using notifier::notifier;

  /// Watches \p tables, from now on.
  void watch(std::vector<table_id> tables, sqlite3* db) {
    tables_ = std::move(tables);
    for (const table_id& t : tables_) {
      if (!virtual_.contains(t)) virtual_.emplace(t, is_virtual(db, t));
    }
    const std::lock_guard lock(mutex_);
    touched_ = false;
  }
  [[nodiscard]] const std::vector<table_id>& tables() const noexcept { return tables_; }
  [[nodiscard]] bool is_closed() noexcept {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

  bool wants(const table_name& table) noexcept override {
    return std::ranges::any_of(tables_, [&](const table_id& t) {
      if (t.first != table.schema) return false;
      if (t.second == table.table) return true;
      // A virtual table keeps its rows in tables of its own.
      return virtual_[t] && table.table.size() > t.second.size() && table.table.starts_with(t.second) &&
             table.table[t.second.size()] == '_';
    });
  }
  void add(const row_event&, const table_name&, sqlite3*) noexcept override { ++rows_; }
  [[nodiscard]] position now() const noexcept override { return {rows_, 0}; }
  void go_back(position to) noexcept override { rows_ = to.kept; }
  void publish() noexcept override {
    if (std::exchange(rows_, 0) == 0) return;
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

  std::vector<table_id> tables_;
  std::map<table_id, bool> virtual_;
  std::size_t rows_ = 0;
  bool touched_ = false;
};

}  // namespace

/// Shared by the query on the loop's thread and its runs. The signal is made by the first run, on the worker.
class live_source {
 public:
  ref<live_signal> signal;
};

namespace {

struct live_run final : holder {
  std::shared_ptr<live_source> source;
};

void start_watching(worker& at, operation& op, live_source& source) {
  auto& tracker = at.extend<change_tracker>();
  if (!source.signal) {
    auto& hooks = at.extend<hook_set>();
    const bool precise = has_preupdate_hook() && hooks.sessions == 0;
    source.signal = ref<live_signal>::adopt(new live_signal(at));
    source.signal->watch(tables_read(at, op), at.db());
    tracker.add(*source.signal, source.signal,
                precise ? row_source_kind::preupdate_hook : row_source_kind::update_hook);
    return;
  }
  const std::vector<table_id> before = source.signal->tables();
  source.signal->watch(tables_read(at, op), at.db());
  if (source.signal->tables() != before) tracker.ask_again(*source.signal);
}

}  // namespace

void run_observed(worker& at, operation& op) {
  start_watching(at, op, *static_cast<live_run&>(*op.closure).source);
  run_statement(at, op);
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

live_state::live_state(const call_site& site, operation_ref origin)
    : site_(site), where_(site.where), origin_(std::move(origin)), source_(std::make_shared<live_source>()) {}

live_state::~live_state() {
  // A run that nobody waits for any more may still be using it: it is let go of where it is used.
  auto work = [source = source_](worker& at, operation&) {
    const ref<live_signal> signal = std::move(source->signal);
    auto* tracker = at.extended<change_tracker>();
    if (signal && tracker) tracker->remove(*signal);
  };
  using kind = callable_type<decltype(work), void>;
  call_site site;
  site.where = where_.get();
  operation_ref op = make_operation(site, kind::urgent);
  op->closure = std::make_unique<callable_holder<decltype(work)>>(std::move(work));
  start_detached(std::move(op));
}

operation_ref live_state::make_run(const operation_type& type) {
  operation_ref op = make_operation(site_, type);
  op->sql = origin_->sql;
  op->location = origin_->location;
  copy_arguments(origin_->args, op->args);
  auto run = std::make_unique<live_run>();
  run->source = source_;
  op->closure = std::move(run);
  return op;
}

wait_for_notifier live_state::wait() const noexcept {
  call_site site;
  site.where = source_->signal.get();
  site.timeout = site_.timeout;
  site.stop = site_.stop;
  return wait_for_notifier(site);
}

bool live_state::has_ended() const noexcept { return has_run_ && source_->signal && source_->signal->is_closed(); }

}  // namespace cosqlite::detail
