"""ONNX's convolutions, pooling and Einsum: against ONNX Runtime, NumPy and definitions; what is refused; an export."""

import io
import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
from onnx_models import model_of, ort_run

from numlstm.graphs.graph import Graph, Node, Value
from numlstm.graphs.operators import room
from numlstm.graphs.operators.convolving import convolution
from numlstm.io import from_onnx

BIG = 1 << 40


def results_of(op, arrays, attributes=None, opset=22, outputs=1):
    """What a graph of one node gives."""
    values = [Value(f"x{k}", array.dtype.name) for k, array in enumerate(arrays)]
    names = tuple(f"y{k}" for k in range(outputs))
    node = Node(op, tuple(value.name for value in values), names, attributes or {}, "it")
    graph = Graph([node], values, [Value(name, "float32") for name in names], {}, opset)
    return graph.run({value.name: array for value, array in zip(values, arrays, strict=True)})


def check(op, arrays, attributes, opset):
    """Ours are ONNX Runtime's."""
    inputs = {f"x{k}": array for k, array in enumerate(arrays)}
    shapes = {name: (array.dtype.name, [None] * array.ndim) for name, array in inputs.items()}
    model = model_of([(op, [*inputs], ["y"], attributes)], shapes, [("y", arrays[0].dtype.name)], {}, opset)
    (found,), (truth,) = from_onnx(model).run(inputs), ort_run(model, inputs)
    label = f"{op} {attributes} of {[array.shape for array in arrays]}"
    assert found.dtype == truth.dtype, label
    assert found.shape == truth.shape, label
    np.testing.assert_allclose(found, truth, 1e-4, 1e-5, err_msg=label)


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


# Against ONNX Runtime -----------------------------------------------------------------------------------------

AUTO = ("SAME_UPPER", "SAME_LOWER", "VALID")


def numbers(rng, low, high, number):
    return [int(each) for each in rng.integers(low, high, number)]


