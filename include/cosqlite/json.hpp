/// \file
/// JSON documents of nlohmann::json as text. Needs that library; not part of cosqlite.hpp.
#pragma once

#include <cosqlite/adapter.hpp>
#include <cosqlite/detail/decode.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/value.hpp>

#include <nlohmann/json.hpp>

#include <string>

namespace cosqlite {

namespace detail {

template <class Json>
struct json_text {
  static std::string to_sqlite(const Json& document) {
    try {
      return document.dump();
    } catch (const typename Json::type_error&) {
      throw conversion_error("cannot bind a JSON document with a string that is not UTF-8", {20}, -1, "JSON", "TEXT");
    }
  }

  static Json from_sqlite(const value_view& v) {
    if (v.type() != value_type::text) v.refuse("JSON text");
    const std::string_view text = v.raw().text();
    Json document = Json::parse(text.begin(), text.end(), nullptr, false);
    if (document.is_discarded()) v.refuse("JSON: the text is not well-formed");
    return document;
  }
};

}  // namespace detail

/// A document is TEXT that SQLite's JSON functions read; it is read from well-formed TEXT alone. A JSON null is the
/// text `null`; an SQL NULL is `std::nullopt` of `std::optional<nlohmann::json>`.
template <>
struct adapter<nlohmann::json> : detail::json_text<nlohmann::json> {};

/// The same with the order of keys kept.
template <>
struct adapter<nlohmann::ordered_json> : detail::json_text<nlohmann::ordered_json> {};

}  // namespace cosqlite
