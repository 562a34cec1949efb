#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// Times the part of a side that counts: everything before start() and after stop() is preparation.
class stopwatch {
 public:
  void start() noexcept;
  /// \p count: how many calls (or rows, or bytes: the workload's unit) were done since start().
  void stop(double count) noexcept;

  [[nodiscard]] double rate() const noexcept;
  /// Processor time of all threads of this process, in µs for each of the unit.
  [[nodiscard]] double cpu() const noexcept;
  [[nodiscard]] bool used() const noexcept { return count_ > 0; }

 private:
  double wall_ = 0;
  double cpu_ = 0;
  double count_ = 0;
};

/// One way of doing a workload, once, from scratch.
using side = std::function<void(stopwatch&)>;

/// A workload and what is expected of it.
struct workload {
  std::string_view name;
  std::string_view unit = "calls";
  double floor = 0;   ///< the ratio that it must not fall below; 0: none
  bool busy = false;  ///< with all cores but one kept busy by other processes
};

/// A program's workloads: runs them in turns, prints them as a table and, with --json, writes them to a file.
class suite {
 public:
  suite(std::string_view program, int argc, char** argv);
  ~suite();
  suite(const suite&) = delete;
  suite& operator=(const suite&) = delete;

  /// Runs \p raw (the C API) and \p ours in turns, and prints both rates and the median of the turns' ratios.
  void compare(const workload& what, const side& raw, const side& ours);
  /// Reports a figure that has nothing to compare with, or that is no rate. \p limit: the most it may be; 0: none.
  void fact(std::string_view name, double value, std::string_view unit, double limit = 0);
  /// Whether --filter lets this name through. To skip costly preparations; compare() and fact() ask by themselves.
  [[nodiscard]] bool wants(std::string_view name) const;
  [[nodiscard]] int finish();

  [[nodiscard]] bool quick() const noexcept { return quick_; }
  [[nodiscard]] int turns() const noexcept { return turns_; }
  /// \p full, or a tenth of it with --quick.
  [[nodiscard]] std::size_t scaled(std::size_t full) const noexcept { return quick_ ? full / 10 : full; }
  /// A path in the scratch folder where no file is yet. The folder goes when the suite does.
  [[nodiscard]] std::string fresh_file();

 private:
  struct row {
    std::string name, unit;
    double floor = 0, raw_rate = 0, our_rate = 0, ratio = 0, ratio_min = 0, ratio_max = 0, raw_cpu = 0, our_cpu = 0;
  };
  struct figure {
    std::string name, unit;
    double value = 0, limit = 0;
  };

  void parse(int argc, char** argv);
  void print(const row& r) const;
  void write_json() const;

  std::string program_, filter_, json_, side_;
  std::filesystem::path scratch_, directory_;
  double load_ = 0;  // of the machine, when the program started
  int turns_ = 7;
  bool quick_ = false, busy_ = false;
  int files_ = 0;
  std::vector<row> rows_;
  std::vector<figure> figures_;
};

/// The main function of a benchmark: makes the suite, runs \p body, reports what it throws.
int program(std::string_view name, int argc, char** argv, const std::function<void(suite&)>& body);

[[nodiscard]] double median(std::vector<double> values);
/// Resident memory of this process, in bytes.
[[nodiscard]] double resident_memory();
/// Processor time of this process so far, in seconds.
[[nodiscard]] double cpu_seconds() noexcept;

/// Keeps all cores but one busy with other processes while it lives.
class busy_cores {
 public:
  busy_cores();
  ~busy_cores();
  busy_cores(const busy_cores&) = delete;
  busy_cores& operator=(const busy_cores&) = delete;

 private:
  std::vector<int> spinners_;
};

/// Numbers that look random and are the same in every run: xorshift.
class sequence {
 public:
  explicit sequence(std::size_t seed = 1) noexcept : state_(seed * 0x9E3779B97F4A7C15ULL + 1) {}
  /// From 1 to \p most.
  std::size_t next(std::size_t most) noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ % most + 1;
  }

 private:
  std::size_t state_;
};

}  // namespace bench
