"""LSTM layers of every kind, random numbers to feed them, and all their results by name."""

from dataclasses import dataclass, replace

import numpy as np

from numlstm import LSTM


@dataclass(frozen=True)
class Case:
    """A layer, and the shape of what goes into it."""

    num_layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    with_state: bool = True
    lengths: tuple[int, ...] | None = None
    rows: int | None = 4  # None: one sequence, 2-D
    steps: int = 5
    features: int = 3
    units: int = 5

    def layer(self, dtype="float64", backend="reference", random_state=0):
        """The layer, with random parameters."""
        return LSTM(
            self.features, self.units, self.num_layers, bias=self.bias, bidirectional=self.bidirectional,
            dtype=dtype, backend=backend, random_state=random_state,
        )  # fmt: skip

    def inputs(self, seed=0):
        """Random parameters, and everything that goes in forward and back, exact in float32 too."""
        rng = np.random.default_rng(seed)
        rows = () if self.rows is None else (self.rows,)
        directions = 1 + self.bidirectional
        states = (self.num_layers * directions, *rows, self.units)
        shapes = {
            "x": (*rows, self.steps, self.features),
            "dy": (*rows, self.steps, directions * self.units),
            "dh_n": states,
            "dc_n": states,
        } | ({"h_0": states, "c_0": states} if self.with_state else {})
        drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        drawn |= {name: rng.normal(0.0, 0.4, value.shape) for name, value in self.layer().parameters.items()}
        return {name: value.astype("float32").astype("float64") for name, value in drawn.items()}

    def run(self, inputs, dtype="float64", backend="reference"):
        """Outputs, states and all gradients, by name."""
        layer = self.layer(dtype, backend)
        layer.set_parameters({name: inputs[name] for name in layer.parameters})
        state = (inputs["h_0"], inputs["c_0"]) if self.with_state else None
        y, final, pullback = layer.vjp(inputs["x"], state, self.lengths)
        return named(y, final, pullback(inputs["dy"], (inputs["dh_n"], inputs["dc_n"])))


def named(y, final, gradients):
    """Results of a forward and a backward pass, by name."""
    dx, (dh_0, dc_0), dparameters = gradients
    results = {"y": y, "h_n": final[0], "c_n": final[1], "dx": dx, "dh_0": dh_0, "dc_0": dc_0}
    return results | {f"d{name}": value for name, value in dparameters.items()}


def joined(arrays):
    """Named arrays as one vector, in the order of their names."""
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)])


def relative_error(value, truth):
    """The largest difference, in units of the largest number."""
    assert value.shape == truth.shape
    return np.abs(value - truth).max() / np.abs(truth).max()


BASIC = Case()
UNEQUAL = replace(BASIC, lengths=(2, 5, 1, 4))
CASES = {
    "one layer": BASIC,
    "no state": replace(BASIC, with_state=False),
    "no bias": replace(BASIC, bias=False, num_layers=2, bidirectional=True),
    "two layers": replace(BASIC, num_layers=2),
    "three layers": replace(BASIC, num_layers=3, rows=2, steps=3),
    "bidirectional": replace(BASIC, bidirectional=True),
    "one sequence": replace(BASIC, rows=None, bidirectional=True),
    "one step, one unit": replace(BASIC, rows=1, steps=1, features=1, units=1),
    "unequal": UNEQUAL,
    "unequal, none longest": replace(UNEQUAL, lengths=(2, 3, 1, 2), with_state=False),
    "unequal, two layers, bidirectional": replace(UNEQUAL, num_layers=2, bidirectional=True),
}
LARGE_CASES = {
    "wide": replace(BASIC, bidirectional=True, rows=9, features=19, units=37, lengths=(5, 1, 3, 4, 4, 2, 5, 1, 3)),
    "long": replace(BASIC, bidirectional=True, rows=2, steps=300, lengths=(7, 290)),
}
