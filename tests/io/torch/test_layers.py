"""Modules of PyTorch's as layers, and layers as PyTorch's modules."""

import re
from functools import cache

import numpy as np
import pytest
from lstm_cases import relative_error
from pairwise import pairwise
from torch_states import same

from numlstm import GRU, LSTM, RNN
from numlstm.io import from_torch, to_torch

FLOAT32_MARGIN = 1.5  # how much further from the truth than PyTorch results may be
KINDS = {"LSTM": LSTM, "GRU": GRU, "RNN tanh": RNN, "RNN relu": RNN}
FACTORS = {
    "kind": (*KINDS, "LSTM projected"),
    "num_layers": (1, 2, 3),
    "bidirectional": (False, True),
    "bias": (True, False),
    "batch_first": (True, False),
    "dropout": (0.0, 0.3),
    "sizes": ((3, 5), (1, 2), (7, 3), (4, 9)),
    "lengths": (None, (2, 6, 1, 4), (3, 1, 2, 2)),
    "with_state": (False, True),
    "rows": (4, None),  # None: one sequence, 2-D
}
STEPS = 6
CASES = [case for seed in range(5) for case in pairwise(FACTORS, seed)]


def identity(case):
    """A case in words."""
    return ", ".join(str(value) for value in case.values())


def module_of(torch, case, seed=0, dtype="float64"):
    """A module in evaluation mode, with parameters that float32 holds exactly."""
    kind, _, extra = case["kind"].partition(" ")
    options = {"nonlinearity": extra} if kind == "RNN" else {"proj_size": case["sizes"][1] - 1} if extra else {}
    names = ("num_layers", "bidirectional", "bias", "batch_first")
    dropout = case["dropout"] if case["num_layers"] > 1 else 0.0
    chosen = {name: case[name] for name in names} | options | {"dropout": dropout}
    module = getattr(torch.nn, kind)(*case["sizes"], **chosen).to(getattr(torch, dtype)).eval()
    rng = np.random.default_rng(seed)
    drawn = {name: rng.normal(0.0, 0.4, value.shape) for name, value in module.state_dict().items()}
    module.load_state_dict({name: torch.tensor(value.astype("float32")) for name, value in drawn.items()})
    return module


def options_of(case):
    """What a state dict does not hold."""
    extra = case["kind"].partition(" ")[2]
    dropout = {"dropout": case["dropout"]} if case["num_layers"] > 1 else {}
    return dropout | ({"nonlinearity": extra} if case["kind"].startswith("RNN") else {})


def inputs_of(case, module):
    """Everything that goes in forward and back, batches first."""
    rng = np.random.default_rng(1)
    rows = () if case["rows"] is None else (case["rows"],)
    directions = 1 + case["bidirectional"]
    outputs = getattr(module, "proj_size", 0) or module.hidden_size
    layers = case["num_layers"] * directions
    state_sizes = {"h": outputs} | ({"c": module.hidden_size} if case["kind"].startswith("LSTM") else {})
    shapes = {"x": (*rows, STEPS, module.input_size), "dy": (*rows, STEPS, directions * outputs)}
    shapes |= {f"{name}_0": (layers, *rows, size) for name, size in state_sizes.items()}
    shapes |= {f"d{name}_n": (layers, *rows, size) for name, size in state_sizes.items()}
    drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    drawn |= {} if case["with_state"] else {f"{name}_0": np.zeros(shapes[f"{name}_0"]) for name in state_sizes}
    return {name: value.astype("float32").astype("float64") for name, value in drawn.items()}


def states(arrays, names):
    """Those of `arrays` that there are, alone or in a tuple as both libraries take them."""
    chosen = tuple(arrays[name] for name in names if name in arrays)
    return chosen[0] if len(chosen) == 1 else chosen


def flat(state):
    """The arrays of a state."""
    return list(state) if isinstance(state, tuple) else [state]


def lengths_of(case):
    """Steps of each sequence, where there are several."""
    return None if case["rows"] is None else case["lengths"]


