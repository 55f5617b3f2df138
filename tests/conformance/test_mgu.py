"""The twin of the two-phase cell, which the reference computes with."""

import mgu
import numpy as np
import pytest
from tolerances import assert_close


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "x", "h"])
def test_the_twin_agrees_with_finite_differences(name):
    rng = np.random.default_rng(0)
    shapes = {"weight_ih": (8, 3), "weight_hh": (8, 4), "bias_ih": (8,), "bias_hh": (8,), "x": (5, 3), "h": (5, 4)}
    values = {key: rng.normal(size=shape) for key, shape in shapes.items()}
    dh = rng.normal(size=(5, 4))

    def loss(changed):
        (h,), _ = mgu.step(changed, changed["x"], (changed["h"],))
        return np.vdot(dh, h)

    _, saved = mgu.step(values, values["x"], (values["h"],))
    dx, (dh_prev,), gradients = mgu.step_backward(values, saved, (dh,))
    gradient = (gradients | {"x": dx, "h": dh_prev})[name]

    differences = np.empty(shapes[name])
    for index in np.ndindex(shapes[name]):
        change = np.zeros(shapes[name])
        change[index] = 1e-5
        above, below = (loss(values | {name: values[name] + sign * change}) for sign in (1, -1))
        differences[index] = (above - below) / 2e-5
    assert_close("equation", name, gradient, differences)
