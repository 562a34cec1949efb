#include <cosqlite/detail/trampoline.hpp>

#include <utility>

namespace cosqlite::detail {
namespace {

// Symmetric transfer would do the same without any state, but GCC makes it a tail call only from -O2 on and never
// under a sanitizer, so that a loop of some 20,000 awaits overflows the stack there.
struct trampoline {
  std::coroutine_handle<> running;
  std::coroutine_handle<> next;
  unsigned depth = 0;
};

constinit thread_local trampoline active;
constinit thread_local loop_scope* innermost = nullptr;

}  // namespace

void resume(std::coroutine_handle<> h) noexcept {
  const trampoline outer = std::exchange(active, {});
  active.depth = outer.depth + 1;
  while (h) {
    active.running = h;
    h.resume();
    h = std::exchange(active.next, {});
  }
  active = outer;
}

bool hand_over(std::coroutine_handle<> self, std::coroutine_handle<> next) noexcept {
  if (active.running != self || active.next) return false;
  active.next = next;
  return true;
}

unsigned resume_depth() noexcept { return active.depth; }

loop_scope::loop_scope(uv_loop_t* loop) noexcept : loop_(loop), outer_(std::exchange(innermost, this)) {}

loop_scope::~loop_scope() { innermost = outer_; }

bool loop_scope::contains(const uv_loop_t* loop) noexcept {
  for (const loop_scope* scope = innermost; scope != nullptr; scope = scope->outer_) {
    if (scope->loop_ == loop) return true;
  }
  return false;
}

uv_loop_t* current_loop() noexcept { return innermost == nullptr ? nullptr : innermost->loop_; }

}  // namespace cosqlite::detail