def theirs(torch, case, dtype):
    """All that PyTorch computes, by name; batches first."""
    module = module_of(torch, case).to(getattr(torch, dtype))
    inputs = inputs_of(case, module)
    given = {
        name: torch.tensor(value, dtype=getattr(torch, dtype), requires_grad=True) for name, value in inputs.items()
    }

    def turned(array):
        return array if case["batch_first"] or case["rows"] is None else array.transpose(0, 1)

    state, x = states(given, ("h_0", "c_0")), turned(given["x"])
    if lengths_of(case) is None:
        y, final = module(x, state)
    else:
        pack = torch.nn.utils.rnn.pack_padded_sequence
        packed = pack(x, torch.tensor(case["lengths"]), case["batch_first"], enforce_sorted=False)
        y, final = module(packed, state)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, case["batch_first"], total_length=STEPS)
    initial = [given[name] for name in ("h_0", "c_0") if name in given]
    gradients = [given[name].detach() for name in ("dy", "dh_n", "dc_n") if name in given]
    parameters = dict(module.named_parameters())
    wanted = [given["x"], *initial, *parameters.values()]
    dx, *rest = torch.autograd.grad([turned(y), *flat(final)], wanted, gradients)
    of_parameters = zip(parameters, rest[len(initial) :], strict=True)
    results = {"y": turned(y), "dx": dx} | {f"d{name}": value for name, value in of_parameters}
    results |= {f"final {k}": value for k, value in enumerate(flat(final))}
    results |= {f"initial {k}": value for k, value in enumerate(rest[: len(initial)])}
    return {name: value.detach().numpy() for name, value in results.items()}


def ours(torch, case, dtype, backend):
    """The same by the layer that the module becomes."""
    module = module_of(torch, case)
    inputs = inputs_of(case, module)
    layer = from_torch(module.state_dict(), **options_of(case), backend=backend, dtype=dtype)
    assert type(layer) is KINDS.get(case["kind"], LSTM)
    initial = states(inputs, ("h_0", "c_0")) if case["with_state"] else None
    y, final, pullback = layer.vjp(inputs["x"], initial, lengths_of(case))
    dx, dinitial, dparameters = pullback(inputs["dy"], states(inputs, ("dh_n", "dc_n")))
    results = {"y": y, "dx": dx} | {f"d{name}": value for name, value in dparameters.items()}
    results |= {f"final {k}": value for k, value in enumerate(flat(final))}
    return results | {f"initial {k}": value for k, value in enumerate(flat(dinitial))}


@cache
def by_torch(index, dtype):
    return theirs(pytest.importorskip("torch"), CASES[index], dtype)


def test_there_are_many_cases():
    assert len(CASES) >= 100


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("index", range(len(CASES)), ids=map(identity, CASES))
def test_results_are_those_of_the_module(index, backend):
    torch = pytest.importorskip("torch")
    truth, by_peer = by_torch(index, "float64"), by_torch(index, "float32")
    for dtype in ("float64", "float32"):
        results = ours(torch, CASES[index], dtype, backend)
        assert results.keys() == truth.keys()
        for name, value in results.items():
            assert value.dtype == dtype
            allowed = 1e-12
            if dtype == "float32":
                allowed = max(2e-6, FLOAT32_MARGIN * error(by_peer[name], truth[name]))
            assert error(value, truth[name]) <= allowed, (name, dtype)


def error(value, truth):
    """`relative_error`, but 0 where all is 0: rectified units may all be silent."""
    return relative_error(value, truth) if truth.any() else np.abs(value).max()


