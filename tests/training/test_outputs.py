"""Output layers over vocabularies: blocks of rows, the adaptive softmax, weights that are shared with the vectors."""

import numpy as np
import pytest
from tolerances import assert_close

from numlstm.backends.contract import AffineSpec, EmbeddingSpec, LossSpec
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training import outputs
from numlstm.training.embedding import TokenChannels
from numlstm.training.model import Model
from numlstm.training.network import Network
from numlstm.training.optimizers import ASGD, SGD
from numlstm.training.outputs import AdaptiveSoftmax, FullSoftmax, log_softmax

BACKENDS = ["cpu", "reference"]
ROWS, FEATURES, CLASSES = 30, 8, 21


def problem(softmax, backend_name, seed=0):
    """A backend, prepared maps, parameters, vectors, targets and weights."""
    backend, rng = backend_for(backend_name, work=1), np.random.default_rng(seed)
    parameters = {
        suffix: {name: rng.normal(size=shape) for name, shape in spec.shapes.items()}
        for suffix, spec in softmax.specs.items()
    }
    features, targets = rng.normal(size=(ROWS, softmax.features)), rng.integers(0, softmax.outputs, ROWS)
    return backend, parameters, features, targets, rng.random(ROWS)


def prepared(softmax, backend, parameters):
    weights = {}
    for suffix, spec in softmax.specs.items():
        flat = backend.zeros((backend.size(spec),), spec.dtype)
        backend.pack(spec, parameters[suffix], flat)
        weights[suffix] = backend.prepare(spec, flat, training=True)
    return weights


def loss_and_gradients(softmax, backend, parameters, features, targets, weights):
    gradients = {suffix: backend.zeros((backend.size(spec),), spec.dtype) for suffix, spec in softmax.specs.items()}
    loss, dfeatures = softmax.loss(
        backend, prepared(softmax, backend, parameters), features, targets, weights, gradients
    )
    named = {suffix: backend.unpack(spec, gradients[suffix]) for suffix, spec in softmax.specs.items()}
    return float(loss), np.array(dfeatures), named


