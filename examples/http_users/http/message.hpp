// Requests and responses of HTTP/1.1, as the handlers see them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace http {

struct request {
  std::string method;
  std::string path;                            // decoded, without the query
  std::map<std::string, std::string> query;    // decoded; of a name given twice the last
  std::map<std::string, std::string> headers;  // names in lower case; of a name given twice the values joined by ", "
  std::string body;
  bool keep_alive = true;
};

struct response {
  response(int code = 200, std::string text = {}, std::string type = "application/json")
      : status(code), body(std::move(text)), content_type(std::move(type)) {}

  int status;
  std::string body;
  std::string content_type;
  std::map<std::string, std::string> headers;  // besides Content-Type, Content-Length, Connection and Date
};

/// The reason phrase of a status, such as "Not Found".
std::string_view reason(int status);

/// `{"error": "…"}` with that status.
response error_response(int status, std::string_view message);

/// The bytes to send.
std::string serialize(const response& r, bool keep_alive, bool head_only);

/// Undoes %XX and, in a query, "+". Nothing when the text is malformed.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

}  // namespace http
