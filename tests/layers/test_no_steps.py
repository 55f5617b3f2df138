"""A sequence of no steps leaves the state as it was, and has no part in any gradient."""

import numpy as np
import pytest

from numlstm import GRU, LSTM, RNN

RNG = np.random.default_rng(0)
LENGTHS = np.array([3, 0, 5, 0, 1])
X = RNG.normal(size=(5, 5, 3))
LISTS = [x[:length] for x, length in zip(X, LENGTHS, strict=True)]
FULL = np.flatnonzero(LENGTHS)
EMPTY = np.flatnonzero(LENGTHS == 0)
LAYERS = {
    "lstm": lambda **options: LSTM(3, 4, **options),
    "gru": lambda **options: GRU(3, 4, 2, **options),
    "rnn": lambda **options: RNN(3, 4, **options),
    "two directions": lambda **options: LSTM(3, 4, 2, bidirectional=True, **options),
    "merged": lambda **options: LSTM(3, 4, 2, bidirectional=True, merge="mean", residual=True, **options),
    "projected, recomputed": lambda **options: LSTM(3, 4, proj_size=2, recompute=True, **options),
}


@pytest.fixture(params=["cpu", "reference"])
def backend(request):
    return request.param


@pytest.fixture(params=LAYERS)
def layer(request, backend):
    return LAYERS[request.param](backend=backend, dtype="float64", random_state=0)


def state_of(layer, rows):
    """Random states, in the form that calls take and give."""
    final = layer(np.zeros((rows, 1, 3)))[1]
    made = [RNG.normal(size=each.shape) for each in as_tuple(final)]
    return tuple(made) if isinstance(final, tuple) else made[0]


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def rows_of(state, rows):
    picked = tuple(each[:, rows] for each in as_tuple(state))
    return picked if isinstance(state, tuple) else picked[0]


