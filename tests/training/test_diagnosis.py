"""Where training fails, the message names the cause, the epoch and the parameter."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from numlstm import LSTMClassifier, LSTMRegressor

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(length, 2)) for length in RNG.integers(4, 9, 60)]
Y = np.array([x[:, 0].mean() for x in X])


def spoil(name, value, epoch, seen=None):
    """A callback that sets a parameter after an epoch."""

    def callback(progress):
        if progress.epoch == epoch:
            model = progress.trainer.model
            parameters = progress.parameters()
            parameters[name][:] = value
            model.flat[...] = model.network.pack(model.backend, parameters)
            model.changed()

    return callback


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_nan_is_traced(backend):
    model = LSTMRegressor(hidden_size=4, max_iter=5, batch_size=60, callback=spoil("weight_ih_l0", np.nan, 2),
                          backend=backend, random_state=0)  # fmt: skip
    with pytest.raises(FloatingPointError, match=r"In epoch 3 the gradient of weight_ih_l0, .* was no longer finite"):
        model.fit(X, Y)


def test_parameters_that_are_not_finite():

    from numlstm.backends.dispatch import backend_for
    from numlstm.training.diagnosis import divergence
    from numlstm.training.model import Model

    fitted = LSTMRegressor(hidden_size=4, max_iter=1, random_state=0).fit(X, Y)
    network, parameters = fitted._model.network, dict(fitted.parameters)
    backend = backend_for("reference")

    def told(clip_norm=1.0, **changes):
        flat = network.pack(backend, parameters | changes)
        model = Model(network, backend, flat, training=True)
        model.gradient[...] = 0
        return model, divergence(model, 7, clip_norm)

    broken = np.full_like(parameters["bias_output"], np.inf)
    assert told(bias_output=broken)[1] == "In epoch 7 bias_output held numbers that are not finite."
    model, _ = told()
    model.gradient[...] = network.pack(backend, {name: 0 * value for name, value in parameters.items()}
                                       | {"weight_output": np.full_like(parameters["weight_output"], 3e8)})  # fmt: skip
    norm = 3e8 * parameters["weight_output"].size ** 0.5
    largest = f"the largest gradient was that of weight_output, with norm {norm:.3g}"
    assert divergence(model, 2, None) == f"In epoch 2 {largest}; clip_norm=1.0 bounds each step."


def test_advice_of_clipping():
    options = {"hidden_size": 4, "max_iter": 3, "random_state": 0, "learning_rate_init": 1e38, "solver": "sgd"}
    with pytest.raises(FloatingPointError, match=r"In epoch 1 .*; clip_norm=1.0 bounds each step\."):
        LSTMRegressor(**options, clip_norm=None).fit(X, Y)


def convergence_warning(model, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    return next(str(each.message) for each in caught if each.category is ConvergenceWarning)


NOTHING_LEARNT = {"hidden_size": 4, "learning_rate_init": 1e-9, "max_iter": 2, "random_state": 0}


def test_saturated_gates():
    model = LSTMRegressor(**NOTHING_LEARNT, forget_bias=30.0)
    told = convergence_warning(model, Y)
    assert "After epoch 2, 100% of the values of forget_gate_l0 are within 0.05 of 0 or 1: it is saturated" in told
    assert "choose another init or forget_bias" in told
    assert "saturated" not in convergence_warning(LSTMRegressor(**NOTHING_LEARNT), Y)


def test_dead_units():
    dead = spoil("bias_ih_l0", -1e3, 1)
    model = LSTMRegressor(cell="rnn", nonlinearity="relu", callback=dead, **NOTHING_LEARNT)
    told = convergence_warning(model, Y)
    assert "After epoch 2, 100% of the hidden units behind weight_hh_l0 are 0 at all steps: they are dead" in told


def test_the_epoch_is_that_of_the_weights_that_are_kept():
    options = NOTHING_LEARNT | {"max_iter": 3, "early_stopping": True, "forget_bias": 30.0}
    model = LSTMRegressor(**options, callback=spoil("bias_output", 1e3, 1))
    told = convergence_warning(model, Y)
    assert np.argmin(model.validation_loss_curve_) == 0
    assert "After epoch 1, 100% of the values of forget_gate_l0" in told


def test_what_callbacks_see():
    seen = []

    def look(progress):
        seen.append((progress.parameters(), progress.gradients(), progress.saturation()))

    model = LSTMClassifier(hidden_size=4, max_iter=2, callback=look, random_state=0).fit(X, Y > 0)
    parameters, gradients, saturation = seen[-1]
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(parameters[name], value)
        assert gradients[name].shape == value.shape
        assert np.abs(gradients[name]).max() > 0
    assert not np.array_equal(seen[0][0]["weight_hh_l0"], parameters["weight_hh_l0"])
    trace = model.trace(X[:32])
    for k, suffix in enumerate(("_l0", "_l0_reverse")):
        gate = np.concatenate([trace.forget_gate[k, i, : len(x)] for i, x in enumerate(X[:32])])
        expected = ((gate < 0.05) | (gate > 0.95)).mean()
        assert saturation["forget_gate" + suffix] == pytest.approx(expected, abs=1e-3)
