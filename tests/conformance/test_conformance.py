"""Every backend against the reference.

On a machine with a GPU ``pytest -m gpu`` runs all this on CUDA; where there is none, that fails and says why. With
``NUMBA_ENABLE_CUDASIM=1`` it runs on CUDA's simulator instead of the CPU, in sizes that a slow interpreter can do.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conformance_backends import BACKENDS, SIMULATED, make, sized
from conformance_checks import (
    AffineCase,
    LayerCase,
    PoolCase,
    check_activity,
    check_adam,
    check_affine,
    check_clip,
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
from embedding_checks import SPECS, check_embedding
from likelihood_problems import LIKELIHOOD_SPECS
from pairwise import pairwise
from row_checks import check_rows, check_weight
from variants import ONE_BY_ONE, OTHERS, lstm_variants, name_of

from numlstm.backends.contract import LOSSES, POOLINGS, AffineSpec, LayerSpec, LossSpec, PoolSpec
from numlstm.backends.cpu.linear import halves
from numlstm.cells import ACTIVATIONS

if SIMULATED:  # a GPU does not warn
    pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:numlstm.backends.cuda")


CELLS, DTYPES = ("lstm", "gru", "rnn", "mgu"), ("float32", "float64")
PLAIN = sized([*product(CELLS, DTYPES)], [*zip(CELLS, 2 * DTYPES, strict=True)])
USUAL = sized({}, {"shape": (4, 3)})  # of layers, unless a case says another
FACTORS = {
    "hidden": sized((1, 5, 8, 16, 33, 67), (1, 3, 4, 7)),
    "inputs": sized((1, 3, 17), (1, 3)),
    "shape": sized(
        ((1, 1), (2, 7), (9, 1), (9, 13), (2, 20), (40, 20)),  # T and N; the last makes several chunks
        ((1, 1), (2, 4), (5, 1), (4, 3)),
    ),
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
LAYERS = sized(
    [{"cell": cell, "dtype": dtype} | options for (cell, dtype), options in product(PLAIN, OPTIONS)],
    [
        *pairwise({"cell": CELLS, "dtype": DTYPES} | FACTORS),
        {"layout": "steps reversed", "lengths": "unequal"},
        {"layout": "steps reversed", "reverse": True},
    ],
)
LOSS_SPECS = [
    *(LossSpec(kind, {"huber": 0.7, "pinball": 0.2}.get(kind, 0.0)) for kind in LOSSES),
    LossSpec("huber", 2.5),
    LossSpec("pinball", 0.95),
    *LIKELIHOOD_SPECS,
]


# Kinds of cells, with shapes and ways to call them taken in turns: a few of each for every kind.
KINDS = sized([*ONE_BY_ONE, *OTHERS, *lstm_variants()], [*ONE_BY_ONE[-len(ACTIVATIONS) :], *OTHERS, *lstm_variants()])
SOME_KINDS = sized([*ONE_BY_ONE, *OTHERS], [*OTHERS[::9], *lstm_variants()[::7]])
WAYS = sized(
    [
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
    ],
    [
        {"hidden": 5, "lengths": "unequal", "noise": True},
        {
            "hidden": 4,
            "inputs": 1,
            "shape": (3, 2),
            "reverse": True,
            "noise": True,
            "training": True,
            "layout": "strided",
        },
        {"hidden": 7, "shape": (2, 3), "lengths": "unequal", "bias": False, "initial": False},
        {"hidden": 3, "sources": "both", "reverse": True, "lengths": "unequal", "noise": True},
        {"hidden": 5, "shape": (4, 1), "outputs": "first", "sources": "outputs", "dx": False},
    ],
)
DTYPE_OF = {name_of(kind): DTYPES[number % 2] for number, kind in enumerate(KINDS)}  # one each: it is compiled once
VARIANTS = [
    (kind, DTYPE_OF[name_of(kind)], WAYS[(2 * number + k) % len(WAYS)])
    for number, kind in enumerate(KINDS)
    for k in sized((0, 1), (0,))
]


def loss_name(spec):
    return f"{spec.kind} {spec.parameter or ''}".strip()


def layer_case(**options):
    return LayerCase(**USUAL | options)


def values_of(options):
    return "-".join(map(str, options.values()))


@pytest.fixture(params=BACKENDS)
def backend(request):
    return make(request.param)


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture(params=PLAIN, ids="-".join)
def plain(request):
    """A cell and a dtype."""
    return dict(zip(("cell", "dtype"), request.param, strict=True))


@pytest.mark.parametrize("options", LAYERS, ids=values_of)
def test_layer(backend, options):
    check_layer(backend, layer_case(**options))


@pytest.mark.parametrize(
    ("kind", "dtype", "way"), VARIANTS, ids=lambda value: name_of(value) if "cell" in value else str(value)
)
def test_variant(backend, kind, dtype, way):
    check_layer(backend, layer_case(dtype=dtype, kind=kind, **way))


@pytest.mark.parametrize(
    "way",
    sized(
        [
            {"shape": (17, 7)},
            {"shape": (17, 4), "reverse": True, "lengths": "unequal", "training": True},
            {"shape": (40, 2), "lengths": "ones", "initial": False, "sources": "finals", "dx": False},
            {"shape": (1, 3), "layout": "strided"},
        ],
        [
            {"shape": (5, 2), "reverse": True, "lengths": "unequal", "training": True},
            {"shape": (1, 3), "layout": "strided"},
        ],
    ),
    ids=values_of,
)
def test_recompute(backend, plain, way):
    check_layer(backend, layer_case(**plain, recompute=True, **way))


@pytest.mark.parametrize("kind", SOME_KINDS, ids=name_of)
def test_recompute_of_a_variant(backend, kind):
    shape = sized((11, 5), (4, 2))
    check_layer(
        backend,
        layer_case(
            dtype=DTYPE_OF[name_of(kind)], kind=kind, recompute=True, noise=True, shape=shape, lengths="unequal"
        ),
    )


@pytest.mark.parametrize(
    ("kind", "way"),
    [(kind, WAYS[number % len(WAYS)]) for number, kind in enumerate(SOME_KINDS) if "layer_norm" not in kind],
    ids=lambda value: name_of(value) if "cell" in value else values_of(value),
)
@pytest.mark.skipif(SIMULATED, reason="which products a GPU rounds is up to cuBLAS")
def test_bfloat16(kind, way, monkeypatch):
    monkeypatch.setattr(halves, "supported", lambda: True)
    check_layer(make("cpu"), layer_case(kind=kind | {"compute_dtype": "bfloat16"}, **way))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "layer_norm" in kind][: sized(8, 4)], ids=name_of)
def test_nan_of_a_normalised_row_stays_there(backend, kind):
    case = layer_case(kind=kind, hidden=sized(13, 4), lengths="unequal", noise=True)
    check_nan_stays_in_its_row(backend, case, np.nan)


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize(
    ("shape", "layout"),
    [((3, 4, 7), "strided"), ((1, 1, 1), "contiguous"), (sized((20, 9, 67), (5, 4, 9)), "contiguous")],
)
def test_dropout(backend, dtype, shape, layout, per_step):
    check_dropout(backend, shape, 0.37, dtype, per_step, layout)


@pytest.mark.parametrize(("size", "change"), [(0.7, 0.0), (0.0, 1.3), (0.4, 0.9)])
@pytest.mark.parametrize("lengths", ["full", "unequal", "ones"])
@pytest.mark.parametrize(("shape", "layout"), [((3, 4, 7), "strided"), (sized((20, 9, 67), (5, 4, 9)), "contiguous")])
def test_activity(backend, dtype, shape, layout, lengths, size, change):
    check_activity(backend, shape, lengths, size, change, dtype, layout)


@pytest.mark.parametrize(
    ("value", "reverse"), sized([*product([np.nan, np.inf], [False, True])], [(np.nan, False), (np.inf, True)])
)
def test_nan_stays_in_its_row(backend, plain, value, reverse):
    case = layer_case(**plain, hidden=sized(16, 5), lengths="unequal", reverse=reverse)
    check_nan_stays_in_its_row(backend, case, value)


@pytest.mark.parametrize("hidden", sized([1, 16, 33], [1, 5]))
@pytest.mark.parametrize("bias", [True, False])
def test_packing_of_a_layer(backend, plain, hidden, bias):
    check_packing(backend, LayerSpec(input_size=3, hidden_size=hidden, bias=bias, **plain))


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_packing_of_a_variant(backend, kind):
    check_packing(backend, LayerSpec(input_size=3, hidden_size=sized(33, 3), **kind))


@pytest.mark.parametrize("outputs", [1, 70])
def test_packing_of_an_affine_map(backend, dtype, outputs):
    check_packing(backend, AffineSpec(5, outputs, dtype))


@pytest.mark.parametrize("features", [1, 67])
def test_packing_of_attention(backend, dtype, features):
    check_packing(backend, PoolSpec("attention", features, dtype))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("rows", sized([1, 7], [3]))
def test_runner(backend, plain, rows, reverse):
    case = LayerCase(**plain, hidden=sized(33, 5), shape=(sized(9, 3), rows), reverse=reverse)
    check_runner(backend, case)


@pytest.mark.parametrize("kind", SOME_KINDS, ids=name_of)
def test_runner_of_a_variant(backend, kind):
    case = LayerCase(dtype=DTYPE_OF[name_of(kind)], hidden=sized(33, 5), shape=sized((9, 4), (3, 2)), kind=kind)
    check_runner(backend, case)


@pytest.mark.parametrize("layout", ["contiguous", "strided", "rows reversed"])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    sized([(1, 1, 1), (7, 5, 1), (13, 33, 70), (20, 67, 3)], [(1, 1, 1), (7, 5, 1), (3, 5, 9), (9, 6, 3)]),
)
def test_affine(backend, dtype, rows, inputs, outputs, layout):
    check_affine(backend, AffineCase(rows, inputs, outputs, dtype, layout))


@pytest.mark.parametrize("layout", ["contiguous", "strided", "time first"])
@pytest.mark.parametrize("lengths", ["full", "unequal", "ones"])
@pytest.mark.parametrize("kind", POOLINGS)
def test_pool(backend, dtype, kind, lengths, layout):
    check_pool(backend, PoolCase(kind, dtype, lengths=lengths, layout=layout, shape=sized((9, 7), (5, 3))))


@pytest.mark.parametrize(
    ("features", "shape", "layout"),
    [
        (1, (1, 1), "contiguous"),
        (1, (7, 2), "strided"),
        (sized(33, 3), sized((40, 20), (6, 3)), "rows reversed"),
        (sized(67, 9), (9, 1), "steps reversed"),
        (sized(67, 4), sized((40, 20), (5, 4)), "contiguous"),
    ],
)
@pytest.mark.parametrize("kind", POOLINGS)
def test_pool_of_a_shape(backend, dtype, kind, features, shape, layout):
    check_pool(backend, PoolCase(kind, dtype, features, shape, layout=layout))


@pytest.mark.parametrize("kind", POOLINGS)
def test_nan_in_pool(backend, dtype, kind):
    check_nan_in_pool(backend, PoolCase(kind, dtype, shape=sized((9, 7), (5, 3))))


@pytest.mark.parametrize(("rows", "outputs", "size"), [(1, 1, 1.0), (2, 2, 1.0), (13, sized(70, 9), 3.0), (7, 5, 1e4)])
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


@pytest.mark.parametrize("steps", [1, sized(200, 20)])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{len(spec.tables)} of {spec.tables[0]}")
def test_embedding(backend, dtype, spec, steps):
    check_embedding(backend, replace(spec, dtype=dtype), steps)


def test_rows(backend, dtype):
    check_rows(backend, dtype)


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (37, 19), (64, 32)])
def test_weight_of_an_affine_map(backend, dtype, outputs, inputs):
    check_weight(backend, dtype, outputs, inputs)


@pytest.mark.parametrize(("limit", "spoilt"), [(0.5, False), (1e3, False), (0.5, True)])
def test_clip(backend, dtype, limit, spoilt):
    check_clip(backend, dtype, limit, spoilt)


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
