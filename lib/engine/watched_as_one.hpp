#pragma once

namespace cosqlite::detail {

class change_tracker;
class worker;

/// While a statement runs many times, in a transaction or savepoint that is undone when one run fails: spares those who
/// watch the rows a look at every run by itself. Worker thread.
class watched_as_one {
 public:
  explicit watched_as_one(const worker& at) noexcept;
  watched_as_one(const watched_as_one&) = delete;
  watched_as_one& operator=(const watched_as_one&) = delete;
  ~watched_as_one();

 private:
  change_tracker* tracker_;
};

}  // namespace cosqlite::detail
