"""Memory that a layer takes at most, beyond what its process had before."""

import subprocess
import sys
from pathlib import Path

from .common import CELLS, problem, validated

SUITE = Path(__file__).parents[1]
STATUS = Path("/proc/self/status")


def peak():
    """The most bytes that this process has had; Linux's `getrusage` would say its parent's, where they were more."""
    if STATUS.exists():
        (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def smaller(shape):
    """The same layer's shape with a smaller batch."""
    return (2, 2, *shape[2:])


def added(task, cell, shape):
    """Bytes by which a task raises the peak of this process, which has done the same at a small shape."""
    small, large = (getattr(problem(cell, each), task) for each in (smaller(shape), shape))
    small()
    before = peak()
    large()
    return peak() - before


def in_new_process(task, cell, shape):
    """What `added` gives in a process of its own."""
    code = f"from benchmarks.memory import added; print(added({task!r}, {cell!r}, {shape!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=SUITE, check=True, capture_output=True, text=True)
    return int(done.stdout)


class Memory:
    """Inference and a step of training."""

    params = (CELLS, ((100, 256, 64, 128),))
    param_names = ("cell", "(T, N, I, H)")
    unit = "bytes"

    def setup(self, cell, shape):
        validated(cell, smaller(shape))  # compiles too, which would take memory in the new process

    def track_forward(self, cell, shape):
        return in_new_process("forward", cell, shape)

    def track_training_step(self, cell, shape):
        return in_new_process("training_step", cell, shape)
