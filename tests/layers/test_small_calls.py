"""Small calls reuse memory: they give what other calls give, to the bit, and nothing of one is seen in another."""

import copy
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_layers import LAYERS, MEDIUM_SHAPES, SMALL_SHAPES, draw, equal, inputs

import numlstm
from numlstm.layers import layer as module


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [*SMALL_SHAPES, *MEDIUM_SHAPES])
def test_same_as_any_call(large, name, shape):
    layer, xs = LAYERS[name](), inputs(*shape)
    results = [layer(x) for x in xs]
    for result, x in zip(results, xs, strict=True):
        assert equal(result, large(LAYERS[name](), x))


def test_it_is_reached():
    layer = numlstm.LSTM(3, 5, random_state=0)
    layer(draw(4, 7, 3))
    kept = layer._weights[2]
    assert [*map(len, kept.values())] == [1]
    for runners in (0, 1, 1):
        layer(draw(*MEDIUM_SHAPES[0]))
        assert [*map(len, kept.values())] == [1, runners], "when the shape comes again"
    layer(draw(400, 700, 3))
    assert len(kept) == 2


def test_arrays_are_not_copied():
    """Calls of medium size read the caller's array, and write to the one that it gets."""
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(*MEDIUM_SHAPES[0])
    layer(x), layer(x)
    (runner,) = layer._weights[2]["call", "cpu", x.shape]
    own = runner.x.copy(), runner.y.copy()
    assert not equal(layer(-x), layer(x))
    assert equal((runner.x, runner.y), own)


def test_memory_of_a_runner_forgets_its_arrays(monkeypatch):
    """Those that move are in no arguments that a later call may find."""
    monkeypatch.setattr(module, "SMALL", module.MEDIUM)
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(*MEDIUM_SHAPES[0])
    for _ in range(2):
        layer.vjp(x)[2](draw(*x.shape[:2], 5))
    layer._weights[2].clear()
    gc.collect()
    (prepared,) = layer._weights[1]["cpu"]
    ((batch,),) = prepared._idle.values()
    assert not batch.calls
    assert not batch.calls_back


@pytest.mark.parametrize("shape", [(3,), (4, 7, 2), (0, 7, 3), (4, 0, 2), (1, 4, 7, 3), ()])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="x must"):
        numlstm.LSTM(3, 5)(np.zeros(shape, "float32"))


def test_new_parameters_count():
    a, b, x = numlstm.LSTM(3, 5, random_state=0), numlstm.LSTM(3, 5, random_state=1), draw(4, 7, 3)
    a(x)
    a.set_parameters(b.parameters)
    assert equal(a(x), b(x))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_have_their_own(clone):
    layer, x = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3)
    expected = layer(x)
    twin = clone(layer)
    layer.set_parameters({name: -value for name, value in layer.parameters.items()})
    assert equal(twin(x), expected)


def test_results_stay_as_they_are():
    layer = numlstm.LSTM(3, 5, random_state=0)
    first = layer(draw(4, 7, 3))
    kept = copy.deepcopy(first)
    layer(-draw(4, 7, 3))
    first[0][...] = 7
    assert equal(first[1], kept[1])
    assert equal(layer(draw(4, 7, 3)), kept)


def test_backends_have_their_own():
    layer, x = numlstm.LSTM(3, 5, random_state=0, dtype="float64"), draw(4, 7, 3).astype("float64")
    y = layer(x)[0]
    with numlstm.use_backend("reference"):
        other = layer(x)[0]
    assert not np.array_equal(y, other)  # two ways to compute
    np.testing.assert_allclose(y, other, rtol=1e-12)


def test_many_threads_on_one_layer():
    layer = numlstm.LSTM(3, 5, 2, random_state=0)
    xs = [draw(2, 9, 3) * k for k in range(40)]
    expected = [layer(x) for x in xs]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            assert equal(list(threads.map(layer, xs)), expected)


def test_memory_is_bounded():
    layer = numlstm.LSTM(3, 5)
    for steps in range(1, 3 * module.SHAPES_KEPT):
        layer(draw(2, steps, 3))
    assert len(layer._weights[2]) <= module.SHAPES_KEPT


def test_the_memory_of_few_large_shapes_is_kept(monkeypatch):
    monkeypatch.setattr(module, "NUMBERS_KEPT", 300)
    layer, shapes = numlstm.LSTM(3, 5, random_state=0), [(2, 6, 3), (3, 6, 3), (1, 7, 3), (7, 3)]
    numbers = [shape[-2] * 8 * (shape[0] if len(shape) == 3 else 1) for shape in shapes]
    assert numbers == [96, 144, 56, 56]
    kept = layer._weights[2]
    for shape in shapes:
        assert equal(layer(draw(*shape)), numlstm.LSTM(3, 5, random_state=0)(draw(*shape)))
    assert [key[2] for key in kept] == [(7, 3)]
    for shape in shapes[:2]:
        layer(draw(*shape))
    assert [key[2] for key in kept] == [(7, 3), (2, 6, 3), (3, 6, 3)]
