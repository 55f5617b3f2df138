"""This library's LSTM on a GPU next to PyTorch's, which is cuDNN's: `python asv_bench/gpu_peers.py [--quick]`.

PyTorch computes in float32 (TF32 off, and on), float16 and bfloat16, this library in what it offers of these. Every
contestant lives in a process of its own, data and weights are on the GPU, and rounds alternate. At a small size each is
compared with the float64 reference, and at every size with PyTorch in float32, before it is timed; what is wrong is
not. Times are of calls from an idle GPU to an idle GPU.

Writes a Markdown table of times per step, and a plot: minimum and median, the ratio to PyTorch in like precision, and
the share of the floor: the time of the products alone at what the GPU multiplies with, as estimated for an H100, and as
measured in the same run.

Exit code 0; 1 if a contestant was wrong or failed; 2 if there is no GPU, or no PyTorch that can use it.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import importlib.util
import multiprocessing
import platform
import subprocess
import sys
import time
from pathlib import Path

if importlib.util.find_spec("numlstm") is None:  # a checkout that is not installed
    sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
from contestants import layer_of
from gpu_contestants import FORWARD, PRECISIONS, TRAINING, Problem, sample, serve

ROUNDS = 4
PATIENCE = 180  # seconds for an answer: kernels are compiled in the first
MINUTES = 7  # after which no further size is begun
H100 = {"fp32": 50e12, "tf32": 250e12, "fp16": 550e12, "bf16": 550e12}  # operations per second, an estimate
MULTIPROCESSORS, L2 = 132, 5.5e12  # of an H100; bytes per second from its second cache, an estimate
TOLERANCE = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}  # of the largest number
CONTESTANTS = [(kind, precision) for kind in ("numlstm", "torch") for precision in PRECISIONS]
JUDGE = "torch", "fp32"
NO_GPU = "no NVIDIA GPU can be used here ({reason}): nothing to compare"

UNITS, ROWS, STEPS = (64, 128, 256, 512, 1024, 2048), (1, 8, 32, 64, 128, 256), (128, 1024)
FORMS = {"layers": 2}, {"bidirectional": True}, {"ragged": True}


def square(T, N, H, **form):
    """A problem with as many inputs as units."""
    return Problem(T, N, H, H, **form)


SMALL = [Problem(9, 5, 48, 48, **form) for form in ({}, *FORMS)]
QUICK = [square(128, 1, 256), square(128, 64, 256), square(128, 32, 1024), square(128, 64, 256, ragged=True)]
USUAL = [
    *QUICK, square(128, 64, 512), square(1024, 64, 256), square(128, 64, 128), square(128, 1, 1024),
    *(square(128, 64, 256, **form) for form in FORMS[:2]), square(128, 256, 256), square(128, 32, 64),
    square(128, 128, 512), square(128, 64, 2048), square(1024, 1, 512), square(1024, 8, 128), square(1024, 32, 512),
]  # fmt: skip
FULL = [square(T, N, H) for T in STEPS for H in UNITS for N in ROWS]
FULL += [square(T, 64, H, **form) for form in FORMS for T in STEPS for H in (128, 256, 512)]


# What limits a step ---------------------------------------------------------------------------------------


def recurrent_floor(H, N, rate):
    """Seconds of the recurrent product of one step: ``8 H² N`` operations."""
    return 8 * H * H * N / rate


def exchange_floor(H, N, size):
    """Seconds in which every multiprocessor of an H100 reads a whole h, of numbers of `size` bytes, from the cache."""
    return H * N * size * MULTIPROCESSORS / L2


def floor_of(problem, task, rate):
    """Seconds of all products of a step, of every layer and direction, at a rate."""
    return problem.flop(task == TRAINING) / problem.T / rate


# Contestants ----------------------------------------------------------------------------------------------


class FailedError(Exception):
    """A contestant that gave no answer, or an error."""


class Process:
    """A contestant, seen from here."""

    def __init__(self, kind, precision, problem):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, kind, precision, problem), daemon=True)
        self.process.start()
        theirs.close()

    def answer(self):
        """What it says; after an error, or none in time, it is gone."""
        try:
            if not self.connection.poll(PATIENCE):
                raise FailedError(f"no answer in {PATIENCE} seconds")
            good, value = self.connection.recv()
        except (EOFError, OSError):
            good, value = False, "its process died"
        except FailedError:
            self.kill()
            raise
        if not good:
            self.kill()
            raise FailedError(value)
        return value

    def ask(self, method, task):
        """Its answer to a request."""
        try:
            self.connection.send((method, task))
        except OSError:
            raise FailedError("its process died") from None
        return self.answer()

    def kill(self):
        """End it, whatever it does."""
        self.process.kill()
        self.process.join()

    def close(self):
        """End it, when it is done."""
        if self.process.is_alive():
            try:
                self.connection.send(None)
                self.process.join(20)
            except OSError:
                pass
            self.kill()


class Group:
    """Contestants on one problem; those that fail leave it, and `failures` tells why."""

    def __init__(self, problem, names):
        self.failures, self.facts = {}, {}
        self.running = {name: Process(*name, problem) for name in names}
        for name in names:
            self.facts |= self.attempt(name, Process.answer) or {}

    def attempt(self, name, action, *arguments):
        """What an action on a contestant gives, or None if that fails."""
        try:
            return action(self.running[name], *arguments)
        except FailedError as failure:
            self.leave(name, str(failure))
            return None

    def leave(self, name, reason):
        """Go on without one."""
        self.failures[name] = reason
        self.running.pop(name).close()

    def validate(self, expected=None):
        """Compare results with those expected of each task, or of the judge; what is wrong leaves."""
        results = {}
        for name in [*self.running]:
            tasks = {}
            for task in (FORWARD, TRAINING):
                if name in self.running:
                    tasks[task] = self.attempt(name, Process.ask, "results", task)
            if name in self.running:
                results[name] = tasks
        if expected is None:
            expected = results.get(JUDGE)
        for name in [*self.running]:
            if expected is None:
                self.leave(name, "nothing to compare with")
                continue
            reason = fault_of(results[name], expected, TOLERANCE[name[1]])
            if reason:
                self.leave(name, f"wrong: {reason}")

    def times(self, task, rounds):
        """Seconds of calls, by contestant, in alternating rounds."""
        times = {name: [] for name in self.running}
        for _ in range(rounds):
            for name in [*self.running]:
                times[name] += self.attempt(name, Process.ask, "times", task) or []
        return {name: times[name] for name in self.running}

    def close(self):
        """End all."""
        for process in self.running.values():
            process.close()


def fault_of(results, expected, tolerance):
    """What is wrong with results, or None."""
    for task, arrays in expected.items():
        for name, want in arrays.items():
            got = results[task].get(name)
            if got is None or got.shape != want.shape:
                return f"{task}: {name} has shape {None if got is None else got.shape}, not {want.shape}"
            error, size = abs(got - want).max(), abs(want).max()
            if not error <= tolerance * size:
                return f"{task}: {name} is off by {error:.1e}, where the largest number is {size:.1e}"
    return None


def reference(problem):
    """Results in float64."""
    x, dy, lengths = problem.data()
    layer = layer_of(problem, backend="reference", dtype="float64")
    y, _, pullback = layer.vjp(x, lengths=lengths)
    dx, _, gradients = pullback(dy)
    arrays = {"y": y, "dx": dx} | gradients
    return {FORWARD: {"y": sample(y.reshape(-1))}, TRAINING: {k: sample(v.reshape(-1)) for k, v in arrays.items()}}


def able(names):
    """Which contestants there are, their facts, and what is wrong with the others, at small sizes.

    A precision that this library does not offer is no fault.
    """
    facts, faults = {}, []
    for problem in SMALL:
        group = Group(problem, names)
        group.validate(reference(problem))
        group.close()
        facts |= group.facts
        for name, reason in group.failures.items():
            names = [each for each in names if each != name]
            missing = name[0] == "numlstm" and name[1] != "fp32" and "compute_dtype" in reason
            if not missing:
                faults.append(f"{' '.join(name)}, {problem}: {reason}")
    return names, facts, faults


# Tables ---------------------------------------------------------------------------------------------------


def per_step(times, problem):
    """Microseconds of a step, minimum and median."""
    return f"{1e6 * min(times) / problem.T:.3g} ({1e6 * np.median(times) / problem.T:.3g})"


def header(names):
    """The first two lines."""
    columns = ["(T, N, I, H)", "", *map(" ".join, names)]
    for precision in ours(names):
        columns += [f"torch / numlstm, {precision}", "floor", "share", "share, measured"]
    return [f"| {' | '.join(columns)} |", "|---|---|" + "---|" * (len(columns) - 2)]


def ours(names):
    """The precisions that this library computes in."""
    return [precision for kind, precision in names if kind == "numlstm"]


def ratio_of(times, precision):
    """The best time of PyTorch as a multiple of ours, or None."""
    mine, theirs = times.get(("numlstm", precision)), times.get(("torch", precision))
    return min(theirs) / min(mine) if mine and theirs else None


def row(problem, task, times, failures, names, rates):
    """A line of the table."""
    cells = [str(problem), task]
    for name in names:
        failed = "wrong" if failures.get(name, "").startswith("wrong") else "failed"
        cells.append(per_step(times[name], problem) if times.get(name) else failed)
    for precision in ours(names):
        ratio, mine = ratio_of(times, precision), times.get(("numlstm", precision))
        floors = [floor_of(problem, task, each[precision]) for each in (H100, rates)]
        cells += [f"{ratio:.2f}" if ratio else "", f"{1e6 * floors[0]:.3g}"]
        cells += [f"{floor * problem.T / min(mine):.0%}" if mine else "" for floor in floors]
    return f"| {' | '.join(cells)} |"


def floor_table():
    """What limits a step on an H100."""
    lines = [
        "Floors of a step on an H100, µs, by the recurrent product (8 H² N operations) at "
        f"{', '.join(f'{p} {H100[p] / 1e12:.0f}' for p in ('fp32', 'tf32', 'fp16'))} TFLOP/s; and by reading h, on "
        f"each of {MULTIPROCESSORS} multiprocessors, at {L2 / 1e12} TB/s (estimates)\n",
        "| H, N | fp32 | tf32 | fp16 | h in fp32 | h in fp16 |",
        "|---|---|---|---|---|---|",
    ]
    for H, N in ((256, 32), (256, 256), (512, 64), (1024, 32)):
        values = [recurrent_floor(H, N, H100[precision]) for precision in ("fp32", "tf32", "fp16")]
        values += [exchange_floor(H, N, size) for size in (4, 2)]
        lines.append(f"| {H}, {N} | {' | '.join(f'{1e6 * value:.2g}' for value in values)} |")
    return lines


def versions():
    """What is installed."""
    found = {"Python": platform.python_version()}
    for package in ("numlstm", "numba", "numba-cuda", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = __import__(package).__version__ if package == "numlstm" else "none"
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.split("\n")[0]
    except (OSError, subprocess.TimeoutExpired):
        found["driver"] = "unknown"
    return found


def heading(facts):
    """What was measured, and on what."""
    rates, others = facts["rates"], {k: v for k, v in facts.items() if k not in ("rates", "copy", "GPU")}
    measured = ", ".join(f"{precision} {rate / 1e12:.3g}" for precision, rate in rates.items())
    assumed = ", ".join(f"{precision} {rate / 1e12:.3g}" for precision, rate in H100.items())
    return [
        f"{facts['GPU']}; {', '.join(f'{name} {value}' for name, value in others.items())}\n",
        f"Measured: products of PyTorch {measured} TFLOP/s, copies {facts['copy'] / 1e12:.3g} TB/s (read and written). "
        f'The floor is the time of a step\'s products at {assumed} TFLOP/s, an estimate for an H100; "share, measured" '
        "is of the floor at the rates measured.\n",
        "Microseconds of a step, minimum (median); of float32 unless another precision is named. PyTorch with "
        "unequal lengths packs and unpacks them.\n",
    ]


def plot(path, ratios):
    """Ratios to PyTorch in like precision, if there are any and Matplotlib is there."""
    if importlib.util.find_spec("matplotlib") is None or not ratios:
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    labels, tasks = [*dict.fromkeys(label for label, _ in ratios)], (FORWARD, TRAINING)
    figure, axes = plt.subplots(figsize=(7, 1.5 + 0.42 * len(labels)), layout="constrained")
    for offset, task, colour in zip((0.2, -0.2), tasks, ("#4c72b0", "#dd8452"), strict=True):
        places = [len(labels) - i + offset for i in range(len(labels))]
        axes.barh(places, [ratios.get((label, task), 0) for label in labels], 0.38, color=colour, label=task)
    axes.set_yticks([len(labels) - i for i in range(len(labels))], labels, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time of PyTorch / numlstm, like precision")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


class Report:
    """The table as it grows: printed and written line by line, for a run may be cut off."""

    def __init__(self, path, names, facts):
        self.path, self.names, self.rates = path, names, facts["rates"]
        self.lines, self.ratios, self.faults = [*heading(facts), *header(names)], {}, []
        print("\n".join(self.lines), flush=True)

    def add(self, problem, task, times, failures):
        """A line."""
        self.lines.append(row(problem, task, times, failures, self.names, self.rates))
        print(self.lines[-1], flush=True)
        for precision in ours(self.names):
            if (ratio := ratio_of(times, precision)) is not None:
                self.ratios[f"{problem} {precision}", task] = ratio
        self.write()

    def means(self):
        """Geometric means of the ratios."""
        for task in (FORWARD, TRAINING):
            values = [ratio for (_, of), ratio in self.ratios.items() if of == task]
            if values:
                yield f"{task}: geometric mean of torch / numlstm {np.exp(np.mean(np.log(values))):.2f}"

    def write(self):
        """What there is so far."""
        end = ["", *self.means(), "", *floor_table(), "", *self.faults]
        self.path.with_suffix(".md").write_text("\n".join(self.lines + end).strip() + "\n")
        plot(self.path.with_suffix(".png"), self.ratios)


# The run --------------------------------------------------------------------------------------------------


def no_gpu():
    """Why no GPU can be used, or None; asks the driver, for PyTorch takes seconds to import."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "there is no driver"
    if status := driver.cuInit(0):
        return f"cuInit gave {status}"
    count = ctypes.c_int()
    if status := driver.cuDeviceGetCount(ctypes.byref(count)):
        return f"cuDeviceGetCount gave {status}"
    return None if count.value else "the driver knows none"


