#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Maven on JDK 25, from the root of the project.
set -eu
cd "$(dirname "$0")/.."
JAVA_HOME=$(cmake/jdk.sh)
export JAVA_HOME
exec mvn -B "$@"
