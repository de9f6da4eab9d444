#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Proves that what `make install` installed can be used: builds and tests examples/embed outside this tree.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r "$root/examples/embed" "$folder/embed"
JAVA_HOME=$("$root/cmake/jdk.sh")
export JAVA_HOME
cd "$folder/embed"
mvn -B -ntp test
