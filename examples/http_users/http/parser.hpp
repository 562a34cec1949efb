// Turns the bytes of a connection into requests.
#pragma once

#include "message.hpp"

#include <http_parser.h>

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace http {

struct limits {
  std::size_t header_bytes = 16 * 1024;
  std::size_t body_bytes = 64 * 1024;
};

/// Feeds on bytes as they arrive, in pieces of any size, and holds the requests that are complete.
class parser {
 public:
  explicit parser(limits most);
  parser(const parser&) = delete;
  parser& operator=(const parser&) = delete;

  /// False: the bytes are no HTTP, or more than the limits allow; status() says which, and nothing more can be read.
  bool feed(std::string_view bytes);
  /// 400, 413, 431, … after a failure, otherwise 0.
  int status() const { return status_; }
  std::deque<request>& ready() { return ready_; }
  /// Whether a request has begun that is not complete.
  bool inside_request() const { return inside_; }
  /// Whether the client waits for "100 Continue" before it sends the body; asked once.
  bool take_expect_continue();

 private:
  static int on_begin(http_parser* p);
  static int on_url(http_parser* p, const char* at, std::size_t size);
  static int on_field(http_parser* p, const char* at, std::size_t size);
  static int on_value(http_parser* p, const char* at, std::size_t size);
  static int on_headers(http_parser* p);
  static int on_body(http_parser* p, const char* at, std::size_t size);
  static int on_complete(http_parser* p);
  static const http_parser_settings& callbacks();

  int fail(int status);
  bool parse_target();
  void end_header();

  http_parser parser_{};
  limits limits_;
  std::deque<request> ready_;
  request current_;
  std::string target_;
  std::string field_;
  std::string value_;
  bool in_value_ = false;
  bool inside_ = false;
  bool expect_continue_ = false;
  std::size_t header_bytes_ = 0;
  int status_ = 0;
};

}  // namespace http
