#include "harness.hpp"

#include <sqlite3.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>

namespace bench {

namespace {

double now() noexcept {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string first_match(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    std::string found = line.substr(line.find_first_of(":=") + 1);
    std::erase(found, '"');
    return found.substr(std::min(found.find_first_not_of(' '), found.size()));
  }
  return "unknown";
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string machine_json(double load) {
  utsname kernel{};
  uname(&kernel);
  std::ostringstream out;
  out << "{\"processor\": " << quoted(first_match("/proc/cpuinfo", "model name"))
      << ", \"cores\": " << std::thread::hardware_concurrency() << ", \"load\": " << load
      << ", \"system\": " << quoted(first_match("/etc/os-release", "PRETTY_NAME"))
      << ", \"kernel\": " << quoted(kernel.release) << ", \"sqlite\": " << quoted(sqlite3_libversion())
      << ", \"libuv\": " << quoted(uv_version_string()) << ", \"compiler\": "
      << quoted(
#ifdef __clang__
             "Clang "
#else
             "GCC "
#endif
             __VERSION__)
      << "}";
  return out.str();
}

/// "125.3 k": four digits at most, whatever the size.
std::string compact(double v) {
  const char* suffix = "";
  if (v >= 1e9) {
    v /= 1e9, suffix = " G";
  } else if (v >= 1e6) {
    v /= 1e6, suffix = " M";
  } else if (v >= 1e4) {
    v /= 1e3, suffix = " k";
  }
  char text[48];
  std::snprintf(text, sizeof text, v >= 100 ? "%.0f%s" : "%.2f%s", v, suffix);
  return text;
}

constexpr const char* usage =
    "options: --turns N       turns of each workload (default 7)\n"
    "         --quick         a tenth of the work, three turns\n"
    "         --busy          keep all cores but one busy meanwhile\n"
    "         --filter TEXT   only workloads whose name contains TEXT; =TEXT: the one of that name\n"
    "         --side raw|ours only one side\n"
    "         --directory DIR where the scratch files go (default: beside the program); should be a real disk\n"
    "         --json FILE     write the results there, too\n";

}  // namespace

void stopwatch::start() noexcept {
  cpu_ = cpu_seconds();
  wall_ = now();
}

void stopwatch::stop(double count) noexcept {
  wall_ = now() - wall_;
  cpu_ = cpu_seconds() - cpu_;
  count_ = count;
}

double stopwatch::rate() const noexcept { return count_ / std::max(wall_, 1e-9); }
double stopwatch::cpu() const noexcept { return cpu_ * 1e6 / std::max(count_, 1.0); }

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double resident_memory() {
  std::ifstream in("/proc/self/statm");
  double all = 0, resident = 0;
  in >> all >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double cpu_seconds() noexcept {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

busy_cores::busy_cores() {
  const unsigned cores = std::thread::hardware_concurrency();
  for (unsigned i = 1; i < cores; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (volatile unsigned long spin = 0;;) spin = spin + 1;
    }
    if (child > 0) spinners_.push_back(child);
  }
}

busy_cores::~busy_cores() {
  for (const int child : spinners_) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
}

suite::suite(std::string_view program, int argc, char** argv) : program_(program) {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  directory_ = ignored ? std::filesystem::temp_directory_path() : self.parent_path();
  parse(argc, argv);
  scratch_ = directory_ / ("scratch-" + program_ + "-" + std::to_string(getpid()));
  std::filesystem::create_directories(scratch_);
  getloadavg(&load_, 1);
}

suite::~suite() {
  std::error_code ignored;
  std::filesystem::remove_all(scratch_, ignored);
}

void suite::parse(int argc, char** argv) {
  bool turns_given = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 == argc) throw std::invalid_argument(std::string(option) + " needs a value\n" + usage);
      return argv[++i];
    };
    if (option == "--turns") {
      turns_ = std::max(1, std::atoi(value().c_str())), turns_given = true;
    } else if (option == "--quick") {
      quick_ = true;
    } else if (option == "--busy") {
      busy_ = true;
    } else if (option == "--filter") {
      filter_ = value();
    } else if (option == "--side") {
      side_ = value();
    } else if (option == "--directory") {
      directory_ = value();
    } else if (option == "--json") {
      json_ = value();
    } else {
      throw std::invalid_argument("unknown option " + std::string(option) + "\n" + usage);
    }
  }
  if (quick_ && !turns_given) turns_ = 3;
}

std::string suite::fresh_file() { return (scratch_ / (std::to_string(++files_) + ".db")).string(); }

bool suite::wants(std::string_view name) const {
  if (filter_.starts_with('=')) return name == std::string_view(filter_).substr(1);
  return name.find(filter_) != std::string_view::npos;
}

