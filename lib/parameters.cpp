#include <cosqlite/detail/parameters.hpp>
#include <cosqlite/error.hpp>

#include <cstring>

namespace cosqlite::detail {

namespace {

constexpr std::size_t kept_bytes = 16 * 1024;

}  // namespace

parameters::parameters() = default;
parameters::~parameters() = default;

parameters::slot& parameters::add(kind k) {
  slot& s = slots_.emplace_back();
  s.what = k;
  s.name_size = name_size_;
  s.name_at = name_at_;
  s.integer = 0;
  name_size_ = 0;
  return s;
}

std::uint64_t parameters::store(const void* data, std::size_t size) {
  const std::size_t at = bytes_.size();
  if (size == 0) return at;
  bytes_.resize(at + size);
  std::memcpy(bytes_.data() + at, data, size);
  return at;
}

void parameters::null() { add(kind::null); }
void parameters::integer(std::int64_t v) { add(kind::integer).integer = v; }
void parameters::real(double v) { add(kind::real).real = v; }

void parameters::text(std::string_view v) {
  const std::uint64_t at = store(v.data(), v.size());
  slot& s = add(kind::text);
  s.at = at;
  s.size = v.size();
}

void parameters::blob(std::span<const std::byte> v) {
  const std::uint64_t at = store(v.data(), v.size());
  slot& s = add(kind::blob);
  s.at = at;
  s.size = v.size();
}

void parameters::zeros(std::uint64_t n) { add(kind::zeros).size = n; }

void parameters::pointer(std::shared_ptr<void> data, const char* type) {
  objects_.push_back({std::move(data), type});
  add(kind::pointer).at = objects_.size() - 1;
}

void parameters::name(std::string_view n) {
  name_at_ = store(n.data(), n.size());
  name_size_ = static_cast<std::uint32_t>(n.size());
}

void parameters::clear() noexcept {
  slots_.clear();
  objects_.clear();
  name_size_ = 0;
  if (bytes_.capacity() > kept_bytes) {
    bytes_ = {};
  } else {
    bytes_.clear();
  }
}

void throw_unsigned_too_large() {
  throw conversion_error(
      "an unsigned integer above 9223372036854775807 does not fit SQLite's INTEGER; bind it as text or as a blob", {20},
      -1, "an unsigned 64-bit integer", "INTEGER");
}

void throw_nan() {
  throw conversion_error(
      "NaN has no representation in SQLite, which would store NULL; bind std::nullopt if that is meant", {20}, -1,
      "NaN", "REAL");
}

}  // namespace cosqlite::detail
