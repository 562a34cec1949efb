#!/bin/sh
# What the headers must not let through: SOURCE compiles as it is, and with -DREFUSE=1 to -DREFUSE=CASES it must not, for
# the reason that its first line gives.
# Usage: refused.sh INCLUDE_DIRECTORY SOURCE CASES COMPILER…
set -eu
include=$1 source=$2 cases=$3
shift 3
compile() { "$@" -std=c++20 -fsyntax-only -I "$include" "$source"; }

reason=$(sed -n '1s,^// refused with: ,,p' "$source")
[ -n "$reason" ] || { echo "$source: no reason in its first line" >&2; exit 1; }
compile "$@"

i=1
while [ "$i" -le "$cases" ]; do
  if output=$(compile "$@" -DREFUSE="$i" 2>&1); then
    echo "$source: case $i compiles" >&2
    exit 1
  fi
  case $output in
    *"$reason"*) ;;
    *) echo "$source: case $i is refused for another reason: $output" >&2; exit 1 ;;
  esac
  i=$((i + 1))
done
