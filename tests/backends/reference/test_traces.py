"""Gates that the reference shows."""

from __future__ import annotations

import numpy as np
import pytest
from reference_problems import (
    UNEQUAL,
    make_problem,
    steps_before,
)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "mgu"])
def test_traces(cell, reverse):
    """Zeros past the lengths; what makes the states is what is seen; asking for them changes nothing."""
    problem = make_problem(cell=cell, lengths=UNEQUAL, reverse=reverse)
    outputs, _, _ = problem.forward()
    gates = problem.gates()
    order = slice(None, None, -1 if reverse else 1)
    last, initial = outputs[-1], problem.initial[-1]
    row = next(n for n, length in enumerate(UNEQUAL) if length == last.shape[1])
    before = steps_before(problem, last[row : row + 1, order], initial[row : row + 1])[0, order]
    for gate in gates.values():
        assert np.all(gate[problem.past] == 0)
        assert np.all(gate[~problem.past] != 0)
    seen = {name: gate[row] for name, gate in gates.items()}
    made = {
        "lstm": lambda input_gate, forget_gate, cell_input, output_gate: forget_gate * before + input_gate * cell_input,
        "gru": lambda reset_gate, update_gate, candidate: (1 - update_gate) * candidate + update_gate * before,
        "mgu": lambda forget_gate, cell_input: (1 - forget_gate) * before + forget_gate * cell_input,
    }[cell](**seen)
    np.testing.assert_allclose(last[row], made, rtol=1e-12)
    only = {name: np.full_like(gate, np.nan) for name, gate in list(gates.items())[1:2]}
    _, final, _ = problem.forward(traces=only)
    np.testing.assert_array_equal(final, problem.forward()[1])
    for name, gate in only.items():
        np.testing.assert_array_equal(gate, gates[name])
