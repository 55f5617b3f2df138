"""Steps of a stream from Python: the median, and the slow steps, for which a user of live data must wait."""

import time
from functools import cache

import numpy as np

from .common import CELLS, REPEAT, STEPS, check_close, validated

INPUTS, UNITS = 16, 64


@cache
def steps_of(cell, batch_size):
    """Inputs of 1000 steps, and a stream that agrees with the reference."""
    problem = validated(cell, (1000, batch_size, INPUTS, UNITS))
    steps = [x[0] if batch_size == 1 else x for x in np.ascontiguousarray(problem.x.swapaxes(0, 1))]
    stream = problem.layer.stream(batch_size)
    got = np.stack([stream.step(x).reshape(batch_size, UNITS) for x in steps[:STEPS]], axis=1)
    check_close("stream.step", got, problem.reference(problem.x[:, :STEPS])[0])
    return steps, stream


class Streaming:
    """Steps of one sequence, and of 32 sequences together."""

    params = (CELLS, (1, 32))
    param_names = ("cell", "batch_size")
    repeat = REPEAT
    unit = "seconds"

    def setup(self, cell, batch_size):
        self.steps, self.stream = steps_of(cell, batch_size)

    def time_1000_steps(self, cell, batch_size):
        for x in self.steps:
            self.stream.step(x)

    def track_median_step(self, cell, batch_size):
        return float(np.median(self.times()))

    def track_p99_step(self, cell, batch_size):
        return float(np.percentile(self.times(), 99))

    def times(self):
        """Seconds of each of 20000 steps."""
        seconds = []
        for x in self.steps * 20:
            start = time.perf_counter()
            self.stream.step(x)
            seconds.append(time.perf_counter() - start)
        return seconds
