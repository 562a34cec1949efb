#!/usr/bin/env bash
# The tests are linked to the static library, where hidden symbols are found too. This asks of what they use whether
# the shared library exports it, so that a forgotten COSQLITE_API is found here and not by a user.
#   exports.sh <shared library> <directory of the tests' object files>
set -euo pipefail

# What the tests define themselves (weak copies of templates and inline functions) they need not find in the library.
objects() { find "$1" -name '*test_*.cpp.o' -print0; }
used=$(objects "$2" | xargs -0 nm --undefined-only | awk '$1 == "U" && $2 ~ /8cosqlite/ {print $2}' | sort -u)
found=$({
  objects "$2" | xargs -0 nm --defined-only
  nm -D --defined-only "$1"
} | awk 'NF >= 2 {print $NF}' | sort -u)

missing=$(comm -23 <(echo "$used") <(echo "$found"))
if [ -n "$missing" ]; then
  echo "used through the headers, but not exported by $(basename "$1"):"
  c++filt <<<"$missing"
  exit 1
fi
echo "$(wc -l <<<"$used") symbols used, all exported"
