#pragma once

#include <cosqlite/detail/export.hpp>

#include <coroutine>

struct uv_loop_s;
typedef struct uv_loop_s uv_loop_t;

namespace cosqlite::detail {

/// Resumes `h` on this thread, and after it every coroutine that is handed over from there, one after another in a
/// loop: a chain of awaits costs no stack, however deep or long, in every build type. May be called anywhere, also
/// from within a coroutine. What a coroutine's promise lets escape ends the program.
COSQLITE_API void resume(std::coroutine_handle<> h) noexcept;

/// For `await_suspend` functions: makes `next` run as soon as `self` has suspended, if `self` is the coroutine that
/// the innermost resume() of this thread is running right now. Otherwise (somebody else resumed `self`) does nothing
/// and returns false; the caller then uses resume().
[[nodiscard]] COSQLITE_API bool hand_over(std::coroutine_handle<> self, std::coroutine_handle<> next) noexcept;

/// How many resume() calls are running on this thread, one inside the other.
[[nodiscard]] COSQLITE_API unsigned resume_depth() noexcept;

/// Makes `loop` the answer of this_loop() on this thread while it lives. Scopes nest.
class COSQLITE_API loop_scope {
 public:
  explicit loop_scope(uv_loop_t* loop) noexcept;
  loop_scope(const loop_scope&) = delete;
  loop_scope& operator=(const loop_scope&) = delete;
  ~loop_scope();

  /// Whether a scope of `loop` is open on this thread, at whatever depth: its loop is running callbacks.
  [[nodiscard]] static bool contains(const uv_loop_t* loop) noexcept;

 private:
  friend uv_loop_t* current_loop() noexcept;
  uv_loop_t* loop_;
  loop_scope* outer_;
};

/// The loop of the innermost scope; nullptr outside of all.
[[nodiscard]] COSQLITE_API uv_loop_t* current_loop() noexcept;

}  // namespace cosqlite::detail
