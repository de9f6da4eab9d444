# SPDX-License-Identifier: Apache-2.0
"""Times whole training steps in PyTorch: what `torch_cuda.py --steps` runs. The networks are in torch_models.py.

A step: normalise the crops (random bytes that lie on the device; no augmentation), encode, loss, backward, fused optimizer, under bf16 autocast
where the pipeline says bf16; meanwhile a batch of stored images is copied up from pinned memory on a stream of its own.
"""

import copy
import gc
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass

MODES = ("default", "reduce-overhead", "max-autotune")
FORMS = ("eager",) + tuple(f"compile {mode}" for mode in MODES)
WARM_UP = 5
LEAST_STEPS = 20
PROFILED = 5
STEPS_TO_FIT = 2


@dataclass(frozen=True)
class Description:
    """One of `gatun bench-steps --list`: a step's name and the whole pipeline."""

    name: str
    pipeline: dict

    @property
    def batch(self):
        return self.pipeline["data"]["batch"]

    @property
    def precision(self):
        return self.pipeline["precision"]

    def tiny(self):
        """The same step with everything small, for a CPU."""
        small = copy.deepcopy(self.pipeline)
        patch = small["model"].get("patch", 16)
        for crop in small["views"]["crops"]:
            crop["size"] = 2 * patch if crop["role"] == "global" else patch
        small["data"].update(batch=4, classes=10, shape=[3 * patch, 3 * patch, 3])
        if small["model"]["name"] == "vit":
            small["model"].update(width=8 * small["model"]["heads"], depth=2)
        else:
            small["model"].update(depths=[1] * len(small["model"]["depths"]), widths=[8] * len(small["model"]["widths"]))
        if small["method"]["name"] == "swav":
            small["method"].update(prototypes=8, hidden=[16], output=8)
        return Description(self.name, small)


def read(text):
    descriptions = [Description(one["step"], one["pipeline"]) for one in json.loads(text)]
    if not descriptions:
        raise ValueError("there are no steps")
    for one in descriptions:
        if one.precision not in ("f32", "bf16"):
            raise ValueError(f"{one.name}: there is no peer of precision {one.precision}")
    return descriptions


class Step:
    """A network, its optimizer and its data; called, it trains one step."""

    def __init__(self, torch, description, batch, form, device):
        import torch_models

        pipeline = description.pipeline
        data = pipeline["data"]
        channels = data["shape"][2]
        torch.manual_seed(pipeline["seed"])
        self.torch = torch
        self.model = torch_models.Training(pipeline).to(device)
        if pipeline["model"]["name"] == "resnet":
            self.model = self.model.to(memory_format=torch.channels_last)
        self.model.train()
        self.optimizer = torch_models.optimizer(pipeline, list(self.model.parameters()), device == "cuda")
        self.crops = []
        for crop in pipeline["views"]["crops"]:
            shape = (crop["count"] * batch, channels, crop["size"], crop["size"])
            pixels = torch.randint(256, shape, dtype=torch.uint8, device=device)
            self.crops.append(pixels.contiguous(memory_format=torch.channels_last))
        self.labels = torch.randint(max(data["classes"], 1), (batch,), device=device)
        self.copies = torch.cuda.Stream() if device == "cuda" else None
        if self.copies:
            stored = (batch, *data["shape"])
            self.pinned = torch.zeros(stored, dtype=torch.uint8, pin_memory=True)
            self.arriving = torch.empty(stored, dtype=torch.uint8, device=device)
        self.loss = self.model if form == "eager" else torch.compile(self.model, mode=form.removeprefix("compile "), dynamic=False)
        self.graphs = form in ("compile reduce-overhead", "compile max-autotune")

    def __call__(self):
        if self.copies:
            # this step's images have come; the next step's are on their way while it computes
            self.torch.cuda.current_stream().wait_stream(self.copies)
            with self.torch.cuda.stream(self.copies):
                self.arriving.copy_(self.pinned, non_blocking=True)
        if self.graphs:
            self.torch.compiler.cudagraph_mark_step_begin()
        self.model.method.before()
        loss = self.loss(self.crops, self.labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


def times(torch, step, seconds):
    """Seconds from step to step on the device, at least LEAST_STEPS of them and until the time is up."""
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    marks = [torch.cuda.Event(enable_timing=True)]
    marks[0].record()
    begin = time.monotonic()
    while len(marks) <= LEAST_STEPS or time.monotonic() - begin < seconds:
        loss = step()
        marks.append(torch.cuda.Event(enable_timing=True))
        marks[-1].record()
        if len(marks) % LEAST_STEPS == 0:
            marks[-1].synchronize()  # the host must not run away for longer than it is timed
    torch.cuda.synchronize()
    if not torch.isfinite(loss).item():
        raise RuntimeError("the loss is not finite")
    return [before.elapsed_time(after) * 1e-3 for before, after in zip(marks, marks[1:])]


def busy(torch, step):
    """Seconds a step in which some kernel runs, by the profiler: overlapping kernels count once, copies from the host not at all."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(PROFILED):
            step()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "trace.json")
        profiler.export_chrome_trace(trace)
        with open(trace, encoding="utf-8") as file:
            events = json.load(file)["traceEvents"]
    return covered(events) / PROFILED


def covered(events):
    """Seconds that the trace's kernels, fills and copies on the device cover together."""
    spans = sorted(
        (float(event["ts"]), float(event["ts"]) + float(event["dur"])) for event in events
        if event.get("ph") == "X" and (event.get("cat") in ("kernel", "gpu_memset") or event.get("cat") == "gpu_memcpy" and "DtoD" in event["name"]))
    if not spans:
        raise RuntimeError("the profiler saw no kernel")
    total, end = 0.0, spans[0][0]
    for start, stop in spans:
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total * 1e-6


def out_of_memory(torch, error):
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error).lower()


