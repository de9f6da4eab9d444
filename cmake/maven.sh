#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Maven on JDK 25, from the root of the project.
set -eu
cd "$(dirname "$0")/.."
JAVA_HOME=$(cmake/jdk.sh)
export JAVA_HOME
# Maven's own libraries still use the old Unsafe; its warning is not about this project.
MAVEN_OPTS="${MAVEN_OPTS:-} --sun-misc-unsafe-memory-access=allow"
export MAVEN_OPTS
exec mvn -B "$@"