def options_of(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="few sizes, half the rounds")
    sizes.add_argument("--full", action="store_true", help="all sizes, however long it takes")
    parser.add_argument("--check", action="store_true", help="compare results, time nothing, write nothing")
    parser.add_argument("--only", nargs="*", choices=PRECISIONS, default=[*PRECISIONS], help="precisions; fp32 always")
    parser.add_argument("--vjp", action="store_true", help="time layer.vjp too, which gives gradients as NumPy arrays")
    parser.add_argument("--minutes", type=float, help=f"begin no size after that; {MINUTES} by default, none if --full")
    parser.add_argument("--output", default="gpu_peers", help="writes OUTPUT.md and OUTPUT.png beside this file")
    options = parser.parse_args(arguments)
    if options.minutes is None:
        options.minutes = np.inf if options.full else MINUTES
    options.problems = QUICK if options.quick else FULL if options.full else USUAL
    options.rounds = ROUNDS // 2 if options.quick else ROUNDS
    options.names = [name for name in CONTESTANTS if name[1] in options.only or name[1] == "fp32"]
    if options.vjp:
        options.names.insert(1, ("numlstm vjp", "fp32"))
    options.output = Path(__file__).parent / options.output
    return options


def measured():
    """Facts about the GPU."""
    group = Group(None, [("peak", "fp32")])
    group.close()
    if group.failures:
        raise SystemExit(f"the GPU could not be measured: {group.failures['peak', 'fp32']}")
    return group.facts | versions()


