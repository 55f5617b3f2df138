"""Inference in int8, here, in ONNX Runtime and in PyTorch: `python asv_bench/int8.py [--threads 2] [--write]`.

The peers quantise their own float32 models, as their manuals say: `onnxruntime.quantization.quantize_dynamic`, and
`torch.ao.quantization.quantize_dynamic`. Each contestant has a process of its own and sleeps until its turn; rounds
alternate. An error is the largest difference from this library's outputs in float32, as a share of the largest output;
nobody is timed whose error is above a tenth. `--write` writes the table to `int8.md`.
"""

from __future__ import annotations

import argparse

import numpy as np
import tables
from fewer_bits import compare
from peers import installed, milliseconds
from problems import FORWARD, Problem

SHAPES = [Problem(100, 64, 128, 256), Problem(50, 64, 512, 512), Problem(50, 32, 64, 256)]
CONTESTANTS = {"numlstm int8": "numlstm", "onnxruntime int8": "onnxruntime", "torch int8": "torch"}


def lines_of(threads, names):
    """The lines of the table."""
    yield f"{threads} thread{'s' * (threads > 1)}; milliseconds, minimum (median), and largest error\n"
    yield f"| (T, N, I, H) | numlstm float32 | {' | '.join(names)} | best peer / ours |"
    yield "|---|" + "---|" * (len(names) + 2)
    for problem in SHAPES:
        times, errors = compare(problem, threads, ["numlstm", *names], FORWARD)
        cells = [f"{milliseconds(times[name])}, {errors[name]:.2%}" for name in names]
        ours, *peers = (min(times[name]) for name in names)
        ratio = f"{np.min(peers) / ours:.2f}" if peers else ""
        yield f"| {problem} | {milliseconds(times['numlstm'])} | {' | '.join(cells)} | {ratio} |"
    yield ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--write", action="store_true", help="write the table to int8.md")
    options = parser.parse_args()
    names = [name for name, module in CONTESTANTS.items() if installed(module)]
    table = []
    for threads in options.threads:
        for line in lines_of(threads, names):
            print(line, flush=True)
            table.append(line)
    if options.write:
        tables.write("int8.md", [tables.conditions("torch", "onnxruntime"), *table])


if __name__ == "__main__":
    main()
