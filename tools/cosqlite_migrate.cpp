// cosqlite-migrate: brings a database to another version with the steps in a folder.

#include "migrate/arguments.hpp"
#include "migrate/commands.hpp"
#include "migrate/database.hpp"
#include "migrate/new_step.hpp"
#include <cosqlite/diagnostics.hpp>
#include <cosqlite/run.hpp>

#include <exception>
#include <iostream>
#include <utility>

namespace {

constexpr int success = 0;
constexpr int failed = 1;
constexpr int bad_usage = 2;

bool perform(migrate::arguments a) {
  if (a.command == "new") {
    migrate::make_step(a);
    return true;
  }
  migrate::find_database(a);
  if (a.command == "status") return cosqlite::run(migrate::show_status(std::move(a)));
  if (a.command == "up") return cosqlite::run(migrate::go_up(std::move(a)));
  return cosqlite::run(migrate::go_down(std::move(a)));
}

}  // namespace

int main(int count, char** values) {
  try {
    migrate::arguments a = migrate::parse(count, values);
    if (a.help) {
      std::cout << migrate::usage;
      return success;
    }
    if (a.version) {
      std::cout << "cosqlite-migrate " << cosqlite::version() << "\n";
      return success;
    }
    return perform(std::move(a)) ? success : failed;
  } catch (const migrate::usage_error& e) {
    std::cerr << "cosqlite-migrate: " << e.what() << "\n`cosqlite-migrate --help` tells more.\n";
    return bad_usage;
  } catch (const std::exception& e) {
    std::cerr << "cosqlite-migrate: " << e.what() << "\n";
    return failed;
  }
}
