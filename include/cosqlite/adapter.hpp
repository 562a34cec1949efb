/// \file
/// The way for types of your own to be bound and read: specialise `adapter`.
#pragma once

#include <cosqlite/value.hpp>

#include <concepts>
#include <type_traits>

namespace cosqlite {

/// Teaches cosqlite a type. Specialise it with one or both of
/// \code
/// template <> struct cosqlite::adapter<uuid> {
///   static std::string to_sqlite(const uuid& v);               // any type that can itself be bound
///   static uuid from_sqlite(const cosqlite::value_view& v);    // throws to refuse the value
/// };
/// \endcode
/// The adapter then also serves inside `std::optional`, tuples, structs and arguments of user functions. `from_sqlite`
/// runs on the worker thread for typed queries and on the loop for `row.get`: it must not touch shared state unguarded.
/// NULL never reaches it: read `std::optional<T>` where NULL may stand.
template <class T>
struct adapter;

namespace detail {

template <class T>
concept adapted_for_reading = requires(const value_view& v) {
  { adapter<T>::from_sqlite(v) } -> std::convertible_to<T>;
};

template <class T> concept adapted_for_binding = requires(const T& v) { adapter<T>::to_sqlite(v); };

}  // namespace detail

}  // namespace cosqlite
