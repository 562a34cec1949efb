#include "parser.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace http {

parser::parser(limits most) : limits_(most) {
  http_parser_init(&parser_, HTTP_REQUEST);
  parser_.data = this;
}

bool parser::feed(std::string_view bytes) {
  if (status_ != 0) return false;
  const std::size_t used = http_parser_execute(&parser_, &callbacks(), bytes.data(), bytes.size());
  if (HTTP_PARSER_ERRNO(&parser_) != HPE_OK || used != bytes.size()) {
    if (status_ == 0) fail(HTTP_PARSER_ERRNO(&parser_) == HPE_HEADER_OVERFLOW ? 431 : 400);
    return false;
  }
  return true;
}

bool parser::take_expect_continue() { return std::exchange(expect_continue_, false); }

int parser::fail(int status) {
  status_ = status;
  inside_ = false;
  return -1;
}

const http_parser_settings& parser::callbacks() {
  static const http_parser_settings settings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_message_begin = on_begin;
    s.on_url = on_url;
    s.on_header_field = on_field;
    s.on_header_value = on_value;
    s.on_headers_complete = on_headers;
    s.on_body = on_body;
    s.on_message_complete = on_complete;
    return s;
  }();
  return settings;
}

int parser::on_begin(http_parser* p) {
  parser& self = *static_cast<parser*>(p->data);
  self.current_ = request();
  self.target_.clear();
  self.field_.clear();
  self.value_.clear();
  self.in_value_ = false;
  self.header_bytes_ = 0;
  self.inside_ = true;
  return 0;
}

int parser::on_url(http_parser* p, const char* at, std::size_t size) {
  parser& self = *static_cast<parser*>(p->data);
  self.target_.append(at, size);
  return self.target_.size() > self.limits_.header_bytes ? self.fail(414) : 0;
}

int parser::on_field(http_parser* p, const char* at, std::size_t size) {
  parser& self = *static_cast<parser*>(p->data);
  if (self.in_value_) self.end_header();
  self.field_.append(at, size);
  self.header_bytes_ += size;
  return self.header_bytes_ > self.limits_.header_bytes ? self.fail(431) : 0;
}

int parser::on_value(http_parser* p, const char* at, std::size_t size) {
  parser& self = *static_cast<parser*>(p->data);
  self.in_value_ = true;
  self.value_.append(at, size);
  self.header_bytes_ += size;
  return self.header_bytes_ > self.limits_.header_bytes ? self.fail(431) : 0;
}

void parser::end_header() {
  std::transform(field_.begin(), field_.end(), field_.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  std::string& value = current_.headers[field_];
  if (!value.empty()) value += ", ";
  value += value_;
  field_.clear();
  value_.clear();
  in_value_ = false;
}

int parser::on_headers(http_parser* p) {
  parser& self = *static_cast<parser*>(p->data);
  if (self.in_value_) self.end_header();
  self.current_.method = http_method_str(static_cast<http_method>(p->method));
  self.current_.keep_alive = http_should_keep_alive(p) != 0;
  if (p->method == HTTP_CONNECT) return self.fail(405);
  p->upgrade = 0;  // an offer to speak another protocol may be ignored
  if (p->http_major != 1) return self.fail(505);
  const auto host = self.current_.headers.find("host");
  const bool named = host != self.current_.headers.end();
  if (!named && p->http_minor >= 1) return self.fail(400);
  if (named && host->second.find(',') != std::string::npos) return self.fail(400);  // given twice
  if (!self.parse_target()) return self.fail(400);
  if ((p->flags & F_CONTENTLENGTH) != 0 && p->content_length > self.limits_.body_bytes) return self.fail(413);
  const auto expect = self.current_.headers.find("expect");
  self.expect_continue_ = expect != self.current_.headers.end() && expect->second == "100-continue";
  return 0;
}

bool parser::parse_target() {
  const std::size_t mark = target_.find('?');
  const auto path = percent_decode(std::string_view(target_).substr(0, mark), false);
  if (!path || !path->starts_with('/')) return false;
  current_.path = *path;
  if (mark == std::string::npos) return true;
  std::string_view rest = std::string_view(target_).substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    const auto name = percent_decode(pair.substr(0, equals), true);
    const auto value = percent_decode(equals == std::string_view::npos ? "" : pair.substr(equals + 1), true);
    if (!name || !value) return false;
    current_.query[*name] = *value;
  }
  return true;
}

int parser::on_body(http_parser* p, const char* at, std::size_t size) {
  parser& self = *static_cast<parser*>(p->data);
  self.expect_continue_ = false;
  if (self.current_.body.size() + size > self.limits_.body_bytes) return self.fail(413);
  self.current_.body.append(at, size);
  return 0;
}

int parser::on_complete(http_parser* p) {
  parser& self = *static_cast<parser*>(p->data);
  self.inside_ = false;
  self.expect_continue_ = false;
  self.ready_.push_back(std::move(self.current_));
  return 0;
}

}  // namespace http
