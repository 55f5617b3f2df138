"""Models of PyTorch's that end in a linear map, as estimators."""

import pickle
import re
from functools import cache

import numpy as np
import pytest
from pairwise import pairwise
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch_states import write_safetensors

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor
from numlstm.io import estimator_from_torch, from_torch, to_onnx

LABELS = ("z", "a", "m", "b")  # not sorted
LENGTHS = [5, 2, 7, 1, 7]
RNG = np.random.default_rng(0)
X = [RNG.normal(size=(length, 3)).astype("float32") for length in LENGTHS]

FACTORS = {
    "kind": ("LSTM", "GRU", "RNN tanh", "RNN relu", "LSTM projected"),
    "num_layers": (1, 2),
    "bidirectional": (False, True),
    "bias": (True, False),
    "head_bias": (True, False),
    "outputs": (1, 2, 4),
    "pooling": ("last", "mean", "max", "none"),
    "dtype": ("float32", "float64"),
    "wrapped": ("", "state_dict", "module."),
}
CASES = [case for seed in range(3) for case in pairwise(FACTORS, seed)]


def identity(case):
    """A case in words."""
    return ", ".join(str(value) for value in case.values())


# In PyTorch ---------------------------------------------------------------------------------------------------


def module_of(torch, case):
    """A recurrent module and a linear map."""
    kind, _, extra = case["kind"].partition(" ")
    options = {"nonlinearity": extra} if kind == "RNN" else {"proj_size": 3} if extra else {}
    chosen = {name: case[name] for name in ("num_layers", "bidirectional", "bias")} | {"batch_first": True}
    torch.manual_seed(0)
    recurrent = getattr(torch.nn, kind)(3, 5, **chosen, **options)
    features = options.get("proj_size", 5) * (1 + case["bidirectional"])
    head = torch.nn.Linear(features, case["outputs"], bias=case["head_bias"])
    module = torch.nn.ModuleDict({"lstm": recurrent, "fc": head}).to(getattr(torch, case["dtype"])).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
    return module


def state_of(module, wrapped):
    """Its state dict, as it may be in a file."""
    state = module.state_dict()
    if wrapped == "state_dict":
        return {"epoch": 3, "state_dict": state}
    return {wrapped + name: value for name, value in state.items()}


def scores_by_torch(torch, module, case):
    """Scores (n, K); or (T_i, K) of each sequence."""
    dtype, lengths = getattr(torch, case["dtype"]), torch.tensor(LENGTHS)
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(x, dtype=dtype) for x in X], batch_first=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        output, h_n = module["lstm"](packed)
        h_n = h_n[0] if isinstance(h_n, tuple) else h_n
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
        if case["pooling"] == "none":
            scores = module["fc"](output).numpy()
            return [each[:length] for each, length in zip(scores, LENGTHS, strict=True)]
        past = (torch.arange(output.shape[1]) >= lengths[:, None])[:, :, None]
        features = {
            "last": torch.cat([h_n[-2], h_n[-1]], dim=-1) if case["bidirectional"] else h_n[-1],
            "mean": output.masked_fill(past, 0.0).sum(1) / lengths[:, None],
            "max": output.masked_fill(past, -torch.inf).max(1).values,
        }[case["pooling"]]
        return module["fc"](features).numpy()


@cache
def by_torch(index):
    """A state dict, and the scores that the module gives."""
    torch, case = pytest.importorskip("torch"), CASES[index]
    module = module_of(torch, case)
    return state_of(module, case["wrapped"]), scores_by_torch(torch, module, case)


def options_of(case):
    """What a state dict does not hold."""
    return {"pooling": case["pooling"]} | ({"nonlinearity": "relu"} if case["kind"] == "RNN relu" else {})


def tolerance(case):
    """How far results may be apart."""
    return {"rtol": 0, "atol": 3e-6 if case["dtype"] == "float32" else 1e-13}


@pytest.mark.parametrize("index", range(len(CASES)), ids=map(identity, CASES))
def test_regressors_predict_what_the_module_does(index):
    case, (state, scores) = CASES[index], by_torch(index)
    model = estimator_from_torch(state, "lstm.", "fc.", **options_of(case))
    assert type(model) is LSTMRegressor
    predicted = model.predict(X)
    if case["pooling"] == "none":
        scores, predicted = np.concatenate(scores), np.concatenate(predicted)
    np.testing.assert_allclose(predicted, scores[:, 0] if case["outputs"] == 1 else scores, **tolerance(case))


