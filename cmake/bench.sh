#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench.sh [OPERATION]: runs the JMH benchmarks of one operation (or all) after the ceilings, and writes build/bench.json.
set -eu
cd "$(dirname "$0")/.."
pattern="dev.gatun.benchmarks.*"
[ $# -gt 0 ] && [ -n "$1" ] && pattern="(?i)dev.gatun.benchmarks.(Ceiling|$(echo "$1" | tr -d _))Benchmark.*"
exec "$(cmake/jdk.sh)/bin/java" --enable-native-access=ALL-UNNAMED -Dgatun.library="$PWD/build/native/libgatun.so" \
  -cp "build/java/benchmarks/*" org.openjdk.jmh.Main "$pattern" \
  -jvmArgsAppend "--enable-native-access=ALL-UNNAMED -Dgatun.library=$PWD/build/native/libgatun.so -Dorg.bytedeco.javacpp.maxPhysicalBytes=0" \
  -rf json -rff build/bench.json
