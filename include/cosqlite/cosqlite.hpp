/// \file
/// Includes everything.
#pragma once

/// Everything that the library has.
namespace cosqlite {}

#include <cosqlite/adapter.hpp>
#include <cosqlite/aggregate_function.hpp>
#include <cosqlite/array.hpp>
#include <cosqlite/backup.hpp>
#include <cosqlite/blob.hpp>
#include <cosqlite/call.hpp>
#include <cosqlite/changes.hpp>
#include <cosqlite/checkpoint.hpp>
#include <cosqlite/chrono.hpp>
#include <cosqlite/collation.hpp>
#include <cosqlite/connection.hpp>
#include <cosqlite/converters.hpp>
#include <cosqlite/diagnostics.hpp>
#include <cosqlite/dump.hpp>
#include <cosqlite/enum_text.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/execute_result.hpp>
#include <cosqlite/explain.hpp>
#include <cosqlite/extension_loading.hpp>
#include <cosqlite/filesystem.hpp>
#include <cosqlite/function.hpp>
#include <cosqlite/hooks.hpp>
#include <cosqlite/migration.hpp>
#include <cosqlite/observe.hpp>
#include <cosqlite/options.hpp>
#include <cosqlite/pool.hpp>
#include <cosqlite/queries.hpp>
#include <cosqlite/row.hpp>
#include <cosqlite/run.hpp>
#include <cosqlite/serialize.hpp>
#include <cosqlite/session.hpp>
#include <cosqlite/settings.hpp>
#include <cosqlite/sleep.hpp>
#include <cosqlite/sql.hpp>
#include <cosqlite/statement.hpp>
#include <cosqlite/statistics.hpp>
#include <cosqlite/stream.hpp>
#include <cosqlite/table_function.hpp>
#include <cosqlite/task.hpp>
#include <cosqlite/transaction.hpp>
#include <cosqlite/value.hpp>
#include <cosqlite/when_all.hpp>
