#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# nvcc.sh LOG COMMAND...: what ptxas says of registers and spills goes to LOG; it is shown where the command fails.
log="$1"
shift
"$@" > "$log" 2>&1 || { cat "$log" >&2; exit 1; }
