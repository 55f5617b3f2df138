"""What every backend must do with losses over whole sequences: checks that compare it with the reference.

Whatever a backend is to overwrite is NaN before, and so is whatever it must not look at.
"""

from dataclasses import dataclass

import numpy as np
from conformance_checks import Placed
from tolerances import assert_close

from numlstm.backends.contract import SequenceLossSpec
from numlstm.backends.reference import ReferenceBackend

REFERENCE = ReferenceBackend()


@dataclass(frozen=True)
class SequenceCase:
    """A loss, and the shape of what goes into it."""

    kind: str = "ctc"
    dtype: str = "float64"
    rows: int = 5
    steps: int = 7
    outputs: int = 4
    places: int = 3  # of labels, with CTC
    lengths: str = "unequal"
    size: float = 2.0  # of scores
    blank: int = 0
    layout: str = "contiguous"
    by_step: bool = False  # whether each step has a weight, some of them 0

    @property
    def spec(self):
        return SequenceLossSpec(self.kind, self.outputs, self.blank)

    def draw(self, seed=0):
        """Scores, lengths, targets, weights and parameters: one row weighs nothing, and holds nothing that counts."""
        rng = np.random.default_rng(seed)
        scores = (self.size * rng.normal(size=(self.rows, self.steps, self.outputs))).astype(self.dtype)
        lengths = rng.integers(1, self.steps + 1, size=self.rows) if self.lengths == "unequal" else None
        weights = rng.uniform(0.2, 2.0, size=self.rows)
        for row, length in zip(scores, lengths if lengths is not None else (), strict=False):
            row[length:] = np.nan
        flat = rng.normal(size=REFERENCE.size(self.spec)).astype(self.dtype)
        targets = self._draw_targets(rng)
        if self.rows > 2:
            weights[1], scores[1] = 0.0, np.nan
        if self.by_step:
            weights = weights[:, None] * rng.integers(0, 4, size=(self.rows, self.steps))
            weights[0] += 0.5  # not all weights are 0, and no gradient is
            for row, length in zip(weights, lengths if lengths is not None else (), strict=False):
                row[length:] = np.nan
        return scores, lengths, targets, weights, flat

    def _draw_targets(self, rng):
        if self.kind == "crf":
            targets = rng.integers(0, self.outputs, size=(self.rows, self.steps))
            targets[::2][rng.random(targets[::2].shape) < 0.3] = -1  # every other row has steps without a label
            return targets
        labels = [k for k in range(self.outputs) if k != self.blank] or [-1]
        targets = rng.choice(labels, size=(self.rows, self.places))
        for row in targets[1:]:  # the first is full
            row[rng.integers(self.places + 1) :] = -1
        return targets


def run(backend, case, given):
    """Loss, gradient of the scores and gradient of the parameters by name."""
    scores, lengths, targets, weights, flat = given
    spec, placed = case.spec, Placed(backend, scores, case.layout)
    resident = backend.zeros((backend.size(spec),), case.dtype)
    backend.pack(spec, REFERENCE.unpack(spec, flat), resident)
    gradient = backend.to_device(np.full(resident.shape, np.nan, case.dtype), case.dtype)
    prepared = backend.prepare(spec, resident, True)
    loss, slopes = backend.sequence_loss(prepared, placed.array, lengths, targets, weights, gradient)
    return float(loss), np.array(backend.to_numpy(slopes)), backend.unpack(spec, gradient)


def check_sequence_loss(backend, case):
    """Loss and gradients; zeros past the lengths, and in rows that weigh nothing."""
    _compare(backend, case, case.draw())


def _compare(backend, case, given):
    loss, slopes, named = run(backend, case, given)
    wanted, expected, of_parameters = run(REFERENCE, case, given)
    assert wanted == loss or abs(loss - wanted) <= 1e-13 * max(1.0, abs(wanted)), f"loss {loss}, not {wanted}"
    assert_close("loss over a sequence", "gradient of the scores", slopes, expected)
    for name, value in of_parameters.items():
        assert_close("loss over a sequence", f"gradient of {name}", named[name], value)
    lengths = np.full(case.rows, case.steps) if given[1] is None else given[1]
    for row, length, weight in zip(slopes, lengths, given[3], strict=True):
        weighs = np.any(np.atleast_1d(weight)[:length])
        assert not row[length if weighs else 0 :].any(), "gradient past a row's length"