# There and back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES[:40], ids=identity)
def test_state_dicts_come_back_as_they_were(case, dtype):
    torch = pytest.importorskip("torch")
    module = module_of(torch, case, dtype=dtype)
    layer = from_torch(module.state_dict(), **options_of(case))
    assert layer.dtype == dtype
    made = to_torch(layer)
    same(made, module.state_dict())
    other = module_of(torch, case, seed=1, dtype=dtype)
    other.load_state_dict({name: torch.from_numpy(array) for name, array in made.items()}, strict=True)
    same(other.state_dict(), module.state_dict())


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"num_layers": 2, "dropout": 0.2}, {"bidirectional": True, "bias": False}, {"dtype": "float64"},
        {"input_dropout": 0.2, "recurrent_dropout": 0.2, "weight_dropout": 0.1, "recompute": True},
        {"hidden_size": [5, 5], "backend": "cpu", "init": "torch"},
    ],
)  # fmt: skip
def test_layers_come_back_as_they_were(kind, options):
    layer = kind(**{"input_size": 3, "hidden_size": 5, "random_state": 0} | options)
    again = from_torch(to_torch(layer))
    assert type(again) is kind
    assert (again.num_layers, again.bidirectional, again.dtype) == (layer.num_layers, layer.bidirectional, layer.dtype)
    same(again.parameters, layer.parameters)
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    np.testing.assert_array_equal(again(x)[0], layer(x)[0])


def test_rounding_of_products_is_left_out():
    layer = LSTM(3, 5, compute_dtype="bfloat16", random_state=0)
    same(to_torch(layer), to_torch(LSTM(3, 5, random_state=0)))


def test_a_layer_shows_the_options_that_were_found():
    options = {"bias": False, "dropout": 0.2, "bidirectional": True, "proj_size": 2, "dtype": "float64"}
    layer = LSTM(3, 5, 2, **options, random_state=0)
    again = from_torch(to_torch(layer), dropout=0.2, backend="reference")
    assert repr(again) == repr(layer)
    assert again.backend == "reference"
    layer = RNN(3, 5, 2, nonlinearity="relu", bias=False, random_state=0)
    assert repr(from_torch(to_torch(layer), nonlinearity="relu")) == repr(layer)


@pytest.fixture
def state():
    """A state dict of NumPy arrays, in a larger model."""
    made = to_torch(GRU(3, 5, 2, bidirectional=True, random_state=0))
    return {f"encoder.rnn.{name}": array for name, array in made.items()} | {"head.weight": np.ones((2, 10))}


def test_nothing_is_shared(state):
    layer = from_torch(state, "encoder.rnn.")
    kept = {name: array.copy() for name, array in layer.parameters.items()}
    made = to_torch(layer)
    for array in (*state.values(), *made.values()):
        array[...] = 7.0
    same(layer.parameters, kept)
    assert all(array.flags.c_contiguous and not array.flags.writeable for array in layer.parameters.values())


def test_any_memory_layout_is_read(state):
    wide = {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in state.items()}
    transposed = {name: np.asfortranarray(array) for name, array in state.items()}
    swapped = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in state.items()}
    wanted = from_torch(state, "encoder.rnn.").parameters
    for given in (wide, transposed, swapped):
        layer = from_torch(given, "encoder.rnn.")
        same(layer.parameters, wanted)
        assert all(array.flags.c_contiguous for array in layer.parameters.values())
        assert all(array.flags.c_contiguous and array.flags.writeable for array in to_torch(layer).values())


def test_order_of_names_does_not_matter(state):
    layer = from_torch(dict(reversed(state.items())), "encoder.rnn.")
    assert [f"encoder.rnn.{name}" for name in to_torch(layer)] == list(state)[:-1]


def test_nan_and_infinity_are_kept():
    state = to_torch(LSTM(2, 3, random_state=0))
    state["weight_hh_l0"][0] = np.nan, np.inf, -np.inf
    same(to_torch(from_torch(state)), state)


