#include "engine/bridge.hpp"
#include "engine/opening.hpp"
#include "engine/worker.hpp"
#include <cosqlite/connection.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/run.hpp>

namespace cosqlite {

namespace detail {

namespace {

void run_open(worker& at, operation& op) {
  at.open(op);
  emplace_result<connection>(op, ref<worker>(&at));
}

void run_close(worker&, operation&) {}

constexpr operation_type open_operation{.run = &run_open, .destroy_result = &destroy_result<connection>, .opens = true};
void run_open_bare(worker& at, operation& op) { at.open(op); }

constexpr operation_type open_bare_operation{.run = &run_open_bare, .opens = true};
constexpr operation_type close_operation{.run = &run_close, .closes = true};
constexpr operation_type drop_operation{.run = &run_close, .urgent = true, .closes = true};

std::vector<column> columns_of(sqlite3_stmt* stmt) {
  const auto text = [](const char* s) { return std::string(s ? s : ""); };
  std::vector<column> columns;
  for (int i = 0; i < sqlite3_column_count(stmt); ++i) {
    column& c = columns.emplace_back();
    c.name = text(sqlite3_column_name(stmt, i));
    c.declared_type = text(sqlite3_column_decltype(stmt, i));
    c.schema = text(sqlite3_column_database_name(stmt, i));
    c.table = text(sqlite3_column_table_name(stmt, i));
    c.origin = text(sqlite3_column_origin_name(stmt, i));
  }
  return columns;
}

std::vector<std::string> parameters_of(sqlite3_stmt* stmt) {
  std::vector<std::string> names;
  for (int i = 1; i <= sqlite3_bind_parameter_count(stmt); ++i) {
    const char* name = sqlite3_bind_parameter_name(stmt, i);
    names.emplace_back(name ? name : "");
  }
  return names;
}

}  // namespace

call<statement> prepare(const call_site& site, const sql_text& sql) {
  auto work = [site](worker& at, operation& op) {
    std::shared_ptr<prepared> p = at.look_up(op);
    return statement(site, p, columns_of(p->stmt), parameters_of(p->stmt));
  };
  using kind = callable_type<decltype(work), statement>;
  operation_ref op = make_operation(site, kind::type, sql);
  op->closure = std::make_unique<callable_holder<decltype(work)>>(std::move(work));
  return call<statement>(std::move(op));
}

}  // namespace detail

connection::connection() noexcept = default;
connection::connection(detail::ref<detail::worker> worker) noexcept : worker_(std::move(worker)) {}
connection::connection(connection&&) noexcept = default;

connection& connection::operator=(connection&& other) noexcept {
  if (this == &other) return *this;
  drop();
  worker_ = std::move(other.worker_);
  return *this;
}

connection::~connection() { drop(); }

void connection::drop() noexcept {
  if (!worker_ || !worker_->accepts_calls() || detail::is_forked_child()) return;
  worker_->refuse_calls();
  worker_->abort();
  detail::call_site site;
  site.where = worker_.get();
  detail::start_detached(detail::make_operation(site, detail::drop_operation));
}

detail::call_site connection::site() const noexcept {
  detail::call_site s;
  s.where = worker_.get();
  return s;
}

limited_connection connection::with(std::chrono::nanoseconds timeout) const { return with(std::stop_token(), timeout); }

limited_connection connection::with(std::stop_token stop) const {
  return with(std::move(stop), std::chrono::nanoseconds(0));
}

limited_connection connection::with(std::stop_token stop, std::chrono::nanoseconds timeout) const {
  detail::call_site s = site();
  s.stop = std::move(stop);
  s.timeout = timeout;
  return limited_connection(std::move(s));
}

void connection::interrupt() noexcept {
  if (worker_) worker_->interrupt();
}

bool connection::is_open() const noexcept { return worker_ && worker_->accepts_calls(); }

namespace {

/// Refuses calls from the moment that it is awaited.
struct closing {
  static detail::operation_ref make(const detail::call_site& site, const std::source_location& where) {
    detail::operation_ref op = detail::make_operation(site, detail::close_operation);
    op->location = where;
    return op;
  }
};

}  // namespace

call<> connection::close(std::source_location where) {
  if (worker_) return call<>(closing::make(site(), where));
  return call<>(closing::make({}, where));
}

namespace detail {

operation_ref make_opening(std::string path, const open_options& options, const std::source_location& where,
                           ref<worker>& at, bool bare) {
  if (path.find('\0') != std::string::npos) {
    throw misuse_error("the path of a database cannot have a NUL character in it", {21, {}, where});
  }
  ref<bridge> to = bridge::of(options.loop ? options.loop : this_loop());
  at = ref<worker>::adopt(new worker(std::move(to), std::move(path), options));
  call_site site;
  site.where = at.get();
  operation_ref op = make_operation(site, bare ? open_bare_operation : open_operation);
  op->location = where;
  return op;
}

}  // namespace detail

call<connection> open(std::string path, open_options options, std::source_location where) {
  detail::ref<detail::worker> at;
  return call<connection>(detail::make_opening(std::move(path), options, where, at));
}

}  // namespace cosqlite
