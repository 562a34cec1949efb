#include "dump_schema.hpp"

#include "own_statement.hpp"
#include "sql_quoting.hpp"

#include <algorithm>
#include <utility>

namespace cosqlite::detail {

bool is_virtual(const schema_object& o) {
  return o.type == "table" && lower_case(trimmed(o.sql)).starts_with("create virtual");
}

dump_schema::dump_schema(worker& at, operation& op, std::string schema, const std::string& like)
    : at_(at), op_(op), schema_(std::move(schema)) {
  own_statement all(at_, op_,
                    "SELECT type, name, tbl_name, sql FROM " + quoted_name(schema_) + ".sqlite_schema ORDER BY rowid");
  while (all.step()) objects_.push_back({all.text(0), all.text(1), all.text(2), all.text(3)});
  own_statement kinds(at_, op_, "PRAGMA " + quoted_name(schema_) + ".table_list");
  while (kinds.step()) {
    const std::string n = kinds.text(1);
    if (kinds.text(2) == "shadow") shadows_.insert(lower_case(n));
    if (kinds.integer(4) != 0) without_rowid_.insert(lower_case(n));
  }
  own_statement match(at_, op_,
                      "SELECT name FROM " + quoted_name(schema_) + ".sqlite_schema WHERE ?1 = '' OR name LIKE ?1");
  match.with(like);
  while (match.step()) wanted_.insert(lower_case(match.text(0)));
}

bool dump_schema::wanted(const std::string& name) const {
  const std::string n = lower_case(name);
  return wanted_.contains(n) && !shadows_.contains(n) && !n.starts_with("sqlite_");
}

bool dump_schema::has_table(std::string_view table) const {
  return std::ranges::any_of(objects_,
                             [table](const schema_object& o) { return o.type == "table" && o.name == table; });
}

bool dump_schema::has_shadow(const std::string& table, const char* suffix) const {
  return shadows_.contains(lower_case(table) + suffix);
}

bool dump_schema::has_any_shadow(const std::string& table) const {
  const std::string prefix = lower_case(table) + "_";
  return std::ranges::any_of(shadows_, [&prefix](const std::string& s) { return s.starts_with(prefix); });
}

std::vector<table_column> dump_schema::columns_of(const std::string& table) const {
  own_statement s(at_, op_, "PRAGMA " + quoted_name(schema_) + ".table_xinfo(" + quoted_text(table) + ")");
  std::vector<table_column> columns;
  while (s.step()) {
    columns.push_back({s.text(1), s.text(2), static_cast<int>(s.integer(5)), static_cast<int>(s.integer(6))});
  }
  return columns;
}

std::string dump_schema::hidden_rowid(const std::string& table, const std::vector<table_column>& columns) const {
  if (without_rowid_.contains(lower_case(table))) return {};
  const auto keys = std::ranges::count_if(columns, [](const table_column& c) { return c.primary_key > 0; });
  const auto key = std::ranges::find_if(columns, [](const table_column& c) { return c.primary_key > 0; });
  if (keys == 1 && same_name(key->type, "INTEGER")) {
    own_statement indexes(at_, op_, "PRAGMA " + quoted_name(schema_) + ".index_list(" + quoted_text(table) + ")");
    bool own_index = false;
    while (indexes.step()) own_index = own_index || indexes.text(3) == "pk";
    if (!own_index) return {};
  }
  for (const char* candidate : {"rowid", "_rowid_", "oid"}) {
    const bool taken =
        std::ranges::any_of(columns, [&](const table_column& c) { return same_name(c.name, candidate); });
    if (!taken) return candidate;
  }
  return {};
}

std::string dump_schema::pragma(const std::string& name) const {
  own_statement s(at_, op_, "PRAGMA " + quoted_name(schema_) + "." + name);
  return s.step() ? s.text(0) : std::string();
}

}  // namespace cosqlite::detail
