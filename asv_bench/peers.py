"""This library and its peers on one machine: `python asv_bench/peers.py [--threads 1 2] [--cell gru] [--onnx]`.

The peers are PyTorch, ONNX Runtime and OpenVINO (inference) and Keras on JAX, if they are installed. PyTorch has no
peepholes and no layer normalisation; there its contestant is a loop over the steps, as users write it. With `--onnx`
both this library and ONNX Runtime run an ONNX model, with the nodes around its LSTMs.

Each contestant has a process of its own and sleeps until its turn; rounds alternate. Results are compared with float64
before anything is timed (with PyTorch's results if the reference would take minutes). The script prints a Markdown
table: minimum and median times, the ratio of the best peer's time to ours, our fraction of the FMA peak, and that of
the limit, where products run at the peak and equations as fast as they run alone; both are measured in the same run.
`--write` also writes the table to `peers.md`, `peers_onnx.md`, `peers_gru.md`, ..., with a plot, and to the pages that
show it; on a processor without AVX-512 to `peers_avx2.md`, ...
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time

import numpy as np
import tables
from contestants import CONTESTANTS, Limits, Reference, problems
from problems import BLOCKS, FORWARD, TRAINING
from processes import start

ROUNDS = 6
PAUSE = 0.2  # seconds before each turn, because threads of some peers spin for a while after their turn
TURN = 1.5e9  # number of operations in a turn
MODULES = {
    "torch": ("torch",), "onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnx"),
    "keras": ("keras", "jax"),
}  # fmt: skip


def serve(connection, name, problem, threads):
    """The process of a contestant: it answers requests."""
    os.environ["NUMLSTM_NUM_THREADS"] = str(threads)
    os.environ["KERAS_BACKEND"] = "jax"
    if hasattr(os, "sched_setaffinity"):  # the only way to limit the threads of JAX
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    contestant = ({"limits": Limits, "reference": Reference} | CONTESTANTS)[name](problem, threads)
    connection.send("ready")
    while (request := connection.recv()) is not None:
        task, repeats = request
        call = contestant.forward if task == FORWARD else contestant.training
        if call is None:
            connection.send(None)
        elif repeats == 0:
            connection.send(call())
        else:
            times = []
            call()
            for _ in range(repeats):
                began = time.perf_counter()
                call()
                times.append(time.perf_counter() - began)
            connection.send(times)


class Process:
    """A contestant in its process."""

    def __init__(self, name, problem, threads):
        self.connection, self.process = start(serve, name, problem, threads, daemon=True)
        self.connection.recv()

    def ask(self, task, repeats):
        self.connection.send((task, repeats))
        return self.connection.recv()

    def close(self):
        self.connection.send(None)
        self.process.join()


def validate(name, result, expected):
    """End the script if a result is wrong."""
    for got, want in zip(result, expected, strict=False):
        error, size = abs(got - want).max(), abs(want).max()
        if not error <= 1e-4 * size:
            raise SystemExit(f"{name}: error {error:.1e} where the largest number is {size:.1e}")


def expected_of(problem, processes, threads):
    """The results that all others are compared with."""
    large = problem.flop(training=False) > 2e9 and installed("torch")
    if large and "torch" in processes:
        return processes["torch"].ask(TRAINING, 0)
    process = Process("torch" if large else "reference", problem, threads)
    result = process.ask(TRAINING, 0)
    process.close()
    return result


def compare(problem, threads, names):
    """Times of every contestant, by task."""
    processes = {name: Process(name, problem, threads) for name in names}
    expected, results = expected_of(problem, processes, threads), {}
    for task in (FORWARD, TRAINING):
        times = {}
        for name, process in processes.items():
            if (result := process.ask(task, 0)) is not None:
                validate(name, result, expected)
                times[name] = []
        repeats = max(2, min(200, int(TURN / problem.flop(task == TRAINING))))
        for _ in range(ROUNDS):
            for name in times:
                time.sleep(PAUSE)
                times[name] += processes[name].ask(task, repeats)
        results[task] = times
    for process in processes.values():
        process.close()
    return results


class Limit:
    """The FMA peak, and the time of a problem at the limit: products at the peak, and equations as fast as alone.

    Both are the best of many runs, some before and some after all else, because other programs can only slow them down.
    """

    def __init__(self, threads):
        self.process = Process("limits", None, threads)
        self.measure()

    def measure(self):
        """Run once more."""
        self.peak, *self.seconds, self.lanes = self.process.ask(FORWARD, 0)[0].tolist()

    def shares(self, problem, task, seconds):
        """The cells of a row: our share of the peak, and of the limit."""
        products = problem.flop(task == TRAINING) / self.peak
        if problem.cell != "lstm":
            return f"{products / seconds:.0%} | -"
        equations = problem.vectors(int(self.lanes)) * self.seconds[task == TRAINING]
        return f"{products / seconds:.0%} | {(products + equations) / seconds:.0%}"


def milliseconds(times):
    return f"{1e3 * min(times):.3g} ({1e3 * np.median(times):.3g})"


def heading(threads, names, peak):
    """The first lines of the table."""
    return [
        f"{threads} thread{'s' * (threads > 1)}; FMA peak {peak / 1e9:.0f} GFLOP/s; milliseconds, minimum (median)\n",
        f"| (T, N, I, H) | | {' | '.join(names)} | best peer / {names[0]} | of peak | of limit |",
        "|---|---|" + "---|" * (len(names) + 3),
    ]


def table(cell, threads, names, chosen):
    """The lines of the table, which are also printed, and the ratios by task and shape.

    Shares are printed by the limit known so far; the lines have them by the limit measured again at the end.
    """
    limit, rows = Limit(threads), []
    print("\n".join(heading(threads, names, limit.peak)), flush=True)
    ratios = {FORWARD: {}, TRAINING: {}}
    for problem in [p for i, p in enumerate(problems(cell)) if not chosen or i in chosen]:
        for task, times in compare(problem, threads, names).items():
            cells = [milliseconds(times[name]) if name in times else "-" for name in names]
            best = {name: min(values) for name, values in times.items()}
            if not best:
                continue
            ours, *peers = best.values()
            if peers:
                ratios[task][str(problem)] = min(peers) / ours
            ratio = f"{ratios[task][str(problem)]:.2f}" if peers else ""
            rows.append((problem, task, f"| {problem} | {task} | {' | '.join(cells)} | {ratio}", ours))
            print(f"{rows[-1][2]} | {limit.shares(*rows[-1][:2], ours)} |", flush=True)
    limit.measure()
    limit.process.close()
    lines = heading(threads, names, limit.peak)
    lines += [f"{line} | {limit.shares(problem, task, ours)} |" for problem, task, line, ours in rows]
    for task, values in ratios.items():
        if values:
            lines.append(f"\n{task}: geometric mean {np.exp(np.mean(np.log([*values.values()]))):.2f}")
            print(lines[-1], flush=True)
    return lines, ratios


def plot(path, results):
    """Ratios to the best peer, a panel for each number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(5.5 * len(results), 5.8), sharey=True, squeeze=False,
                                  layout="constrained")  # fmt: skip
    for axes, (threads, ratios) in zip(panels[0], results.items(), strict=True):
        shapes = [*ratios[FORWARD]]
        for offset, (task, colour) in zip((0.2, -0.2), ((FORWARD, "#4c72b0"), (TRAINING, "#dd8452")), strict=True):
            places = [len(shapes) - i + offset for i in range(len(shapes))]
            axes.barh(places, [ratios[task][shape] for shape in shapes], 0.38, color=colour, label=task)
        axes.set_yticks([len(shapes) - i for i in range(len(shapes))], shapes, fontsize=8)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xlabel("time of the best peer / numlstm")
        axes.set_title(f"{threads} thread{'s' * (threads > 1)}")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=110)


