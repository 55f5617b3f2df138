"""The reference's losses: by hand, against finite differences and PyTorch."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    assert_close,
    differences,
)

from numlstm.backends.contract import (
    LOSSES,
    LossSpec,
)

LOSS_SPECS = [LossSpec(kind, {"huber": 0.7, "pinball": 0.2}.get(kind, 0.0)) for kind in LOSSES]
every_loss = pytest.mark.parametrize("spec", LOSS_SPECS, ids=LOSSES)


# Loss of one score s where t is wanted; of softmax that of a row, where the class k is.
BY_HAND = {
    "softmax": lambda row, k: math.log(sum(math.exp(s) for s in row)) - row[k],
    "binary": lambda s, t: -t * math.log(1 / (1 + math.exp(-s))) - (1 - t) * math.log(1 / (1 + math.exp(s))),
    "squared": lambda s, t: (s - t) * (s - t),
    "absolute": lambda s, t: s - t if s > t else t - s,
    "huber": lambda s, t: (s - t) ** 2 / 2 if -0.7 < s - t < 0.7 else 0.7 * (abs(s - t) - 0.35),
    "pinball": lambda s, t: 0.2 * (t - s) if t > s else 0.8 * (s - t),
}


def make_loss(spec, rows=6, outputs=4):
    """Scores, targets on either side of them, and weights, one of them 0."""
    rng = np.random.default_rng(5)
    scores, targets = rng.normal(0.0, 3.0, (rows, outputs)), rng.normal(0.0, 3.0, (rows, outputs))
    if spec.kind == "huber":
        targets = scores + rng.uniform(-1.4, 1.4, scores.shape)
    if spec.kind == "binary":
        targets = rng.uniform(size=scores.shape).round(1)
    if spec.kind == "softmax":
        targets = rng.integers(0, outputs, rows)
    return scores, targets, np.array([0.5, 0.0, 2.0, 1.5, 0.1, 3.0])[:rows]


@every_loss
def test_loss_by_hand(spec):
    scores, targets, weights = make_loss(spec)
    loss, _ = BACKEND.loss(spec, scores, targets, weights)
    by_hand = BY_HAND[spec.kind]
    rows = [
        by_hand(row, wanted) if spec.kind == "softmax" else sum(map(by_hand, row, wanted))
        for row, wanted in zip(scores.tolist(), targets.tolist(), strict=True)
    ]
    assert isinstance(loss, float)
    assert loss == pytest.approx(sum(w * row for w, row in zip(weights, rows, strict=True)), rel=1e-13)


@every_loss
def test_gradient_of_a_loss(spec):
    scores, targets, weights = make_loss(spec)
    _, gradient = BACKEND.loss(spec, scores, targets, weights)
    assert_close(gradient, differences(lambda: BACKEND.loss(spec, scores, targets, weights)[0], scores))
    assert not gradient[1].any()


@pytest.mark.parametrize("kind", ["softmax", "binary", "squared", "absolute", "huber"])
def test_loss_of_torch(kind):
    torch = pytest.importorskip("torch")
    criterion = {
        "softmax": torch.nn.CrossEntropyLoss,
        "binary": torch.nn.BCEWithLogitsLoss,
        "squared": torch.nn.MSELoss,
        "absolute": torch.nn.L1Loss,
        "huber": lambda reduction: torch.nn.HuberLoss(reduction=reduction, delta=0.7),
    }[kind](reduction="none")
    scores, targets, weights = make_loss(LossSpec(kind))
    their_scores = torch.tensor(scores, requires_grad=True)
    rows = criterion(their_scores, torch.tensor(targets)).reshape(len(scores), -1).sum(dim=1)
    expected = (torch.tensor(weights) * rows).sum()
    expected.backward()
    loss, gradient = BACKEND.loss(LossSpec(kind, 0.7), scores, targets, weights)
    assert loss == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient, their_scores.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_softmax_of_far_scores(shift):
    scores = np.array([[shift, shift], [shift, shift + 1000.0]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, gradient = BACKEND.loss(LossSpec("softmax"), scores, np.array([1, 0]), np.full(2, 0.5))
    assert loss == pytest.approx((math.log(2) + 1000) / 2, rel=1e-15)
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, [[0.25, -0.25], [-0.5, 0.5]])


@pytest.mark.parametrize(
    ("spec", "expected", "slopes"),
    [
        (LossSpec("binary"), [0.0, 1e4, 1e4, 0.0], [0.0, 1.0, -1.0, 0.0]),
        (LossSpec("squared"), [9999.0**2, 1e8, 10001.0**2, 1e8], [2 * 9999.0, 2e4, -2 * 10001.0, -2e4]),
        (LossSpec("absolute"), [9999.0, 1e4, 10001.0, 1e4], [1.0, 1.0, -1.0, -1.0]),
        (LossSpec("huber", 2.0), [2 * 9998.0, 2 * 9999.0, 2 * 10000.0, 2 * 9999.0], [2.0, 2.0, -2.0, -2.0]),
        (LossSpec("pinball", 0.25), [0.75 * 9999.0, 7500.0, 0.25 * 10001.0, 2500.0], [0.75, 0.75, -0.25, -0.25]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_loss_of_far_scores(spec, expected, slopes):
    scores, targets = np.array([[1e4], [1e4], [-1e4], [-1e4]]), np.array([[1.0], [0.0], [1.0], [0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row, wanted in enumerate(expected):
            loss, _ = BACKEND.loss(spec, scores, targets, np.eye(4)[row])
            assert loss == wanted
        _, gradient = BACKEND.loss(spec, scores, targets, np.ones(4))
    np.testing.assert_array_equal(gradient[:, 0], slopes)


def test_a_small_cross_entropy_is_not_rounded_away():
    """Far on the right side both the loss and its slope are exp(-|s|), to first order."""
    scores, targets = np.array([[30.0, -30.0]]), np.array([[1.0, 0.0]])
    loss, gradient = BACKEND.loss(LossSpec("binary"), scores, targets, np.ones(1))
    assert loss == pytest.approx(2 * math.exp(-30), rel=1e-12)
    np.testing.assert_allclose(gradient, [[-math.exp(-30), math.exp(-30)]], rtol=1e-12)


@pytest.mark.parametrize(
    ("spec", "slope"),
    [
        (LossSpec("squared"), 0.0),
        (LossSpec("absolute"), 0.0),
        (LossSpec("huber", 1.0), 0.0),
        (LossSpec("pinball", 0.3), 0.0),
        (LossSpec("binary"), 0.5 - 0.25),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_slope_at_the_target(spec, slope):
    at = 0.0 if spec.kind == "binary" else 0.25
    _, gradient = BACKEND.loss(spec, np.array([[at]]), np.array([[0.25]]), np.ones(1))
    np.testing.assert_array_equal(gradient, [[slope]])


def test_huber_where_its_pieces_meet():
    scores = np.array([[2.0], [-2.0], [2.5]])
    loss, gradient = BACKEND.loss(LossSpec("huber", 2.0), scores, np.zeros((3, 1)), np.ones(3))
    assert loss == 2.0 + 2.0 + 3.0
    np.testing.assert_array_equal(gradient, [[2.0], [-2.0], [2.0]])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_pinball_is_least_at_the_quantile(level):
    sample = np.random.default_rng(2).normal(size=(101, 1))

    def loss(score):
        return BACKEND.loss(LossSpec("pinball", level), np.full((101, 1), score), sample, np.ones(101))[0]

    assert min(sample[:, 0], key=loss) == np.quantile(sample, level, method="inverted_cdf")


@every_loss
def test_rows_of_weight_zero_are_ignored(spec):
    scores, targets, weights = make_loss(spec)
    spoilt, other_targets = scores.copy(), targets.copy()
    spoilt[1] = np.nan
    other_targets[1] = -1 if spec.kind == "softmax" else np.nan
    loss, gradient = BACKEND.loss(spec, spoilt, other_targets, weights)
    expected_loss, expected = BACKEND.loss(
        spec, np.delete(scores, 1, 0), np.delete(targets, 1, 0), np.delete(weights, 1)
    )
    assert loss == expected_loss
    np.testing.assert_array_equal(np.delete(gradient, 1, 0), expected)
    np.testing.assert_array_equal(gradient[1], 0.0)
    loss, gradient = BACKEND.loss(spec, spoilt, other_targets, 0 * weights)
    assert loss == 0.0
    assert not gradient.any()


@every_loss
def test_nan_scores_show_in_the_loss(spec):
    scores, targets, weights = make_loss(spec)
    _, clean = BACKEND.loss(spec, scores, targets, weights)
    scores[2, 3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, gradient = BACKEND.loss(spec, scores, targets, weights)
    assert math.isnan(loss)
    np.testing.assert_array_equal(np.delete(gradient, 2, 0), np.delete(clean, 2, 0))
    assert np.isnan(gradient[2, 3])
    assert np.isnan(gradient[2, :3]).all() == (spec.kind == "softmax")


@every_loss
def test_loss_in_float32_is_float64_rounded_once(spec):
    scores, targets, weights = make_loss(spec)
    scores = scores.astype(np.float32)
    if spec.kind != "softmax":
        targets = targets.astype(np.float32)
    loss, gradient = BACKEND.loss(spec, scores, targets, weights)
    wide = targets if spec.kind == "softmax" else targets.astype(float)
    expected_loss, expected = BACKEND.loss(spec, scores.astype(float), wide, weights)
    assert loss == expected_loss
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, expected.astype(np.float32))
