#include "dump_plan.hpp"

#include "dump_schema.hpp"
#include "module_call.hpp"
#include "own_statement.hpp"
#include "sql_quoting.hpp"
#include "sql_value.hpp"
#include <cosqlite/error.hpp>

#include <optional>
#include <utility>

namespace cosqlite::detail {

namespace {

std::string ended(const std::string& sql) {
  const auto last_line = sql.find_last_of('\n');
  const bool comment = sql.find("--", last_line == std::string::npos ? 0 : last_line) != std::string::npos;
  return sql + (comment ? "\n;" : ";");
}

/// Collects the steps.
class planner {
 public:
  planner(worker& at, operation& op, const std::string& like, const std::string& schema)
      : at_(at), op_(op), like_(like), schema_(at, op, schema, like) {}

  std::vector<dump_step> plan() {
    if (const std::string encoding = schema_.pragma("encoding"); encoding != "UTF-8")
      say("PRAGMA encoding = '" + encoding + "';");
    say("PRAGMA foreign_keys=OFF;");
    say("BEGIN TRANSACTION;");
    for (const char* p : {"application_id", "user_version"}) {
      const std::string v = schema_.pragma(p);
      if (like_.empty() && v != "0") say(std::string("PRAGMA ") + p + "=" + v + ";");
    }
    for (const schema_object& o : schema_.objects()) {
      if (o.type == "table" && !is_virtual(o) && schema_.wanted(o.name)) add_table(o);
    }
    for (const schema_object& o : schema_.objects()) {
      if (is_virtual(o) && schema_.wanted(o.name)) add_virtual_table(o);
    }
    add_sequences();
    add_others("index");
    add_others("view");
    add_others("trigger");
    for (std::string& s : rebuilds_) say(std::move(s));
    add_statistics();
    say("COMMIT;");
    return std::move(steps_);
  }

 private:
  void say(std::string text) { steps_.push_back({std::move(text), {}}); }
  [[nodiscard]] std::string in_schema(std::string_view table) const {
    return quoted_name(schema_.name()) + "." + quoted_name(table);
  }

  void add_rows(const std::string& table, const std::vector<std::string>& columns) {
    std::string list;
    for (const std::string& c : columns) list += (list.empty() ? "" : ",") + c;
    steps_.push_back({"INSERT INTO " + quoted_name(table) + "(" + list + ") VALUES(",
                      "SELECT " + list + " FROM " + in_schema(table)});
  }

  void add_table(const schema_object& o) {
    say(ended(o.sql));
    const std::vector<table_column> columns = schema_.columns_of(o.name);
    std::vector<std::string> names;
    if (std::string rowid = schema_.hidden_rowid(o.name, columns); !rowid.empty()) names.push_back(std::move(rowid));
    for (const table_column& c : columns) {
      if (c.hidden == 0) names.push_back(quoted_name(c.name));
    }
    add_rows(o.name, names);
  }

  void add_virtual_table(const schema_object& o) {
    say(ended(o.sql));
    const module_call call = module_of(o.sql);
    if (call.module == "fts5") return add_fts(o, call, "rowid");
    if (call.module == "fts4" || call.module == "fts3") return add_fts(o, call, "docid");
    if (call.module == "rtree" || call.module == "rtree_i32") return add_columns(o, {});
    if (call.module == "geopoly") return add_columns(o, "rowid");
    if (schema_.has_any_shadow(o.name))
      refuse(o, "belongs to the module " + call.module + ", whose tables cannot be written as SQL");
  }

  [[noreturn]] void refuse(const schema_object& o, const std::string& why) const {
    throw unsupported_error("cannot dump the virtual table " + o.name + ": it " + why +
                                "; leave it out with dump_options::like, or use backup",
                            {SQLITE_ERROR, {}, op_.location});
  }

