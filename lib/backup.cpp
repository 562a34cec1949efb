#include "backup_copy.hpp"
#include "engine/worker.hpp"
#include <cosqlite/backup.hpp>
#include <cosqlite/connection.hpp>

#include <utility>

namespace cosqlite::detail {

task<backup_progress> backup_to_connection(const call_site& site, connection& to, const backup_options& options,
                                           progress_function progress, std::source_location where) {
  ref<worker> destination(dynamic_cast<worker*>(to.site().where));
  return copy_between(site, ref<executor>(site.where), std::move(destination), backup_plan(options, where),
                      std::move(progress));
}

task<backup_progress> backup_to_path(const call_site& site, std::string_view path, const backup_options& options,
                                     progress_function progress, std::source_location where) {
  return copy_to_path(site, ref<executor>(site.where), std::string(path), backup_plan(options, where),
                      std::move(progress));
}

}  // namespace cosqlite::detail
