#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# resources.sh FOLDER: a table of what ptxas gave each kernel, from the logs that nvcc.sh left in FOLDER. Exit status 1 if a kernel spills registers.
set -eu
echo "# Registers, shared memory and spills"
echo
echo "Written by \`make resources\` from what ptxas says. Shared memory is what a kernel declares; what a launch adds is in the kernel's own page."
echo "\"Stack\" without spills is an array that is indexed at run time."
for log in "$1"/*.ptxas; do
  case "$log" in */planted_* | */samples* | */intrinsics*) continue ;; esac  # the emulation's own
  awk -v file="$(basename "$log" .ptxas)" '
    /Compiling entry function/ { split($0, part, "\x27"); kernel = part[2]; architecture = part[4] }
    /bytes stack frame/ { stack = $1; spill = $5 + $9 }
    /Used [0-9]+ registers/ {
      shared = 0
      for (i = 1; i <= NF; ++i) { if ($i == "Used") registers = $(i + 1); if ($(i + 1) == "bytes" && $(i + 2) ~ /^smem/) shared = $i }
      print file, architecture, kernel, registers, shared, stack, spill
    }' "$log"
done | c++filt | awk '
  {
    file = $1; architecture = $2; n = NF
    name = $3; for (i = 4; i <= n - 4; ++i) name = name " " $i
    sub(/^void /, "", name); gsub(/gatun::|\(anonymous namespace\)::|_GLOBAL__N__[0-9a-z_]*::/, "", name)
    depth = 0; short = ""  # up to the parenthesis of the parameters, which is outside < >
    for (i = 1; i <= length(name); ++i) {
      c = substr(name, i, 1)
      if (c == "<") ++depth; else if (c == ">") --depth; else if (c == "(" && depth == 0) break
      short = short c
    }
    key = file SUBSEP short
    if (!(key in seen)) { seen[key] = 1; order[++count] = key; files[key] = file; names[key] = short }
    registers[key, architecture] = $(n - 3); shared[key] = $(n - 2); stack[key, architecture] = $(n - 1); spill[key, architecture] = $n
  }
  END {
    last = ""
    for (i = 1; i <= count; ++i) {
      key = order[i]
      if (files[key] != last) {
        last = files[key]
        print "\n## " last "\n\n| kernel | registers sm_80 | sm_90 | shared bytes | stack sm_80, sm_90 | spilled bytes sm_80, sm_90 |\n|-|-|-|-|-|-|"
      }
      hopper = ((key, "sm_90a") in registers) ? "sm_90a" : "sm_90"
      printf "| `%s` | %s | %s | %s | %s, %s | %s, %s |\n", names[key], registers[key, "sm_80"], registers[key, hopper], shared[key],
             stack[key, "sm_80"], stack[key, hopper], spill[key, "sm_80"], spill[key, hopper]
      if (spill[key, "sm_80"] + spill[key, hopper] > 0) { spilled = spilled "\n" names[key] " spills" }
    }
    if (spilled != "") { print spilled > "/dev/stderr"; exit 1 }
  }'
