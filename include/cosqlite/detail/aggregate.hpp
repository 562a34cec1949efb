/// \file
/// Members of a plain struct (an aggregate), in order: how many there are, and a visit to each.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace cosqlite::detail {

/// Stands for any member in an unevaluated initialiser list. (Clang warns of an undefined conversion to members with
/// constexpr constructors.)
template <class Aggregate>
struct any_member {
  template <class U>
    requires(!std::is_same_v<std::remove_cvref_t<U>, Aggregate>)
  operator U() const {
    __builtin_unreachable();
  }
};

inline constexpr std::size_t max_members = 64;

template <class T, std::size_t... I>
consteval bool takes_members(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), any_member<T>{})...}; };
}

/// The number of members of the aggregate T.
template <class T, std::size_t N = 0>
consteval std::size_t member_count() {
  if constexpr (takes_members<T>(std::make_index_sequence<N + 1>{})) {
    static_assert(N < max_members, "a struct for a row has at most 64 members; use a tuple");
    return member_count<T, N + 1>();
  } else {
    return N;
  }
}

/// Calls fn(member) for each member of the aggregate \p object, in order. Structured bindings need their number written
/// out, hence the ladder.
template <class T, class F>
constexpr void for_each_member(T& object, F fn) {
  constexpr std::size_t n = member_count<std::remove_const_t<T>>();
  static_assert(n >= 1, "a struct for a row needs at least one member");
  if constexpr (n == 1) {
    auto& [m1] = object;
    fn(m1);
  } else if constexpr (n == 2) {
    auto& [m1, m2] = object;
    fn(m1), fn(m2);
  } else if constexpr (n == 3) {
    auto& [m1, m2, m3] = object;
    fn(m1), fn(m2), fn(m3);
  } else if constexpr (n == 4) {
    auto& [m1, m2, m3, m4] = object;
    fn(m1), fn(m2), fn(m3), fn(m4);
  } else if constexpr (n == 5) {
    auto& [m1, m2, m3, m4, m5] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5);
  } else if constexpr (n == 6) {
    auto& [m1, m2, m3, m4, m5, m6] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6);
  } else if constexpr (n == 7) {
    auto& [m1, m2, m3, m4, m5, m6, m7] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7);
  } else if constexpr (n == 8) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8);
  } else if constexpr (n == 9) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9);
  } else if constexpr (n == 10) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10);
  } else if constexpr (n == 11) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11);
  } else if constexpr (n == 12) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12);
  } else if constexpr (n == 13) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13);
  } else if constexpr (n == 14) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14);
  } else if constexpr (n == 15) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15);
  } else if constexpr (n == 16) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16);
  } else if constexpr (n == 17) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17);
  } else if constexpr (n == 18) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18);
  } else if constexpr (n == 19) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19);
  } else if constexpr (n == 20) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20);
  } else if constexpr (n == 21) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21);
  } else if constexpr (n == 22) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22] =
        object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22);
  } else if constexpr (n == 23) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23] =
        object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23);
  } else if constexpr (n == 24) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24);
  } else if constexpr (n == 25) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25);
  } else if constexpr (n == 26) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26);
  } else if constexpr (n == 27) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27);
  } else if constexpr (n == 28) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28);
  } else if constexpr (n == 29) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29);
  } else if constexpr (n == 30) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30);
  } else if constexpr (n == 31) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31);
  } else if constexpr (n == 32) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32);
  } else if constexpr (n == 33) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33);
  } else if constexpr (n == 34) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34);
  } else if constexpr (n == 35) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35);
  } else if constexpr (n == 36) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36);
  } else if constexpr (n == 37) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37);
  } else if constexpr (n == 38) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38);
  } else if constexpr (n == 39) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39);
  } else if constexpr (n == 40) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40);
  } else if constexpr (n == 41) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41);
  } else if constexpr (n == 42) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42);
  } else if constexpr (n == 43) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43);
  } else if constexpr (n == 44) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44] =
        object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44);
  } else if constexpr (n == 45) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44,
           m45] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45);
  } else if constexpr (n == 46) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46);
  } else if constexpr (n == 47) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47);
  } else if constexpr (n == 48) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48);
  } else if constexpr (n == 49) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49);
  } else if constexpr (n == 50) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50);
  } else if constexpr (n == 51) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51);
  } else if constexpr (n == 52) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52);
  } else if constexpr (n == 53) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53);
  } else if constexpr (n == 54) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54);
  } else if constexpr (n == 55) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55);
  } else if constexpr (n == 56) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56);
  } else if constexpr (n == 57) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56), fn(m57);
  } else if constexpr (n == 58) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56), fn(m57), fn(m58);
  } else if constexpr (n == 59) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58, m59] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56), fn(m57), fn(m58), fn(m59);
  } else if constexpr (n == 60) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58, m59, m60] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56), fn(m57), fn(m58), fn(m59), fn(m60);
  } else if constexpr (n == 61) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58, m59, m60, m61] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56), fn(m57), fn(m58), fn(m59), fn(m60), fn(m61);
  } else if constexpr (n == 62) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58, m59, m60, m61, m62] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56), fn(m57), fn(m58), fn(m59), fn(m60), fn(m61), fn(m62);
  } else if constexpr (n == 63) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58, m59, m60, m61, m62, m63] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56), fn(m57), fn(m58), fn(m59), fn(m60), fn(m61), fn(m62),
        fn(m63);
  } else if constexpr (n == 64) {
    auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
           m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44, m45,
           m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58, m59, m60, m61, m62, m63, m64] = object;
    fn(m1), fn(m2), fn(m3), fn(m4), fn(m5), fn(m6), fn(m7), fn(m8), fn(m9), fn(m10), fn(m11), fn(m12), fn(m13), fn(m14),
        fn(m15), fn(m16), fn(m17), fn(m18), fn(m19), fn(m20), fn(m21), fn(m22), fn(m23), fn(m24), fn(m25), fn(m26),
        fn(m27), fn(m28), fn(m29), fn(m30), fn(m31), fn(m32), fn(m33), fn(m34), fn(m35), fn(m36), fn(m37), fn(m38),
        fn(m39), fn(m40), fn(m41), fn(m42), fn(m43), fn(m44), fn(m45), fn(m46), fn(m47), fn(m48), fn(m49), fn(m50),
        fn(m51), fn(m52), fn(m53), fn(m54), fn(m55), fn(m56), fn(m57), fn(m58), fn(m59), fn(m60), fn(m61), fn(m62),
        fn(m63), fn(m64);
  }
}

}  // namespace cosqlite::detail
