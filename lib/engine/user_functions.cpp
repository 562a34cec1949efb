#include "engine/user_functions.hpp"

#include <cosqlite/error.hpp>
#include <cosqlite/function.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace cosqlite::detail {

void result_sink::null() { sqlite3_result_null(to_); }
void result_sink::integer(std::int64_t v) { sqlite3_result_int64(to_, v); }
void result_sink::real(double v) { sqlite3_result_double(to_, v); }

void result_sink::text(std::string_view v) {
  sqlite3_result_text64(to_, v.data() ? v.data() : "", v.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void result_sink::blob(std::span<const std::byte> v) {
  if (v.empty()) return zeros(0);
  sqlite3_result_blob64(to_, v.data(), v.size(), SQLITE_TRANSIENT);
}

void result_sink::zeros(std::uint64_t n) {
  if (sqlite3_result_zeroblob64(to_, n) != SQLITE_OK) sqlite3_result_error_toobig(to_);
}

void result_sink::pointer(std::shared_ptr<void>, const char*) {
  throw misuse_error("the result of the SQL function " + std::string(function_) + " cannot be a list", {SQLITE_MISUSE});
}

void result_sink::name(std::string_view) {
  throw misuse_error("the result of the SQL function " + std::string(function_) + " cannot be a named argument",
                     {SQLITE_MISUSE});
}

std::string describe_exception(std::string_view function, std::string_view method) {
  std::string text(function);
  if (!method.empty()) text.append(", ").append(method);
  text += ": ";
  try {
    throw;
  } catch (const std::exception& e) {
    return text + e.what();
  } catch (...) {
    return text + "an exception that is no std::exception";
  }
}

void report_exception(worker& at, sqlite3_context* to, std::string_view function, std::string_view method) noexcept {
  at.callback_threw(std::current_exception());
  try {
    const std::string text = describe_exception(function, method);
    sqlite3_result_error(to, text.data(), static_cast<int>(text.size()));
  } catch (...) {
    sqlite3_result_error_nomem(to);
  }
}

namespace {

std::string lower(std::string name) {
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

}  // namespace

void user_functions::add(registered kind, const std::string& name, int arguments) {
  const std::string key = lower(name);
  const auto same = [&](const entry& e) { return e.kind == kind && e.name == key && e.arguments == arguments; };
  if (std::ranges::none_of(entries_, same)) entries_.push_back({kind, key, arguments});
}

std::vector<int> user_functions::take(registered kind, const std::string& name) {
  const std::string key = lower(name);
  std::vector<int> taken;
  std::erase_if(entries_, [&](const entry& e) {
    if (e.kind != kind || e.name != key) return false;
    taken.push_back(e.arguments);
    return true;
  });
  return taken;
}

void check_name(const std::string& name, std::string_view what, const std::source_location& where) {
  if (name.empty()) throw misuse_error("the " + std::string(what) + " needs a name", {SQLITE_MISUSE, {}, where});
  if (name.find('\0') == std::string::npos) return;
  throw misuse_error("the name of the " + std::string(what) + " has a NUL character in it", {SQLITE_MISUSE, {}, where});
}

void check_registration(worker& at, const operation& op, int rc, const std::string& doing) {
  if (rc == SQLITE_OK) return;
  if ((rc & 0xff) == SQLITE_BUSY) {
    throw busy_error("cannot " + doing + " while a statement of this connection runs: close its streams first",
                     {rc, {}, op.location});
  }
  throw_sqlite_error(at.db(), rc, {}, op.location, doing);
}

void throw_not_registered(const std::string& name, std::string_view what, const std::source_location& where) {
  throw misuse_error("this connection has no " + std::string(what) + " of its own named " + name,
                     {SQLITE_MISUSE, {}, where});
}

int function_flags(const function_options& options) noexcept {
  int flags = SQLITE_UTF8;
  if (options.deterministic) flags |= SQLITE_DETERMINISTIC;
  if (options.direct_only) flags |= SQLITE_DIRECTONLY;
  if (options.innocuous) flags |= SQLITE_INNOCUOUS;
  return flags;
}

// ---------------------------------------------------------------------------------------------------------- arguments

void throw_argument(const conversion_error& e, std::string_view function, std::size_t index) {
  const worker* at = this_worker();
  const operation* op = at ? at->current() : nullptr;
  error::details d{SQLITE_MISMATCH};
  if (op) {
    d.sql = sql_of(*op);
    d.where = op->location;
  }
  const bool too_large = e.from() == "INTEGER" &&
                         (e.to().find("integer") != std::string::npos || e.to().find("number") != std::string::npos);
  throw conversion_error("argument " + std::to_string(index + 1) + " of the SQL function " + std::string(function) +
                             " is " + e.from() + (too_large ? ", which does not fit " : ", which cannot be read as ") +
                             e.to(),
                         std::move(d), static_cast<int>(index), e.from(), e.to());
}

void throw_too_few_arguments(const argument_list& from, std::size_t wanted) {
  throw misuse_error("the SQL function " + std::string(from.function) + " takes at least " + std::to_string(wanted) +
                         (wanted == 1 ? " argument, " : " arguments, ") + std::to_string(from.values.size()) + " given",
                     {SQLITE_ERROR});
}

argument_copy::argument_copy(const argument_list& from) : function_(from.function) {
  cells_.reserve(from.values.size());
  for (const value_view& v : from.values) cells_.add(v.raw());
  cells_.seal();
  views_.reserve(from.values.size());
  for (const cell& c : cells_.cells()) views_.emplace_back(c);
}

argument_copy::~argument_copy() = default;

}  // namespace cosqlite::detail