def installed(name):
    return all(importlib.util.find_spec(module) for module in MODULES.get(name, ()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--cell", choices=BLOCKS, default="lstm")
    parser.add_argument("--only", nargs="*", choices=MODULES, default=[*MODULES], help="peers")
    parser.add_argument("--onnx", action="store_true", help="ONNX models, by from_onnx and by ONNX Runtime")
    parser.add_argument("--shapes", nargs="*", type=int, help="indices into the table of shapes")
    parser.add_argument("--write", action="store_true", help="write the table, and the plot, to files and pages")
    options = parser.parse_args()
    peers = ["torch"] if options.cell != "lstm" else [*MODULES]
    names = ["numlstm", *(name for name in peers if name in options.only and installed(name))]
    if options.onnx:
        names = ["from_onnx", "onnxruntime"]
    lines, results = [], {}
    for threads in options.threads:
        table_lines, results[threads] = table(options.cell, threads, names, options.shapes)
        lines += [*table_lines, ""]
        print(flush=True)
    if options.write:
        name = "peers_onnx" if options.onnx else "peers" if options.cell == "lstm" else f"peers_{options.cell}"
        name += tables.suffix()
        tables.write(f"{name}.md", [tables.conditions("torch", "onnxruntime"), *lines])
        plot(tables.HERE / f"{name}.png", results)


if __name__ == "__main__":
    main()