def assert_equal(found, expected):
    for one, other in zip(as_tuple(found), as_tuple(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def poisoned():
    """Padding that must not be read."""
    x = X.copy()
    x[EMPTY] = np.nan
    return x


@pytest.mark.parametrize("form", ["padded", "list"])
@pytest.mark.parametrize("given", [False, True])
def test_the_state_stays_and_outputs_are_zeros(layer, form, given):
    state = state_of(layer, 5) if given else None
    y, final = layer(LISTS, state) if form == "list" else layer(poisoned(), state, LENGTHS)
    known = rows_of(state, FULL) if given else None
    expected, expected_final = layer(X[FULL], known, LENGTHS[FULL])
    assert y.shape == (5, 5, expected.shape[2])
    np.testing.assert_array_equal(y[FULL], expected)
    assert not y[EMPTY].any()
    assert_equal(rows_of(final, FULL), expected_final)
    for each, start in zip(as_tuple(final), as_tuple(state) if given else [0.0, 0.0], strict=False):
        np.testing.assert_array_equal(each[:, EMPTY], start[:, EMPTY] if given else 0.0)


@pytest.mark.parametrize("form", ["padded", "list"])
def test_gradients_pass_by(layer, form):
    state = state_of(layer, 5)
    y, final, pullback = layer.vjp(LISTS, state) if form == "list" else layer.vjp(poisoned(), state, LENGTHS)
    called = layer(LISTS, state)
    np.testing.assert_array_equal(y, called[0])
    assert_equal(final, called[1])
    _, _, expected_pullback = layer.vjp(X[FULL], rows_of(state, FULL), LENGTHS[FULL])
    dy = RNG.normal(size=y.shape)
    dstate = state_of(layer, 5)
    dx, dstate_0, dparameters = pullback(dy, dstate)
    expected_dx, expected_dstate, expected_parameters = expected_pullback(dy[FULL], rows_of(dstate, FULL))
    if form == "list":
        assert [each.shape for each in dx] == [(length, 3) for length in LENGTHS]
        for place, row in enumerate(FULL):
            np.testing.assert_allclose(dx[row], expected_dx[place, : LENGTHS[row]], rtol=1e-12)
    else:
        np.testing.assert_allclose(dx[FULL], expected_dx, rtol=1e-12, atol=1e-14)
        assert not dx[EMPTY].any()
    assert_equal(rows_of(dstate_0, FULL), expected_dstate)
    for found, own in zip(as_tuple(dstate_0), as_tuple(dstate), strict=True):
        np.testing.assert_array_equal(found[:, EMPTY], own[:, EMPTY])
    for name, gradient in expected_parameters.items():
        np.testing.assert_allclose(dparameters[name], gradient, rtol=1e-12, atol=1e-13)
    for found in as_tuple(pullback(dy)[1]):
        assert not found[:, EMPTY].any()
    np.testing.assert_array_equal(pullback(dy, dstate)[2]["weight_hh_l0"], dparameters["weight_hh_l0"])


def test_traces_are_zeros(layer):
    trace, expected = layer.trace(poisoned(), lengths=LENGTHS), layer.trace(X[FULL], lengths=LENGTHS[FULL])
    np.testing.assert_array_equal(trace.lengths, LENGTHS)
    for name, values in expected.items():
        np.testing.assert_allclose(trace[name][:, FULL], values, rtol=1e-12)
        assert not trace[name][:, EMPTY].any()


@pytest.mark.parametrize("x", [np.zeros((2, 0, 3)), [np.zeros((0, 3))] * 2], ids=["array", "list"])
def test_no_sequence_has_a_step(layer, x):
    state = state_of(layer, 2)
    y, final, pullback = layer.vjp(x, state)
    assert y.shape[:2] == (2, 0)
    np.testing.assert_array_equal(layer(x, state)[0], y)
    assert_equal(final, state)
    assert_equal(layer(x, state)[1], state)
    dx, dstate, dparameters = pullback(y, state)
    assert np.shape(dx) == (2, 0, 3)
    assert_equal(dstate, state)
    assert not any(gradient.any() for gradient in dparameters.values())
    trace = layer.trace(x)
    assert trace.hidden_state.shape[1:3] == (2, 0)
    np.testing.assert_array_equal(trace.lengths, [0, 0])


def test_one_sequence_alone(layer):
    state = rows_of(state_of(layer, 1), 0)
    y, final, pullback = layer.vjp(np.zeros((0, 3)), state)
    assert y.shape == (0, layer(np.zeros((1, 3)))[0].shape[1])
    assert_equal(final, state)
    dx, dstate, _ = pullback(None, state)
    assert dx.shape == (0, 3)
    assert_equal(dstate, state)


@pytest.mark.parametrize("options", [{"dropout": 0.5, "input_dropout": 0.5}, {"zoneout": 0.5}, {"weight_dropout": 0.5}])
def test_what_is_dropped_of_others_stays_the_same(backend, options):
    layer = LSTM(3, 4, 2, backend=backend, dtype="float64", random_state=0, **options)
    found = layer.vjp(X, lengths=LENGTHS, training=True, rng=0)
    expected = layer.vjp(X, lengths=np.maximum(LENGTHS, 1), training=True, rng=0)
    np.testing.assert_array_equal(found[0][FULL], expected[0][FULL])
    dy = np.where(LENGTHS[:, None, None] > 0, RNG.normal(size=found[0].shape), 0.0)
    for name, gradient in expected[2](dy)[2].items():
        np.testing.assert_allclose(found[2](dy)[2][name], gradient, rtol=1e-12, atol=1e-13)


def test_layers_that_differ_in_size(backend):
    layer = LSTM(3, (4, 2), backend=backend, random_state=0)
    state = tuple([RNG.normal(size=(5, size)).astype("float32") for size in (4, 2)] for _ in range(2))
    _, final = layer(X, state, LENGTHS)
    for own, before in zip(final, state, strict=True):
        for found, start in zip(own, before, strict=True):
            np.testing.assert_array_equal(found[EMPTY], start[EMPTY])
            assert (found[FULL] != start[FULL]).all()


def test_what_is_given_is_not_written_to(layer):
    x, state = poisoned(), state_of(layer, 5)
    before, dy = [each.copy() for each in as_tuple(state)], RNG.normal(size=layer(X)[0].shape)
    kept = dy.copy()
    _, _, pullback = layer.vjp(x, state, LENGTHS)
    pullback(dy, state)
    np.testing.assert_array_equal(x, poisoned())
    np.testing.assert_array_equal(dy, kept)
    for each, own in zip(as_tuple(state), before, strict=True):
        np.testing.assert_array_equal(each, own)


# What PyTorch packs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", [True, False])
def test_packed_sequences_are_lists(backend, sort):
    torch = pytest.importorskip("torch")
    lengths = [5, 3, 3, 1] if sort else [3, 1, 5, 3]
    lists = [RNG.normal(size=(length, 3)) for length in lengths]
    tensors = [torch.from_numpy(each) for each in lists]
    packed = torch.nn.utils.rnn.pack_sequence(tensors, enforce_sorted=sort)
    layer = LSTM(3, 4, backend=backend, dtype="float64", random_state=0)
    y, final = layer(packed)
    expected, expected_final = layer(lists)
    np.testing.assert_array_equal(y, expected)
    assert_equal(final, expected_final)
    _, _, pullback = layer.vjp(packed)
    assert [each.shape for each in pullback(y)[0]] == [each.shape for each in lists]
    with pytest.raises(ValueError, match="lengths must be None when x is a list"):
        layer(packed, lengths=lengths)
