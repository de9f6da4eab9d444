#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench.sh [OPERATION...] [OPTION...]: ours beside the peers; --help names the options. `make bench` builds what it runs.
# For trying, seconds a row: cmake/bench.sh attention --quick --rows 64x3x37
set -eu
cd "$(dirname "$0")/.."
jar=build/java/benchmarks/gatun-benchmarks-0.1.0.jar
if [ ! -e "$jar" ]; then
  echo "Not built yet: make bench, or cmake/maven.sh -q -Dmaven.test.skip=true -Ppeers -pl benchmarks -am package" >&2
  exit 1
fi
# What a measurement itself has written is no change of what is measured.
commit=$(git describe --always 2> /dev/null || echo unknown)
[ "$commit" = unknown ] || git diff --quiet HEAD -- . ':(exclude)benchmarks/results' ':(exclude)docs/benchmarks.*' 2> /dev/null || commit=$commit-dirty
exec "$(cmake/jdk.sh)/bin/java" --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow -Dgatun.library="$PWD/build/native/libgatun.so" \
  -Dgatun.commit="$commit" \
  -cp "$jar:$(cat build/java/benchmarks/class-path)" dev.gatun.benchmarks.suite.Bench --directory "$PWD" "$@"