def check_equal_weights_of_steps(backend, case):
    """One weight for all steps of a row is the row's weight."""
    scores, lengths, targets, weights, flat = case.draw()
    steps = np.repeat(weights[:, None], case.steps, axis=1)
    by_row, by_step = (run(backend, case, (scores, lengths, targets, each, flat)) for each in (weights, steps))
    assert abs(by_step[0] - by_row[0]) <= 1e-13 * by_row[0], f"loss {by_step[0]}, not {by_row[0]}"
    assert_close("loss over a sequence", "gradient of the scores", by_step[1], by_row[1])
    for name, value in by_row[2].items():
        assert_close("loss over a sequence", f"gradient of {name}", by_step[2][name], value)


def check_rows_alone(backend, case):
    """A row's gradient is the same to the bit, whatever stands beside it."""
    scores, lengths, targets, weights, flat = case.draw()
    _, together, _ = run(backend, case, (scores, lengths, targets, weights, flat))
    for n in range(case.rows):
        own = slice(n, n + 1)
        given = scores[own], None if lengths is None else lengths[own], targets[own], weights[own], flat
        np.testing.assert_array_equal(run(backend, case, given)[1], together[own])


def check_nan_in_sequence_loss(backend, case):
    """NaN shows in the loss and in its row's gradient up to its length, and in no other row, to the bit."""
    scores, lengths, targets, weights, flat = case.draw()
    weighs = weights > 0 if weights.ndim == 1 else np.nansum(weights, axis=1) > 0
    row = int(np.argmax(lengths * weighs))
    _, clean, _ = run(backend, case, (scores, lengths, targets, weights, flat))
    for value in (np.nan, np.inf, -np.inf):
        scores[row, lengths[row] // 2, 1] = value
        loss, slopes, _ = run(backend, case, (scores, lengths, targets, weights, flat))
        assert np.isnan(loss), f"{value} is not in the loss"
        assert np.isnan(slopes[row, : lengths[row]]).all(), f"{value} is not in the gradient"
        assert not slopes[row, lengths[row] :].any()
        np.testing.assert_array_equal(np.delete(slopes, row, 0), np.delete(clean, row, 0))


def check_impossible(backend, case):
    """A row that no path reads as its labels: an infinite loss, and no gradient."""
    scores, _, targets, weights, flat = case.draw()
    targets[0], weights[0] = 1, 0.5
    lengths = np.full(case.rows, case.steps)
    lengths[0] = 2 * case.places - 2  # the same label `places` times takes a step more
    loss, slopes, _ = run(backend, case, (np.nan_to_num(scores, nan=0.0), lengths, targets, weights, flat))
    assert loss == np.inf
    assert not slopes[0].any()


def check_forbidden(backend, case):
    """A label that must not follow another, -inf: as the reference has it, and where all labels of a row are so."""
    scores, lengths, targets, weights, flat = case.draw()
    pairs = flat[: case.outputs**2].reshape(case.outputs, case.outputs)
    pairs[1] = pairs[:, 1] = -np.inf
    _compare(backend, case, (scores, lengths, np.where(targets == 1, 0, targets), weights, flat))
    pairs[:] = -np.inf
    loss, slopes, named = run(backend, case, (scores, lengths, targets, weights, flat))
    assert np.isfinite(loss)
    assert (np.abs(slopes) <= 1.001 * weights[:, None, None]).all(), "a step has more than its row's weight"
    assert all(np.isfinite(value).all() for value in named.values()), "the gradient of parameters is not finite"
    shares, _ = _read(backend, case, np.nan_to_num(scores), None, flat)
    np.testing.assert_allclose(shares.sum(axis=2), 1.0, rtol=0, atol=1e-4)


def check_readings(backend, case):
    """What a CRF says: the probability of each label at each step, and the best path."""
    scores, lengths, _, _, flat = case.draw()
    scores[np.isnan(scores)] = 0.0 if lengths is None else np.nan
    if case.rows > 2:
        scores[1] = 1.0
    said = [_read(each, case, scores, lengths, flat) for each in (backend, REFERENCE)]
    assert_close("loss over a sequence", "marginals", said[0][0], said[1][0])
    np.testing.assert_array_equal(said[0][1], said[1][1])


def _read(backend, case, scores, lengths, flat):
    """Marginals and best paths."""
    spec = case.spec
    resident = backend.zeros((backend.size(spec),), case.dtype)
    backend.pack(spec, REFERENCE.unpack(spec, flat), resident)
    weights, placed = backend.prepare(spec, resident), Placed(backend, scores, case.layout)
    shares = np.array(backend.to_numpy(backend.marginals(weights, placed.array, lengths)))
    return shares, backend.best_paths(weights, placed.array, lengths)