OF_SEQUENCES = [index for index, case in enumerate(CASES) if case["pooling"] != "none"]


@pytest.mark.parametrize("index", OF_SEQUENCES, ids=[identity(CASES[index]) for index in OF_SEQUENCES])
def test_classifiers_predict_what_the_module_does(index):
    torch = pytest.importorskip("torch")
    case, (state, scores) = CASES[index], by_torch(index)
    labels = LABELS[: max(2, case["outputs"])]
    model = estimator_from_torch(state, "lstm.", "fc.", labels, **options_of(case))
    assert type(model) is LSTMClassifier
    assert model.classes_.tolist() == sorted(labels)
    scores = torch.from_numpy(scores)
    ones = torch.sigmoid(scores)
    truth = torch.softmax(scores, 1) if case["outputs"] > 1 else torch.cat([1 - ones, ones], 1)
    probabilities = model.predict_proba(X)
    for label, wanted in zip(labels, truth.numpy().T, strict=True):
        got = probabilities[:, model.classes_.tolist().index(label)]
        np.testing.assert_allclose(got, wanted, **tolerance(case))


def test_there_are_many_cases():
    assert len(CASES) >= 60
    for name in ("outputs", "bidirectional", "dtype", "pooling"):
        assert {CASES[index][name] for index in OF_SEQUENCES} >= {*FACTORS[name]} - {"none"}


# Without PyTorch ----------------------------------------------------------------------------------------------


def drawn(shapes, dtype="float32"):
    """Arrays by name."""
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


GRU_SHAPES = {
    "rnn.weight_ih_l0": (15, 3),
    "rnn.weight_hh_l0": (15, 5),
    "rnn.bias_ih_l0": (15,),
    "rnn.bias_hh_l0": (15,),
    "out.weight": (3, 5),
    "out.bias": (3,),
}
STATE = drawn(GRU_SHAPES)


def final_states(state=STATE, prefix="rnn."):
    """Those of X, by the layer."""
    layer = from_torch(state, prefix)
    return np.stack([layer(x[None])[1][0, 0] for x in X])


def test_scores_are_those_of_the_layer_and_the_head():
    scores = final_states() @ STATE["out.weight"].T + STATE["out.bias"]
    np.testing.assert_allclose(estimator_from_torch(STATE).predict(X), scores, rtol=0, atol=1e-5)
    model = estimator_from_torch(STATE, classes=[30, 10, 20])
    assert model.classes_.tolist() == [10, 20, 30]
    assert model.predict(X).tolist() == np.array([30, 10, 20])[scores.argmax(1)].tolist()
    np.testing.assert_allclose(model.intercept_, STATE["out.bias"][[1, 2, 0]])
    np.testing.assert_allclose(model.coef_, STATE["out.weight"][[1, 2, 0]])


@pytest.mark.parametrize("labels", [["no", "yes"], ["yes", "no"], [False, True], [1, 0]])
def test_one_logit_is_that_of_the_second_label(labels):
    state = STATE | {"out.weight": STATE["out.weight"][:1], "out.bias": STATE["out.bias"][:1]}
    logits = (final_states() @ state["out.weight"].T + state["out.bias"])[:, 0]
    model = estimator_from_torch(state, classes=labels)
    assert model.predict(X).tolist() == [labels[int(logit > 0)] for logit in logits]
    assert {*model.predict(X).tolist()} == {*labels}
    column = model.classes_.tolist().index(labels[1])
    np.testing.assert_allclose(model.predict_proba(X)[:, column], 1 / (1 + np.exp(-logits)), rtol=0, atol=1e-6)


def test_predictions_have_the_shapes_that_a_fit_would_give():
    one = STATE | {"out.weight": STATE["out.weight"][:1], "out.bias": STATE["out.bias"][:1]}
    padded = np.ones((4, 6, 3))
    assert estimator_from_torch(one).predict(padded).shape == (4,)
    assert estimator_from_torch(STATE).predict(padded).shape == (4, 3)
    assert estimator_from_torch(one, pooling="none").predict(padded).shape == (4, 6, 1)
    assert estimator_from_torch(STATE, pooling="none").predict(padded).shape == (4, 6, 3)
    shapes = {"one": [(length,) for length in LENGTHS], "all": [(length, 3) for length in LENGTHS]}
    assert [each.shape for each in estimator_from_torch(one, pooling="none").predict(X)] == shapes["one"]
    assert [each.shape for each in estimator_from_torch(STATE, pooling="none").predict(X)] == shapes["all"]


