// A type of your own in the database: UUIDs, stored as BLOBs of 16 bytes.

#include <cosqlite/cosqlite.hpp>

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

/// A universally unique identifier (RFC 9562).
struct uuid {
  std::array<std::byte, 16> data{};

  /// A random one (version 4).
  static uuid random() {
    std::random_device source;
    uuid id;
    for (std::byte& b : id.data) b = static_cast<std::byte>(source() & 0xff);
    id.data[6] = (id.data[6] & std::byte{0x0f}) | std::byte{0x40};
    id.data[8] = (id.data[8] & std::byte{0x3f}) | std::byte{0x80};
    return id;
  }

  [[nodiscard]] std::string text() const {
    constexpr char digits[] = "0123456789abcdef";
    std::string s;
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (i == 4 || i == 6 || i == 8 || i == 10) s.push_back('-');
      s.push_back(digits[std::to_integer<unsigned>(data[i] >> 4)]);
      s.push_back(digits[std::to_integer<unsigned>(data[i] & std::byte{15})]);
    }
    return s;
  }

  friend auto operator<=>(const uuid&, const uuid&) = default;
};

template <>
struct cosqlite::adapter<uuid> {
  static std::span<const std::byte> to_sqlite(const uuid& id) { return id.data; }

  static uuid from_sqlite(const value_view& v) {
    const auto blob = v.get<std::span<const std::byte>>();
    uuid id;
    if (blob.size() != id.data.size()) v.refuse("a UUID, which has 16 bytes");
    std::ranges::copy(blob, id.data.begin());
    return id;
  }
};

namespace {

struct device {
  uuid id;
  std::string name;
  std::optional<uuid> gateway;
};

cosqlite::task<> show() {
  cosqlite::connection db = co_await cosqlite::open(":memory:");
  co_await db.execute(
      "CREATE TABLE devices(id BLOB PRIMARY KEY, name TEXT NOT NULL, gateway BLOB REFERENCES devices) STRICT, WITHOUT ROWID");

  const uuid gateway = uuid::random();
  std::vector<device> devices;
  devices.push_back(device{gateway, "gateway", std::nullopt});
  devices.push_back(device{uuid::random(), "lamp", gateway});
  co_await db.execute_many("INSERT INTO devices VALUES (?, ?, ?)", devices);

  const auto lamp = co_await db.query_one<device>("SELECT * FROM devices WHERE gateway = ?", gateway);
  std::cout << lamp.name << " " << lamp.id.text() << " is behind " << lamp.gateway->text() << "\n";
  std::cout << (lamp.gateway == gateway ? "the UUIDs are the same" : "the UUIDs differ") << "\n";
  try {
    co_await db.query_one<uuid>("SELECT x'0102' AS id");
  } catch (const cosqlite::conversion_error& e) {
    std::cout << e.what() << "\n";
  }
  co_await db.close();
}

}  // namespace

int main() { cosqlite::run(show()); }
