"""Parameters that modules make of others: weight dropout, weight norm, pruning; and what else keeps other numbers."""

import re

import numpy as np
import pytest
from torch_states import same

from numlstm import GRU, LSTM
from numlstm.io import from_torch, to_torch

RNG = np.random.default_rng(0)
STATE = {name: RNG.normal(size=array.shape).astype("float32") for name, array in to_torch(LSTM(3, 5, 2)).items()}
PARAMETRIZED = "parametrizations.weight_hh_l0."


def instead(*names, prefix="", **arrays):
    """The state dict with other arrays in the place of some."""
    return {prefix + name: array for name, array in (STATE | arrays).items() if name not in names}


# In PyTorch ---------------------------------------------------------------------------------------------------


def with_weight_norm(torch, module, **options):
    for name in ("weight_hh_l0", "weight_ih_l0_reverse", "bias_ih_l0"):
        torch.nn.utils.weight_norm(module, name, **options)
    return module


def parametrized(torch, module, **options):
    for name in ("weight_hh_l0", "weight_ih_l0_reverse"):
        torch.nn.utils.parametrizations.weight_norm(module, name, **options)
    return module


def pruned(torch, module):
    for name in ("weight_hh_l0", "weight_ih_l0_reverse", "bias_ih_l0"):
        torch.nn.utils.prune.random_unstructured(module, name, 0.4)
    return module


MADE = {
    "weight norm": with_weight_norm,
    "weight norm of all": lambda torch, module: with_weight_norm(torch, module, dim=None),
    "parametrized": parametrized,
    "parametrized, of all": lambda torch, module: parametrized(torch, module, dim=None),
    "pruned": pruned,
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_results_are_those_of_the_module(make, dtype):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.nn.utils.prune")
    torch.manual_seed(0)
    module = make(torch, torch.nn.LSTM(3, 5, bidirectional=True, batch_first=True).to(getattr(torch, dtype))).eval()
    with torch.no_grad():
        for parameter in module.parameters():  # so that a norm is no longer that of its direction
            parameter += 0.3 * torch.randn_like(parameter)
    x = RNG.normal(size=(2, 4, 3)).astype(dtype)
    with torch.no_grad():
        truth = module(torch.from_numpy(x))[0].numpy()
    made = from_torch(module.state_dict())(x)[0]
    np.testing.assert_allclose(made, truth, rtol=0, atol=1e-6 if dtype == "float32" else 1e-14)


# By hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l1", "bias_ih_l0"])
def test_raw_weights_are_taken(beside, name):
    """Not what was left of them in the last batch of training."""
    raw = {f"{name}_raw": STATE[name]}
    dropped = {name: STATE[name] * (RNG.random(STATE[name].shape) > 0.5)} if beside else {}
    same(to_torch(from_torch(instead(name, **raw) | dropped)), STATE)


def test_all_weights_may_be_raw_alone():
    state = {f"{name}_raw": array for name, array in STATE.items()}
    same(to_torch(from_torch({f"rnn.{name}": array for name, array in state.items()})), STATE)


def test_raw_weights_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"^'weight_ih_l1' must have shape \(20, 5\), as those of layer 0 tell, got"):
        from_torch(STATE | {"weight_ih_l1_raw": np.ones((20, 4), "float32")})


LOWER = {f"rnns.0.module.{name}": array for name, array in STATE.items()}
FASTAI = LOWER | {
    "rnns.0.module.weight_hh_l0": 0 * STATE["weight_hh_l0"],
    "rnns.0.weight_hh_l0_raw": STATE["weight_hh_l0"],
    "encoder.weight": np.ones((7, 3), "float32"),
}


@pytest.mark.parametrize("prefix", ["", "rnns.0.", "rnns.0.module."])
@pytest.mark.parametrize("nested", [True, False])
def test_raw_weights_of_fastai_are_taken(prefix, nested):
    """Its WeightDropout keeps them beside the module that it wraps."""
    given = {"model": FASTAI, "opt": {"hypers": [{"lr": 0.1}]}} if nested else FASTAI
    same(to_torch(from_torch(given, prefix)), STATE)


def test_raw_weights_of_one_of_several_wrapped_modules_are_taken():
    others = {key.replace("rnns.0.", "rnns.1."): array for key, array in FASTAI.items() if key.startswith("rnns")}
    others["rnns.1.weight_hh_l0_raw"] = 2 * STATE["weight_hh_l0"]
    same(to_torch(from_torch(FASTAI | others, "rnns.0.")), STATE)
    same(to_torch(from_torch(FASTAI | others, "rnns.1.")), STATE | {"weight_hh_l0": 2 * STATE["weight_hh_l0"]})