@pytest.mark.parametrize("seed", range(80))
def test_convolutions(seed):
    rng = np.random.default_rng(seed)
    axes, group = 1 + seed % 3, int(rng.integers(1, 4))
    kernel, attributes = numbers(rng, 1, 4, axes), {"group": group}
    if rng.random() < 0.6:
        attributes["strides"] = numbers(rng, 1, 4, axes)
    if rng.random() < 0.5:
        attributes["kernel_shape"] = kernel
    if rng.random() < 0.3:
        attributes["auto_pad"] = AUTO[seed % len(AUTO)]
    else:
        attributes["pads"] = numbers(rng, 0, 5, 2 * axes)
        attributes["dilations"] = numbers(rng, 1, 4, axes)
    x = normal(rng, *rng.integers(1, 4, 1), group * int(rng.integers(1, 4)), *rng.integers(7, 11, axes))
    filters = normal(rng, group * int(rng.integers(1, 4)), x.shape[1] // group, *kernel)
    bias = [normal(rng, len(filters))] if rng.random() < 0.5 else []
    check("Conv", [x, filters, *bias], attributes, (7, 11, 22)[seed % 3])


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("seed", range(80))
def test_pooling(op, seed):
    rng = np.random.default_rng(seed)
    axes, opset = 1 + seed % 3, (7, 8, 10, 11, 12, 18, 19, 22, 24)[seed % 9]
    kernel = numbers(rng, 1, 4, axes)
    attributes = {"kernel_shape": kernel, "strides": numbers(rng, 1, 4, axes)}
    if opset >= 10:
        attributes["ceil_mode"] = int(rng.integers(2))
    if op == "AveragePool":
        attributes["count_include_pad"] = int(rng.integers(2))
    if rng.random() < 0.3:  # with steps longer than windows ONNX Runtime takes negative pads
        attributes["strides"] = [min(pair) for pair in zip(attributes["strides"], kernel, strict=True)]
        attributes["auto_pad"] = AUTO[seed % len(AUTO)]
    else:
        attributes["pads"] = [int(rng.integers(size)) for size in kernel * 2]  # it takes no others
        if opset >= (10 if op == "MaxPool" else 19):
            spread = [1 if before or after else int(rng.integers(1, 4)) for before, after in
                      zip(attributes["pads"][:axes], attributes["pads"][axes:], strict=True)]  # fmt: skip
            attributes["dilations"] = spread
    check(op, [normal(rng, 2, 3, *rng.integers(7, 11, axes))], attributes, opset)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("opset", [7, 22])
def test_pooling_of_all(op, axes, opset):
    check(op, [normal(np.random.default_rng(0), 2, 3, *range(4, 4 + axes))], {}, opset)


def test_pooling_of_small_integers():
    rng = np.random.default_rng(0)
    for dtype in ("int8", "uint8"):
        x = rng.integers(0, 100, (2, 3, 9)).astype(dtype)
        check("MaxPool", [x], {"kernel_shape": [3], "strides": [2], "pads": [1, 2]}, 12)


EQUATIONS = [
    ("ij,jk", (2, 3), (3, 4)), ("ij,jk->ki", (2, 3), (3, 4)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 4)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("bt,bth->bh", (2, 3), (2, 3, 4)), ("bth,h->bt", (2, 3, 4), (4,)),
    ("...ij,...jk->...ik", (5, 2, 3), (5, 3, 4)), ("...ij,...jk", (5, 2, 3), (5, 3, 4)), ("ii", (3, 3)),
    ("ii->i", (3, 3)), ("...ii->...i", (2, 3, 3)), ("iji->j", (2, 3, 2)), ("iij,jk->ki", (3, 3, 2), (2, 4)),
    (" i j -> j i ", (2, 3)), ("ba", (2, 3)), ("Ab,bA", (2, 3), (3, 2)), ("i,i", (3,), (3,)), ("i,j", (3,), (2,)),
    ("i->", (3,)), ("ij,jk->ik", (2, 1), (3, 4)), ("ij,ij->ij", (1, 3), (2, 3)), ("...,...", (2, 3), (1, 3)),
    ("ij,ik,il->jkl", (2, 3), (2, 4), (2, 5)), ("i,j,ij->", (3,), (4,), (3, 4)), ("i...->...", (2, 3)),
    ("...i", (2, 3)),
    ("ab,bc,cd,de->ae", (2, 3), (3, 4), (4, 5), (5, 6)), ("ab,ab,ab->a", (2, 3), (2, 3), (2, 3)),
    ("bqhd,bkhd->bhqk", (2, 3, 4, 5), (2, 6, 4, 5)), ("ij,k->i", (2, 3), (4,)), ("abc,dc->bad", (2, 3, 4), (5, 4)),
]  # fmt: skip


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda case: case[0])
def test_einsum(case):
    equation, *shapes = case
    rng = np.random.default_rng(0)
    check("Einsum", [normal(rng, *shape) for shape in shapes], {"equation": equation}, 12)


# Against definitions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_any_einsum_is_numpys(seed):
    """Also what ONNX Runtime does not do: mixed cases of letters, many operands, integers."""
    rng = np.random.default_rng(seed)
    sizes = dict(zip("abXYc", rng.integers(1, 5, 5), strict=True))
    dots = [int(each) for each in rng.integers(1, 4, rng.integers(0, 3))]
    terms, arrays = [], []
    for _ in range(int(rng.integers(1, 9))):
        letters = [str(each) for each in rng.choice([*sizes], rng.integers(0, 4))]
        own = {letter: 1 if rng.random() < 0.1 else sizes[letter] for letter in letters}
        place = int(rng.integers(len(letters) + 1))
        lengths = [own[each] for each in letters]
        terms.append("".join([*letters[:place], *(["..."] if dots else []), *letters[place:]]))
        shape = (*lengths[:place], *(size if rng.random() < 0.8 else 1 for size in dots), *lengths[place:])
        arrays.append(rng.integers(-3, 4, shape) if seed % 2 else rng.normal(size=shape))
    known = sorted({letter for term in terms for letter in term if letter != "."})
    equation = ",".join(terms)
    if seed % 3:
        chosen = [str(each) for each in rng.permutation(known)[: rng.integers(0, 4)]] if known else []
        equation += "->" + "".join([*chosen, *(["..."] if dots else [])])
    (found,) = results_of("Einsum", arrays, {"equation": equation})
    expected = np.einsum(equation, *arrays)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, 1e-10, 1e-10)