@pytest.mark.parametrize(("stored", "made"), [("float16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_dtype_is_that_of_the_arrays(stored, made):
    state = {name: array.astype(stored) for name, array in to_torch(LSTM(2, 3, random_state=0)).items()}
    layer = from_torch(state)
    assert layer.dtype == made
    same(to_torch(layer), {name: array.astype(made) for name, array in state.items()})
    for dtype in ("float32", "float64"):
        assert from_torch(state, dtype=dtype).dtype == dtype


def test_bfloat16_of_numpy_becomes_float32():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    state = {name: array.astype(bfloat16) for name, array in to_torch(LSTM(2, 3, random_state=0)).items()}
    same(to_torch(from_torch(state)), {name: array.astype("float32") for name, array in state.items()})


def test_dtypes_that_become_one_may_be_mixed():
    state = to_torch(LSTM(2, 3, random_state=0))
    state["weight_hh_l0"] = state["weight_hh_l0"].astype("float16")
    assert from_torch(state).dtype == "float32"


# Tensors ------------------------------------------------------------------------------------------------------


def test_tensors_of_every_kind_are_read():
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(4, 3, 2)
    wanted = {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}
    forms = {
        "parameters, which require gradients": dict(module.named_parameters()),
        "transposed in memory": {
            name: value.T.contiguous().T if value.ndim == 2 else value for name, value in module.state_dict().items()
        },
        "every second number": {
            name: value.repeat_interleave(2, -1)[..., ::2] for name, value in module.state_dict().items()
        },
        "negative views": {name: torch._neg_view(-value) for name, value in module.state_dict().items()},
        "results of arithmetic": {name: value * 1 for name, value in module.named_parameters()},
    }
    for form, given in forms.items():
        layer = from_torch(given)
        assert all(array.flags.c_contiguous for array in layer.parameters.values()), form
        same(to_torch(layer), wanted)
    layer = from_torch(module.state_dict())
    with torch.no_grad():
        for value in module.parameters():
            value.zero_()
    same(to_torch(layer), wanted)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_become_float32(name):
    torch = pytest.importorskip("torch")
    halves = torch.nn.GRU(4, 3).to(getattr(torch, name)).state_dict()
    layer = from_torch(halves)
    assert layer.dtype == "float32"
    same(to_torch(layer), {name: value.float().numpy() for name, value in halves.items()})


def test_a_module_in_a_larger_model_is_found_by_its_prefix():
    torch = pytest.importorskip("torch")
    model = torch.nn.ModuleDict(
        {"encoder": torch.nn.GRU(3, 4), "decoder": torch.nn.LSTM(4, 4, 2), "head": torch.nn.Linear(4, 2)}
    )
    state = model.state_dict()
    for prefix, kind in (("encoder.", GRU), ("decoder.", LSTM)):
        layer = from_torch(state, prefix)
        assert type(layer) is kind
        same(to_torch(layer), model[prefix[:-1]].state_dict())
    with pytest.raises(ValueError, match=r"prefixes of some are \['decoder.', 'encoder.'\]$"):
        from_torch(state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda torch, value: value.to(torch.int64), "must hold real numbers, .*, got int64$"),
        (lambda torch, value: value.to(torch.complex64), "must hold real numbers, .*, got complex64$"),
        (lambda torch, value: value > 0, "must hold real numbers, .*, got bool$"),
        (lambda torch, value: value.to(torch.float8_e5m2), "must hold real numbers, .*, got float8_e5m2$"),
        (lambda torch, value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "must hold real .* got qint8$"),
        (lambda torch, value: value.to_sparse(), "must be a dense tensor with data, got Tensor: "),
        (lambda torch, value: value.to("meta"), "must be a dense tensor with data, got Tensor: "),
        (
            lambda torch, value: torch.nn.parameter.UninitializedParameter(),
            "must be a dense tensor with data, got UninitializedParameter: ",
        ),
    ],
    ids=["int64", "complex64", "bool", "float8", "quantised", "sparse", "meta", "uninitialised"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_cannot_be_read_are_refused(change, words):
    torch = pytest.importorskip("torch")
    state = torch.nn.LSTM(3, 4).state_dict()
    state["weight_hh_l0"] = change(torch, state["weight_hh_l0"])
    with pytest.raises(TypeError, match=f"^'weight_hh_l0' {words}"):
        from_torch(state)


# What is refused ----------------------------------------------------------------------------------------------

PREFIX = "encoder.rnn."


def without(*names):
    return lambda state: {key: value for key, value in state.items() if key.removeprefix(PREFIX) not in names}


def changed(name, function):
    return lambda state: state | {PREFIX + name: function(state[PREFIX + name])}


def added(**arrays):
    return lambda state: state | {PREFIX + name: array for name, array in arrays.items()}


def renamed(old, new):
    return lambda state: {key.replace(old, new): value for key, value in state.items()}


REFUSED = {
    "missing bias": (
        without("bias_hh_l1"),
        ValueError, "state_dict must hold 'encoder.rnn.bias_hh_l1', which is missing; it has ['encoder.rnn.bias_hh_l0'",
    ),
    "missing weights": (without("weight_ih_l0"), ValueError, "state_dict must hold 'encoder.rnn.weight_ih_l0', which"),
    "missing direction": (
        without(*(f"{part}_l0_reverse" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))),
        ValueError, "state_dict must hold 'encoder.rnn.weight_ih_l0_reverse', which is missing",
    ),
    "missing layer": (
        added(weight_ih_l999999999=np.ones((15, 10))),
        ValueError, "state_dict must hold 'encoder.rnn.weight_ih_l2', which is missing",
    ),
    "missing projection": (
        added(weight_hr_l0=np.ones((2, 5))),
        ValueError, "state_dict must hold 'encoder.rnn.weight_hr_l0_reverse', which is missing",
    ),
    "unknown": (
        added(extra=np.ones(3)),
        ValueError, "state_dict must hold parameters of one LSTM, GRU or RNN and nothing else under "
        "prefix='encoder.rnn.', got ['encoder.rnn.extra']",
    ),
    "unknown part": (added(bias_hr_l0=np.ones(3)), ValueError, "state_dict must hold parameters of one LSTM, GRU"),
    "number with a zero before it": (
        added(weight_ih_l01=np.ones(3)), ValueError, "state_dict must hold parameters of one LSTM, GRU",
    ),
    "another module below": (
        added(**{"inner.weight_ih_l0": np.ones(3)}),
        ValueError, "state_dict must hold parameters of one LSTM, GRU or RNN and nothing else under",
    ),
    "a cell": (
        lambda state: {"encoder.rnn.weight_ih": np.ones((4, 3))},
        ValueError, "state_dict must hold plain parameters, but 'encoder.rnn.weight_ih' is of an LSTMCell, GRUCell or",
    ),
    "key that is no string": (
        lambda state: state | {3: np.ones(3)}, TypeError, "state_dict must have strings as keys, got 3",
    ),
    "elsewhere": (
        renamed("encoder.", "decoder."),
        ValueError, "prefix must be that of one LSTM, GRU or RNN, got 'encoder.rnn.'; prefixes of some are "
        "['decoder.rnn.']",
    ),
    "nowhere": (
        lambda state: {"head.weight": np.ones((2, 3))},
        ValueError, "prefix must be that of one LSTM, GRU or RNN, got 'encoder.rnn.'; state_dict has none, its keys "
        "are ['head.weight']",
    ),
    "nowhere, with names like those": (
        lambda state: {f"a.{k}": np.ones(2) for k in range(20)} | {"x.weight_hh_l": np.ones(2)},
        ValueError, "prefix must be that of one LSTM, GRU or RNN, got 'encoder.rnn.'; state_dict has none, its keys "
        "are ['x.weight_hh_l']",
    ),
    "three axes": (
        changed("weight_hh_l1", lambda array: array[None]),
        ValueError, "'encoder.rnn.weight_hh_l1' must have two axes and some numbers, got shape (1, 15, 5)",
    ),
    "bias with two axes": (
        changed("bias_hh_l1", lambda array: array[None]),
        ValueError, "'encoder.rnn.bias_hh_l1' must have one axis and some numbers, got shape (1, 15)",
    ),
    "scalar": (
        changed("weight_ih_l0", lambda array: np.float32(3.0)),
        ValueError, "'encoder.rnn.weight_ih_l0' must have two axes and some numbers, got shape ()",
    ),
    "no features": (
        changed("weight_ih_l0", lambda array: array[:, :0]),
        ValueError, "'encoder.rnn.weight_ih_l0' must have two axes and some numbers, got shape (15, 0)",
    ),
    "no kind": (
        changed("weight_hh_l0", lambda array: array[:10]),
        ValueError, "'encoder.rnn.weight_hh_l0' must have 20 rows for an LSTM or 15 rows for a GRU or 5 rows for an "
        "RNN, as it has 5 columns, got shape (10, 5)",
    ),
    "input weights of another size": (
        changed("weight_ih_l0", lambda array: array[:-1]),
        ValueError, "'encoder.rnn.weight_ih_l0' must have shape (15, 3), as those of layer 0 tell, got (14, 3)",
    ),
    "second layer of another size": (
        changed("weight_ih_l1", lambda array: array[:, :-1]),
        ValueError, "'encoder.rnn.weight_ih_l1' must have shape (15, 10), as those of layer 0 tell, got (15, 9)",
    ),
    "bias of another size": (
        changed("bias_ih_l1_reverse", lambda array: array[:-1]),
        ValueError, "'encoder.rnn.bias_ih_l1_reverse' must have shape (15,), as those of layer 0 tell, got (14,)",
    ),
    "integers": (
        changed("bias_ih_l1", lambda array: array.astype(int)),
        TypeError, "'encoder.rnn.bias_ih_l1' must hold real numbers, float32, float64, float16, bfloat16, got int64",
    ),
    "complex numbers": (
        changed("bias_ih_l1", lambda array: array.astype(complex)),
        TypeError, "'encoder.rnn.bias_ih_l1' must hold real numbers, float32, float64, float16, bfloat16, got complex",
    ),
    "objects": (
        changed("bias_ih_l1", lambda array: array.astype(object)),
        TypeError, "'encoder.rnn.bias_ih_l1' must hold real numbers, float32, float64, float16, bfloat16, got object",
    ),
    "nothing": (
        changed("bias_ih_l1", lambda array: None),
        TypeError, "'encoder.rnn.bias_ih_l1' must hold real numbers, float32, float64, float16, bfloat16, got NoneType",
    ),
    "ragged": (
        changed("weight_ih_l1", lambda array: [[1.0], [1.0, 2.0]]),
        TypeError, "'encoder.rnn.weight_ih_l1' must be a tensor or an array, got list",
    ),
    "two dtypes": (
        changed("bias_ih_l1", lambda array: array.astype(float)),
        ValueError, "'encoder.rnn.bias_ih_l1' must be float32, as 'encoder.rnn.weight_ih_l0' is, got float64; or give",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_state_dicts_that_do_not_fit_are_refused(state, change, error, words):
    with pytest.raises(error, match="^" + re.escape(words)):
        from_torch(change(state), PREFIX)


PROJECTED = {"proj_size": 2, "random_state": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight_hr_l0": np.ones((2, 4), "float32")}, "'weight_hh_l0' must have 16 rows for an LSTM, as 'weight_hr_"),
        ({"weight_hr_l0": np.ones((3, 5), "float32")}, "'weight_hh_l0' must have shape (20, 3), as those of layer 0"),
        ({"weight_hr_l0": np.ones((5, 5), "float32")}, "proj_size=5 and hidden_size=5 do not go together"),
        ({"weight_hh_l0": np.ones((15, 2), "float32")}, "'weight_hh_l0' must have 20 rows for an LSTM, as 'weight_hr_"),
    ],
)
def test_projections_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        from_torch(to_torch(LSTM(3, 5, **PROJECTED)) | change)


def test_a_kind_may_be_demanded(state):
    assert type(from_torch(state, PREFIX, kind="gru")) is GRU
    with pytest.raises(ValueError, match=r"must have 20 rows for an LSTM, as it has 5 columns, got shape \(15, 5\)$"):
        from_torch(state, PREFIX, kind="lstm")
    with pytest.raises(ValueError, match=r"^kind must be 'lstm' with 'weight_hr_l0': only an LSTM"):
        from_torch(to_torch(LSTM(3, 5, **PROJECTED)), kind="gru")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kind": "LSTM"}, ValueError, "kind must be one of ['lstm', 'gru', 'rnn'], got 'LSTM'"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of ['float32', 'float64'], got 'float16'"),
        ({"backend": "tpu"}, ValueError, "backend must be 'auto', 'cpu'"),
        ({"dropout": 1.0}, ValueError, "dropout must be in [0.0, 1.0), got 1.0"),
        ({"nonlinearity": "relu"}, ValueError, "nonlinearity must be 'tanh' with cell='gru', got 'relu'"),
        ({"nonlinearity": "selu"}, ValueError, "nonlinearity must be one of ['tanh', 'relu'], got 'selu'"),
        ({"prefix": None}, TypeError, "prefix must be a string, got NoneType"),
        ({"state_dict": [1]}, TypeError, "state_dict must be a mapping of names to tensors, or a path, got list"),
    ],
)
def test_options_that_do_not_fit_are_refused(state, options, error, words):
    with pytest.raises(error, match="^" + re.escape(words)):
        from_torch(**{"state_dict": state, "prefix": PREFIX} | options)


