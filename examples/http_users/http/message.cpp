#include "message.hpp"

#include <http_parser.h>
#include <nlohmann/json.hpp>

#include <array>
#include <ctime>
#include <string>

namespace http {

std::string_view reason(int status) {
  switch (status) {
#define HTTP_REASON(number, name, text) \
  case number: return #text;
    HTTP_STATUS_MAP(HTTP_REASON)
#undef HTTP_REASON
    default: return "Unknown";
  }
}

response error_response(int status, std::string_view message) {
  nlohmann::json body;
  body["error"] = message;
  return response(status, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

namespace {

// The date changes once a second, and is asked for with every response.
const std::string& date() {
  static std::time_t made_at = 0;
  static std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != made_at) {
    std::array<char, 64> buffer{};
    std::tm parts{};
    gmtime_r(&now, &parts);
    text.assign(buffer.data(), std::strftime(buffer.data(), buffer.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts));
    made_at = now;
  }
  return text;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string serialize(const response& r, bool keep_alive, bool head_only) {
  std::string bytes;
  bytes.reserve(256 + r.body.size());
  bytes.append("HTTP/1.1 ").append(std::to_string(r.status)).append(" ").append(reason(r.status)).append("\r\n");
  bytes.append("Date: ").append(date()).append("\r\n");
  if (r.status != 204) {
    bytes.append("Content-Type: ").append(r.content_type).append("\r\n");
    bytes.append("Content-Length: ").append(std::to_string(r.body.size())).append("\r\n");
  }
  for (const auto& [name, value] : r.headers) bytes.append(name).append(": ").append(value).append("\r\n");
  bytes.append(keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
  if (r.status != 204 && !head_only) bytes.append(r.body);
  return bytes;
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex(text[i + 1]);
      const int low = hex(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

}  // namespace http