void suite::compare(const workload& what, const side& raw, const side& ours) {
  row r{.name = std::string(what.name), .unit = std::string(what.unit), .floor = what.floor};
  const bool busy = what.busy || busy_;
  if (busy) r.name += ", one core free";
  if (!wants(r.name)) return;
  std::vector<double> ratios, raw_rates, our_rates, raw_cpus, our_cpus;
  const auto measure = [](const side& one, std::vector<double>& rates, std::vector<double>& cpus) {
    stopwatch watch;
    one(watch);
    if (!watch.used()) throw std::logic_error("a side never stopped its watch");
    rates.push_back(watch.rate());
    cpus.push_back(watch.cpu());
  };
  const auto run = [&] {
    for (int turn = 0; turn < turns_; ++turn) {
      const bool raw_first = turn % 2 == 0;
      if (raw_first && side_ != "ours") measure(raw, raw_rates, raw_cpus);
      if (side_ != "raw") measure(ours, our_rates, our_cpus);
      if (!raw_first && side_ != "ours") measure(raw, raw_rates, raw_cpus);
      if (side_.empty()) ratios.push_back(our_rates.back() / raw_rates.back());
    }
  };
  if (busy) {
    const busy_cores others;
    run();
  } else {
    run();
  }
  r.raw_rate = median(raw_rates), r.raw_cpu = median(raw_cpus);
  r.our_rate = median(our_rates), r.our_cpu = median(our_cpus);
  if (!ratios.empty()) {
    r.ratio = median(ratios);
    r.ratio_min = *std::ranges::min_element(ratios);
    r.ratio_max = *std::ranges::max_element(ratios);
  }
  if (rows_.empty()) {
    std::printf("%-58s %10s %10s  %6s  %-13s %s\n", "workload", "raw/s", "ours/s", "ratio", "min - max",
                "CPU us, raw / ours");
  }
  print(r);
  rows_.push_back(std::move(r));
}

void suite::print(const row& r) const {
  const std::string name = r.unit == "calls" ? r.name : r.name + " (" + r.unit + ")";
  char spread[32];
  std::snprintf(spread, sizeof spread, "%.2f - %.2f", r.ratio_min, r.ratio_max);
  std::printf("%-58s %10s %10s  %6.2f  %-13s %.2f / %.2f", name.c_str(), compact(r.raw_rate).c_str(),
              compact(r.our_rate).c_str(), r.ratio, spread, r.raw_cpu, r.our_cpu);
  if (r.floor > 0 && side_.empty()) std::printf("  %s %.2f", r.ratio >= r.floor ? "holds" : "BELOW", r.floor);
  std::printf("\n");
  std::fflush(stdout);
}

void suite::fact(std::string_view name, double value, std::string_view unit, double limit) {
  figure f{.name = std::string(name), .unit = std::string(unit), .value = value, .limit = limit};
  if (!wants(f.name)) return;
  std::printf("%-58s %12.2f %s", f.name.c_str(), f.value, f.unit.c_str());
  if (f.limit > 0) std::printf("  %s %.2f", f.value <= f.limit ? "within" : "BEYOND", f.limit);
  std::printf("\n");
  std::fflush(stdout);
  figures_.push_back(std::move(f));
}

void suite::write_json() const {
  std::ofstream out(json_);
  out << std::setprecision(6) << "{\n\"program\": " << quoted(program_) << ",\n\"machine\": " << machine_json(load_)
      << ",\n\"turns\": " << turns_ << ",\n\"quick\": " << (quick_ ? "true" : "false") << ",\n\"rows\": [";
  const char* separator = "\n";
  for (const row& r : rows_) {
    out << separator << "  {\"name\": " << quoted(r.name) << ", \"unit\": " << quoted(r.unit)
        << ", \"floor\": " << r.floor << ", \"raw_rate\": " << r.raw_rate << ", \"our_rate\": " << r.our_rate
        << ", \"ratio\": " << r.ratio << ", \"ratio_min\": " << r.ratio_min << ", \"ratio_max\": " << r.ratio_max
        << ", \"raw_cpu_us\": " << r.raw_cpu << ", \"our_cpu_us\": " << r.our_cpu << "}";
    separator = ",\n";
  }
  out << "\n],\n\"figures\": [";
  separator = "\n";
  for (const figure& f : figures_) {
    out << separator << "  {\"name\": " << quoted(f.name) << ", \"unit\": " << quoted(f.unit)
        << ", \"value\": " << f.value << ", \"limit\": " << f.limit << "}";
    separator = ",\n";
  }
  out << "\n]\n}\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + json_);
}

int suite::finish() {
  if (!json_.empty()) write_json();
  return 0;
}

int program(std::string_view name, int argc, char** argv, const std::function<void(suite&)>& body) {
  try {
    suite s(name, argc, argv);
    body(s);
    return s.finish();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(name.size()), name.data(), e.what());
    return 1;
  }
}

}  // namespace bench
