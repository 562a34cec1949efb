#pragma once

#include "support/catch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/wait.h>

extern char** environ;

namespace support {

/// This program, run again for one of its hidden tests (tagged "[.child]"): another process that does what that test
/// says. It does not outlive the object.
class child_process {
 public:
  /// The child finds \p path, as a rule that of a database, with path().
  explicit child_process(std::string test, const std::string& path = {}) {
    std::array<int, 2> ends{};
    REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
    reports_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], reports_in_child);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);  // its summary is not this test's
    std::string program = "child";
    std::array<char*, 3> arguments{program.data(), test.data(), nullptr};
    std::string path_entry = path_variable + ("=" + path);
    std::vector<char*> variables{path_entry.data()};
    for (char** entry = environ; *entry; ++entry) variables.push_back(*entry);
    variables.push_back(nullptr);
    const int failure = posix_spawn(&id_, "/proc/self/exe", &actions, nullptr, arguments.data(), variables.data());
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    REQUIRE(failure == 0);
  }
  child_process(child_process&& o) noexcept : id_(std::exchange(o.id_, 0)), reports_(std::exchange(o.reports_, -1)) {}
  child_process& operator=(child_process&&) = delete;
  ~child_process() {
    if (id_ != 0) {
      kill();
      waitpid(id_, nullptr, 0);
    }
    if (reports_ >= 0) close(reports_);
  }

  void kill() const { ::kill(id_, SIGKILL); }

  /// Waits for what the child reports next. False: it has ended.
  template <class T>
  bool next_report(T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return read(reports_, &value, sizeof value) == static_cast<ssize_t>(sizeof value);
  }

  /// What it exited with, 128 and the number of the signal that ended it, or -1 when it hangs.
  int wait() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(4);
    int status = 0;
    while (waitpid(id_, &status, WNOHANG) != id_) {
      if (std::chrono::steady_clock::now() > until) return -1;
      usleep(2000);
    }
    id_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // For the child.

  static std::string path() {
    const char* given = std::getenv(path_variable);
    REQUIRE(given != nullptr);
    return given;
  }

  /// Tells the parent. A child without one ends here.
  template <class T>
  static void report(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (write(reports_in_child, &value, sizeof value) != static_cast<ssize_t>(sizeof value)) std::_Exit(1);
  }

 private:
  static constexpr const char* path_variable = "COSQLITE_CHILD_PATH";
  static constexpr int reports_in_child = 3;

  pid_t id_ = 0;
  int reports_ = -1;
};

}  // namespace support