SOFTMAXES = [
    FullSoftmax(FEATURES, CLASSES, "float64"),
    AdaptiveSoftmax(FEATURES, CLASSES, (5,), "float64"),
    AdaptiveSoftmax(FEATURES, CLASSES, (5, 9, 20), "float64"),
    AdaptiveSoftmax(2, CLASSES, (1, 2), "float64"),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("softmax", SOFTMAXES, ids=str)
def test_gradients_are_finite_differences(softmax, backend):
    backend, parameters, features, targets, weights = problem(softmax, backend)
    _, dfeatures, gradients = loss_and_gradients(softmax, backend, parameters, features, targets, weights)
    rng, got, wanted = np.random.default_rng(1), [], []

    def difference(change):
        above, below = (
            loss_and_gradients(softmax, backend, *change(step), targets, weights)[0] for step in (1e-5, -1e-5)
        )
        wanted.append((above - below) / 2e-5)

    direction = rng.normal(size=features.shape)
    difference(lambda step: (parameters, features + step * direction))
    got.append((dfeatures * direction).sum())
    for suffix, spec in softmax.specs.items():
        for name, shape in spec.shapes.items():
            by = rng.normal(size=shape)
            difference(
                lambda step, suffix=suffix, name=name, by=by: (
                    parameters | {suffix: parameters[suffix] | {name: parameters[suffix][name] + step * by}}, features,
                )
            )  # fmt: skip
            got.append((gradients[suffix][name] * by).sum())
    assert_close("equation", "gradient", got, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("softmax", SOFTMAXES, ids=str)
def test_loss_is_that_of_the_probabilities(softmax, backend):
    backend, parameters, features, targets, weights = problem(softmax, backend)
    loss = loss_and_gradients(softmax, backend, parameters, features, targets, weights)[0]
    log_probabilities = softmax.log_probabilities(backend, prepared(softmax, backend, parameters), features)
    assert_close("pieces", "sum", np.exp(log_probabilities).sum(axis=1), np.ones(ROWS))
    assert_close("pieces", "loss", loss, -(weights * log_probabilities[np.arange(ROWS), targets]).sum())


@pytest.mark.parametrize("backend", BACKENDS)
def test_tails_without_targets_have_no_gradient(backend):
    softmax = AdaptiveSoftmax(FEATURES, CLASSES, (5, 9), "float64")
    backend, parameters, features, targets, weights = problem(softmax, backend)
    gradients = {
        suffix: backend.to_device(np.full(backend.size(spec), np.nan), "float64")
        for suffix, spec in softmax.specs.items()
    }
    softmax.loss(backend, prepared(softmax, backend, parameters), features, targets % 5, weights, gradients)
    for suffix, gradient in gradients.items():
        assert np.any(gradient) == (suffix == "_output"), suffix


def test_probabilities_equal_those_of_pytorch():
    torch = pytest.importorskip("torch")
    softmax = AdaptiveSoftmax(16, CLASSES, (5, 9), "float64")
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, CLASSES, [5, 9], div_value=4.0, head_bias=True).double()
    parameters = {
        suffix: {name: np.zeros(shape) for name, shape in spec.shapes.items()} for suffix, spec in softmax.specs.items()
    }
    parameters["_output"] = {"weight": theirs.head.weight.detach().numpy(), "bias": theirs.head.bias.detach().numpy()}
    for k, tail in enumerate(theirs.tail):
        for suffix, linear in zip((f"_projection_{k}", f"_tail_{k}"), tail, strict=True):
            parameters[suffix]["weight"] = linear.weight.detach().numpy()
    features = np.random.default_rng(0).normal(size=(ROWS, 16))
    backend = backend_for("cpu", work=1)
    said = softmax.log_probabilities(backend, prepared(softmax, backend, parameters), features)
    assert_close("pieces", "log-probabilities", said, theirs.log_prob(torch.tensor(features)).detach().numpy())


def test_log_softmax_of_far_scores():
    far = log_softmax(np.array([[1e3, -1e3, 1e3]]))
    assert_close("pieces", "far scores", far, [[-np.log(2), -2000 - np.log(2), -np.log(2)]])


def network(backend, cutoffs=(), tied=False, **options):
    stack = stack_of("lstm", 6, "float64", {"hidden_size": 6})
    tokens = TokenChannels(EmbeddingSpec(((CLASSES, 6),), (False,), "float64"), (0,))
    description = Network(stack, CLASSES, "none", LossSpec("softmax"), None, 0, tokens, cutoffs, tied, **options)
    parameters = description.initialise("keras", np.random.default_rng(0))
    flat = description.pack(backend, parameters)
    return Model(description, backend, flat, training=True), parameters


def batch():
    rng = np.random.default_rng(4)
    x, lengths = rng.integers(0, CLASSES, (5, 40, 1)).astype(float), np.array([40, 3, 31, 40, 1])
    weights = np.repeat([0.1, 0.2, 0.3, 0.4, 0.5], 40) * (np.arange(40) < lengths[:, None]).ravel()
    return x, lengths, rng.integers(0, CLASSES, 200), weights, np.random.default_rng(0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cutoffs", [(), (5, 9)])
def test_blocks(monkeypatch, backend, cutoffs):
    """Scores of 64 rows at a time give the gradient of all at once."""
    model, _ = network(backend_for(backend, work=1), cutoffs)
    whole = float(model.loss_and_gradient(*batch())[0]), np.array(model.gradient)
    monkeypatch.setattr(outputs, "BLOCK", 1)
    sizes = []
    affine_forward = model.backend.affine_forward
    monkeypatch.setattr(
        model.backend, "affine_forward", lambda weights, x: sizes.append(len(x)) or affine_forward(weights, x)
    )
    parts = float(model.loss_and_gradient(*batch())[0]), np.array(model.gradient)
    assert max(sizes) == 64
    assert_close("pieces", "loss", parts[0], whole[0])
    assert_close("pieces", "gradient", parts[1], whole[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_tied_weights(backend):
    """The gradient is the sum of both uses, and the weights stay the same number when the optimizer steps."""
    model, parameters = network(backend_for(backend, work=1), tied=True)
    model.loss_and_gradient(*batch())
    description, backend = model.network, model.backend
    gradients = description.unpack(backend, np.array(model.gradient))
    assert not gradients["weight_output"].any()
    free, _ = network(backend)
    free.flat[...] = model.flat
    free.changed()
    free.loss_and_gradient(*batch())
    separate = free.network.unpack(backend, free.gradient)
    assert_close(
        "pieces", "shared weight", gradients["embedding_0"], separate["embedding_0"] + separate["weight_output"]
    )
    SGD(backend, model.flat, momentum=0.0, nesterov=False).step(model.gradient, 0.1)
    model.changed()
    changed = description.unpack(backend, model.flat)
    np.testing.assert_array_equal(changed["embedding_0"], changed["weight_output"])
    assert_close("pieces", "step", changed["embedding_0"], parameters["embedding_0"] - 0.1 * gradients["embedding_0"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_output_dropout(backend):
    """Some units are zero at all steps of a sequence, and the gradient is that of the masked network."""
    model, parameters = network(backend_for(backend, work=1), output_dropout=0.5)
    x, lengths, targets, weights, _ = batch()
    y = np.ones((5, 40, 6))
    dropped = np.array(model._drop_outputs(model.backend.to_device(y, "float64"), 7))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert (dropped == dropped[:, :1]).all()
    rng, got, wanted = np.random.default_rng(1), [], []
    model.loss_and_gradient(x, lengths, targets, weights, np.random.default_rng(0))
    gradients = model.network.unpack(model.backend, np.array(model.gradient))
    for name, array in parameters.items():
        direction = rng.normal(size=array.shape)
        losses = []
        for step in (1e-5, -1e-5):
            model.flat[...] = model.network.pack(model.backend, parameters | {name: array + step * direction})
            model.changed()
            losses.append(float(model.loss_and_gradient(x, lengths, targets, weights, np.random.default_rng(0))[0]))
        got.append((gradients[name] * direction).sum())
        wanted.append((losses[0] - losses[1]) / 2e-5)
    assert_close("equation", "gradient", got, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_average_begins_when_the_loss_stalls(backend):
    """The weights of all later steps are averaged; the steps go on from the weights that are not averaged."""
    backend = backend_for(backend, work=1)
    flat = backend.to_device(np.array([1.0, 2.0]), "float64")
    optimizer = ASGD(backend, flat)
    losses, plain, averaged = [5.0, 4.0, 3.0, 2.0, 1.0, 4.5, 4.8, 6.0], np.array([1.0, 2.0]), []
    for epoch, loss in enumerate(losses):
        assert optimizer.begin_epoch() == bool(averaged)
        np.testing.assert_allclose(flat, plain)
        for _ in range(3):
            plain = plain - 0.1
            optimizer.step(backend.to_device(np.array([1.0, 1.0]), "float64"), 0.1)
            if epoch > 6:  # 4.8 is the first loss above the least one of all epochs but the last five
                averaged.append(plain)
        assert optimizer.end_epoch() == bool(averaged)
        np.testing.assert_allclose(flat, np.mean(averaged, axis=0) if averaged else plain)
        optimizer.record([*losses[:epoch], loss])


def test_specs_have_smaller_vectors_for_rarer_classes():
    softmax = AdaptiveSoftmax(64, 1000, (100, 300))
    assert softmax.specs == {
        "_output": AffineSpec(64, 102),
        "_projection_0": AffineSpec(64, 16),
        "_tail_0": AffineSpec(16, 200),
        "_projection_1": AffineSpec(64, 4),
        "_tail_1": AffineSpec(4, 700),
    }
