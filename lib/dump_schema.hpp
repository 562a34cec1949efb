#pragma once

#include "engine/worker.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace cosqlite::detail {

/// A row of sqlite_schema.
struct schema_object {
  std::string type, name, table, sql;
};

struct table_column {
  std::string name, type;
  int primary_key = 0;
  int hidden = 0;
};

[[nodiscard]] bool is_virtual(const schema_object& o);

/// What a dump needs to know of a schema. All on the worker.
class dump_schema {
 public:
  /// Reads it. \p like: only tables and views of such names are wanted; empty: all.
  dump_schema(worker& at, operation& op, std::string schema, const std::string& like);

  /// In the order in which they were made.
  [[nodiscard]] const std::vector<schema_object>& objects() const noexcept { return objects_; }
  [[nodiscard]] const std::string& name() const noexcept { return schema_; }
  /// Whether the table or view is to be dumped: SQLite's own tables and those of modules are not.
  [[nodiscard]] bool wanted(const std::string& name) const;
  [[nodiscard]] bool has_table(std::string_view table) const;
  /// Whether the module of \p table keeps a table of that suffix.
  [[nodiscard]] bool has_shadow(const std::string& table, const char* suffix) const;
  [[nodiscard]] bool has_any_shadow(const std::string& table) const;
  [[nodiscard]] std::vector<table_column> columns_of(const std::string& table) const;
  /// The name by which the rowid can be read and written, where no column is it.
  [[nodiscard]] std::string hidden_rowid(const std::string& table, const std::vector<table_column>& columns) const;
  [[nodiscard]] std::string pragma(const std::string& name) const;

 private:
  worker& at_;
  operation& op_;
  std::string schema_;
  std::vector<schema_object> objects_;
  std::set<std::string> shadows_;
  std::set<std::string> without_rowid_;
  std::set<std::string> wanted_;
};

}  // namespace cosqlite::detail
