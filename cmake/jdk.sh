#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the home of a JDK 25 or newer: JAVA_HOME, then the javac on the PATH, then the usual places.
set -u

major() { # of the JDK in $1, empty if it is none
  [ -x "$1/bin/javac" ] && [ -f "$1/release" ] && sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release"
}

path_javac=$(command -v javac 2>/dev/null) && path_javac=$(dirname "$(dirname "$(readlink -f "$path_javac")")")
for home in "${JAVA_HOME:-}" "${path_javac:-}" /usr/lib/jvm/* /opt/jdk* /opt/java/* "$HOME"/.sdkman/candidates/java/* \
            "$HOME"/.jdks/* /Library/Java/JavaVirtualMachines/*/Contents/Home; do
  [ -n "$home" ] || continue
  version=$(major "$home")
  if [ -n "$version" ] && [ "$version" -ge 25 ]; then
    echo "$home"
    exit 0
  fi
done
echo "No JDK 25 found (looked at JAVA_HOME, the PATH, /usr/lib/jvm, /opt, ~/.sdkman, ~/.jdks). Install one, or set JAVA_HOME." >&2
exit 1
