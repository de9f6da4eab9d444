#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench.sh [OPERATION]: runs the JMH benchmarks of one operation (or all) after the ceilings, and writes build/bench.json.
set -eu
cd "$(dirname "$0")/.."
pattern="dev.gatun.benchmarks.*"
if [ -n "${1:-}" ]; then
  # Without this a mistyped name would measure the ceilings alone and look like a success.
  operation=$(echo "$1" | tr -d _)
  if ! ls benchmarks/src/main/java/dev/gatun/benchmarks | grep -qi "^${operation}Benchmark\.java$"; then
    echo "No benchmark for '$1'; there are: $(ls kernels | grep -vx -e common -e testing | tr '\n' ' ')" >&2
    exit 1
  fi
  pattern="(?i)dev.gatun.benchmarks.(Ceiling|$operation)Benchmark.*"
fi
exec "$(cmake/jdk.sh)/bin/java" --enable-native-access=ALL-UNNAMED -Dgatun.library="$PWD/build/native/libgatun.so" \
  -cp "build/java/benchmarks/*" org.openjdk.jmh.Main "$pattern" \
  -jvmArgsAppend "--enable-native-access=ALL-UNNAMED -Dgatun.library=$PWD/build/native/libgatun.so -Dorg.bytedeco.javacpp.maxPhysicalBytes=0" \
  -rf json -rff build/bench.json
