// A run-time extension for test_extension_loading: SQL functions, an entry point by another name, and one that fails.
#include <sqlite3ext.h>

SQLITE_EXTENSION_INIT1

namespace {

void twice(sqlite3_context* context, int, sqlite3_value** arguments) {
  sqlite3_result_int64(context, 2 * sqlite3_value_int64(arguments[0]));
}

void thrice(sqlite3_context* context, int, sqlite3_value** arguments) {
  sqlite3_result_int64(context, 3 * sqlite3_value_int64(arguments[0]));
}

int add(sqlite3* db, const char* name, void (*function)(sqlite3_context*, int, sqlite3_value**)) {
  return sqlite3_create_function_v2(db, name, 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr, function, nullptr,
                                    nullptr, nullptr);
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int sqlite3_twice_init(sqlite3* db, char** message,
                                                              const sqlite3_api_routines* api) {
  SQLITE_EXTENSION_INIT2(api)
  static_cast<void>(message);
  return add(db, "twice", &twice);
}

__attribute__((visibility("default"))) int entry_of_thrice(sqlite3* db, char** message,
                                                           const sqlite3_api_routines* api) {
  SQLITE_EXTENSION_INIT2(api)
  static_cast<void>(message);
  return add(db, "thrice", &thrice);
}

__attribute__((visibility("default"))) int entry_that_fails(sqlite3* db, char** message,
                                                            const sqlite3_api_routines* api) {
  SQLITE_EXTENSION_INIT2(api)
  static_cast<void>(db);
  *message = sqlite3_mprintf("not in the mood");
  return SQLITE_ERROR;
}

}  // extern "C"
