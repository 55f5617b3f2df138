"""`vjp` of small calls repeats what it noted: to the bits of any other call, with results that stay as they are."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_layers import LAYERS, MEDIUM_SHAPES, SMALL_SHAPES, draw, equal, inputs

import numlstm


def gradients(layer, x, dy=None):
    """All that `vjp` and its pullback give."""
    y, state, pullback = layer.vjp(x)
    dx, dstate, parameters = pullback(draw(*y.shape) if dy is None else dy)
    return y, state, dx, dstate, *parameters.values()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [*SMALL_SHAPES, *MEDIUM_SHAPES])
def test_same_as_any_call(large, name, shape):
    layer, xs = LAYERS[name](), inputs(*shape)
    results = [gradients(layer, x) for x in xs]
    for result, x in zip(results, xs, strict=True):
        assert equal(result, large(gradients, LAYERS[name](), x))


def test_it_is_reached_and_memory_is_used_again():
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3)
    for _ in range(3):
        gradients(layer, x)
    assert [*map(len, layer._weights[2].values())] == [1]
    numlstm.LSTM(3, 5, random_state=0, backend="reference").vjp(x)


@pytest.mark.parametrize("shape", [(2, 6, 3), MEDIUM_SHAPES[0]])
def test_gradients_of_calls_that_overlap(shape):
    layer, xs = numlstm.LSTM(3, 5, random_state=0), [draw(*shape) * k for k in range(1, 5)]
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


@pytest.mark.parametrize("shape", [(4, 7, 3), MEDIUM_SHAPES[0]])
def test_results_stay_as_they_are(shape):
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(*shape)
    gradients(layer, x)
    results = [gradients(layer, x) for _ in range(2)]
    kept = copy.deepcopy(results)
    gradients(layer, -x)
    assert equal(results, kept)


def test_gradients_of_other_kinds(large):
    """Zeros, gradients of states, other dtypes and lists take the other way, with the weights of the call."""
    layer, x, dy, dstate = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3), draw(4, 7, 5), draw(2, 1, 4, 5)
    pullback = layer.vjp(x)[2]
    expected = large(lambda: layer.vjp(x)[2])
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


@pytest.mark.parametrize("shape", [(4, 7, 3), MEDIUM_SHAPES[0]])
def test_threads_get_their_own(large, shape):
    layer, xs = numlstm.LSTM(3, 5, random_state=0), [scale * draw(*shape) for scale in (1, 2, 3, 4)]
    expected = [large(gradients, layer, x) for x in xs]
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
def test_options(large, options):
    layer, x = numlstm.LSTM(3, 5, random_state=0, **options), draw(4, 7, 3)
    for _ in range(3):
        assert equal(gradients(layer, x), large(gradients, layer, x))


def test_weights_are_transposed_once():
    """What is noted reads the transposes, and does not make them again: the weights stay as they are."""
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3)
    gradients(layer, x)
    (prepared,) = layer._weights[1]["cpu"]
    for transposes in prepared.weights._transposes.values():
        for weights in transposes.recurrent.values():
            weights.panels[0].array[...] = np.nan
    dx = gradients(layer, x)[2]
    assert np.isnan(dx[:, 0]).all()
    assert np.isfinite(dx[:, -1]).all()
