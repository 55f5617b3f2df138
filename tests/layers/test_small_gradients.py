"""`vjp` of small calls repeats what it noted: to the bits of any other call, with results that stay as they are."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_layers import LAYERS, draw, equal

import numlstm
from numlstm.layers import layer as module


def gradients(layer, x, dy=None):
    """All that `vjp` and its pullback give."""
    y, state, pullback = layer.vjp(x)
    dx, dstate, parameters = pullback(draw(*y.shape) if dy is None else dy)
    return y, state, dx, dstate, *parameters.values()


@pytest.fixture
def truth(monkeypatch):
    """A function that computes the same where no call is small."""

    def compute(function, *arguments):
        with monkeypatch.context() as patched:
            patched.setattr(module, "SMALL", 0)
            return function(*arguments)

    return compute


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(4, 7, 3), (7, 3), (4, 1, 3), (1, 3)])
def test_same_as_any_call(truth, name, shape):
    layer, xs = LAYERS[name](), [draw(*shape), -draw(*shape)]
    for x in (*xs, xs[0]):
        assert equal(gradients(layer, x), truth(gradients, LAYERS[name](), x))


def test_it_is_reached_and_memory_is_used_again():
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3)
    for _ in range(3):
        gradients(layer, x)
    assert [*map(len, layer._weights[2].values())] == [1]
    numlstm.LSTM(3, 5, random_state=0, backend="reference").vjp(x)


def test_gradients_of_calls_that_overlap():
    layer, xs = numlstm.LSTM(3, 5, random_state=0), [draw(2, 6, 3) * k for k in range(1, 5)]
    alone = []
    for x in xs:
        y, _, pullback = layer.vjp(x)
        alone.append(pullback(y))
    ys, _, pullbacks = zip(*(layer.vjp(x) for x in xs), strict=True)
    for y, pullback, expected in reversed(list(zip(ys, pullbacks, alone, strict=True))):
        for _ in range(2):
            dx, dstate, dparameters = pullback(y)
            assert equal((dx, dstate), expected[:2])
            assert all(np.array_equal(dparameters[name], value) for name, value in expected[2].items())


def test_results_stay_as_they_are():
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3)
    first = gradients(layer, x)
    kept = copy.deepcopy(first)
    gradients(layer, -x)
    assert equal(first, kept)


def test_gradients_of_other_kinds(truth):
    """Zeros, gradients of states, other dtypes and lists take the other way, with the weights of the call."""
    layer, x, dy, dstate = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3), draw(4, 7, 5), draw(2, 1, 4, 5)
    pullback = layer.vjp(x)[2]
    expected = truth(lambda: layer.vjp(x)[2])
    layer.set_parameters({name: -value for name, value in layer.parameters.items()})
    for arguments in [(None, tuple(dstate)), (dy, (None, dstate[0])), (dy.astype(float),), (dy.tolist(),), (dy,)]:
        (dx, states, parameters), (dx_2, states_2, parameters_2) = pullback(*arguments), expected(*arguments)
        assert equal((dx, states, *parameters.values()), (dx_2, states_2, *parameters_2.values()))


@pytest.mark.parametrize("dy", [np.zeros((4, 7, 4), "float32"), np.zeros((7, 5), "float32"), "no", [[1]]])
def test_bad_gradients_are_refused(dy):
    pullback = numlstm.LSTM(3, 5).vjp(draw(4, 7, 3))[2]
    with pytest.raises((ValueError, TypeError), match="dy must"):
        pullback(dy)


def test_new_parameters_count():
    a, b, x = numlstm.LSTM(3, 5, random_state=0), numlstm.LSTM(3, 5, random_state=1), draw(4, 7, 3)
    gradients(a, x)
    a.set_parameters(b.parameters)
    assert equal(gradients(a, x), gradients(b, x))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_have_their_own(clone):
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3)
    expected = gradients(layer, x)
    twin = clone(layer)
    layer.set_parameters({name: -value for name, value in layer.parameters.items()})
    assert equal(gradients(twin, x), expected)


def test_threads_get_their_own(truth):
    layer, xs = numlstm.LSTM(3, 5, random_state=0), [scale * draw(4, 7, 3) for scale in (1, 2, 3, 4)]
    expected = [truth(gradients, layer, x) for x in xs]
    with ThreadPoolExecutor(4) as threads:
        for k, found in enumerate(threads.map(lambda k: gradients(layer, xs[k % 4]), range(200))):
            assert equal(found, expected[k % 4])


def test_threads_may_share_a_pullback():
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3)
    pullback, dys = layer.vjp(x)[2], [scale * draw(4, 7, 5) for scale in (1, 2, 3, 4)]
    expected = [pullback(dy)[0] for dy in dys]
    with ThreadPoolExecutor(4) as threads:
        for k, (dx, *_) in enumerate(threads.map(lambda k: pullback(dys[k % 4]), range(200))):
            assert equal(dx, expected[k % 4])


def test_a_pullback_outlives_its_layer():
    layer = numlstm.LSTM(3, 5, random_state=0)
    expected = gradients(layer, draw(4, 7, 3))[2]
    y, _, pullback = layer.vjp(draw(4, 7, 3))
    reference = weakref.ref(layer)
    del layer
    gc.collect()
    assert equal(pullback(draw(*y.shape))[0], expected)
    del pullback
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("options", [{"recompute": True}, {"zoneout": 0.3}, {"dropout": 0.5, "num_layers": 2}])
def test_options(truth, options):
    layer, x = numlstm.LSTM(3, 5, random_state=0, **options), draw(4, 7, 3)
    for _ in range(3):
        assert equal(gradients(layer, x), truth(gradients, layer, x))
