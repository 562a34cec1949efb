#pragma once

#include "support/catch.hpp"

#include <uv.h>

namespace support {

/// A loop that the program owns. Its destructor checks that nothing is left on it.
class own_loop {
 public:
  own_loop() { REQUIRE(uv_loop_init(&loop_) == 0); }
  own_loop(const own_loop&) = delete;
  own_loop& operator=(const own_loop&) = delete;
  ~own_loop() {
    run();
    CHECK(uv_loop_close(&loop_) == 0);
  }
  uv_loop_t* get() { return &loop_; }
  void run() { uv_run(&loop_, UV_RUN_DEFAULT); }

 private:
  uv_loop_t loop_{};
};

}  // namespace support