@pytest.mark.parametrize(
    ("inner", "above"),
    [
        ("rnn.lstm.", "rnn.weight_hh_l0_raw"),
        ("rnn.lstm.", "weight_hh_l0_raw"),
        ("rnn.module.", "rnn.weight_hh_l0_mask"),
        ("rnn.module.", "rnn.parametrizations.weight_hh_l0.original"),
        ("rnn.module.", "rnn.weight_hh_l0.lora_A"),
    ],
)
def test_what_is_said_of_weights_further_above_is_refused(inner, above):
    given = {inner + name: array for name, array in STATE.items()} | {above: STATE["weight_hh_l0"]}
    words = f"state_dict must have one form of '{inner}weight_hh_l0', but an outer module has"
    with pytest.raises(ValueError, match=f"^{re.escape(words)} {re.escape(repr(above))}: pass a mapping"):
        from_torch(given, inner)


def test_adapters_of_peft_are_refused():
    given = {f"lstm.base_layer.{name}": array for name, array in STATE.items()}
    same(to_torch(from_torch(given)), STATE)
    words = "with which the module computes, but ['lstm.lora_A.default.weight'] are added to"
    with pytest.raises(ValueError, match=re.escape(words)):
        from_torch(given | {"lstm.lora_A.default.weight": np.ones((2, 3))})


def test_raw_weights_at_both_places_are_refused():
    with pytest.raises(
        ValueError, match=r"^state_dict must have one form of .* an outer module has 'rnns.0.weight_hh_l0_raw'"
    ):
        from_torch(FASTAI | {"rnns.0.module.weight_hh_l0_raw": STATE["weight_hh_l0"]}, "rnns.0.module.")


def test_modules_around_others_have_weights_of_their_own():
    given = {f"rnn.{name}": array for name, array in STATE.items()}
    given |= {f"rnn.inner.{name}": array for name, array in to_torch(GRU(3, 4, 2)).items()}
    given["rnn.weight_hh_l0_raw"] = STATE["weight_hh_l0"]
    assert type(from_torch(given, "rnn.inner.")) is GRU


@pytest.mark.parametrize(("g", "v"), [("weight_hh_l0_g", "weight_hh_l0_v"),
                                      (PARAMETRIZED + "original0", PARAMETRIZED + "original1")])  # fmt: skip
@pytest.mark.parametrize("rows", [True, False])
def test_weight_norm_is_computed(g, v, rows):
    direction = STATE["weight_hh_l0"].astype("float64")
    norm = np.linalg.norm(direction, axis=1, keepdims=True) if rows else np.linalg.norm(direction)
    length = RNG.normal(size=norm.shape).astype("float32")
    given = instead("weight_hh_l0", **{g: length, v: STATE["weight_hh_l0"]})
    made = to_torch(from_torch(given))
    np.testing.assert_allclose(made["weight_hh_l0"], direction / norm * length, rtol=2e-7)
    same(made, STATE | {"weight_hh_l0": made["weight_hh_l0"]})


def test_a_norm_of_nothing_gives_nan_as_in_pytorch():
    given = instead(
        "weight_hh_l0", weight_hh_l0_g=np.ones((20, 1), "float32"), weight_hh_l0_v=0 * STATE["weight_hh_l0"]
    )
    assert np.isnan(from_torch(given).parameters["weight_hh_l0"]).all()


def test_pruning_is_exact():
    mask = (RNG.random((20, 5)) > 0.5).astype("float32")
    given = instead("weight_hh_l0", weight_hh_l0_orig=STATE["weight_hh_l0"], weight_hh_l0_mask=mask)
    same(to_torch(from_torch(given)), STATE | {"weight_hh_l0": STATE["weight_hh_l0"] * mask})


ONES = np.ones((20, 5), "float32")
UNCLEAR = {
    "one part of weight norm": ({"weight_hh_l0_g": ONES[:, :1]}, "['weight_hh_l0_g'], from which it does not follow"),
    "one part of pruning": ({"weight_hh_l0_orig": ONES}, "['weight_hh_l0_orig'], from which"),
    "a mask alone": ({"weight_hh_l0": ONES, "weight_hh_l0_mask": ONES}, "['weight_hh_l0_mask'], from which"),
    "spectral norm": (
        {"weight_hh_l0_orig": ONES, "weight_hh_l0_u": ONES[:, 0], "weight_hh_l0_v": ONES[0]},
        "['weight_hh_l0_orig', 'weight_hh_l0_u', 'weight_hh_l0_v'] of spectral norm, from which",
    ),
    "a parametrization": ({PARAMETRIZED + "original": ONES}, f"['{PARAMETRIZED}original'], from which"),
    "a parametrization with numbers of its own": (
        {PARAMETRIZED + "original": ONES, PARAMETRIZED + "0._u": ONES[:, 0], PARAMETRIZED + "0._v": ONES[0]},
        f"['{PARAMETRIZED}0._u', '{PARAMETRIZED}0._v', '{PARAMETRIZED}original'] of spectral norm, from which",
    ),
    "three originals": (
        {PARAMETRIZED + f"original{k}": ONES for k in range(3)},
        str([f"{PARAMETRIZED}original{k}" for k in range(3)]),
    ),
    "raw and normalised": (
        {"weight_hh_l0_raw": ONES, "weight_hh_l0_g": ONES[:, :1], "weight_hh_l0_v": ONES},
        "['weight_hh_l0_g', 'weight_hh_l0_raw', 'weight_hh_l0_v'], from which",
    ),
    "something else beside it": ({"weight_hh_l0": ONES, "weight_hh_l0_bar": ONES}, "['weight_hh_l0_bar'], from which"),
    "something else below it": (
        {"weight_hh_l0": ONES, "weight_hh_l0.lora_A": ONES},
        "['weight_hh_l0.lora_A'], from which",
    ),
}


