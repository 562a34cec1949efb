// The service: which request does what, in JSON.
#pragma once

#include "../http/message.hpp"
#include "../http/session.hpp"
#include <cosqlite/pool.hpp>
#include <cosqlite/task.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

namespace users {

/// Answers requests from a pool that others open and close. Each request borrows what it needs, under a deadline that
/// covers everything that it asks of the database, and under the token of its client.
class service {
 public:
  service(cosqlite::pool& db, std::chrono::milliseconds deadline) : db_(db), deadline_(deadline) {}

  /// For the metrics page.
  void watch(const http::counters& count) { counters_ = &count; }

  cosqlite::task<http::response> operator()(const http::request& r, std::stop_token gone);

 private:
  using limited = cosqlite::limited_pool;

  cosqlite::task<http::response> collection(const http::request& r, limited db);
  cosqlite::task<http::response> one(const http::request& r, limited db, std::string id);
  cosqlite::task<http::response> search(const http::request& r, limited db);
  cosqlite::task<http::response> create(const http::request& r, limited db);
  cosqlite::task<http::response> health(const http::request& r, limited db);
  http::response metrics(const http::request& r) const;

  cosqlite::pool& db_;
  std::chrono::milliseconds deadline_;
  const http::counters* counters_ = nullptr;
};

}  // namespace users
