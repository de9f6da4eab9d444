#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rows of `gatun bench --device cuda` in PyTorch, on the same machine and timed in the same way.

  gatun bench --device cuda --list > rows.json          what to run: operation, direction, shape, dtype
  python3 torch_cuda.py rows.json --json torch.json     each row in every form that PyTorch has for it
  gatun bench --device cuda --compare torch.json        both in one table

Whole training steps likewise (torch_steps.py):

  gatun bench-steps configs/steps/*.yaml --device cuda --list > pipelines.json
  python3 torch_cuda.py --steps pipelines.json --json torch-steps.json
  gatun bench-steps configs/steps/*.yaml --device cuda --compare torch-steps.json

No shape is written here: rows are read, their shapes parsed. What a row is in PyTorch stands in torch_peers.py, one function an operation.
Times are medians of batches between two CUDA events, after a warm-up; operands are random and rotate through three times the L2 cache.
--dry-run shows what would run and needs no PyTorch; of whole steps it trains two, tiny and on the CPU, where PyTorch is.
"""

import argparse
import contextlib
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import torch_peers
import torch_steps

BATCH_SECONDS = 1e-3  # that a timed batch lasts at least, so that launches overlap with work
BATCHES = 9           # timed at least
MOST_CALLS = 1 << 20
MOST_ROTATIONS = 64
LARGEST_PATTERN = 1 << 22


@dataclass(frozen=True)
class Row:
    operation: str
    direction: str
    shape: str
    dtype: str
    bytes: float

    @property
    def groups(self):
        """All parenthesised lists of the shape: "(128, 224, 224, 3) of (375, 500)" has two."""
        return [tuple(int(extent) for extent in group.split(",") if extent.strip()) for group in re.findall(r"\(([\d,\s]*)\)", self.shape)]

    @property
    def extents(self):
        return self.groups[0]

    @property
    def words(self):
        """What the shape says beside its lists."""
        return re.sub(r"\([\d,\s]*\)", " ", self.shape).split()

    def number(self, name, default=None):
        """The number behind a word: 32 of "(256, 49, 2048) groups 32"."""
        words = self.words
        for word, value in zip(words, words[1:]):
            if word == name:
                return float(value) if "." in value else int(value)
        if default is None:
            raise ValueError(f"the shape {self.shape} has no {name}")
        return default

    @property
    def backward(self):
        return "backward" in self.direction

    def key(self):
        return {"operation": self.operation, "direction": self.direction, "shape": self.shape, "dtype": self.dtype}

    def __str__(self):
        return f"{self.operation} {self.direction} {self.dtype} {self.shape}"


def read_rows(text):
    """A JSON array (gatun bench --list) or an object a line (gatun-trials-cuda list --json)."""
    text = text.strip()
    objects = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]
    rows = []
    for one in objects:
        if "operation" not in one:
            continue
        row = Row(one["operation"], one["direction"], one["shape"], one["dtype"], float(one.get("bytes", 0)))
        if not row.groups or not row.extents:
            raise ValueError(f"the shape of {row} does not begin with its extents in parentheses")
        rows.append(row)
    if not rows:
        raise ValueError("there are no rows")
    return rows


class Builder:
    """Makes the operands of a row: of each as many copies as it takes to leave the L2 cache."""

    device = "cuda"

    def __init__(self, torch, row, form, rotations, seed=1):
        self.torch = torch
        self.functional = torch.nn.functional
        self.form = form
        self.rotations = rotations
        self.dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}.get(row.dtype, torch.float32)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)

    def copies(self, tensor):
        return Rotating([tensor] + [tensor.clone() for _ in range(self.rotations - 1)])

    def normal(self, *shape, scale=1.0, dtype=None):
        # A pattern is repeated where the operand is large: making numbers must not take longer than timing.
        count = math.prod(shape)
        pattern = self.torch.empty(min(count, LARGEST_PATTERN), device=self.device).normal_(0, scale, generator=self.generator)
        if count > pattern.numel():
            pattern = pattern.repeat(-(-count // pattern.numel()))[:count]
        return self.copies(pattern.to(dtype or self.dtype).view(shape))

    def integers(self, *shape, high, dtype=None):
        return self.copies(self.torch.randint(high, shape, device=self.device, generator=self.generator).to(dtype or self.torch.int64))

    def full(self, *shape, value, dtype=None):
        return self.copies(self.torch.full(shape, value, device=self.device, dtype=dtype or self.dtype))

    def empty(self, *shape, dtype=None):
        return self.copies(self.torch.empty(shape, device=self.device, dtype=dtype or self.dtype))


class Rotating(list):
    """Copies of one operand."""


def calls(torch, work, form, backward):
    """What is timed: a function of the number of the call."""
    function = torch.compile(work.function, dynamic=False) if form.endswith("compile") else work.function

    def operands(i):
        return [operand[i % len(operand)] if isinstance(operand, Rotating) else operand for operand in work.operands]

    if not backward or work.plain:

        def forward(i):
            with torch.no_grad():
                function(*operands(i))

        return forward
    graphs = []
    for i in range(max(len(operand) for operand in work.operands if isinstance(operand, Rotating))):
        mine = operands(i)
        wanted = [mine[k].requires_grad_() for k in work.wanted]
        output = function(*mine)
        graphs.append((output, wanted, torch.randn_like(output)))

    def gradients(i):
        output, wanted, gradient = graphs[i % len(graphs)]
        torch.autograd.grad(output, wanted, gradient, retain_graph=True)

    return gradients


def median_seconds(torch, call, budget):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    index = 0

    def batch(count):
        nonlocal index
        start.record()
        for _ in range(count):
            call(index)
            index += 1
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3

    for _ in range(3):  # compilation, autotuning, first touch
        batch(1)
    count = 1
    last = batch(count)
    while last < BATCH_SECONDS and count < MOST_CALLS:
        count = max(count + 1, int(count * min(8.0, 1.2 * BATCH_SECONDS / max(last, 1e-9))))
        last = batch(count)
    times, spent = [], 0.0
    while len(times) < BATCHES or spent < budget:
        seconds = batch(count)
        spent += seconds
        times.append(seconds / count)
        if spent > 4 * budget and len(times) >= 3:
            break
    return sorted(times)[len(times) // 2]


def driver_version():
    try:
        answer = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.splitlines()[0].strip()


def cuda_report():
    """PyTorch set up for timing on its CUDA device, and what a report says of both."""
    import torch

    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device")
    # f32 means f32 on both sides.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    properties = torch.cuda.get_device_properties(0)
    return {"device": properties.name, "driver": driver_version(), "torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "failed": []}


def run(rows, forms, quick, json_file):
    report = cuda_report()
    report["rows"] = []
    import torch
    import torch._functorch.config

    torch._functorch.config.donated_buffer = False  # graphs are kept for several backward passes
    cache = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0) or (64 << 20)
    # What must be compiled comes last: cut short, a run leaves all that is quick.
    for row, peer, form in sorted(
            ((row, peer, form) for row in rows for peer in torch_peers.peers_of(row) for form in peer.forms if not forms or form in forms),
            key=lambda one: "compile" in one[2]):
        torch._dynamo.reset()
        try:
            seconds = time_one(torch, row, peer, form, cache, 0.02 if quick else 0.2)
        except Exception as error:  # a form that a row does not suit must not end the run
            message = (str(error).strip() or type(error).__name__).splitlines()[0]
            report["failed"].append({**row.key(), "form": form, "error": message})
            print(f"{row}  {form}: {message}", file=sys.stderr)
        else:
            report["rows"].append({**row.key(), "form": form, "seconds": seconds})
            print(f"{str(row):<78} {form:<28} {seconds * 1e6:12.2f} us", flush=True)
        torch.cuda.empty_cache()
        if json_file:
            write(report, json_file)


def write(report, json_file):
    """The whole file or none of it: a run may be cut short at any time."""
    part = json_file + ".part"
    with open(part, "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)
        out.write("\n")
    os.replace(part, json_file)


def time_one(torch, row, peer, form, cache, budget):
    rotations = min(MOST_ROTATIONS, max(1, math.ceil(3 * cache / max(row.bytes, 1.0))))
    work = peer.make(Builder(torch, row, form, rotations), row)
    with work.context():
        return median_seconds(torch, calls(torch, work, form, row.backward), budget)


def whole_steps(options):
    try:
        with open(options.steps, encoding="utf-8") as source:
            descriptions = torch_steps.read(source.read())
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{options.steps}: {error}")
    descriptions = [one for one in descriptions if not options.step or one.name in options.step]
    forms = [form for form in torch_steps.FORMS if not options.form or form in options.form]
    if not descriptions or not forms:
        sys.exit(f"there is no such step or form; the forms are {', '.join(torch_steps.FORMS)}")
    if options.dry_run:
        torch_steps.dry_run(descriptions, forms)
        return
    report = cuda_report()
    save = (lambda: write(report, options.json)) if options.json else (lambda: None)
    torch_steps.run(descriptions, forms, not options.no_largest, options.quick, report, save, options.seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", default="-", help="JSON of `gatun bench --device cuda --list`; - is standard input")
    parser.add_argument("--op", action="append", default=[], metavar="NAME", help="only this operation; may be given several times")
    parser.add_argument("--form", action="append", default=[], metavar="NAME", help="only this form, for example eager; may be given several times")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, less certain")
    parser.add_argument("--json", metavar="FILE", help="write the times, for `gatun bench --compare`")
    parser.add_argument("--steps", metavar="FILE", help="whole training steps: JSON of `gatun bench-steps --list`")
    parser.add_argument("--step", action="append", default=[], metavar="NAME", help="only this step; may be given several times")
    parser.add_argument("--no-largest", action="store_true", help="of whole steps: only at the batch of the pipeline, not at the largest that fits")
    parser.add_argument("--seconds", type=float, default=3600, metavar="N", help="of whole steps: none is begun later than that")
    parser.add_argument("--dry-run", action="store_true", help="print what would run; needs no PyTorch")
    options = parser.parse_args()
    if options.steps:
        whole_steps(options)
        return
    try:
        with contextlib.nullcontext(sys.stdin) if options.rows == "-" else open(options.rows, encoding="utf-8") as source:
            rows = read_rows(source.read())
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{options.rows}: {error}")
    rows = [row for row in rows if not options.op or row.operation in options.op]
    if not rows:
        sys.exit("no row is of " + ", ".join(options.op))
    if options.dry_run:
        for row in rows:
            forms = [form for peer in torch_peers.peers_of(row) for form in peer.forms if not options.form or form in options.form]
            print(f"{str(row):<78} {', '.join(forms) or 'no peer'}")
        return
    run(rows, options.form, options.quick, options.json)


if __name__ == "__main__":
    main()
