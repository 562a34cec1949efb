#include "handlers.hpp"

#include "store.hpp"

#include <nlohmann/json.hpp>

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace users {

using cosqlite::task;
using http::error_response;
using http::request;
using http::response;
using nlohmann::json;

namespace {

json to_json(const user& u) {
  json j;
  j["id"] = u.id;
  j["email"] = u.email;
  j["name"] = u.name;
  j["created_at"] = u.created_at;
  j["profile"]["bio"] = u.bio;
  if (u.city) {
    j["profile"]["city"] = *u.city;
  } else {
    j["profile"]["city"] = nullptr;
  }
  return j;
}

std::string dump(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

response list_response(const std::vector<user>& found) {
  json j;
  j["users"] = json::array();
  for (const user& u : found) j["users"].push_back(to_json(u));
  return response(200, dump(j));
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t n = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (failure != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return n;
}

/// A number from the query, within bounds; nothing when the client wrote something else.
std::optional<std::int64_t> parameter(const request& r, const std::string& name, std::int64_t otherwise,
                                      std::int64_t least, std::int64_t most) {
  const auto given = r.query.find(name);
  if (given == r.query.end()) return otherwise;
  const auto n = number(given->second);
  return n && *n >= least && *n <= most ? n : std::nullopt;
}

/// A member of the body as text. Nothing when it is missing, no text, too short or too long.
std::optional<std::string> text_member(const json& body, const char* name, std::size_t least, std::size_t most) {
  const auto member = body.find(name);
  if (member == body.end() || !member->is_string()) return std::nullopt;
  auto text = member->get<std::string>();
  if (text.size() < least || text.size() > most) return std::nullopt;
  return text;
}

/// What is wrong with the body, or nothing.
std::optional<std::string> read_user(const json& body, new_user& u) {
  if (!body.is_object()) return "an object is expected";
  const auto email = text_member(body, "email", 3, 254);
  if (!email || email->find('@') == std::string::npos) return "email must be an address of at most 254 bytes";
  const auto name = text_member(body, "name", 1, 200);
  if (!name) return "name must be text of 1 to 200 bytes";
  u.email = *email;
  u.name = *name;
  if (body.contains("bio")) {
    const auto bio = text_member(body, "bio", 0, 10'000);
    if (!bio) return "bio must be text of at most 10000 bytes";
    u.bio = *bio;
  }
  if (body.contains("city") && !body["city"].is_null()) {
    u.city = text_member(body, "city", 1, 200);
    if (!u.city) return "city must be null or text of 1 to 200 bytes";
  }
  return std::nullopt;
}

response not_allowed(const char* allowed) {
  response r = error_response(405, "method not allowed");
  r.headers["Allow"] = allowed;
  return r;
}

bool reads(const request& r) { return r.method == "GET" || r.method == "HEAD"; }

}  // namespace

task<response> service::operator()(const request& r, std::stop_token gone) {
  response answer = error_response(404, "not found");
  limited db = db_.with(std::move(gone), deadline_);
  if (r.path == "/users") {
    answer = co_await collection(r, db);
  } else if (r.path == "/users/search") {
    answer = co_await search(r, db);
  } else if (r.path.starts_with("/users/")) {
    answer = co_await one(r, db, r.path.substr(7));
  } else if (r.path == "/health") {
    answer = co_await health(r, db);
  } else if (r.path == "/metrics") {
    answer = metrics(r);
  }
  co_return answer;
}

task<response> service::collection(const request& r, limited db) {
  response answer = not_allowed("GET, HEAD, POST");
  if (r.method == "POST") {
    answer = co_await create(r, db);
  } else if (reads(r)) {
    const auto limit = parameter(r, "limit", 20, 1, 100);
    const auto after = parameter(r, "after", 0, 0, INT64_MAX);
    if (!limit || !after) co_return error_response(400, "limit is 1 to 100, after the number of a user");
    const auto found = co_await users::list(db, *after, *limit);
    answer = list_response(found);
  }
  co_return answer;
}

task<response> service::search(const request& r, limited db) {
  if (!reads(r)) co_return not_allowed("GET, HEAD");
  const auto text = r.query.find("q");
  const auto limit = parameter(r, "limit", 20, 1, 100);
  if (text == r.query.end() || text->second.empty())
    co_return error_response(400, "q, the text to search for, is missing");
  if (!limit) co_return error_response(400, "limit is 1 to 100");
  const auto found = co_await users::search(db, text->second, *limit);
  co_return list_response(found);
}

task<response> service::create(const request& r, limited db) {
  const json body = json::parse(r.body, nullptr, false);
  if (body.is_discarded()) co_return error_response(400, "the body is no JSON");
  new_user u;
  if (const auto complaint = read_user(body, u)) co_return error_response(422, *complaint);
  try {
    const user added = co_await users::create(db, u);
    response answer(201, dump(to_json(added)));
    answer.headers["Location"] = "/users/" + std::to_string(added.id);
    co_return answer;
  } catch (const cosqlite::constraint_error& e) {
    if (e.name() != "SQLITE_CONSTRAINT_UNIQUE") throw;
  }
  co_return error_response(409, "a user with this email exists");
}

task<response> service::one(const request& r, limited db, std::string id) {
  const auto n = number(id);
  if (!n) co_return error_response(404, "no such user");
  if (r.method == "DELETE") {
    const bool removed = co_await users::remove(db, *n);
    if (removed) co_return response(204);
  } else if (reads(r)) {
    const auto found = co_await users::find(db, *n);
    if (found) co_return response(200, dump(to_json(*found)));
  } else {
    co_return not_allowed("DELETE, GET, HEAD");
  }
  co_return error_response(404, "no such user");
}

task<response> service::health(const request& r, limited db) {
  if (!reads(r)) co_return not_allowed("GET, HEAD");
  const int one = co_await db.query_one<int>("SELECT 1");
  co_return response(one == 1 ? 200 : 500, "{\"status\":\"ok\"}");
}

response service::metrics(const request& r) const {
  if (!reads(r)) return not_allowed("GET, HEAD");
  std::string text;
  const auto line = [&text](std::string_view name, auto number) {
    text.append(name).append(" ").append(std::to_string(number)).append("\n");
  };
  if (counters_ != nullptr) {
    line("http_connections_open", counters_->open);
    line("http_connections_accepted_total", counters_->accepted);
    line("http_connections_refused_total", counters_->refused);
    line("http_requests_total", counters_->requests);
    line("http_requests_in_progress", counters_->busy);
    line("http_requests_cancelled_total", counters_->cancelled);
    for (std::size_t i = 2; i < counters_->by_class.size(); ++i) {
      line("http_responses_total{class=\"" + std::to_string(i) + "xx\"}", counters_->by_class[i]);
    }
  }
  const cosqlite::pool_stats pool = db_.stats();
  line("pool_readers", pool.readers);
  line("pool_in_use", pool.in_use);
  line("pool_waiting", pool.waiting);
  line("pool_reads_total", pool.reads);
  line("pool_writes_total", pool.writes);
  line("pool_wait_seconds_total", std::chrono::duration<double>(pool.wait).count());
  line("pool_run_seconds_total", std::chrono::duration<double>(pool.run).count());
  return response(200, text, "text/plain; version=0.0.4");
}

}  // namespace users
