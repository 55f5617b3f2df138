"""Every backend against the reference."""

import numpy as np
import pytest
from conformance_checks import (
    AffineCase,
    LayerCase,
    PoolCase,
    check_activity,
    check_adam,
    check_affine,
    check_dropout,
    check_layer,
    check_loss,
    check_nan_in_loss,
    check_nan_in_pool,
    check_nan_stays_in_its_row,
    check_norm,
    check_packing,
    check_pool,
    check_rmsprop,
    check_runner,
    check_sgd,
)
from pairwise import pairwise
from variants import ONE_BY_ONE, OTHERS, lstm_variants, name_of

from numlstm.backends.contract import LOSSES, POOLINGS, AffineSpec, LayerSpec, LossSpec, PoolSpec
from numlstm.backends.cpu.backend import CpuBackend

BACKENDS = {
    "cpu": CpuBackend,
}
FACTORS = {
    "hidden": (1, 5, 8, 16, 33, 67),
    "inputs": (1, 3, 17),
    "shape": ((1, 1), (2, 7), (9, 1), (9, 13), (2, 20), (40, 20)),  # T and N; the last makes several chunks
    "lengths": ("full", "unequal", "ones"),
    "reverse": (False, True),
    "initial": (True, False),
    "outputs": ("first", "all", "none"),
    "sources": ("outputs", "finals", "both", "every state"),
    "dx": (True, False),
    "layout": ("contiguous", "strided", "time first", "rows reversed"),
    "bias": (True, False),
    "training": (False, True),
}
OPTIONS = [
    *pairwise(FACTORS),
    {"hidden": 8, "shape": (2, 520), "lengths": "unequal"},  # a chunk cannot hold one step
    {"hidden": 33, "layout": "steps reversed", "lengths": "unequal"},
    {"hidden": 16, "layout": "steps reversed", "reverse": True},
    {"hidden": 67, "inputs": 17, "shape": (40, 20), "lengths": "unequal", "reverse": True, "training": True},
]
LOSS_SPECS = [
    *(LossSpec(kind, {"huber": 0.7, "pinball": 0.2}.get(kind, 0.0)) for kind in LOSSES),
    LossSpec("huber", 2.5),
    LossSpec("pinball", 0.95),
]


# Kinds of cells, with shapes and ways to call them taken in turns: a few of each for every kind.
KINDS = [*ONE_BY_ONE, *OTHERS, *lstm_variants()]
WAYS = [
    {"hidden": 5, "lengths": "unequal", "noise": True},
    {"hidden": 33, "inputs": 1, "reverse": True, "noise": True, "training": True, "layout": "strided"},
    {"hidden": 16, "shape": (14, 40), "lengths": "unequal", "bias": False, "initial": False},  # two chunks
    {
        "hidden": 8,
        "inputs": 17,
        "shape": (2, 7),
        "sources": "both",
        "reverse": True,
        "lengths": "unequal",
        "noise": True,
    },
    {"hidden": 67, "shape": (9, 1), "outputs": "first", "sources": "outputs", "dx": False},
]
VARIANTS = [
    (kind, ("float32", "float64")[number % 2], WAYS[(2 * number + k) % len(WAYS)])
    for number, kind in enumerate(KINDS)
    for k in (0, 1)
]


def loss_name(spec):
    return f"{spec.kind} {spec.parameter or ''}".strip()


@pytest.fixture(params=BACKENDS)
def backend(request):
    return BACKENDS[request.param]()


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=["lstm", "gru", "rnn", "mgu"])
def cell(request):
    return request.param


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_layer(backend, cell, dtype, options):
    check_layer(backend, LayerCase(cell, dtype, **options))


@pytest.mark.parametrize(
    ("kind", "dtype", "way"), VARIANTS, ids=lambda value: name_of(value) if "cell" in value else str(value)
)
def test_variant(backend, kind, dtype, way):
    check_layer(backend, LayerCase(dtype=dtype, kind=kind, **way))


@pytest.mark.parametrize(
    "way",
    [
        {"shape": (17, 7)},
        {"shape": (17, 4), "reverse": True, "lengths": "unequal", "training": True},
        {"shape": (40, 2), "lengths": "ones", "initial": False, "sources": "finals", "dx": False},
        {"shape": (1, 3), "layout": "strided"},
    ],
    ids=lambda way: "-".join(map(str, way.values())),
)
def test_recompute(backend, cell, dtype, way):
    check_layer(backend, LayerCase(cell, dtype, recompute=True, **way))


@pytest.mark.parametrize("kind", [*ONE_BY_ONE, *OTHERS], ids=name_of)
def test_recompute_of_a_variant(backend, kind):
    check_layer(
        backend, LayerCase(dtype="float64", kind=kind, recompute=True, noise=True, shape=(11, 5), lengths="unequal")
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "layer_norm" in kind][:8], ids=name_of)
def test_nan_of_a_normalised_row_stays_there(backend, kind):
    check_nan_stays_in_its_row(backend, LayerCase(kind=kind, hidden=13, lengths="unequal", noise=True), np.nan)


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize(
    ("shape", "layout"), [((3, 4, 7), "strided"), ((1, 1, 1), "contiguous"), ((20, 9, 67), "contiguous")]
)
def test_dropout(backend, dtype, shape, layout, per_step):
    check_dropout(backend, shape, 0.37, dtype, per_step, layout)