@pytest.mark.parametrize(("arrays", "words"), UNCLEAR.values(), ids=UNCLEAR)
def test_what_does_not_tell_the_weights_is_refused(arrays, words):
    given = {f"a.{name}": array for name, array in instead("weight_hh_l0", **arrays).items()}
    words = words.replace("['", "['a.").replace(", '", ", 'a.")
    expected = f"state_dict must hold 'a.weight_hh_l0', or both parts of its weight norm or pruning, got {words}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}"):
        from_torch(given, "a.")


SHAPES = {
    "weight norm of columns": ("_g", (1, 5), "_v", (20, 5), "'weight_hh_l0_g' must have shape (20, 1) of weight norm"),
    "weight norm without an axis": ("_g", (20,), "_v", (20, 5), "'weight_hh_l0_g' must have shape (20, 1) of weight"),
    "weight norm of a number": ("_g", (1,), "_v", (), "'weight_hh_l0_g' must have shape () of weight norm"),
    "pruning": ("_mask", (20, 4), "_orig", (20, 5), "'weight_hh_l0_mask' must have shape (20, 5), as 'weight_hh_l0_or"),
}


@pytest.mark.parametrize(("one", "shape", "other", "other_shape", "words"), SHAPES.values(), ids=SHAPES)
def test_parts_that_do_not_go_together_are_refused(one, shape, other, other_shape, words):
    arrays = {f"weight_hh_l0{one}": np.ones(shape), f"weight_hh_l0{other}": np.ones(other_shape)}
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        from_torch(instead("weight_hh_l0", **arrays))


def test_parts_must_hold_real_numbers():
    arrays = {"weight_hh_l0_mask": ONES > 0, "weight_hh_l0_orig": ONES}
    with pytest.raises(TypeError, match=r"^'weight_hh_l0_mask' must hold real numbers, .*, got bool$"):
        from_torch(instead("weight_hh_l0", **arrays))


# Refused ------------------------------------------------------------------------------------------------------

DERIVED = {  # modules that keep other numbers than the plain ones, and how they are refused
    "spectral norm": (
        lambda torch, module: torch.nn.utils.spectral_norm(module, "weight_hh_l0"),
        "got ['a.weight_hh_l0_orig', 'a.weight_hh_l0_u', 'a.weight_hh_l0_v'] of spectral norm, from which",
    ),
    "spectral norm, parametrized": (
        lambda torch, module: torch.nn.utils.parametrizations.spectral_norm(module, "weight_hh_l0"),
        "'a.parametrizations.weight_hh_l0.original'] of spectral norm, from which",
    ),
    "orthogonal": (
        lambda torch, module: torch.nn.utils.parametrizations.orthogonal(module, "weight_hh_l0"),
        "'a.parametrizations.weight_hh_l0.original'], from which it does not follow: remove that first",
    ),
    "weight norm of columns": (
        lambda torch, module: torch.nn.utils.weight_norm(module, "weight_hh_l0", dim=1),
        "'a.weight_hh_l0_g' must have shape (16, 1) of weight norm with dim=0, or () with dim=None, got (1, 4)",
    ),
    "quantised": (
        lambda torch, module: torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(module), {torch.nn.LSTM})[0],
        "'a._all_weight_values.0.param' is of a quantised or quantisable module",
    ),
    "quantisable": (
        lambda torch, module: torch.ao.nn.quantizable.LSTM(3, 4),
        "'a.layers.0.layer_fw.cell.igates.weight' is of a quantised or quantisable module",
    ),
    "cell": (lambda torch, module: torch.nn.LSTMCell(3, 4), "'a.weight_ih' is of an LSTMCell, GRUCell or RNNCell"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("derive", "words"), DERIVED.values(), ids=DERIVED)
def test_modules_that_keep_other_numbers_are_refused(derive, words):
    torch = pytest.importorskip("torch")
    try:
        derived = derive(torch, torch.nn.LSTM(3, 4))
    except (AttributeError, RuntimeError) as error:
        pytest.skip(f"not in this PyTorch: {error}")
    given = {f"a.{key}": value for key, value in derived.state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(words)):
        from_torch(given, "a.")
