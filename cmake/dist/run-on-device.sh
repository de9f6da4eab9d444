#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run-on-device.sh [FOLDER]: what to run where a CUDA device is at hand for a few minutes; results and logs go to FOLDER (./results).
# The order is that of what is learned first: do the kernels run, do they touch what is not theirs, are they right, how fast are they.
# A part that fails or runs out of time does not stop the next ones. Exit status 0 only if every part passed.
#   GATUN_SECONDS   for everything together, 520 by default
#   GATUN_PARTS     which parts, "info tests memcheck racecheck selftest bench libraries steps torch compare train torch-steps compare-steps" by
#                   default; there are also synccheck and initcheck. What torch.compile compiles takes minutes: for all of it,
#                   GATUN_PARTS="steps torch-steps compare-steps" in a run of its own
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
tests="$here/lib/gatun-tests-cuda"

# Called by the part "tests". A kernel that breaks the context ends the program; it is run again without the file that did it.
if [ "${1:-}" = --each-file ]; then
  out=$(mktemp)
  trap 'rm -f "$out"' EXIT
  without="" status=0
  while :; do
    code=0
    "$tests" ${without:+"-sfe=$without"} > "$out" 2>&1 || code=$?
    cat "$out"
    [ "$code" = 0 ] || status=$code
    lost=$(sed -n 's|^device lost in: .*/\([^/]*\)$|\1|p' "$out")
    if [ "$code" != 3 ] || [ -z "$lost" ]; then exit "$status"; fi
    without="${without:+$without,}*$lost"
  done
fi

mkdir -p "${1:-results}"
results=$(cd "${1:-results}" && pwd -P)
parts=${GATUN_PARTS:-info tests memcheck racecheck selftest bench libraries steps torch compare train torch-steps compare-steps}
seconds=${GATUN_SECONDS:-520}
summary="$results/summary.txt"
: > "$summary"
start=$(date +%s)
failed=0

tell() { # name, outcome, seconds
  printf '%-10s %-34s %4s s\n' "$1" "$2" "$3" | tee -a "$summary"
}

run() { # name, at most so many seconds, command...
  name=$1 limit=$2
  shift 2
  begin=$(date +%s)
  left=$((seconds - begin + start))
  if [ "$left" -lt 5 ]; then
    tell "$name" "NOT RUN: the time is up" 0
    failed=1
    return
  fi
  [ "$limit" -le "$left" ] || limit=$left
  timeout -k 5 "$limit" "$@" > "$results/$name.log" 2>&1
  code=$?
  took=$(($(date +%s) - begin))
  case "$code" in
    0) tell "$name" "ok" "$took" ;;
    77) tell "$name" "skipped" "$took" ;;
    124 | 137) tell "$name" "FAILED: more than $limit s" "$took" && failed=1 ;;
    *) tell "$name" "FAILED: status $code" "$took" && failed=1 ;;
  esac
  # the line that says most: how many cases, rows or errors
  grep -hE 'skipped:|test cases:|ERROR SUMMARY|RACECHECK SUMMARY|device lost|[0-9] rows|kernels|^trained |^gatun: ' "$results/$name.log" | tail -n 2 | cut -c1-150 | sed 's/^/           /' | tee -a "$summary"
}

skip() { tell "$1" "skipped: $2" 0; }

has() { command -v "$1" > /dev/null 2>&1; }

sanitizer=""
for candidate in compute-sanitizer "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" /usr/local/cuda*/bin/compute-sanitizer; do
  if has "$candidate"; then sanitizer=$candidate && break; fi
done
sanitize() { # name, seconds, options...
  name=$1 limit=$2
  shift 2
  if [ -z "$sanitizer" ]; then skip "$name" "no compute-sanitizer"; return; fi
  run "$name" "$limit" "$sanitizer" --tool "$name" --error-exitcode 9 --print-limit 20 "$@" "$tests"
}

if [ ! -x "$tests" ]; then
  echo "this archive was built without nvcc: there is nothing for a CUDA device in it" >&2
  exit 77