@pytest.mark.parametrize(("size", "change"), [(0.7, 0.0), (0.0, 1.3), (0.4, 0.9)])
@pytest.mark.parametrize("lengths", ["full", "unequal", "ones"])
@pytest.mark.parametrize(("shape", "layout"), [((3, 4, 7), "strided"), ((20, 9, 67), "contiguous")])
def test_activity(backend, dtype, shape, layout, lengths, size, change):
    check_activity(backend, shape, lengths, size, change, dtype, layout)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_stays_in_its_row(backend, cell, dtype, value, reverse):
    case = LayerCase(cell, dtype, hidden=16, lengths="unequal", reverse=reverse)
    check_nan_stays_in_its_row(backend, case, value)


@pytest.mark.parametrize("hidden", [1, 16, 33])
@pytest.mark.parametrize("bias", [True, False])
def test_packing_of_a_layer(backend, cell, dtype, hidden, bias):
    check_packing(backend, LayerSpec(cell, 3, hidden, bias, dtype))


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_packing_of_a_variant(backend, kind):
    check_packing(backend, LayerSpec(input_size=3, hidden_size=33, **kind))


@pytest.mark.parametrize("outputs", [1, 70])
def test_packing_of_an_affine_map(backend, dtype, outputs):
    check_packing(backend, AffineSpec(5, outputs, dtype))


@pytest.mark.parametrize("features", [1, 67])
def test_packing_of_attention(backend, dtype, features):
    check_packing(backend, PoolSpec("attention", features, dtype))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("rows", [1, 7])
def test_runner(backend, cell, dtype, rows, reverse):
    check_runner(backend, LayerCase(cell, dtype, hidden=33, shape=(9, rows), reverse=reverse))


@pytest.mark.parametrize("kind", [*ONE_BY_ONE, *OTHERS], ids=name_of)
def test_runner_of_a_variant(backend, kind):
    check_runner(backend, LayerCase(dtype="float64", hidden=33, shape=(9, 4), kind=kind))


@pytest.mark.parametrize("layout", ["contiguous", "strided", "rows reversed"])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (7, 5, 1), (13, 33, 70), (20, 67, 3)])
def test_affine(backend, dtype, rows, inputs, outputs, layout):
    check_affine(backend, AffineCase(rows, inputs, outputs, dtype, layout))


@pytest.mark.parametrize("layout", ["contiguous", "strided", "time first"])
@pytest.mark.parametrize("lengths", ["full", "unequal", "ones"])
@pytest.mark.parametrize("kind", POOLINGS)
def test_pool(backend, dtype, kind, lengths, layout):
    check_pool(backend, PoolCase(kind, dtype, lengths=lengths, layout=layout))


@pytest.mark.parametrize(
    ("features", "shape", "layout"),
    [
        (1, (1, 1), "contiguous"),
        (1, (7, 2), "strided"),
        (33, (40, 20), "rows reversed"),
        (67, (9, 1), "steps reversed"),
        (67, (40, 20), "contiguous"),
    ],
)
@pytest.mark.parametrize("kind", POOLINGS)
def test_pool_of_a_shape(backend, dtype, kind, features, shape, layout):
    check_pool(backend, PoolCase(kind, dtype, features, shape, layout=layout))


@pytest.mark.parametrize("kind", POOLINGS)
def test_nan_in_pool(backend, dtype, kind):
    check_nan_in_pool(backend, PoolCase(kind, dtype))


@pytest.mark.parametrize(("rows", "outputs", "size"), [(1, 1, 1.0), (2, 2, 1.0), (13, 70, 3.0), (7, 5, 1e4)])
@pytest.mark.parametrize("spec", LOSS_SPECS, ids=loss_name)
def test_loss(backend, dtype, spec, rows, outputs, size):
    check_loss(backend, spec, rows, outputs, dtype, size)


@pytest.mark.parametrize("spec", LOSS_SPECS, ids=loss_name)
def test_nan_in_loss(backend, dtype, spec):
    check_nan_in_loss(backend, spec, dtype)


def test_softmax_of_far_scores(backend, dtype):
    check_loss(backend, LossSpec("softmax"), 7, 5, dtype, 1e30)


@pytest.mark.parametrize(("size", "scale"), [(1, 1.0), (1023, 1.0), (5000, 1.0), (5000, 1e30)])
def test_global_norm(backend, dtype, size, scale):
    check_norm(backend, size, dtype, scale)


@pytest.mark.parametrize(("decay", "decoupled"), [(None, False), (0.5, False), (0.5, True), (None, True)])
@pytest.mark.parametrize(("epsilon", "betas"), [(0.1, (0.8, 0.95)), (1e-8, (0.9, 0.999)), (1e-8, (0.0, 0.9))])
def test_adam(backend, dtype, epsilon, betas, decay, decoupled):
    check_adam(backend, dtype, epsilon, betas, decay=decay, decoupled=decoupled)


@pytest.mark.parametrize("decay", [None, 0.5])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, False), (0.8, True)])
def test_sgd(backend, dtype, momentum, nesterov, decay):
    check_sgd(backend, dtype, momentum, nesterov, decay=decay)


@pytest.mark.parametrize("decay", [None, 0.5])
@pytest.mark.parametrize(("epsilon", "rho"), [(0.1, 0.8), (1e-8, 0.99)])
def test_rmsprop(backend, dtype, epsilon, rho, decay):
    check_rmsprop(backend, dtype, epsilon, rho, decay=decay)
