#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sees to what the build needs and says plainly what is missing.
#   setup.sh build   tools, JDK 25, Highway headers (Debian: libhwy-dev)
#   setup.sh test    doctest (Debian: doctest-dev)
#   setup.sh data    Fashion-MNIST (Debian: dataset-fashion-mnist)
# Debian packages are installed as root by apt-get, else downloaded and unpacked into build/deps. Off Debian, CMake fetches pinned
# headers and `gatun data fashion-mnist` fetches the images.
set -eu
cd "$(dirname "$0")/.."
deps=build/deps

updated=""
package() { # name, a file that it brings
  [ -e "/$2" ] || [ -e "$deps/$2" ] && return 0
  command -v apt-get > /dev/null || return 1
  echo "== Debian package $1"
  mkdir -p "$deps" build/apt
  if [ "$(id -u)" = 0 ]; then
    if apt-get install -y -qq "$1" > build/apt.log 2>&1; then return 0; fi
    # Package lists may be absent or old.
    if [ -z "$updated" ]; then updated=yes; apt-get update -qq >> build/apt.log 2>&1 || true; fi
    if apt-get install -y -qq "$1" >> build/apt.log 2>&1; then return 0; fi
  fi
  if (cd build/apt && apt-get download "$1" > ../apt.log 2>&1) && dpkg -x build/apt/"$1"_*.deb "$deps"; then return 0; fi
  echo "   could not be had: $(tail -n 1 build/apt.log)" >&2
  return 1
}

case "$1" in
  build)
    missing=""
    for tool in cmake mvn c++ strip; do command -v "$tool" > /dev/null || missing="$missing $tool"; done
    if [ -n "$missing" ]; then
      echo "Missing on this machine:$missing. On Debian: apt-get install cmake maven g++ make" >&2
      exit 1
    fi
    cmake/jdk.sh > /dev/null
    package libhwy-dev usr/include/hwy/highway.h || echo "   CMake will fetch the pinned Highway" >&2
    ;;
  test)
    package doctest-dev usr/include/doctest/doctest.h || echo "   CMake will fetch the pinned doctest" >&2
    ;;
  data)
    deps=build/data
    file=usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
    if [ -e data/fashion-mnist/train-images-idx3-ubyte.gz ]; then exit 0; fi
    package dataset-fashion-mnist $file && exit 0
    if [ -x gatun ]; then exec ./gatun data fashion-mnist; fi
    echo "Fashion-MNIST is missing; after 'make': ./gatun data fashion-mnist" >&2
    ;;
  *) echo "setup.sh build|test|data" >&2; exit 2 ;;
esac
