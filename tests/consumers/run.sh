#!/usr/bin/env bash
# Builds and runs a tiny program against an installed cosqlite: found by meson, by CMake and by plain pkg-config, linked
# to the shared and to the static library, with each compiler that is here; and once with cosqlite as a subproject.
#   run.sh <source root> <build directory, built with -Ddefault_library=both>
set -euo pipefail
source_root=$(realpath "$1")
build_root=$(realpath "$2")
here=$source_root/tests/consumers

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What the caller's build was told is not for these.
unset CXXFLAGS CPPFLAGS LDFLAGS DESTDIR MAKEFLAGS MAKELEVEL CXX

compilers=()
for compiler in g++ clang++-19; do
  if command -v "$compiler" >/dev/null; then compilers+=("$compiler"); else echo "left out: no $compiler here"; fi
done

# One copy of the install prefix has only the shared library, the other only the static one.
meson install -C "$build_root" --no-rebuild --quiet --destdir "$work/shared"
cp -a "$work/shared" "$work/static"
find "$work/shared" -name '*.a' -delete
find "$work/static" -name '*.so*' -delete
package_dir=$(dirname "$(find "$work/shared" -name cosqlite.pc)")
prefix=$(sed -n 's/^prefix=//p' "$package_dir/cosqlite.pc")

build() { # <meson|cmake|make> <shared|static> <directory>
  case $1 in
    meson)
      meson setup "$3/build" "$3" "-Ddefault_library=$2" --wrap-mode=nofallback
      ninja -C "$3/build"
      ;;
    cmake)
      cmake -S "$3" -B "$3/build" "-DCMAKE_PREFIX_PATH=$work/$2$prefix"
      cmake --build "$3/build"
      ;;
    make)
      mkdir "$3/build"
      make -C "$3" "CXX=$CXX" "STATIC=$([ "$2" = shared ] || echo --static)"
      mv "$3/consumer" "$3/build/"
      ;;
  esac
}

check() { # <meson|cmake|make> <shared|static> <compiler>
  local directory=$work/$1-$2-$3 libraries=$work/$2${package_dir#"$work/shared"}
  cp -r "$here" "$directory"
  if ! (
    export CXX=$3 PKG_CONFIG_PATH=$libraries PKG_CONFIG_SYSROOT_DIR=$work/$2
    build "$1" "$2" "$directory"
  ) >"$directory.log" 2>&1; then
    cat "$directory.log"
    echo "FAILED to build: $1, $2, $3"
    return 1
  fi

  local needed
  needed=$(readelf -d "$directory/build/consumer")
  case $2 in
    shared) [[ $needed == *libcosqlite.so.* ]] || { echo "FAILED: $1, $2, $3 does not use the shared library" && return 1; } ;;
    static) [[ $needed != *libcosqlite.so* ]] || { echo "FAILED: $1, $2, $3 uses the shared library" && return 1; } ;;
  esac
  LD_LIBRARY_PATH=$(dirname "$libraries") timeout 60 "$directory/build/consumer" >/dev/null || { echo "FAILED to run: $1, $2, $3" && return 1; }
  echo "ok: $1, $2, $3"
}

check_subproject() {
  local directory=$work/subproject
  mkdir -p "$directory/subprojects"
  cp "$here/main.cpp" "$here/meson.build" "$directory"
  ln -s "$source_root" "$directory/subprojects/cosqlite"
  if ! (
    meson setup "$directory/build" "$directory" --wrap-mode=forcefallback -Dbuildtype=debug -Ddefault_library=static
    ninja -C "$directory/build" consumer
  ) >"$directory.log" 2>&1; then
    cat "$directory.log"
    echo "FAILED to build: subproject"
    return 1
  fi
  timeout 60 "$directory/build/consumer" >/dev/null || { echo "FAILED to run: subproject" && return 1; }
  echo "ok: subproject"
}

failed=0
for compiler in "${compilers[@]}"; do
  for kind in shared static; do
    for system in meson cmake make; do
      check "$system" "$kind" "$compiler" || failed=1
    done
  done
done
check_subproject || failed=1
exit $failed
