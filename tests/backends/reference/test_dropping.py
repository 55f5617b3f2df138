"""What the reference drops: the hash, masks, dropout and zoneout."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    NOISE,
    assert_close,
    make_problem,
    make_sources,
    steps_before,
)
from variants import name_of

from numlstm.backends.contract import (
    STREAMS,
    Noise,
)
from numlstm.backends.reference import masks


@pytest.mark.parametrize(
    ("seed", "words", "key", "hashes"),
    [
        (0, (0, 0, 0), 0x238275BC38FCBE91, [0x5D3E8297, 0x97F9252E, 0x88F046FA, 0x0ECA9174]),
        (42, (11, 7, 3), 0x1A328F8BE4257A73, [0xF6A2D2CA, 0x7F60AB24, 0x3FE74ED7, 0x539C77F3]),
        (2**64 - 1, (44, 1000, 65), 0xCF69FA05E510C961, [0x3623A6BF, 0xC66C7DED, 0xAC4DA8B9, 0x6EADA2AD]),
    ],
)
def test_hash(seed, words, key, hashes):
    """Numbers from a program in C, of the contract's text."""
    assert masks.row_key(seed, *words) == key
    assert masks.unit_hash(key, np.array([0, 1, 2, 1000], np.uint64)).tolist() == hashes


def test_mixing_function():
    """The first numbers of SplitMix64, as published, from seeds 0 and 1234567: the state is a multiple of G further."""
    golden = 0x9E3779B97F4A7C15
    assert masks._mix(golden) == 0xE220A8397B1DCDAF
    numbers = [masks._mix((1234567 + k * golden) % 2**64) for k in (1, 2, 3)]
    assert numbers == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9])
