// The users in the database. Every call takes the pool, or a view of it under a deadline and a stop token.
#pragma once

#include <cosqlite/cosqlite.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace users {

/// A row of `users` with its row of `profiles`.
struct user {
  std::int64_t id;
  std::string email;
  std::string name;
  std::string created_at;
  std::string bio;
  std::optional<std::string> city;
};

/// What a client says of a new user.
struct new_user {
  std::string email;
  std::string name;
  std::string bio;
  std::optional<std::string> city;
};

/// The history of the schema. A step that was released is never changed: what comes later is a step of its own.
cosqlite::migrator schema();

/// Brings the database to the newest step, whichever it is at. Any number of processes may do so at once. Refuses the
/// database of another program, or of a newer one.
cosqlite::task<> migrate(cosqlite::pool& db);

/// Adds a user and the profile in one transaction. constraint_error when the address is taken.
cosqlite::task<user> create(cosqlite::limited_pool db, new_user u);
cosqlite::task<std::optional<user>> find(cosqlite::limited_pool db, std::int64_t id);
/// The users whose number is above `after`, at most `limit`, in the order of their numbers.
cosqlite::task<std::vector<user>> list(cosqlite::limited_pool db, std::int64_t after, std::int64_t limit);
/// The users whose name or address contains `text`.
cosqlite::task<std::vector<user>> search(cosqlite::limited_pool db, std::string text, std::int64_t limit);
/// False: there is no such user.
cosqlite::task<bool> remove(cosqlite::limited_pool db, std::int64_t id);

}  // namespace users
