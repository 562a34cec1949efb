// refused with: take it by value
#include <cosqlite/task.hpp>

#include <string>

#ifndef REFUSE
#define REFUSE 0
#endif

#if REFUSE == 1
#define PARAMETER std::string&&
#define LAMBDA_PARAMETER std::string
#define MEMBER_PARAMETER std::string
#elif REFUSE == 2
#define PARAMETER std::string
#define LAMBDA_PARAMETER std::string&&
#define MEMBER_PARAMETER std::string
#elif REFUSE == 3
#define PARAMETER std::string
#define LAMBDA_PARAMETER const std::string&
#define MEMBER_PARAMETER std::string&&
#else
#define PARAMETER std::string
#define LAMBDA_PARAMETER const std::string&
#define MEMBER_PARAMETER std::string&
#endif

struct keeper {
  std::size_t offset = 0;
  cosqlite::task<std::size_t> size_of(MEMBER_PARAMETER text) const {
    const std::size_t size = text.size() + offset;
    co_return size;
  }
};

cosqlite::task<std::size_t> size_of(PARAMETER text) {
  const std::size_t size = text.size();
  co_return size;
}

int main() {
  const auto lambda = [](LAMBDA_PARAMETER text) -> cosqlite::task<std::size_t> {
    const std::size_t size = text.size();
    co_return size;
  };
  const keeper k;
  std::string text;
  static_cast<void>(k);
  static_cast<void>(lambda);
  static_cast<void>(text);
  return 0;
}
