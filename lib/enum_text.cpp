#include <cosqlite/enum_text.hpp>
#include <cosqlite/error.hpp>

namespace cosqlite::detail {

void throw_unnamed_enum() {
  throw conversion_error("cannot bind a value of an enumeration that its adapter has no name for: add it to `names`",
                         {20}, -1, "enumeration", "TEXT");
}

}  // namespace cosqlite::detail