def release(torch):
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()


class Runner:
    """Times rows, and keeps what is done in the report's file."""

    def __init__(self, torch, report, save, deadline, quick):
        self.torch, self.report, self.save, self.deadline = torch, report, save, deadline
        self.seconds = 0.2 if quick else 2.0

    def row(self, description, form, batch, largest):
        """The row, or None where it failed; whether memory was what lacked."""
        key = {"step": description.name, "precision": description.precision, "form": form, "batch": batch, "largest": largest}
        release(self.torch)
        self.torch.cuda.reset_peak_memory_stats()
        row, lacking = None, False
        try:
            row = {**key, **self.time(description, form, batch)}
        except Exception as error:  # a form that a step does not suit must not end the run
            lacking = out_of_memory(self.torch, error)
            message = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.report["failed"].append({**key, "error": message})
            print(f"{label(key)}: {message}", flush=True)
        else:
            self.report["steps"].append(row)
            print(f"{label(key)} {row['seconds'] * 1e3:9.2f} ms {row['images_per_second']:9.0f} images/s "
                  f"{row['peak_bytes'] / 2**30:7.2f} GiB, idle {100 * row['idle']:.1f} %", flush=True)
        self.save()
        return row, lacking

    def time(self, description, form, batch):
        left = {"peak": self.torch.cuda.memory_allocated(), "reserved": self.torch.cuda.memory_reserved()}  # of rows before: nothing, usually
        step = Step(self.torch, description, batch, form, "cuda")
        measured = times(self.torch, step, self.seconds)
        median = statistics.median(measured)
        # what graphs reuse between replays is reserved but not allocated
        peak = {"peak_bytes": self.torch.cuda.max_memory_allocated() - left["peak"],
                "reserved_bytes": self.torch.cuda.max_memory_reserved() - left["reserved"]}
        work = busy(self.torch, step)
        return {"seconds": median, "timed": len(measured), "images_per_second": batch / median, "busy_seconds": work,
                "idle": max(0.0, 1 - work / median), **peak}

    def fits(self, description, batch):
        release(self.torch)
        try:
            step = Step(self.torch, description, batch, "eager", "cuda")
            for _ in range(STEPS_TO_FIT):
                step()
            self.torch.cuda.synchronize()
        except Exception as error:
            if not out_of_memory(self.torch, error):
                print(f"{description.name} batch {batch}: {str(error).splitlines()[0]}", flush=True)
            return False
        return True

    def in_time(self, what):
        if time.monotonic() < self.deadline:
            return True
        print(f"{what}: NOT RUN, the time is up", flush=True)
        self.report["failed"].append({"form": what, "error": "not run: the time is up"})
        return False

    def all(self, descriptions, forms, largest):
        # what must be compiled comes last: cut short, a run leaves all that is quick
        rows = {}
        for form in forms:
            for one in descriptions:
                if self.in_time(f"{one.name} {form}"):
                    rows[one.name, form] = self.row(one, form, one.batch, False)[0]
        if not largest:
            return
        for one in descriptions:
            if self.in_time(f"{one.name} largest batch"):
                self.largest(one, {form: rows.get((one.name, form)) for form in forms})

    def largest(self, description, rows):
        """Doubles the batch while it fits; the compiled form that was the fastest may fit more than eager does."""
        batch = description.batch
        while self.fits(description, 2 * batch):
            batch *= 2
        if "eager" in rows:
            self.row(description, "eager", batch, True)
        compiled = [row for form, row in rows.items() if row and form != "eager"]
        if not compiled:
            return
        form = min(compiled, key=lambda row: row["seconds"])["form"]
        while self.in_time(f"{description.name} {form} batch {batch}"):
            row, _ = self.row(description, form, batch, True)
            if row is None:
                return
            batch *= 2


def label(key):
    return f"{key['step']:<24} {key['precision']:<5} batch {key['batch']:<6} {key['form']:<24}"


def dry_run(descriptions, forms):
    """Prints what would run; where PyTorch is there, also trains each step on the CPU, at a tiny size."""
    try:
        import torch
    except ImportError:
        torch = None
    for one in descriptions:
        print(f"{one.name:<24} {one.precision:<5} batch {one.batch:<6} {', '.join(forms)}")
        if torch:
            step = Step(torch, one.tiny(), 4, "eager", "cpu")
            first, last = step().item(), step().item()
            parameters = sum(p.numel() for p in step.model.parameters())
            print(f"    tiny, on the CPU: {parameters} parameters, loss {first:.4f}, then {last:.4f}")
            if not (first == first and last == last):
                raise SystemExit(f"{one.name}: the loss is not a number")
    if not torch:
        print("PyTorch is not here: nothing was built")


def run(descriptions, forms, largest, quick, report, save, seconds):
    import torch

    report["steps"] = []
    Runner(torch, report, save, time.monotonic() + seconds, quick).all(descriptions, forms, largest)