fi
# One case is enough to learn whether there is a device.
"$tests" --minimal=true --test-case=none > "$results/device.log" 2>&1
if [ $? = 77 ]; then
  cat "$results/device.log" >&2
  exit 77
fi

# Products are cuBLAS's, of the installed CUDA or of PyTorch's packages: after the folders that are searched anyway, the first that has each.
for library in libcublasLt.so.13 libcudart.so.13 libcudnn.so.9; do
  folder=$(find / -name "$library*" -not -path '/proc/*' -exec dirname {} \; 2> /dev/null | head -n 1)
  case ":${LD_LIBRARY_PATH:-}:" in
    *":$folder:"*) ;;
    *) [ -z "$folder" ] || LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder ;;
  esac
done
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"

for part in $parts; do
  case "$part" in
    info)
      if has nvidia-smi; then nvidia-smi > "$results/nvidia-smi.txt" 2>&1; fi
      run info 30 "$here/bin/gatun" info
      ;;
    tests) run tests 50 "$here/run-on-device.sh" --each-file ;;
    # The kernel that errs is ended, not the program: the cases after it run.
    memcheck) sanitize memcheck 100 --destroy-on-device-error kernel ;;
    racecheck) sanitize racecheck 100 --racecheck-report analysis ;;
    synccheck) sanitize synccheck 90 ;;
    initcheck) sanitize initcheck 90 ;;
    selftest) run selftest 60 "$here/bin/gatun" selftest --device cuda --json "$results/selftest.json" ;;
    bench) run bench 90 "$here/bin/gatun" bench --device cuda --json "$results/gatun.json" ;;
    libraries) run libraries 60 "$here/bin/gatun" bench-libraries --device cuda --json "$results/libraries.json" ;;
    steps) # the batch of the pipelines first: should the time be up, the largest ones are missing
      run steps 120 "$here/bin/gatun" bench-steps "$here"/configs/steps/*.yaml --device cuda --json "$results/steps.json" --batch 128 --batch largest
      ;;
    torch-steps)
      if ! has python3 || ! python3 -c 'import torch' 2> /dev/null; then skip torch-steps "no python3 with PyTorch"; continue; fi
      "$here/bin/gatun" bench-steps "$here"/configs/steps/*.yaml --device cuda --list > "$results/pipelines.json"
      # what is begun late is not finished
      run torch-steps 390 python3 "$here/torch_cuda.py" --steps "$results/pipelines.json" --json "$results/torch-steps.json" --seconds 300
      ;;
    compare-steps)
      if [ ! -s "$results/steps.json" ] || [ ! -s "$results/torch-steps.json" ]; then skip compare-steps "no steps of both"; continue; fi
      seconds=$((seconds + 15)) # it times nothing, and is what the parts before were for
      run compare-steps 15 "$here/bin/gatun" bench-steps --timed "$results/steps.json" --compare "$results/torch-steps.json"
      cut -c1-190 "$results/compare-steps.log" | tee -a "$summary"
      ;;
    torch)
      if ! has python3 || ! python3 -c 'import torch' 2> /dev/null; then skip torch "no python3 with PyTorch"; continue; fi
      "$here/bin/gatun" bench --device cuda --list > "$results/rows.json" 2> /dev/null
      run torch 120 python3 "$here/torch_cuda.py" "$results/rows.json" --json "$results/torch.json"
      ;;
    compare)
      if [ ! -s "$results/torch.json" ]; then skip compare "no results of PyTorch"
      else run compare 40 "$here/bin/gatun" bench --device cuda --quick --compare "$results/torch.json"; fi
      ;;
    train) # the same seed on both: their losses belong beside each other
      if [ ! -d "$here/data" ]; then skip train "no images in this archive"; continue; fi
      for device in cuda cpu; do
        run "train-$device" 60 "$here/bin/gatun" pretrain "$here/configs/fashion-mnist-swav.yaml" --set device=$device \
          --set "data.path=$here/data/fashion-mnist-part" --set schedule.epochs=3 --out "$results/swav-$device"
      done
      ;;
    *) echo "there is no part $part" >&2 && failed=1 ;;
  esac
done
echo "results: $results"
exit "$failed"
