"""What holds for every LSTM layer, whatever its shape."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_cases import BASIC, Case, relative_error

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
each_backend = pytest.mark.parametrize("backend", ["cpu", "reference"])
seeds = st.integers(0, 2**32 - 1)
flags = st.booleans()


@st.composite
def cases(draw, bidirectional=flags, unequal=True):
    """Small layers; unequal lengths, where wanted, for every other one."""
    rows, steps = draw(st.integers(1, 14)), draw(st.integers(1, 6))
    lengths = st.lists(st.integers(1, steps), min_size=rows, max_size=rows).map(tuple)
    return Case(
        num_layers=draw(st.integers(1, 2)), bidirectional=draw(bidirectional), bias=draw(flags),
        with_state=draw(flags), lengths=draw(st.none() | lengths) if unequal else None,
        rows=rows, steps=steps, features=draw(st.integers(1, 5)), units=draw(st.integers(1, 36)),
    )  # fmt: skip


def state_of(inputs):
    return (inputs["h_0"], inputs["c_0"]) if "h_0" in inputs else None


def assert_same(results, expected):
    """Equal to the bit."""
    for value, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(value, other)


@few
@given(cases(), seeds)
def test_cpu_agrees_with_reference(case, seed):
    inputs = case.inputs(seed)
    expected = case.run(inputs, backend="reference")
    for name, value in case.run(inputs, backend="cpu").items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-11, atol=1e-13, err_msg=name)


@each_backend
@few
@given(cases(st.just(False), unequal=False), seeds, st.data())
def test_state_carries_a_sequence_on(backend, case, seed, data):
    case = replace(case, steps=case.steps + 1)
    inputs, layer = case.inputs(seed), case.layer(backend=backend)
    cut = data.draw(st.integers(1, case.steps - 1))
    y, (h_n, c_n) = layer(inputs["x"], state_of(inputs))
    first, between = layer(inputs["x"][:, :cut], state_of(inputs))
    second, (h_too, c_too) = layer(inputs["x"][:, cut:], between)
    assert relative_error(np.concatenate([first, second], axis=1), y) < 1e-12
    assert relative_error(h_too, h_n) < 1e-12
    assert relative_error(c_too, c_n) < 1e-12


@each_backend
@few
@given(cases(), seeds, st.integers(1, 4), st.sampled_from([0.0, np.nan, np.inf]))
def test_padding_changes_nothing(backend, case, seed, more, filler):
    lengths = np.array(case.lengths or [case.steps] * case.rows)
    inputs, layer = case.inputs(seed), case.layer(backend=backend)
    past = np.arange(case.steps + more) >= lengths[:, np.newaxis]
    x, dy = (
        np.where(past[..., np.newaxis], filler, np.pad(inputs[name], ((0, 0), (0, more), (0, 0))))
        for name in ("x", "dy")
    )
    y, final, pullback = layer.vjp(inputs["x"], state_of(inputs), case.lengths)
    dx, dstate, dparameters = pullback(inputs["dy"])
    y_too, final_too, pullback = layer.vjp(x, state_of(inputs), lengths)
    dx_too, dstate_too, dparameters_too = pullback(dy)
    assert not y_too[past].any()
    assert not dx_too[past].any()
    assert_same([y_too[:, : case.steps], *final_too, dx_too[:, : case.steps], *dstate_too], [y, *final, dx, *dstate])
    for name, value in dparameters_too.items():  # summed in another order
        np.testing.assert_allclose(value, dparameters[name], rtol=1e-12, atol=1e-13, err_msg=name)


@each_backend
@few
@given(cases(), seeds, st.randoms(use_true_random=False))
def test_permuted_batch_gives_permuted_results_to_the_bit(backend, case, seed, random):
    order = random.sample(range(case.rows), case.rows)
    inputs, layer = case.inputs(seed), case.layer(backend=backend)
    lengths = None if case.lengths is None else np.array(case.lengths)
    y, final, pullback = layer.vjp(inputs["x"], None, lengths)
    y_too, final_too, pullback_too = layer.vjp(inputs["x"][order], None, None if lengths is None else lengths[order])
    assert_same([y_too, *final_too], [y[order], *(state[:, order] for state in final)])
    dx, dstate, _ = pullback(inputs["dy"])
    dx_too, dstate_too, _ = pullback_too(inputs["dy"][order])
    assert_same([dx_too, *dstate_too], [dx[order], *(state[:, order] for state in dstate)])


@each_backend
@few
@given(cases(), seeds)
def test_each_sequence_alone_gives_the_same_to_the_bit(backend, case, seed):
    lengths = case.lengths or (case.steps,) * case.rows
    x, layer = case.inputs(seed)["x"], case.layer(backend=backend)
    y, (h_n, c_n) = layer(x, lengths=case.lengths)
    for n, length in enumerate(lengths):
        alone, (h_alone, c_alone) = layer(x[n, :length])
        assert_same([alone, h_alone, c_alone], [y[n, :length], h_n[:, n], c_n[:, n]])


@each_backend
@few
@given(cases(), seeds)
def test_list_equals_padded_batch_with_lengths(backend, case, seed):
    lengths = np.array(case.lengths or [case.steps] * case.rows)
    inputs, layer = case.inputs(seed), case.layer(backend=backend)
    state, longest = state_of(inputs), lengths.max()
    y, final, pullback = layer.vjp(inputs["x"][:, :longest], state, lengths)
    sequences = [row[:length] for row, length in zip(inputs["x"], lengths, strict=True)]
    y_too, final_too, pullback_too = layer.vjp(sequences, state)
    assert_same([y_too, *final_too], [y, *final])
    dx, *_ = pullback(inputs["dy"][:, :longest])
    dx_too, *_ = pullback_too(inputs["dy"][:, :longest])
    assert isinstance(dx_too, list)
    assert_same(dx_too, [row[:length] for row, length in zip(dx, lengths, strict=True)])


@each_backend
@few
@given(cases(st.just(False), unequal=False), seeds)
def test_stream_step_by_step_equals_the_whole(backend, case, seed):
    inputs, layer = case.inputs(seed), case.layer(backend=backend)
    stream = layer.stream(case.rows)
    if case.with_state:
        stream.state = state_of(inputs)
    steps = [stream.step(inputs["x"][:, t]) for t in range(case.steps)]
    y, final = layer(inputs["x"], state_of(inputs))
    assert relative_error(np.stack(steps, axis=1), y) < 1e-12
    assert relative_error(np.stack(stream.state), np.stack(final)) < 1e-12


def flipped(x, lengths):
    """Every sequence back to front; what lies past its length stays."""
    x = x.copy()
    for row, length in zip(x, lengths, strict=True):
        row[:length] = row[:length][::-1]
    return x


@each_backend
@few
@given(cases(st.just(True)), seeds)
def test_backward_direction_is_a_forward_layer_on_the_flipped_sequence(backend, case, seed):
    case = replace(case, num_layers=1)
    lengths = np.array(case.lengths or [case.steps] * case.rows)
    inputs, both = case.inputs(seed), case.layer(backend=backend)
    y, (h_n, c_n), pullback = both.vjp(inputs["x"], lengths=lengths)
    dx, _, dparameters = pullback(inputs["dy"] * (np.arange(2 * case.units) >= case.units))

    forward = replace(case, bidirectional=False).layer(backend=backend)
    forward.set_parameters({name: both.parameters[name + "_reverse"] for name in forward.parameters})
    y_too, final_too, pullback = forward.vjp(flipped(inputs["x"], lengths), lengths=lengths)
    dx_too, _, dparameters_too = pullback(flipped(inputs["dy"][..., case.units :], lengths))

    assert_same([flipped(y_too, lengths), *final_too], [y[..., case.units :], h_n[1:], c_n[1:]])
    np.testing.assert_allclose(flipped(dx_too, lengths), dx, rtol=1e-12, atol=1e-13)
    for name, value in dparameters_too.items():
        np.testing.assert_allclose(value, dparameters[name + "_reverse"], rtol=1e-12, atol=1e-13, err_msg=name)


def unaligned(array):
    """A copy that starts at an odd address."""
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    copy = np.ndarray(array.shape, array.dtype, memory)
    copy[...] = array
    return copy


def spread(array):
    """A copy of which every second number on each axis is somebody else's."""
    memory = np.full([2 * n for n in array.shape], 99, array.dtype)
    view = memory[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


LAYOUTS = {
    "fortran": np.asfortranarray,
    "backwards rows": lambda a: a[::-1].copy()[::-1],
    "backwards steps": lambda a: a[:, ::-1].copy()[:, ::-1],
    "backwards features": lambda a: a[..., ::-1].copy()[..., ::-1],
    "spread": spread,
    "unaligned": unaligned,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "time first": lambda a: a.swapaxes(0, 1).copy().swapaxes(0, 1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_backend
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layout_in_memory_matters_to_nobody(layout, backend, dtype):
    case = replace(BASIC, num_layers=2, lengths=(2, 5, 1, 4), units=9)
    inputs = {name: value.astype(dtype) for name, value in case.inputs().items()}
    expected = case.run(inputs, dtype, backend)
    laid_out = {name: layout(value) if value.ndim == 3 else value for name, value in inputs.items()}
    before = {name: value.tobytes() for name, value in laid_out.items()}
    for value in laid_out.values():
        value.flags.writeable = False
    assert_same(case.run(laid_out, dtype, backend).values(), expected.values())
    assert {name: value.tobytes() for name, value in laid_out.items()} == before


@each_backend
def test_overlapping_windows_of_one_series_are_sequences(backend):
    series = np.random.default_rng(0).normal(size=(20, 3))
    windows = np.lib.stride_tricks.sliding_window_view(series, 6, axis=0).swapaxes(1, 2)
    rows = np.lib.stride_tricks.as_strided(series, (15, 6, 3), (series.strides[0], *series.strides))
    layer = BASIC.layer(backend=backend)
    expected = layer(np.array(windows))
    for x in (windows, rows, np.broadcast_to(series[:6], (15, 6, 3))[:1]):
        y, _ = layer(x)
        np.testing.assert_array_equal(y, expected[0][: len(x)])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64", "longdouble", ">f4"])
@each_backend
def test_numbers_of_other_types_are_converted_never_modified(backend, dtype):
    layer = BASIC.layer("float32", backend)
    x = (np.random.default_rng(0).normal(size=(2, 4, 3)) > 0).astype(dtype)
    before = x.copy()
    y, final, pullback = layer.vjp(x)
    assert_same([y, *final], [layer(x.astype("float32"))[0], *layer(x.astype("float32"))[1]])
    assert {array.dtype for array in (y, *final, *pullback(y)[1])} == {np.dtype("float32")}
    assert pullback(np.ones(y.shape, dtype))[0].dtype == np.float32
    np.testing.assert_array_equal(x, before)
    assert x.dtype == dtype
