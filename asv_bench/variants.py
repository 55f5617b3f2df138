"""The cost of cells and options: the time of a training step, relative to the plain LSTM.

    python asv_bench/variants.py [--write]

All variants run in one process and take turns; the minimum of all rounds counts. Before it is timed, each variant is
compared with the float64 reference at a small shape. The last figures are the times of compiling with an empty cache.
"""

from __future__ import annotations

import tempfile
import time

import numpy as np
import tables
from processes import printed_number

from numlstm import GRU, LSTM, RNN

T, N, INPUTS, UNITS = 100, 64, 64, 128
ROUNDS, CALLS = 8, 5
VARIANTS = {
    "LSTM": (LSTM, {}),
    "GRU": (GRU, {}),
    "GRU, reset_after=False": (GRU, {"reset_after": False}),
    "RNN": (RNN, {}),
    "peepholes": (LSTM, {"peepholes": True}),
    "coupled_gates": (LSTM, {"coupled_gates": True}),
    "input_gate=False": (LSTM, {"input_gate": False}),
    "forget_gate=False": (LSTM, {"forget_gate": False}),
    "output_gate=False": (LSTM, {"output_gate": False}),
    "input_activation=identity": (LSTM, {"input_activation": "identity"}),
    "output_activation=identity": (LSTM, {"output_activation": "identity"}),
    "full_gate_recurrence": (LSTM, {"full_gate_recurrence": True}),
    "proj_size=64": (LSTM, {"proj_size": 64}),
    "layer_norm": (LSTM, {"layer_norm": True}),
    "preactivation_clip, cell_clip": (LSTM, {"preactivation_clip": 3.0, "cell_clip": 3.0}),
    "input_dropout": (LSTM, {"input_dropout": 0.2}),
    "recurrent_dropout": (LSTM, {"recurrent_dropout": 0.2}),
    "recurrent_dropout, candidate": (LSTM, {"recurrent_dropout": 0.2, "recurrent_dropout_mode": "candidate"}),
    "zoneout": (LSTM, {"zoneout": (0.1, 0.1)}),
    "weight_dropout": (LSTM, {"weight_dropout": 0.2}),
    "all at once": (
        LSTM,
        {"peepholes": True, "layer_norm": True, "zoneout": (0.1, 0.1), "recurrent_dropout": 0.2, "cell_clip": 3.0,
         "input_dropout": 0.2, "weight_dropout": 0.2},
    ),
}  # fmt: skip
COMPILE = """
import sys, time
import numpy as np
from numlstm import GRU, LSTM, RNN
layer = {kind}(3, 5, random_state=0, **{options!r})
start = time.perf_counter()
y, _, pullback = layer.vjp(np.ones((2, 4, 3)), training=True, rng=0)
pullback(np.ones_like(y))
print(time.perf_counter() - start)
"""


def validated(kind, options):
    """Whether the compiled backend agrees with the reference."""
    x = np.random.default_rng(0).normal(size=(3, 7, 5))
    results = []
    for backend in ("cpu", "reference"):
        layer = kind(
            5, 9, random_state=0, backend=backend, **options | ({"proj_size": 4} if "proj_size" in options else {})
        )
        y, _, pullback = layer.vjp(x, training=True, rng=1)
        results.append([y, *pullback(np.ones_like(y))[2].values()])
    return all(np.allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max()) for a, b in zip(*results, strict=True))


def step_of(kind, options):
    """A training step: forward, and back to the gradient of all parameters."""
    from numlstm.backends.dispatch import backend_for

    layer, backend = kind(INPUTS, UNITS, random_state=0, **options), backend_for("cpu")
    stack, rng = layer._stack, np.random.default_rng(0)
    flat = backend.zeros((stack.size(backend),), "float32")
    stack.pack(backend, layer.parameters, flat)
    weights = stack.prepare(backend, flat, training=True)
    gradient, mask = (backend.zeros(flat.shape, "float32") for _ in range(2))
    parts = stack.split(backend, gradient)
    x = backend.to_device(rng.normal(size=(N, T, INPUTS)), "float32")
    dy = backend.to_device(rng.normal(size=(N, T, stack.output_size)), "float32")
    undropped = flat.copy()

    def step():
        seed = int(rng.integers(2**63)) if stack.random else None
        if stack.weight_dropout:
            stack.weight_mask(backend, rng, mask)
            flat[...] = backend.multiply(undropped, mask)
            for layer_weights in weights:
                backend.refresh(layer_weights)
        _, final, tapes = stack.forward(backend, weights, x, None, None, seed=seed, training=True)
        dfinal = [[None] * stack.states for _ in final]
        stack.backward(backend, weights, tapes, (N, T), dy, dfinal, parts, seed=seed)

    return step


def trace_cost():
    """The times of a trace and of a call."""
    layer = LSTM(INPUTS, UNITS, random_state=0)
    x = np.random.default_rng(0).normal(size=(N, T, INPUTS)).astype("float32")
    return best({"call": lambda: layer(x), "trace": lambda: layer.trace(x)})


def best(steps):
    """The least time of each function, in seconds; the functions take turns."""
    least = dict.fromkeys(steps, np.inf)
    for step in steps.values():
        step()
    for _ in range(ROUNDS):
        for name, step in steps.items():
            for _ in range(CALLS):
                start = time.perf_counter()
                step()
                least[name] = min(least[name], time.perf_counter() - start)
    return least


def compile_time(kind, options):
    """Seconds to the first gradient of a layer in a new process with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        return printed_number(COMPILE.format(kind=kind.__name__, options=options), NUMBA_CACHE_DIR=cache)


def measured():
    """The lines of the tables."""
    for name, (kind, options) in VARIANTS.items():
        assert validated(kind, options), name
    least = best({name: step_of(kind, options) for name, (kind, options) in VARIANTS.items()})
    shape, plain = (T, N, INPUTS, UNITS), 1e3 * least["LSTM"]
    yield f"A training step at (T, N, I, H) = {shape}, float32; the LSTM's takes {plain:.1f} ms.\n"
    yield "| | of the LSTM |\n|---|---|"
    for name, seconds in least.items():
        yield f"| {name} | {seconds / least['LSTM']:.2f} |"
    traced = trace_cost()
    yield f"| a trace, of a call forward | {traced['trace'] / traced['call']:.2f} |"
    yield "\n| to the first gradient, from an empty cache | seconds |\n|---|---|"
    for name in ("LSTM", "GRU", "layer_norm", "all at once"):
        yield f"| {name} | {compile_time(*VARIANTS[name]):.1f} |"


if __name__ == "__main__":
    tables.report("variants.md", measured())
