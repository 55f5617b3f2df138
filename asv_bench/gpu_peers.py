"""This library's LSTM and PyTorch's, which calls cuDNN, on a GPU: `python asv_bench/gpu_peers.py [--quick]`.

PyTorch computes in float32 (TF32 off, and on), float16 and bfloat16; this library in those that it offers. Each
contestant has a process of its own, data and weights are on the GPU, and rounds alternate. Before it is timed, each
contestant is compared with the float64 reference at small sizes, and with PyTorch in float32 at every size; a wrong
contestant is not timed. A call is timed from an idle GPU to an idle GPU.

The script writes a Markdown table of times per step, and a plot: minimum and median, the ratio to PyTorch in the same
precision, and the fraction of the floor. The floor is the time of the products alone, at a speed that was estimated for
an H100, and at the speed that was measured in the same run.

The exit code is 0; 1 if a contestant was wrong or failed; 2 if there is no GPU, or no PyTorch that can use it.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
import time
from pathlib import Path

if importlib.util.find_spec("numlstm") is None:  # a checkout that is not installed
    sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
from gpu_contestants import PRECISIONS, sample, serve
from problems import FORWARD, TRAINING, Problem, reference_results
from processes import start

ROUNDS = 4
PATIENCE = 180  # seconds to wait for an answer; kernels are compiled before the first answer
MINUTES = 7  # after this time no further size is begun
H100 = {"fp32": 50e12, "tf32": 250e12, "fp16": 550e12, "bf16": 550e12}  # operations per second, an estimate
MULTIPROCESSORS, L2 = 132, 5.5e12  # of an H100; bytes per second from its second-level cache, an estimate
TOLERANCE = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}  # relative to the largest number
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


# Lower bounds of a step -----------------------------------------------------------------------------------


def recurrent_floor(H, N, rate):
    """Seconds of the recurrent product of one step: ``8 H² N`` operations."""
    return 8 * H * H * N / rate


def exchange_floor(H, N, size):
    """Seconds in which all multiprocessors of an H100 read h, with numbers of `size` bytes, from the cache."""
    return H * N * size * MULTIPROCESSORS / L2


def floor_of(problem, task, rate):
    """Seconds of all products of a step, in all layers and directions, at a rate."""
    return problem.flop(task == TRAINING) / problem.T / rate


# Contestants ----------------------------------------------------------------------------------------------


class FailedError(Exception):
    """A contestant gave no answer, or answered with an error."""


class Process:
    """A contestant in its process."""

    def __init__(self, kind, precision, problem):
        self.connection, self.process = start(serve, kind, precision, problem, daemon=True)

    def answer(self):
        """The next answer. After an error, or without an answer in time, the process is killed."""
        try:
            if not self.connection.poll(PATIENCE):
                raise FailedError(f"no answer in {PATIENCE} seconds")
            succeeded, value = self.connection.recv()
        except (EOFError, OSError):
            succeeded, value = False, "its process died"
        except FailedError:
            self.kill()
            raise
        if not succeeded:
            self.kill()
            raise FailedError(value)
        return value

    def ask(self, method, task):
        """The answer to a request."""
        try:
            self.connection.send((method, task))
        except OSError:
            raise FailedError("its process died") from None
        return self.answer()

    def kill(self):
        """End the process at once."""
        self.process.kill()
        self.process.join()

    def close(self):
        """End the process when it has finished its work."""
        if self.process.is_alive():
            try:
                self.connection.send(None)
                self.process.join(20)
            except OSError:
                pass
            self.kill()


class Group:
    """Contestants on one problem. Those that fail leave the group; `failures` has the reasons."""

    def __init__(self, problem, names):
        self.failures, self.facts = {}, {}
        self.running = {name: Process(*name, problem) for name in names}
        for name in names:
            self.facts |= self.attempt(name, Process.answer) or {}

    def attempt(self, name, action, *arguments):
        """The result of an action on a contestant, or None if it fails."""
        try:
            return action(self.running[name], *arguments)
        except FailedError as failure:
            self.leave(name, str(failure))
            return None

    def leave(self, name, reason):
        """Remove a contestant from the group."""
        self.failures[name] = reason
        self.running.pop(name).close()

    def validate(self, expected=None):
        """Compare results with the expected ones, by default those of the judge; wrong contestants leave."""
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
        """Seconds of the calls of each contestant, in alternating rounds."""
        times = {name: [] for name in self.running}
        for _ in range(rounds):
            for name in [*self.running]:
                times[name] += self.attempt(name, Process.ask, "times", task) or []
        return {name: times[name] for name in self.running}

    def close(self):
        """End all contestants."""
        for process in self.running.values():
            process.close()


def fault_of(results, expected, tolerance):
    """The first error in results, or None."""
    for task, arrays in expected.items():
        for name, want in arrays.items():
            got = results[task].get(name)
            if got is None or got.shape != want.shape:
                return f"{task}: {name} has shape {None if got is None else got.shape}, not {want.shape}"
            error, size = abs(got - want).max(), abs(want).max()
            if not error <= tolerance * size:
                return f"{task}: {name} is off by {error:.1e}; the largest number is {size:.1e}"
    return None


def reference(problem):
    """Samples of the results in float64."""
    samples = {name: sample(array.reshape(-1)) for name, array in reference_results(problem).items()}
    return {FORWARD: {"y": samples["y"]}, TRAINING: samples}


def check_small_sizes(names):
    """Try small sizes. Returns the contestants that are correct, their facts, and the faults of the others.

    It is not a fault if this library does not offer a precision.
    """
    facts, faults = {}, []
    for problem in SMALL:
        group = Group(problem, names)
        group.validate(reference(problem))
        group.close()
        facts |= group.facts
        for name, reason in group.failures.items():
            names = [other for other in names if other != name]
            missing = name[0] == "numlstm" and name[1] != "fp32" and "compute_dtype" in reason
            if not missing:
                faults.append(f"{' '.join(name)}, {problem}: {reason}")
    return names, facts, faults


# Tables ---------------------------------------------------------------------------------------------------


def per_step(times, problem):
    """Microseconds of a step, minimum and median."""
    return f"{1e6 * min(times) / problem.T:.3g} ({1e6 * np.median(times) / problem.T:.3g})"


def header(names):
    """The first two lines of the table."""
    columns = ["(T, N, I, H)", "", *map(" ".join, names)]
    for precision in ours(names):
        columns += [f"torch / numlstm, {precision}", "floor", "share", "share, measured"]
    return [f"| {' | '.join(columns)} |", "|---|---|" + "---|" * (len(columns) - 2)]


def ours(names):
    """The precisions that this library computes in."""
    return [precision for kind, precision in names if kind == "numlstm"]


def ratio_of(times, precision):
    """The best time of PyTorch, divided by the best time of this library; or None."""
    numlstm, torch = times.get(("numlstm", precision)), times.get(("torch", precision))
    return min(torch) / min(numlstm) if numlstm and torch else None


def row(problem, task, times, failures, names, rates):
    """A line of the table."""
    cells = [str(problem), task]
    for name in names:
        failed = "wrong" if failures.get(name, "").startswith("wrong") else "failed"
        cells.append(per_step(times[name], problem) if times.get(name) else failed)
    for precision in ours(names):
        ratio, seconds = ratio_of(times, precision), times.get(("numlstm", precision))
        floors = [floor_of(problem, task, peak[precision]) for peak in (H100, rates)]
        cells += [f"{ratio:.2f}" if ratio else "", f"{1e6 * floors[0]:.3g}"]
        cells += [f"{floor * problem.T / min(seconds):.0%}" if seconds else "" for floor in floors]
    return f"| {' | '.join(cells)} |"


def floor_table():
    """A table of the lower bounds of a step on an H100."""
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
    """The versions of packages and driver."""
    installed = {"Python": platform.python_version()}
    for package in ("numlstm", "numba", "numba-cuda", "numpy"):
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = __import__(package).__version__ if package == "numlstm" else "none"
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        installed["driver"] = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.split("\n")[0]
    except (OSError, subprocess.TimeoutExpired):
        installed["driver"] = "unknown"
    return installed


def heading(facts):
    """Facts about the measurement and the GPU."""
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
    """Draw the ratios to PyTorch in the same precision, if there are any and Matplotlib is installed."""
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
    """The growing table. It is printed and written line by line, because a run may be interrupted."""

    def __init__(self, path, names, facts):
        self.path, self.names, self.rates = path, names, facts["rates"]
        self.lines, self.ratios, self.faults = [*heading(facts), *header(names)], {}, []
        print("\n".join(self.lines), flush=True)

    def add(self, problem, task, times, failures):
        """Add a line."""
        self.lines.append(row(problem, task, times, failures, self.names, self.rates))
        print(self.lines[-1], flush=True)
        for precision in ours(self.names):
            if (ratio := ratio_of(times, precision)) is not None:
                self.ratios[f"{problem} {precision}", task] = ratio
        self.write()

    def means(self):
        """Geometric means of the ratios."""
        for task in (FORWARD, TRAINING):
            values = [ratio for (_, ratio_task), ratio in self.ratios.items() if ratio_task == task]
            if values:
                yield f"{task}: geometric mean of torch / numlstm {np.exp(np.mean(np.log(values))):.2f}"

    def write(self):
        """Write the table so far."""
        end = ["", *self.means(), "", *floor_table(), "", *self.faults]
        self.path.with_suffix(".md").write_text("\n".join(self.lines + end).strip() + "\n")
        plot(self.path.with_suffix(".png"), self.ratios)


# The run --------------------------------------------------------------------------------------------------


def no_gpu():
    """The reason why no GPU can be used, or None. It asks the driver, because importing PyTorch takes seconds."""
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
    """Measured facts about the GPU."""
    group = Group(None, [("peak", "fp32")])
    group.close()
    if group.failures:
        raise SystemExit(f"the GPU could not be measured: {group.failures['peak', 'fp32']}")
    return group.facts | versions()


def run(options):
    """Compare all problems; returns the exit code."""
    began = time.monotonic()
    facts = {} if options.check else measured()
    names, contestant_facts, faults = check_small_sizes(options.names)
    for fault in faults:
        print(fault, flush=True)
    if options.check:
        print(f"small sizes: {len(names)} of {len(options.names)} contestants agree with the reference", flush=True)
    report = None if options.check else Report(options.output, names, facts | contestant_facts)
    for problem in options.problems:
        if time.monotonic() - began > 60 * options.minutes:
            print(f"{problem}: no time left", flush=True)
            continue
        faults += compare(problem, names, report, options.rounds)
        if report:
            report.faults = [f"- {fault}" for fault in faults]
            report.write()
    return 1 if faults else 0


def compare(problem, names, report, rounds):
    """Validate and time one problem; returns the faults."""
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
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def main(arguments=None):
    """Run the comparison; returns the exit code."""
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