  void add_columns(const schema_object& o, const std::string& rowid) {
    std::vector<std::string> names;
    if (!rowid.empty()) names.push_back(rowid);
    for (const table_column& c : schema_.columns_of(o.name)) {
      if (c.hidden == 0) names.push_back(quoted_name(c.name));
    }
    add_rows(o.name, names);
  }

  void add_fts(const schema_object& o, const module_call& call, const char* rowid) {
    const bool five = call.module == "fts5";
    if (five) add_fts5_settings(o);
    const std::optional<std::string> content = option_of(call, "content");
    if (content && content->empty()) {
      const char* suffix = schema_.has_shadow(o.name, "_docsize") ? "_docsize" : five ? "_idx" : "_segdir";
      own_statement any(at_, op_, "SELECT 1 FROM " + in_schema(o.name + suffix) + " LIMIT 1");
      if (any.step()) refuse(o, "is contentless, so its text is not in the database");
      return;
    }
    if (content) {
      rebuilds_.push_back("INSERT INTO " + quoted_name(o.name) + "(" + quoted_name(o.name) + ") VALUES('rebuild');");
      return;
    }
    std::vector<std::string> names{rowid};
    const std::vector<table_column> columns = schema_.columns_of(o.name);
    for (const table_column& c : columns) {
      if (c.hidden == 0) names.push_back(quoted_name(c.name));
    }
    if (const auto language = option_of(call, "languageid")) names.push_back(quoted_name(*language));
    add_rows(o.name, names);
  }

  void add_fts5_settings(const schema_object& o) {
    if (!schema_.has_shadow(o.name, "_config")) return;
    const std::string begin = "INSERT INTO " + quoted_name(o.name) + "(" + quoted_name(o.name) + ",rank) VALUES(";
    steps_.push_back({begin, "SELECT k, v FROM " + in_schema(o.name + "_config") + " WHERE k <> 'version'"});
  }

  void add_others(const char* type) {
    for (const schema_object& o : schema_.objects()) {
      const bool taken = o.type == "view" ? schema_.wanted(o.name) : schema_.wanted(o.table);
      if (o.type == type && taken && !o.sql.empty()) say(ended(o.sql));
    }
  }

  void add_sequences() {
    if (!schema_.has_table("sqlite_sequence")) return;
    own_statement all(at_, op_, "SELECT name, seq FROM " + quoted_name(schema_.name()) + ".sqlite_sequence");
    while (all.step()) {
      const std::string table = all.text(0);
      if (!schema_.wanted(table)) continue;
      std::string values;
      append_text(values, table);
      say("DELETE FROM sqlite_sequence WHERE name=" + values + ";");
      say("INSERT INTO sqlite_sequence(name,seq) VALUES(" + values + "," + std::to_string(all.integer(1)) + ");");
    }
  }

  void add_statistics() {
    if (!schema_.has_table("sqlite_stat1")) return;
    say("ANALYZE sqlite_schema;");
    std::string only;
    if (!like_.empty()) only = " WHERE tbl LIKE " + quoted_text(like_);
    say("DELETE FROM sqlite_stat1" + only + ";");
    steps_.push_back({"INSERT INTO sqlite_stat1(tbl,idx,stat) VALUES(",
                      "SELECT tbl, idx, stat FROM " + quoted_name(schema_.name()) + ".sqlite_stat1" + only});
    say("ANALYZE sqlite_schema;");
  }

  worker& at_;
  operation& op_;
  const std::string& like_;
  dump_schema schema_;
  std::vector<std::string> rebuilds_;
  std::vector<dump_step> steps_;
};

}  // namespace

std::vector<dump_step> plan_dump(worker& at, operation& op, const std::string& like, const std::string& schema) {
  if (sqlite3_db_readonly(at.db(), schema.c_str()) < 0) {
    throw error("unknown database " + schema, {SQLITE_ERROR, {}, op.location});
  }
  return planner(at, op, like, schema).plan();
}

}  // namespace cosqlite::detail
