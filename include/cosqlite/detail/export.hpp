#pragma once

// The one macro of the public headers. The library is built with hidden visibility, and this attribute marks what it
// exports. It must be the same in the library and in its users, for exceptions are matched by their type information.
#define COSQLITE_API __attribute__((visibility("default")))