def test_parameters_say_what_the_model_is():
    shapes = {"weight_ih": (20, 3), "weight_hh": (20, 2), "weight_hr": (2, 5)}
    both = {f"a.{name}_l0{end}": shape for name, shape in shapes.items() for end in ("", "_reverse")}
    upper = {"weight_ih": (20, 4), "weight_hh": (20, 2), "weight_hr": (2, 5)}
    both |= {f"a.{name}_l1{end}": shape for name, shape in upper.items() for end in ("", "_reverse")}
    state = drawn(both | {"b.weight": (2, 4)}, "float64")
    given = {"pooling": "max", "dropout": 0.2, "backend": "reference"}
    model = estimator_from_torch(state, "a.", "b.", **given)
    changed = {name for name, value in model.get_params().items() if value != getattr(LSTMRegressor(), name)}
    wanted = {"hidden_size": 5, "num_layers": 2, "bidirectional": True, "proj_size": 2, "dtype": "float64",
              "scale_inputs": False, "scale_targets": False} | given  # fmt: skip
    assert {name: getattr(model, name) for name in changed} == wanted
    assert model.backend_ == "reference"
    with pytest.raises(NotFittedError):
        clone(model).predict(X)
    assert clone(model).get_params() == model.get_params()
    assert (model.n_channels_, model.n_features_in_, model.n_iter_, model.loss_curve_) == (3, 3, 0, [])
    rnn = {name: array[: len(array) // 3] if name.startswith("rnn.") else array for name, array in STATE.items()}
    model = estimator_from_torch(rnn, classes=["x", "y", "z"], nonlinearity="relu")
    assert (model.cell, model.nonlinearity, model.dtype, model.pooling) == ("rnn", "relu", "float32", "last")


def test_dtype_may_be_chosen():
    model = estimator_from_torch(STATE, dtype="float64")
    assert model.dtype == "float64"
    assert model.predict(X).dtype == "float64"
    mixed = STATE | {"out.bias": STATE["out.bias"].astype("float64")}
    with pytest.raises(
        ValueError, match=r"^'out.bias' must be float32, as 'rnn.weight_ih_l0' is, got float64; or give"
    ):
        estimator_from_torch(mixed)
    assert estimator_from_torch(mixed, dtype="float32").dtype == "float32"


def test_nothing_is_shared():
    state = {name: array.copy() for name, array in STATE.items()}
    model = estimator_from_torch(state)
    before = model.predict(X)
    for array in state.values():
        array[...] = 7.0
    # With nothing prepared:
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), before)


def test_heads_in_other_forms_are_read():
    length = np.linalg.norm(STATE["out.weight"], axis=1, keepdims=True)
    state = {name: array for name, array in STATE.items() if name != "out.weight"}
    state |= {"out.weight_g": length, "out.weight_v": 3 * STATE["out.weight"]}
    np.testing.assert_allclose(estimator_from_torch(state).coef_, STATE["out.weight"], rtol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "mean", "none"])
