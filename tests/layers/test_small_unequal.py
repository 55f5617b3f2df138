"""Small calls with `lengths` repeat what they noted, too: to the bits of any other call."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_layers import LAYERS, MEDIUM_SHAPES, draw, equal

import numlstm
from numlstm.backends.cpu.machine import thread_count

SHAPES = [(4, 7, 3), (9, 2, 3), MEDIUM_SHAPES[0]]


def ragged(shape, count=4):
    """Sequences of one shape with other lengths each time; there are no numbers behind their ends."""
    rng = np.random.default_rng(shape)
    for _ in range(count):
        x, lengths = rng.normal(size=shape).astype("float32"), rng.integers(1, shape[1] + 1, shape[0])
        lengths[0] = 1
        for row, length in zip(x, lengths, strict=True):
            row[length:] = np.nan
        yield x, lengths


def gradients(layer, x, lengths):
    """All that `vjp` and its pullback give."""
    y, state, pullback = layer.vjp(x, lengths=lengths)
    dx, dstate, parameters = pullback(draw(*y.shape))
    return y, state, dx, dstate, *parameters.values()


def called(layer, x, lengths):
    return layer(x, lengths=lengths)


@pytest.mark.parametrize("call", [called, gradients])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_same_as_any_call(large, call, name, shape):
    layer, calls = LAYERS[name](), list(ragged(shape))
    results = [call(layer, x, lengths) for x, lengths in calls]
    for result, (x, lengths) in zip(results, calls, strict=True):
        assert equal(result, large(call, LAYERS[name](), x, lengths))
        assert all(np.isfinite(array).all() for array in (result[0], *result[2:3]) if isinstance(array, np.ndarray))


@pytest.mark.parametrize("call", [called, gradients])
def test_same_whatever_the_threads(monkeypatch, large, call):
    monkeypatch.setattr("numlstm.backends.cpu.machine.threads.WORK_PER_THREAD", 1.0)
    layer = numlstm.LSTM(3, 5, random_state=0)
    for x, lengths in ragged((9, 7, 3)):
        with thread_count.limit_threads(3):
            found = call(layer, x, lengths)
        with thread_count.limit_threads(1):
            assert equal(found, large(call, layer, x, lengths))


def test_they_are_reached_and_apart_from_calls_without_lengths():
    layer, x, lengths = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3), [7, 1, 2, 7]
    for _ in range(3):
        layer(x, lengths=lengths), layer(x), layer(x, lengths=[7] * 4)
        gradients(layer, x, lengths)
    kept = {kind: len(idle) for (kind, _, _), idle in layer._weights[2].items()}
    assert kept == {"call, lengths": 1, "call": 1, "vjp, lengths": 1}


def test_lengths_are_copied():
    """A caller may change them before the way back."""
    layer, x, lengths = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3), np.array([7, 1, 2, 7])
    expected = gradients(layer, x, lengths)
    y, _, pullback = layer.vjp(x, lengths=lengths)
    lengths[:] = 3
    assert equal(pullback(draw(*y.shape))[0], expected[2])
    y, _, pullback = layer.vjp(x, lengths=[7, 1, 2, 7])
    layer.vjp(x, lengths=lengths)[2](draw(*y.shape))
    assert equal(pullback(draw(*y.shape))[0], expected[2])


def test_sequences_without_a_step_take_the_other_way(large):
    layer, x, lengths = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3), [7, 0, 2, 7]
    for call in (called, gradients):
        assert equal(call(layer, x, lengths), large(call, layer, x, lengths))
    assert not layer._weights[2]


def test_gradients_of_other_kinds(large):
    """They take the other way, with the lengths of the call."""
    layer, x, dy, lengths = numlstm.LSTM(3, 5, random_state=0), draw(4, 7, 3), draw(4, 7, 5), [7, 1, 2, 5]
    pullback, expected = layer.vjp(x, lengths=lengths)[2], large(lambda: layer.vjp(x, lengths=lengths)[2])
    for arguments in [(None, tuple(draw(2, 1, 4, 5))), (dy.astype(float),), (dy,)]:
        (dx, states, parameters), (dx_2, states_2, parameters_2) = pullback(*arguments), expected(*arguments)
        assert equal((dx, states, *parameters.values()), (dx_2, states_2, *parameters_2.values()))


@pytest.mark.parametrize("lengths", [[1, 2], [1, 2, 3, 8], [1, 2, 3, -1], [[1, 2, 3, 4]], [1.0, 2.0, 3.0, 4.0], "four"])
@pytest.mark.parametrize("call", [called, gradients])
def test_bad_lengths_are_refused(call, lengths):
    with pytest.raises((ValueError, TypeError), match="lengths must"):
        call(numlstm.LSTM(3, 5), draw(4, 7, 3), lengths)


def test_what_is_wrong_with_x_is_said_first():
    with pytest.raises(ValueError, match="x must have 3 features"):
        numlstm.LSTM(3, 5)(draw(4, 7, 2), lengths=[1, 2, 3, 9])


def test_threads_get_their_own(large):
    layer, calls = numlstm.LSTM(3, 5, random_state=0), list(ragged((4, 7, 3)))
    expected = [large(gradients, layer, *each) for each in calls]
    with ThreadPoolExecutor(4) as threads:
        for k, found in enumerate(threads.map(lambda k: gradients(layer, *calls[k % 4]), range(200))):
            assert equal(found, expected[k % 4])


def test_large_arrays_are_not_copied():
    layer, (x, lengths) = numlstm.LSTM(3, 5, random_state=0), next(ragged(MEDIUM_SHAPES[0]))
    for _ in range(2):
        layer.vjp(x, lengths=lengths)[2](draw(*x.shape[:2], 5)), layer(x, lengths=lengths)
    for idle in layer._weights[2].values():
        (runner,) = idle
        ports = (runner.x, runner.dy) if hasattr(runner, "dy") else runner._ports
        assert all(port._move for port in ports)