def test_share_that_is_dropped(probability):
    """As many as asked for, whatever the row, step, layer, kind or seed; none says anything of another."""
    drawn = {
        place: np.concatenate([masks.dropped(noise, kind, t, n, 500, probability)[0] for noise, kind, t, n in draws])
        for place, draws in {
            "row": [(Noise(1, 0), 1, 3, n) for n in range(100)],
            "step": [(Noise(1, 0), 1, t, 7) for t in range(100)],
            "layer": [(Noise(1, k), 1, 0, 5) for k in range(100)],
            "kind": [(Noise(1, k // 8), k % 8, 1, 5) for k in range(100)],
            "seed": [(Noise(k, 0), 1, 0, 9) for k in range(100)],
        }.items()
    }
    deviation = 50_000**-0.5
    for place, drops in drawn.items():
        centred = drops - probability
        assert abs(centred.mean()) <= 4 * deviation * math.sqrt(probability * (1 - probability)), place
        for shift in (1, 500):
            together = np.mean(centred[shift:] * centred[:-shift])
            assert abs(together) <= 4 * deviation * probability * (1 - probability), (place, shift)


def test_threshold():
    """Dropped is what hashes to less than ``floor(2**32 p)``."""
    key = masks.row_key(0, 0, 0, 0)
    below = float(masks.unit_hash(key, np.array([0], np.uint64))[0])
    for probability, dropped in [(below / 2**32, False), ((below + 0.9) / 2**32, False), ((below + 1) / 2**32, True)]:
        assert masks.dropped(Noise(0, 0), 0, 0, 0, 1, probability)[0, 0] == dropped


def mask_of(kind, t, n, size, probability):
    """Whether units are dropped, from the hash."""
    key = masks.row_key(NOISE.seed, 8 * NOISE.layer + kind, t, n)
    return np.array([int(masks.unit_hash(key, np.array([u], np.uint64))[0]) < 2**32 * probability for u in range(size)])


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout(per_step, dtype):
    x = np.random.default_rng(2).normal(size=(3, 4, 6)).astype(dtype)
    y = BACKEND.dropout(x, 0.3, NOISE, per_step=per_step)
    assert y.dtype == dtype
    drop = np.array([[mask_of(STREAMS["dropout"], t * per_step, n, 6, 0.3) for t in range(4)] for n in range(3)])
    assert drop.any()
    np.testing.assert_array_equal(y, np.where(drop, 0.0, x.astype(float) / (1 - 0.3)).astype(dtype))
    assert (np.diff(drop, axis=1).any()) == per_step


RECURRENT = [
    *({"cell": cell} for cell in ("lstm", "gru", "rnn", "mgu")),
    {"cell": "gru", "options": (("reset_after", False),)},
    {"cell": "gru", "layer_norm": True},
    {"cell": "lstm", "options": (("proj_size", 3),)},
    {"cell": "lstm", "options": (("full_gate_recurrence", True), ("peepholes", True)), "layer_norm": True},
]


@pytest.mark.parametrize("kind", RECURRENT, ids=lambda kind: name_of({"options": ()} | kind))
def test_recurrent_dropout_scales_columns(kind):
    """One mask a sequence on all that ``weight_hh`` multiplies is that mask on its columns."""
    dropped = make_problem(2, **kind, recurrent_dropout=0.4, noise=NOISE)
    outputs, _, _ = dropped.forward()
    doutputs, dfinal = make_sources(dropped)["all"]
    total = 0.0
    for n in range(2):
        plain = make_problem(2, **kind)
        plain.x, plain.initial = plain.x[n : n + 1], tuple(s[n : n + 1] for s in plain.initial)
        parameters = BACKEND.unpack(plain.spec, plain.flat)
        size = parameters["weight_hh"].shape[1]
        factors = np.where(mask_of(STREAMS["recurrent_dropout"], 0, n, size, 0.4), 0.0, 1 / 0.6)
        BACKEND.pack(plain.spec, parameters | {"weight_hh": parameters["weight_hh"] * factors}, plain.flat)
        for output, expected in zip(outputs, plain.forward()[0], strict=True):
            np.testing.assert_allclose(output[n], expected[0], rtol=1e-10)
        of_row = plain.backward([d[n : n + 1] for d in doutputs], [d[n : n + 1] for d in dfinal])["flat"]
        total = total + BACKEND.unpack(plain.spec, of_row)["weight_hh"] * factors
    gradient = BACKEND.unpack(dropped.spec, dropped.backward(doutputs, dfinal)["flat"])["weight_hh"]
    assert_close(gradient, total, 1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "mgu"])
def test_without_noise_only_zoneout_is_left(cell):
    plain = make_problem(cell=cell)
    dropped = make_problem(cell=cell, recurrent_dropout=0.4, candidate_dropout=0.3 * (cell in ("lstm", "gru")))
    np.testing.assert_array_equal(dropped.forward()[0], plain.forward()[0])


def candidate_factors(problem, probability):
    (n_rows, n_steps, _), h = problem.x.shape, problem.spec.hidden_size
    kind = STREAMS["candidate_dropout"]
    drop = [[mask_of(kind, t, n, h, probability) for t in range(n_steps)] for n in range(n_rows)]
    return np.where(drop, 0.0, 1 / (1 - probability))


def test_candidate_dropout_of_lstm():
    problem = make_problem(candidate_dropout=0.3, noise=NOISE)
    _, c = problem.forward()[0]
    gates, m = problem.gates(), candidate_factors(problem, 0.3)
    before = steps_before(problem, c, problem.initial[1])
    np.testing.assert_allclose(
        c, gates["forget_gate"] * before + gates["input_gate"] * m * gates["cell_input"], rtol=1e-10
    )


def test_candidate_dropout_of_gru():
    problem = make_problem(cell="gru", candidate_dropout=0.3, noise=NOISE)
    ((h,), *_), gates, m = problem.forward(), problem.gates(), candidate_factors(problem, 0.3)
    z, before = gates["update_gate"], steps_before(problem, h, problem.initial[0])
    np.testing.assert_allclose(h, (1 - z) * m * gates["candidate"] + z * before, rtol=1e-10)


def test_zoneout_mixes_without_noise():
    """The output is made of the cell before it is mixed."""
    kind = {"options": (("cell_clip", 0.5),)}
    (h, c), _, _ = make_problem(1, 1, **kind).forward()
    zoned = make_problem(1, 1, **kind, zoneout=(0.25, 0.4))
    h_prev, c_prev = (s[:, np.newaxis] for s in zoned.initial)
    np.testing.assert_allclose(zoned.forward()[0], [0.75 * h + 0.25 * h_prev, 0.6 * c + 0.4 * c_prev], rtol=1e-12)
    short = make_problem(1, 1, **kind, zoneout=(0.25,))
    np.testing.assert_allclose(short.forward()[0], [0.75 * h + 0.25 * h_prev, c], rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", [{"cell": "gru"}, {"options": (("full_gate_recurrence", True), ("proj_size", 3))}])
def test_zoneout_keeps_with_noise(kind, reverse):
    """Each state has a mask of its own, by the step of x."""
    shares = (0.4, 0.5, 0.3, 0.0, 0.6)[: len(make_problem(**kind).initial)]
    problem = make_problem(**kind, zoneout=shares, noise=NOISE, reverse=reverse)
    for k, (output, share) in enumerate(zip(problem.forward()[0], shares, strict=True)):
        order = slice(None, None, -1 if reverse else 1)
        before = steps_before(problem, output[:, order], problem.initial[k])[:, order]
        kept = np.isclose(output, before, rtol=1e-12, atol=0.0)
        n_rows, n_steps, size = output.shape
        drawn = [[mask_of(STREAMS["zoneout"] + k, t, n, size, share) for t in range(n_steps)] for n in range(n_rows)]
        np.testing.assert_array_equal(kept, drawn)


def test_backward_has_the_masks_of_forward():
    problem = make_problem(recurrent_dropout=0.3, candidate_dropout=0.2, zoneout=(0.2, 0.3), noise=NOISE)
    sources = make_sources(problem)["all"]
    first, again = problem.backward(*sources), problem.backward(*sources)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    problem.noise = Noise(NOISE.seed - 1, NOISE.layer)
    assert not np.allclose(problem.backward(*sources)["flat"], first["flat"])