def test_it_is_saved_and_loaded(tmp_path, pooling):
    model = estimator_from_torch(write_safetensors(tmp_path / "in.bin", STATE), pooling=pooling)
    model.save(tmp_path / "out.safetensors")
    again = numlstm.load(tmp_path / "out.safetensors")
    for one, other in zip(again.predict(X), model.predict(X), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.get_params() == model.get_params()
    assert (again.n_iter_, again.loss_curve_, again.best_loss_) == (0, [], np.inf)


def test_it_trains_further():
    labels = ["c", "a", "b", "c", "a"]
    model = estimator_from_torch(STATE, classes=["c", "a", "b"]).set_params(learning_rate_init=1e-6, random_state=0)
    before = model.predict_proba(X)
    model.partial_fit(X, labels)
    assert 0 < np.abs(model.predict_proba(X) - before).max() < 1e-3  # from where it was
    model.set_params(warm_start=True, max_iter=2).fit(X, labels)
    assert np.abs(model.predict_proba(X) - before).max() < 1e-3
    assert (model.n_iter_, len(model.loss_curve_)) == (3, 3)
    with pytest.raises(ValueError, match="labels among classes"):
        model.partial_fit(X, ["d"] * 5)


@pytest.mark.parametrize("pooling", ["last", "none"])
def test_a_regressor_trains_further(pooling):
    model = estimator_from_torch(STATE, pooling=pooling).set_params(learning_rate_init=1e-6, random_state=0)
    before = model.predict(X)
    model.partial_fit(X, before)
    model.set_params(warm_start=True, max_iter=2).fit(X, before)
    for one, other in zip(model.predict(X), before, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3)


def test_it_predicts_while_a_sequence_arrives():
    model = estimator_from_torch(STATE, classes=["c", "a", "b"])
    stream = model.stream()
    for step in X[0]:
        latest = stream.step(step)
    np.testing.assert_allclose(latest, model.predict_proba(X[:1])[0], rtol=0, atol=1e-6)


def test_it_is_written_as_onnx():
    pytest.importorskip("onnx")
    from numlstm.io import from_onnx

    model = estimator_from_torch(STATE, classes=[3, 1, 2], pooling="max")
    padded = np.ones((2, 6, 3), "float32")
    graph = from_onnx(to_onnx(model))
    results = graph.run({"x": padded, "sequence_lens": np.array([6, 4], "int32")})
    assert results[0].tolist() == model.predict(padded, lengths=[6, 4]).tolist()
    np.testing.assert_allclose(results[1], model.predict_proba(padded, lengths=[6, 4]), rtol=0, atol=1e-6)


# Which modules ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recurrent", "head"), [("", ""), ("rnn.", ""), ("", "out."), ("rnn.", "out.")])
@pytest.mark.parametrize("nested", [True, False])
def test_both_are_found(recurrent, head, nested):
    other = {"a": {"mean": np.ones(3)}, "epoch": 3, "rate": [0.1]}
    given = {"state": STATE, "optimizer": other} if nested else STATE | {"epoch": 3}
    model = estimator_from_torch(given, recurrent, head)
    np.testing.assert_array_equal(model.coef_, STATE["out.weight"])


WIDE = STATE | {"norm.running_mean": np.ones(3, "float32")}


@pytest.mark.parametrize(("recurrent", "head"), [("", ""), ("rnn.", ""), ("", "out.")])
def test_other_modules_are_not_left_out_unasked(recurrent, head):
    words = "state_dict must hold nothing but parameters of 'm.rnn.' and 'm.out.', got ['m.norm.running_mean']: if the"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        estimator_from_torch({"m": WIDE}, recurrent, head)
    estimator_from_torch({"m": WIDE}, "rnn.", "out.")


def changed(**arrays):
    return STATE | {name.replace("__", "."): array for name, array in arrays.items()}


MANY = STATE | {"emb.weight": np.ones((7, 3), "float32")}
REFUSED = {
    "no state dict": ({"state_dict": [1]}, TypeError, "state_dict must be a mapping of names to tensors, or a path"),
    "recurrent": ({"recurrent": None}, TypeError, "recurrent must be a string, got NoneType"),
    "head": ({"head": 3}, TypeError, "head must be a string, got int"),
    "no such module": (
        {"recurrent": "lstm."}, ValueError, "recurrent must be that of one LSTM, GRU or RNN, got 'lstm.'; prefixes",
    ),
    "no such head": ({"head": "fc."}, ValueError, "head must be that of one Linear, got 'fc.'; prefixes of some are"),
    "two heads": (
        {"state_dict": MANY}, ValueError,
        "head must be that of one Linear, got ''; prefixes of some are ['emb.', 'out.']",
    ),
    "no head": (
        {"state_dict": {name: array for name, array in STATE.items() if name.startswith("rnn.")}}, ValueError,
        "head must be that of one Linear, got ''; state_dict has none, its keys are ['rnn.bias_hh_l0'",
    ),
    "a head without weights": (
        {"state_dict": {name: array for name, array in STATE.items() if name != "out.weight"}}, ValueError,
        "state_dict must hold 'out.weight', which is missing",
    ),
    "more in the head": (
        {"state_dict": changed(out__scale=np.ones(3)), "recurrent": "rnn.", "head": "out."}, ValueError,
        "state_dict must hold parameters of one Linear and nothing else under prefix='out.', got ['out.scale']",
    ),
    "a head of another size": (
        {"state_dict": changed(out__weight=np.ones((3, 10), "float32"))}, ValueError,
        "'out.weight' must have shape (outputs, 5), as 'rnn.' has 5 features, got (3, 10)",
    ),
    "a convolution": (
        {"state_dict": changed(out__weight=np.ones((3, 5, 1), "float32"))}, ValueError,
        "'out.weight' must have shape (outputs, 5), as 'rnn.' has 5 features, got (3, 5, 1)",
    ),
    "no outputs": (
        {"state_dict": changed(out__weight=np.ones((0, 5), "float32"))}, ValueError,
        "'out.weight' must have shape (outputs, 5), as 'rnn.' has 5 features, got (0, 5)",
    ),
    "a bias of another size": (
        {"state_dict": changed(out__bias=np.ones(2, "float32"))}, ValueError,
        "'out.bias' must have shape (3,), as the weight has, got (2,)",
    ),
    "integers": (
        {"state_dict": changed(out__bias=np.ones(3, int))}, TypeError, "'out.bias' must hold real numbers, float32,",
    ),
    "shapes of the module": (
        {"state_dict": changed(rnn__bias_ih_l0=np.ones(14, "float32"))}, ValueError,
        "'rnn.bias_ih_l0' must have shape (15,), as those of layer 0 tell, got (14,)",
    ),
    "too few labels": ({"classes": ["a", "b"]}, ValueError, "classes must hold 3 labels, as 'out.' has 3 outputs, got"),
    "one label": (
        {"classes": ["a"], "state_dict": changed(out__weight=STATE["out.weight"][:1], out__bias=STATE["out.bias"][:1])},
        ValueError, "classes must hold 2 labels, as 'out.' has 1 outputs, got ['a']",
    ),
    "a label twice": ({"classes": [1, 2, 1]}, ValueError, "classes must hold each label once, got [1, 2, 1]"),
    "labels of two kinds": ({"classes": [1, "a", "b"]}, ValueError, "classes must be an array of labels, got [1, 'a'"),
    "labels that do not sort": ({"classes": [1, None, "b"]}, ValueError, "classes must be an array of labels, got [1,"),
    "no labels": ({"classes": 3}, ValueError, "classes must be an array of labels, got 3"),
    "a text": ({"classes": "abc"}, ValueError, "classes must be an array of labels, got 'abc'"),
    "fractions": ({"classes": [0.5, 1.5, 2.5]}, ValueError, "classes must be an array of labels, got [0.5, 1.5, 2.5]"),
    "no numbers": ({"classes": [0.0, 1.0, np.nan]}, ValueError, "classes must be an array of labels, got"),
    "pooling": (
        {"pooling": "attention"}, ValueError, "pooling must be one of ['last', 'mean', 'max', 'none'], got 'attention'",
    ),
    "pooling of a classifier": (
        {"pooling": "none", "classes": [1, 2, 3]}, ValueError,
        "pooling must be one of ['last', 'mean', 'max'], got 'none'",
    ),
    "nonlinearity": ({"nonlinearity": "elu"}, ValueError, "nonlinearity must be one of ['tanh', 'relu'], got 'elu'"),
    "nonlinearity of a GRU": ({"nonlinearity": "relu"}, ValueError, "nonlinearity must be 'tanh' with cell='gru', got"),
    "dropout": ({"dropout": 1.0}, ValueError, "dropout must be in [0.0, 1.0), got 1.0"),
    "dropout of one layer": ({"dropout": 0.5}, ValueError, "dropout=0.5 and num_layers=1 do not go together"),
    "backend": ({"backend": "tpu"}, ValueError, "backend must be 'auto', 'cpu'"),
    "dtype": ({"dtype": "float16"}, ValueError, "dtype must be one of ['float32', 'float64'], got 'float16'"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(given, error, words):
    with pytest.raises(error, match=f"^{re.escape(words)}"):
        estimator_from_torch(**{"state_dict": STATE} | given)