def windows_of(x, kernel, stride, dilation, before, after, windows):
    """What is in each window along the last axis; NaN where there is nothing."""
    around = np.full(x.shape[-1] + before + after + kernel * dilation + windows * stride, np.nan)
    found = np.stack([np.broadcast_to(around, (*x.shape[:-1], len(around)))])[0].copy()
    found[..., before : before + x.shape[-1]] = x
    places = np.arange(windows)[:, None] * stride + np.arange(kernel) * dilation
    return found[..., places]


@pytest.mark.parametrize(("op", "function"), [("MaxPool", np.nanmax), ("AveragePool", np.nanmean)])
@pytest.mark.parametrize("kernel", [2, 3, 40])  # longer than there are windows, too
@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
def test_padding_with_dilation(op, function, kernel, auto_pad):
    """Which ONNX Runtime does not reckon with where it finds padding itself."""
    x = np.random.default_rng(0).normal(size=(2, 3, 47))
    for stride, dilation in itertools.product((1, 2, 7), (1, 2)):
        reach = (kernel - 1) * dilation + 1
        windows = -(-47 // stride)
        around = max((windows - 1) * stride + reach - 47, 0)
        before = around // 2 + (around % 2 if auto_pad == "SAME_LOWER" else 0)
        padding = {"pads": (before, around - before)} if auto_pad == "NOTSET" else {"auto_pad": auto_pad}
        options = {"kernel_shape": (kernel,), "strides": (stride,), "dilations": (dilation,), **padding}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = function(windows_of(x, kernel, stride, dilation, before, around, windows), -1)
        (found,) = results_of(op, [x], options)
        np.testing.assert_allclose(found, expected, 1e-10)
        (found,) = results_of(op, [x.astype("float16")], options)
        assert found.dtype == "float16"
        np.testing.assert_allclose(found, expected, 2e-2, 2e-3)


def test_windows_longer_than_many_and_fewer():
    x = np.random.default_rng(0).normal(size=(1, 2, 300))
    for op, function in (("MaxPool", np.max), ("AveragePool", np.mean)):
        (found,) = results_of(op, [x], {"kernel_shape": (290,), "strides": (3,)})
        truth = np.stack([function(x[..., start : start + 290], -1) for start in range(0, 11, 3)], -1)
        np.testing.assert_allclose(found, truth, 1e-10)


def test_numbers_that_are_none_come_through():
    x = np.array([[[1.0, np.nan, 2.0, -np.inf, -np.inf, np.inf]]])
    (found,) = results_of("MaxPool", [x], {"kernel_shape": (2,), "strides": (2,)})
    np.testing.assert_array_equal(found, [[[np.nan, 2.0, np.inf]]])
    (found,) = results_of("Conv", [x[..., :3], np.ones((1, 1, 2))], {"pads": (1, 0)})
    np.testing.assert_array_equal(found, [[[1.0, np.nan, np.nan]]])
    (found,) = results_of("MaxPool", [x[..., 2:3]], {"kernel_shape": (2,), "dilations": (2,), "pads": (1, 1)})
    np.testing.assert_array_equal(found, [[[-np.inf]]])  # of nothing but padding


@pytest.mark.parametrize("seed", range(4))
def test_convolutions_in_many_pieces(seed, monkeypatch):
    """However little memory there is for windows."""
    rng = np.random.default_rng(seed)
    x, filters = rng.normal(size=(3, 4, 9, 5)), rng.normal(size=(6, 2, 3, 2))
    options = {"group": 2, "pads": (3, 1, 0, 4), "strides": (2, 1), "dilations": (1, 3)}
    (whole,) = results_of("Conv", [x, filters], options)
    monkeypatch.setattr("numlstm.graphs.operators.convolving.WINDOWS", (1, 300, 1000, 3000)[seed])
    (pieces,) = results_of("Conv", [x, filters], options)
    np.testing.assert_allclose(pieces, whole, 1e-12, 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_types(dtype):
    rng = np.random.default_rng(0)
    x, filters = rng.normal(size=(2, 3, 20)).astype(dtype), rng.normal(size=(4, 3, 3)).astype(dtype)
    (found,) = results_of("Conv", [x, filters])
    assert found.dtype == dtype
    expected = results_of("Conv", [x.astype("float64"), filters.astype("float64")])[0]
    np.testing.assert_allclose(
        found, expected, 1e-2 if dtype == "float16" else 1e-5, 1e-2 if dtype == "float16" else 1e-5
    )
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        assert results_of(op, [x])[0].dtype == dtype
    many = np.full((1, 1, 70_000), 2.0, dtype)
    assert results_of("GlobalAveragePool", [many])[0].item() == 2  # whose sum half precision does not hold
    small = np.full(70_000, 0.25, dtype)
    found = results_of("Einsum", [small, small], {"equation": "i,i->"})[0]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, 4375, 1e-3)  # where half precision would stop at 256


def test_no_rows_and_no_channels():
    filters = np.ones((4, 3, 2), "float32")
    assert results_of("Conv", [np.ones((0, 3, 5), "float32"), filters])[0].shape == (0, 4, 4)
    empty = [np.ones((2, 0, 5), "float32"), filters[:, :0], np.arange(4, dtype="float32")]
    assert results_of("Conv", empty)[0][0, :, 0].tolist() == [0, 1, 2, 3]
    assert results_of("MaxPool", [np.ones((0, 3, 5))], {"kernel_shape": (2,)})[0].shape == (0, 3, 4)


# Refusals -----------------------------------------------------------------------------------------------------

X, W, POOL = np.ones((1, 2, 6), "float32"), np.ones((4, 2, 3), "float32"), {"kernel_shape": (2,)}
COLUMN, ROW = np.ones((1 << 15, 1), "float32"), np.ones((1, 1 << 15), "float32")


@pytest.mark.parametrize(
    ("op", "arrays", "attributes", "message"),
    [
        ("Conv", [X, W], {"pads": (-1, 0)}, r"pads must be 2 integers of at least 0, got \(-1, 0\)"),
        ("Conv", [X, W], {"pads": (1,)}, "pads must be 2 integers"),
        ("Conv", [X, W], {"pads": (BIG, 0)}, "the result would have 4398046511120 elements, and must have at most"),
        ("Conv", [X, W], {"pads": (BIG << 30, 0)}, "pads must be 2 integers of at least 0"),
        ("Conv", [X, W], {"pads": (1 << 61, 1 << 61), "strides": (1 << 61,)}, "windows must move over fewer than"),
        ("Conv", [X, W], {"dilations": (BIG,)}, "a window of 2199023255553 must fit in 6 elements with 0 and 0"),
        ("Conv", [X, W], {"dilations": (0,)}, "dilations must be 1 integers of at least 1, got"),
        ("Conv", [X, W], {"strides": (0,)}, "strides must be 1 integers of at least 1, got"),
        ("Conv", [X, W], {"strides": (1, 1)}, "strides must be 1 integers"),
        ("Conv", [X, W], {"kernel_shape": (2,)}, r"kernel_shape must be \(3,\), as filters have it, got \(2,\)"),
        ("Conv", [X, W], {"group": 0}, "filters in 0 groups"),
        ("Conv", [X, W], {"group": 2}, r"filters in 2 groups must be a multiple of it, for 2 channels, got shape"),
        ("Conv", [X, W], {"auto_pad": "SAME"}, "auto_pad must be one of"),
        ("Conv", [X, W], {"auto_pad": "VALID", "pads": (1, 0)}, "pads must be left out with auto_pad='VALID'"),
        ("Conv", [X[..., :2], W], {}, "a window of 3 must fit in 2 elements"),
        ("Conv", [X[0], W[0]], {}, "must have 1 to 3 axes after two"),
        ("Conv", [X, W[..., None]], {}, "must have 1 to 3 axes after two"),
        ("Conv", [X, W, X[0, 0]], {}, r"the bias must have shape \(4,\), got \(6,\)"),
        ("Conv", [X, W.astype("float64")], {}, "inputs must be of one type"),
        ("Conv", [X.astype("int32"), W.astype("int32")], {}, "must hold floating-point numbers"),
        ("Conv", [X, W], {"other": 1}, "attributes must be among"),
        ("MaxPool", [X], {}, "attribute 'kernel_shape' is missing"),
        ("MaxPool", [X], {"kernel_shape": ()}, None),
        ("MaxPool", [X], {"kernel_shape": (BIG,)}, "a window of 1099511627776 must fit in 6 elements"),
        ("MaxPool", [X], {"kernel_shape": (BIG,), "pads": (BIG, BIG)}, "the result would have"),
        ("MaxPool", [X], {"kernel_shape": (1 << 20,), "pads": (1 << 20, 1 << 20)}, "windows must have at most 65536"),
        ("MaxPool", [X], {"kernel_shape": (0,)}, "kernel_shape must be 1 integers of at least 1"),
        ("MaxPool", [X], {"kernel_shape": (2, 2)}, "kernel_shape must be 1 integers of at least 1"),
        ("MaxPool", [X.astype("int32")], POOL, "MaxPool of int32 is not known"),
        ("MaxPool", [X[..., None, None, None]], POOL, "the input must have 1 to 3 axes after two"),
        ("AveragePool", [X.astype("int8")], POOL, "must hold floating-point numbers"),
        ("AveragePool", [X], {**POOL, "pads": (0, -3)}, "pads must be 2 integers of at least 0"),
        ("GlobalAveragePool", [X[0]], {}, "the input must have axes after two"),
        ("GlobalMaxPool", [X.astype("int8")], {}, "must hold floating-point numbers"),
        ("Einsum", [X], {"equation": "ij"}, "term 'ij' in equation must name 3 axes"),
        ("Einsum", [X], {"equation": "ijk,i"}, "equation must have 1 terms, as there are inputs"),
        ("Einsum", [X], {"equation": "ij1"}, "a term in equation must be letters, with ... once at most, got 'ij1'"),
        ("Einsum", [X], {"equation": "ij......"}, "a term in equation must be letters"),
        ("Einsum", [X], {"equation": "ij.."}, "a term in equation must be letters"),
        ("Einsum", [X], {"equation": "ijk->i->j"}, "a term in equation must be letters"),
        ("Einsum", [X], {"equation": "ijk->ii"}, "the result in equation must have different letters"),
        ("Einsum", [X], {"equation": "ijk->il"}, "the result in equation must have different letters, of those before"),
        ("Einsum", [X], {"equation": "i...->i"}, "the result in equation must have ..., as terms before it have"),
        ("Einsum", [X, X], {"equation": "i...,ij..."}, "... must be as many axes everywhere"),
        ("Einsum", [X], {"equation": "iij"}, "axes of one letter in a term must be of one length, got 1 and 2"),
        ("Einsum", [X, W], {"equation": "ijk,ljk"}, "axes 'k' must be of one length, or 1, got 6 and 3"),
        ("Einsum", [X, W.astype("float64")], {"equation": "ijk,ljm"}, "inputs must be of one type"),
        ("Einsum", [X > 0], {"equation": "ijk"}, "Einsum of bool is not known"),
        ("Einsum", [COLUMN, ROW], {"equation": "ij,jk"}, "the result would have 1073741824 elements"),
        ("Einsum", [COLUMN, ROW, ROW], {"equation": "ij,jk,jl->l"}, None),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_node(op, arrays, attributes, message):
    if op == "Einsum" and message is None:  # sums before products
        assert results_of(op, arrays, attributes)[0][0] == 1 << 30
        return
    with pytest.raises(ValueError, match=rf"^node 'it' \({op}\): .*{message or 'kernel_shape must not be empty'}"):
        results_of(op, arrays, attributes)


def test_places_of_the_largest_are_refused():
    with pytest.raises(ValueError, match=r"\(MaxPool\): it must have 1 output, got 2: the places of the largest"):
        results_of("MaxPool", [X], POOL, outputs=2)


@pytest.mark.parametrize(
    ("op", "attributes", "opset"),
    [("MaxPool", {"ceil_mode": 1}, 9), ("MaxPool", {"dilations": (1,)}, 9), ("MaxPool", {"storage_order": 0}, 7),
     ("AveragePool", {"ceil_mode": 1}, 9), ("AveragePool", {"dilations": (1,)}, 18)],
)  # fmt: skip
def test_attributes_are_those_of_the_version(op, attributes, opset):
    (name,) = attributes
    with pytest.raises(ValueError, match=f"attributes must be among .* in version {opset}, got {name!r}"):
        results_of(op, [X], {**POOL, **attributes}, opset)
    results_of(op, [X], {**POOL, **attributes}, opset + 1)


def test_einsum_came_with_version_12():
    with pytest.raises(ValueError, match="this operator does not exist in version 11, only from 12"):
        results_of("Einsum", [X], {"equation": "ijk"}, 11)


def test_products_between_are_bounded():
    """Whatever the result is: what is multiplied first can be larger."""
    pairs = ["".join(each) for each in itertools.combinations("abcd", 2)]
    arrays = [np.ones((400, 400), "float32")] * len(pairs)
    with room(1000), pytest.raises(ValueError, match="would have 64000000 elements, and must have at most"):
        results_of("Einsum", arrays, {"equation": ",".join(pairs) + "->"})
    names = "abcdefgh"
    arrays = [np.ones((20, 20), "float32")] * len(names)
    cycle = ",".join(f"{names[k]}{names[k - 1]}" for k in range(len(names)))
    assert results_of("Einsum", arrays, {"equation": f"{cycle}->"})[0] == 20.0**8


def test_memory_for_windows_is_bounded():
    x, filters = np.ones((1, 64, 40_000), "float32"), np.ones((1, 64, 201), "float32")
    options = {"kernel_shape": None, "dilations": None, "auto_pad": "SAME_UPPER", "pads": None, "strides": (4,)}
    tracemalloc.start()
    convolution(x, filters, group=1, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * x.nbytes  # all windows at once would be 50 times as many numbers


def test_padding_takes_no_memory():
    (found,) = results_of("Conv", [X, W], {"pads": (BIG, BIG), "strides": (BIG - 1,)})
    assert found.shape == (1, 4, 3)
    assert found[0, 0].tolist() == [0, 4, 0]


# An export ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of PyTorch's exporter
def test_a_model_of_pytorch_with_convolutions_and_attention():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = torch.nn.Conv1d(3, 8, 3, padding=2, dilation=2)
            self.pool = torch.nn.MaxPool1d(2, ceil_mode=True)
            self.lstm = torch.nn.LSTM(8, 5, batch_first=True, bidirectional=True)
            self.query = torch.nn.Parameter(torch.randn(10))
            self.linear = torch.nn.Linear(10, 2)

        def forward(self, x):
            y = self.pool(torch.relu(self.convolution(x.transpose(1, 2)))).transpose(1, 2)
            y, _ = self.lstm(y)
            weights = torch.softmax(torch.einsum("bth,h->bt", y, self.query), -1)
            return self.linear(torch.einsum("bt,bth->bh", weights, y))

    torch.manual_seed(0)
    model, file = Model().eval(), io.BytesIO()
    axes = {"x": {0: "N", 1: "T"}, "y": {0: "N"}}
    torch.onnx.export(model, (torch.zeros(2, 7, 3),), file, dynamo=False, input_names=["x"], output_names=["y"],
                      dynamic_axes=axes, opset_version=17)  # fmt: skip
    graph = from_onnx(file.getvalue())
    assert {"Conv", "MaxPool", "LSTM", "Einsum"} <= {node.op for node in graph.nodes}
    for shape in ((2, 7, 3), (5, 12, 3)):
        x = torch.randn(shape)
        with torch.no_grad():
            np.testing.assert_allclose(graph.run({"x": x.numpy()})[0], model(x).numpy(), 1e-5, 1e-6)