def test_a_module_is_refused_with_a_hint():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"got LSTM; its state_dict\(\) is one$"):
        from_torch(torch.nn.LSTM(3, 4))


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (LSTM, {"peepholes": True}, "peepholes=True"),
        (LSTM, {"coupled_gates": True}, "coupled_gates=True"),
        (LSTM, {"input_gate": False}, "input_gate=False"),
        (LSTM, {"forget_gate": False, "init": "torch"}, "forget_gate=False"),
        (LSTM, {"output_gate": False}, "output_gate=False"),
        (LSTM, {"full_gate_recurrence": True}, "full_gate_recurrence=True"),
        (LSTM, {"recurrent_activation": "hard_sigmoid"}, "recurrent_activation=('hard_sigmoid', 0.2, 0.5)"),
        (LSTM, {"input_activation": "relu"}, "input_activation=('relu',)"),
        (LSTM, {"output_activation": "identity"}, "output_activation=('identity',)"),
        (LSTM, {"preactivation_clip": 2.0}, "preactivation_clip=2.0"),
        (LSTM, {"cell_clip": 2.0}, "cell_clip=2.0"),
        (LSTM, {"layer_norm": True}, "layer_norm=True"),
        (LSTM, {"zoneout": (0.0, 0.1)}, "zoneout=(0.0, 0.1)"),
        (LSTM, {"bidirectional": True, "merge": "sum"}, "merge='sum'"),
        (LSTM, {"num_layers": 2, "residual": True}, "residual=True"),
        (LSTM, {"hidden_size": [5, 4]}, "hidden_size=[5, 4]"),
        (LSTM, {"peepholes": True, "cell_clip": 2.0}, "cell_clip=2.0, peepholes=True"),
        (GRU, {"reset_after": False}, "reset_after=False"),
        (GRU, {"zoneout": 0.1}, "zoneout=(0.1,)"),
        (RNN, {"layer_norm": True}, "layer_norm=True"),
    ],
)
def test_options_that_pytorch_does_not_have_are_refused(kind, options, words):
    layer = kind(**{"input_size": 3, "hidden_size": 5} | options)
    message = f"layer must have only options that torch.nn.{kind.__name__} has, got {words}"
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        to_torch(layer)


def test_activations_may_be_named_as_they_are_by_default():
    assert to_torch(LSTM(3, 5, recurrent_activation=("sigmoid",), cell_clip=None))


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match=r"^layer must be an LSTM, a GRU or an RNN, got dict$"):
        to_torch({})