def run(options):
    """Everything; returns the exit code."""
    start = time.monotonic()
    facts = {} if options.check else measured()
    names, more, faults = able(options.names)
    for fault in faults:
        print(fault, flush=True)
    if options.check:
        print(f"small sizes: {len(names)} of {len(options.names)} contestants agree with the reference", flush=True)
    report = None if options.check else Report(options.output, names, facts | more)
    for problem in options.problems:
        if time.monotonic() - start > 60 * options.minutes:
            print(f"{problem}: no time left", flush=True)
            continue
        faults += compare(problem, names, report, options.rounds)
        if report:
            report.faults = [f"- {fault}" for fault in faults]
            report.write()
    return 1 if faults else 0


def compare(problem, names, report, rounds):
    """Validate and time one problem; returns what is wrong."""
    group = Group(problem, names)
    group.validate()
    if report is None:
        print(f"{problem}: {len(group.running)} of {len(names)} contestants agree", flush=True)
    else:
        for task in (FORWARD, TRAINING):
            times = group.times(task, rounds)
            report.add(problem, task, times, group.failures)
    group.close()
    faults = [f"{' '.join(name)}, {problem}: {reason}" for name, reason in group.failures.items()]
    for fault in faults:
        print(fault, flush=True)
    return faults


def has_torch():
    """Whether there is a peer."""
    return importlib.util.find_spec("torch") is not None


def main(arguments=None):
    """Returns the exit code."""
    options = options_of(arguments)
    reason = no_gpu()
    if reason is None and not has_torch():
        reason = "PyTorch is not installed"
    if reason:
        print(NO_GPU.format(reason=reason), file=sys.stderr)
        return 2
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
