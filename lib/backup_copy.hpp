#pragma once

#include "engine/worker.hpp"
#include <cosqlite/backup.hpp>
#include <cosqlite/task.hpp>

#include <chrono>
#include <source_location>
#include <string>

namespace cosqlite::detail {

/// backup_options with their strings.
struct backup_plan {
  backup_plan(const backup_options& o, std::source_location at)
      : pages(o.pages), pause(o.pause), from(o.from), to(o.to), restarts(o.restarts), verify(o.verify), where(at) {}
  int pages;
  std::chrono::milliseconds pause;
  std::string from;
  std::string to;
  int restarts;
  bool verify;
  std::source_location where;
};

/// Copies between two connections of a loop, step by step. \p to may be null: it is closed.
[[nodiscard]] task<backup_progress> copy_between(call_site source, ref<executor> keep_source, ref<worker> to,
                                                 backup_plan plan, progress_function report);

/// Copies into a file that is written beside its place, synced, and renamed.
[[nodiscard]] task<backup_progress> copy_to_path(call_site source, ref<executor> keep_source, std::string path,
                                                 backup_plan plan, progress_function report);

class new_file;

/// Gives \p file its name, on the worker that has written it; busy_timeout, deadline and stop of the call end the wait
/// for somebody who has the place.
void publish_file(worker& at, operation& op, new_file& file);

}  // namespace cosqlite::detail
