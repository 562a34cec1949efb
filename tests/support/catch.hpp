#pragma once

// Catch2 v2 and v3 keep their headers in different places.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

// Catch2 names the expression of an assertion three times and means only one of them to be evaluated: the others stand
// behind `false &&` and in __builtin_constant_p. GCC 12 evaluates a co_await there all the same, so that
// CHECK(co_await …) would make its call three times.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13 && defined(INTERNAL_CATCH_TEST)
#undef INTERNAL_CATCH_TEST
#define INTERNAL_CATCH_TEST(macroName, resultDisposition, ...)                                               \
  do {                                                                                                       \
    Catch::AssertionHandler catchAssertionHandler(macroName##_catch_sr, CATCH_INTERNAL_LINEINFO,             \
                                                  CATCH_INTERNAL_STRINGIFY(__VA_ARGS__), resultDisposition); \
    INTERNAL_CATCH_TRY {                                                                                     \
      CATCH_INTERNAL_START_WARNINGS_SUPPRESSION                                                              \
      CATCH_INTERNAL_SUPPRESS_PARENTHESES_WARNINGS                                                           \
      catchAssertionHandler.handleExpr(Catch::Decomposer() <= __VA_ARGS__);                                  \
      CATCH_INTERNAL_STOP_WARNINGS_SUPPRESSION                                                               \
    }                                                                                                        \
    INTERNAL_CATCH_CATCH(catchAssertionHandler)                                                              \
    INTERNAL_CATCH_REACT(catchAssertionHandler)                                                              \
  } while (false)
#endif
