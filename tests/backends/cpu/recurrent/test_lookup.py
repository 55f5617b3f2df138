"""Inputs that are rows of a table give what the same vectors give, forward and back."""

from itertools import product

import numpy as np
import pytest
from conformance_checks import REFERENCE, LayerCase, packed, run_layer
from tolerances import assert_close
from variants import ONE_BY_ONE, OTHERS, name_of

from numlstm.backends.contract import Lookup, Noise
from numlstm.backends.cpu.backend import CpuBackend
from numlstm.backends.cpu.machine.thread_count import limit_threads

CPU = CpuBackend()
WAYS = [
    {"shape": (9, 7), "lengths": "unequal", "noise": True},
    {"shape": (40, 20), "hidden": 67, "inputs": 17, "reverse": True, "lengths": "unequal"},
    {"shape": (2, 520), "hidden": 8, "lengths": "unequal"},  # several chunks
    {"shape": (17, 3), "hidden": 33, "inputs": 1, "recompute": True, "bias": False, "initial": False},
    {"shape": (1, 1), "hidden": 16, "outputs": "first", "sources": "outputs", "dx": False},
]
KINDS = [*ONE_BY_ONE[::3], *OTHERS[::2]]


def table_and_rows(case, count):
    """A table, and rows of it: one that never comes, some that often come, some vectors of zeros."""
    rng = np.random.default_rng(5)
    table = rng.normal(size=(count, case.inputs)).astype("float32").astype(case.dtype)
    return table, rng.integers(-1, max(1, count - 1), case.problem.x.shape[:2])


def run(case, table, rows, prepared=None):
    """All results of training on a lookup, by name."""
    problem, spec = case.problem, case.spec
    (steps, n_rows), dtype = case.shape, case.dtype
    weights = prepared or CPU.prepare(spec, packed(CPU, spec, problem.parameters), training=True)
    asked = zip(spec.state_sizes, problem.asked, strict=True)
    outputs = [np.full((n_rows, steps, size), np.nan, dtype) if wanted else None for size, wanted in asked]
    final, tape = CPU.sequence_forward(
        weights, Lookup(table, rows), problem.initial, outputs, lengths=problem.lengths, reverse=case.reverse,
        training=True, recompute=case.recompute, noise=Noise(2**63 + 12345, 3) if case.noise else None,
    )  # fmt: skip
    gradient = np.full(CPU.size(spec), np.nan, dtype)
    dtable = np.full(table.shape, np.nan, dtype) if case.dx else None
    dinitial = CPU.sequence_backward(weights, tape, problem.doutputs, problem.dfinal, gradient, dtable)
    results = {f"outputs {k}": array for k, array in enumerate(outputs) if array is not None}
    results |= {f"final {k}": array for k, array in enumerate(final)}
    results |= {f"dinitial {k}": array for k, array in enumerate(dinitial)}
    results |= {f"d{name}": value for name, value in CPU.unpack(spec, gradient).items()}
    return results | ({"dtable": dtable} if case.dx else {})


def expected_of(case, table, rows):
    """The same from the reference, on the vectors."""
    x = np.where(rows[:, :, None] < 0, 0, table[rows])
    x[case.problem.past] = np.nan
    results = run_layer(REFERENCE, case, x)
    if case.dx:
        of_row = (rows[:, :, None] == np.arange(len(table))) & ~case.problem.past[:, :, None]
        results["dtable"] = np.einsum("ntv,ntd->vd", of_row, results["dx"].astype("float64")).astype(case.dtype)
    return results


def check(case, count=5):
    """All results against the reference."""
    table, rows = table_and_rows(case, count)
    results, expected = run(case, table, rows), expected_of(case, table, rows)
    for name, value in results.items():
        assert_close("state" if name.startswith(("outputs", "final")) else "gradient", name, value, expected[name])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way["shape"]))
@pytest.mark.parametrize(("cell", "dtype"), [*product(("lstm", "gru", "rnn", "mgu"), ("float32", "float64"))])
def test_agrees_with_the_reference(cell, dtype, way):
    check(LayerCase(cell=cell, dtype=dtype, **way))


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_variants_agree_with_the_reference(kind):
    check(LayerCase(dtype="float64", kind=kind, **WAYS[0]))


def test_a_table_of_one_row():
    check(LayerCase(), count=1)


def test_weights_serve_tables_and_vectors_in_turn():
    case = LayerCase(training=True)
    weights = CPU.prepare(case.spec, packed(CPU, case.spec, case.problem.parameters), training=True)
    for count in (5, 40, 3, 5):
        table, rows = table_and_rows(case, count)
        results = {name: array.copy() for name, array in run(case, table, rows, weights).items()}
        for name, value in run(case, table, rows).items():
            np.testing.assert_array_equal(results[name], value, err_msg=name)
    outputs = [np.empty((7, 9, 5), "float32"), None]
    CPU.sequence_forward(weights, case.problem.x, [None, None], outputs, training=True)
    assert_close("state", "outputs", outputs[0], run_layer(REFERENCE, LayerCase(initial=False))["outputs 0"])


def test_weights_that_change_change_the_products():
    case = LayerCase(dtype="float64", initial=False, sources="outputs")
    flat = packed(CPU, case.spec, case.problem.parameters)
    weights = CPU.prepare(case.spec, flat, training=True)
    table, rows = table_and_rows(case, 5)
    first = run(case, table, rows, weights)["outputs 0"].copy()
    flat *= 0.5
    table *= 2.0
    changed = run(case, table, rows, CPU.refresh(weights))["outputs 0"]
    assert not np.array_equal(first, changed)
    parameters = {name: 0.5 * value for name, value in case.problem.parameters.items()}
    fresh = CPU.prepare(case.spec, packed(CPU, case.spec, parameters), training=True)
    np.testing.assert_array_equal(changed, run(case, table, rows, fresh)["outputs 0"])


def test_any_number_of_threads_gives_the_same_bits():
    case = LayerCase(hidden=130, inputs=64, shape=(30, 37), lengths="unequal")
    table, rows = table_and_rows(case, 90)
    results = []
    for threads in (1, 2, 3):
        with limit_threads(threads):
            results.append(run(case, table, rows))
    for others in results[1:]:
        for name, value in results[0].items():
            np.testing.assert_array_equal(others[name], value, err_msg=name)
