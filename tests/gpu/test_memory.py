"""A call that needs more memory than a GPU has says so, and harms nothing."""

import re

import numpy as np
import pytest
from tolerances import assert_close

from numlstm import LSTM, LSTMClassifier
from numlstm.backends.dispatch import backend_for

pytestmark = pytest.mark.gpu

HIDDEN, STEPS = 1024, 1000
SMALL = np.random.default_rng(0).normal(size=(4, 20, 1)).astype("float32")
MESSAGE = r"^CUDA device 0 is out of memory: [\d,]+ bytes asked for, [\d,]+ free"


@pytest.fixture
def large():
    """Sequences of which the outputs do not fit into the GPU's memory, though they do themselves."""
    from numlstm.backends.cuda.device import cuda

    with backend_for("cuda").device.current():
        total = cuda.current_context().get_memory_info().total
    return np.zeros((int(1.5 * total) // (4 * HIDDEN * STEPS), STEPS, 1), "float32")


def doors(x):
    """Ways to ask for too much."""
    return {
        "call": lambda layer: layer(x),
        "vjp": lambda layer: layer.vjp(x),
        "trace": lambda layer: layer.trace(x),
    }


@pytest.mark.parametrize("door", doors(None))
def test_layer(large, door):
    layer = LSTM(1, HIDDEN, backend="cuda", random_state=0)
    before = layer(SMALL)[0]
    for _ in range(2):
        with pytest.raises(MemoryError, match=MESSAGE):
            doors(large)[door](layer)
    np.testing.assert_array_equal(layer(SMALL)[0], before)
    *_, pullback = layer.vjp(SMALL)
    pullback(before)
    assert_close("state", "y", LSTM(1, HIDDEN, backend="cpu", random_state=0)(SMALL)[0], before)


def test_what_was_asked_for_and_what_was_free_are_told(large):
    with pytest.raises(MemoryError) as caught:
        LSTM(1, HIDDEN, backend="cuda", random_state=0)(large)
    asked, free = (int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:bytes|free)", str(caught.value)))
    assert asked > free > 0


def test_fit(large):
    X, y = SMALL.repeat(10, axis=0), np.arange(40) % 2
    model = LSTMClassifier(hidden_size=HIDDEN, max_iter=1, random_state=0, pooling="mean", backend="cuda").fit(X, y)
    before = model.predict_proba(X)
    model.set_params(batch_size=len(large))
    with pytest.raises(MemoryError, match=MESSAGE):
        model.fit(large, np.arange(len(large)) % 2)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    model.set_params(batch_size=8).fit(X, y)
    np.testing.assert_allclose(
        model.set_params(backend="cpu").predict_proba(X), model.set_params(backend="cuda").predict_proba(X), atol=1e-5
    )


def test_memory_is_given_back():
    """Calls in a loop need no more memory than one."""
    from numlstm.backends.cuda.device import cuda

    layer = LSTM(1, 256, backend="cuda", random_state=0)
    x = np.zeros((64, 100, 1), "float32")
    free = []
    for _ in range(30):
        y, _, pullback = layer.vjp(x)
        pullback(y)
        with backend_for("cuda").device.current():
            free.append(cuda.current_context().get_memory_info().free)
    assert free[-1] == free[5]
