"""The peak memory of a layer, beyond the memory of its process before."""

import subprocess
import sys
from pathlib import Path

from .common import CELLS, problem, validated

SUITE = Path(__file__).parents[1]
STATUS = Path("/proc/self/status")


def peak():
    """The peak memory of this process in bytes. On Linux, `getrusage` may return the peak of the parent process."""
    if STATUS.exists():
        (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def smaller(shape):
    """The shape of the same layer with a smaller batch."""
    return (2, 2, *shape[2:])


def added(task, cell, shape):
    """Bytes by which a task raises the peak of this process, which has done the same at a small shape."""
    small, large = (getattr(problem(cell, batch_shape), task) for batch_shape in (smaller(shape), shape))
    small()
    before = peak()
    large()
    return peak() - before


def in_new_process(task, cell, shape):
    """The result of `added` in a new process."""
    code = f"from benchmarks.memory import added; print(added({task!r}, {cell!r}, {shape!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=SUITE, check=True, capture_output=True, text=True)
    return int(done.stdout)


class Memory:
    """Inference and a step of training."""

    params = (CELLS, ((100, 256, 64, 128),))
    param_names = ("cell", "(T, N, I, H)")
    unit = "bytes"

    def setup(self, cell, shape):
        validated(cell, smaller(shape))  # it also compiles, which would take memory in the new process

    def track_forward(self, cell, shape):
        return in_new_process("forward", cell, shape)

    def track_training_step(self, cell, shape):
        return in_new_process("training_step", cell, shape)
