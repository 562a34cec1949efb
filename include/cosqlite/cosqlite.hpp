/// \file
/// Includes everything.
#pragma once

#include <cosqlite/adapter.hpp>
#include <cosqlite/call.hpp>
#include <cosqlite/chrono.hpp>
#include <cosqlite/connection.hpp>
#include <cosqlite/converters.hpp>
#include <cosqlite/enum_text.hpp>
#include <cosqlite/error.hpp>
#include <cosqlite/execute_result.hpp>
#include <cosqlite/filesystem.hpp>
#include <cosqlite/options.hpp>
#include <cosqlite/pool.hpp>
#include <cosqlite/queries.hpp>
#include <cosqlite/row.hpp>
#include <cosqlite/run.hpp>
#include <cosqlite/sleep.hpp>
#include <cosqlite/sql.hpp>
#include <cosqlite/statement.hpp>
#include <cosqlite/stream.hpp>
#include <cosqlite/task.hpp>
#include <cosqlite/transaction.hpp>
#include <cosqlite/value.hpp>
#include <cosqlite/when_all.hpp>
