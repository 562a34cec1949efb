#include "support/catch.hpp"
#include "support/on_loop.hpp"
#include <cosqlite/cosqlite.hpp>
#include <cosqlite/json.hpp>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

using cosqlite::connection;
using cosqlite::conversion_error;
using cosqlite::task;
using nlohmann::json;
using support::contains;
using support::failure_of;
using support::on_loop;

namespace {

struct document {
  int id;
  json body;
  std::optional<json> extra;
};

}  // namespace

TEST_CASE("JSON documents are text that SQLite's JSON functions read") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    co_await db.execute("CREATE TABLE documents(id INTEGER PRIMARY KEY, body TEXT NOT NULL, extra TEXT) STRICT");
    json body = json::parse(R"({"name": "Ada", "tags": ["a", "ü"], "age": 36, "none": null})");
    co_await db.execute("INSERT INTO documents VALUES (1, ?, ?)", body, std::optional<json>());
    const auto name = co_await db.query_one<std::string>(
        "SELECT body ->> '$.name' || json_array_length(body, '$.tags') FROM documents");
    CHECK(name == "Ada2");
    const document found = co_await db.query_one<document>("SELECT * FROM documents");
    CHECK(found.body == body);
    CHECK_FALSE(found.extra.has_value());
    const json made = co_await db.query_one<json>("SELECT json_object('a', json_array(1, 2.5, NULL))");
    CHECK(made["a"].size() == 3);
    using pair = std::tuple<json, std::optional<json>>;
    const std::vector<pair> all = co_await db.query<pair>("SELECT body, 'null' FROM documents");
    REQUIRE(all.size() == 1);
    CHECK(std::get<1>(all[0])->is_null());
    const cosqlite::rows untyped = co_await db.query("SELECT body FROM documents");
    CHECK(untyped[0].get<json>(0)["age"] == 36);
  });
}

TEST_CASE("a JSON string, number or null binds as a document, not as a plain value") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    const json word = "x";
    const json nothing = nullptr;
    const json number = 7;
    const auto text = co_await db.query_one<std::string>("SELECT ?1 || ?2 || ?3 || typeof(?3)", word, nothing, number);
    CHECK(text == "\"x\"null7text");
  });
}

TEST_CASE("ordered JSON keeps its keys in order") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    const auto d = co_await db.query_one<nlohmann::ordered_json>("SELECT '{\"z\": 1, \"a\": 2}'");
    CHECK(d.dump() == "{\"z\":1,\"a\":2}");
  });
}

TEST_CASE("text that is not JSON, and JSON that is not UTF-8, are conversion errors without the text") {
  on_loop([]() -> task<> {
    connection db = co_await cosqlite::open(":memory:");
    const conversion_error e = co_await failure_of<conversion_error>(db.query_one<json>("SELECT ? AS body", "{secret"));
    CHECK(contains(e.what(), "column 0 (body), which is TEXT, as JSON"));
    CHECK_FALSE(contains(e.what(), "secret"));
    co_await failure_of<conversion_error>(db.query_one<json>("SELECT x'7b7d'"));
    co_await failure_of<conversion_error>(db.query_one<json>("SELECT ''"));
    const json bad = "\xff";
    CHECK_THROWS_AS(db.execute("SELECT ?", bad), conversion_error);
  });
}
