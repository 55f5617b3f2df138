"""Layers of every cell and option: PyTorch's numbers, gradients, streams, traces, and what is refused."""

import re

import numpy as np
import pytest

from numlstm import GRU, LSTM, RNN

X = np.random.default_rng(0).normal(size=(4, 6, 3))
LENGTHS = [6, 2, 5, 1]
LAYERS = {
    "lstm, projected": (LSTM, {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
    "lstm, all gates seen": (LSTM, {"peepholes": True, "full_gate_recurrence": True, "layer_norm": True}),
    "lstm, merged": (LSTM, {"num_layers": 2, "bidirectional": True, "merge": "mean", "coupled_gates": True}),
    "lstm, of two sizes": (LSTM, {"hidden_size": [5, 4], "dropout": 0.3, "zoneout": (0.2, 0.4)}),
    "lstm, dropped": (LSTM, {"recurrent_dropout": 0.4, "recurrent_dropout_mode": "candidate", "weight_dropout": 0.3}),
    "lstm, clipped": (LSTM, {"cell_clip": 0.5, "preactivation_clip": 1.0, "input_activation": ("elu", 0.7)}),
    "gru": (GRU, {"num_layers": 2, "bidirectional": True}),
    "gru, residual": (GRU, {"num_layers": 3, "residual": True, "recurrent_dropout": 0.3, "dropout": 0.2}),
    "lstm, led by its input gate": (LSTM, {"coupled_gates": "input", "peepholes": True, "proj_size": 2}),
    "gru, squashed otherwise": (GRU, {"recurrent_activation": "hard_sigmoid", "input_activation": ("elu", 0.7)}),
    "rnn, clipped": (RNN, {"nonlinearity": "softsign", "preactivation_clip": 0.8, "num_layers": 2}),
    "gru, reset before": (GRU, {"reset_after": False, "layer_norm": True, "zoneout": 0.3}),
    "rnn": (RNN, {"num_layers": 2, "bidirectional": True, "merge": "sum", "input_dropout": 0.3}),
    "rnn, rectified": (RNN, {"nonlinearity": "relu", "weight_dropout": 0.3, "hidden_size": [5, 2]}),
}
every_layer = pytest.mark.parametrize(("kind", "options"), LAYERS.values(), ids=LAYERS)


def make(kind, options, **more):
    """A small layer in float64 whose parameters are all in use."""
    options = {"input_size": 3, "hidden_size": 5, "dtype": "float64", "init": "torch", "random_state": 0} | options
    return kind(**options | more)


def states_of(state):
    """All arrays of a state."""
    if isinstance(state, np.ndarray):
        return [state]
    return [array for part in state for array in states_of(part)]


def total(value, weights):
    return sum((w * part).sum() for w, part in zip(weights, states_of(value), strict=True))


# PyTorch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (GRU, {}), (GRU, {"num_layers": 2, "bidirectional": True}), (GRU, {"bias": False}),
        (RNN, {}), (RNN, {"nonlinearity": "relu", "num_layers": 2, "bidirectional": True}),
        (LSTM, {"proj_size": 2}), (LSTM, {"proj_size": 4, "num_layers": 2, "bidirectional": True}),
    ],
)  # fmt: skip
def test_torch_has_the_same_numbers(kind, options):
    torch = pytest.importorskip("torch")
    layer = make(kind, options)
    theirs = getattr(torch.nn, kind.__name__)(3, 5, batch_first=True, dtype=torch.float64, **options)
    theirs.load_state_dict({name: torch.tensor(value) for name, value in layer.parameters.items()})
    y, state, pullback = layer.vjp(X)
    x = torch.tensor(X, requires_grad=True)
    y_theirs, state_theirs = theirs(x)
    rng = np.random.default_rng(1)
    dy, dstate = rng.normal(size=y.shape), [rng.normal(size=array.shape) for array in states_of(state)]
    parts = [state_theirs] if isinstance(state, np.ndarray) else state_theirs
    loss = (torch.tensor(dy) * y_theirs).sum() + sum(
        (torch.tensor(d) * each).sum() for d, each in zip(dstate, parts, strict=True)
    )
    loss.backward()
    dx, _, dparameters = pullback(dy, dstate[0] if isinstance(state, np.ndarray) else tuple(dstate))
    np.testing.assert_allclose(y, y_theirs.detach(), rtol=1e-12, atol=1e-14)
    for ours, each in zip(states_of(state), parts, strict=True):
        np.testing.assert_allclose(ours, each.detach(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, x.grad, rtol=1e-11, atol=1e-13)
    for name, value in theirs.named_parameters():
        np.testing.assert_allclose(dparameters[name], value.grad, rtol=1e-11, atol=1e-13, err_msg=name)


# Gradients, backends, threads -------------------------------------------------------------------------------


@every_layer
@pytest.mark.parametrize("training", [False, True])
def test_pullback_is_the_gradient(kind, options, training):
    layer, rng = make(kind, options), np.random.default_rng(1)
    parameters = dict(layer.parameters)
    y, state = layer(X, lengths=LENGTHS)
    dy, dstate = rng.normal(size=y.shape), [rng.normal(size=array.shape) for array in states_of(state)]
    names = len(layer._stack.state_names)
    given = [dstate] if not isinstance(state, np.ndarray) and len(dstate) != names else dstate
    given = given[0] if names == 1 else given

    def run(x, parameters):
        layer.set_parameters(parameters)
        y, state, pullback = layer.vjp(x, lengths=LENGTHS, training=training, rng=3)
        return (dy * y).sum() + total(state, dstate), pullback

    of_layers = len(dstate) // names
    if of_layers > 1 and names > 1:
        given = [dstate[k * of_layers : (k + 1) * of_layers] for k in range(names)]
    dx, _, dparameters = run(X, parameters)[1](dy, given)
    directions = {name: rng.normal(size=value.shape) for name, value in parameters.items()}
    direction = rng.normal(size=X.shape)
    moved = [
        {name: value + step * directions[name] for name, value in parameters.items()} for step in (1e-6, -1e-6)
    ]  # fmt: skip
    slope = (run(X, moved[0])[0] - run(X, moved[1])[0]) / 2e-6
    assert slope == pytest.approx(sum((dparameters[name] * directions[name]).sum() for name in parameters), rel=1e-6)
    slope = (run(X + 1e-6 * direction, parameters)[0] - run(X - 1e-6 * direction, parameters)[0]) / 2e-6
    assert slope == pytest.approx((dx * direction).sum(), rel=1e-6)


@every_layer
def test_backends_agree_on_what_is_dropped(kind, options):
    results = []
    for backend in ("cpu", "reference"):
        layer = make(kind, options, backend=backend)
        y, state, pullback = layer.vjp(X, lengths=LENGTHS, training=True, rng=7)
        dx, _, dparameters = pullback(np.ones_like(y))
        results.append([y, *states_of(state), dx, *dparameters.values()])
    for ours, reference in zip(*results, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-10, atol=1e-12)


@every_layer
def test_threads_and_batch_order_change_no_bit(kind, options, monkeypatch):
    x = np.random.default_rng(2).normal(size=(40, 9, 3))
    layer = make(kind, options, dtype="float32")
    runs = []
    for count in ("1", "3"):
        monkeypatch.setenv("NUMLSTM_NUM_THREADS", count)
        y, state, pullback = layer.vjp(x, training=True, rng=7)
        dx, _, dparameters = pullback(np.ones_like(y))
        runs.append([y, *states_of(state), dx, *dparameters.values()])
    for one, three in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, three)
    order = np.random.default_rng(3).permutation(40)
    np.testing.assert_array_equal(layer(x[order])[0], layer(x)[0][order])


# Streams, states, traces ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options"), [value for value in LAYERS.values() if not value[1].get("bidirectional")])
def test_a_stream_takes_the_steps_of_a_sequence(kind, options):
    layer = make(kind, options)
    y, state = layer(X)
    stream = layer.stream(4)
    first = np.stack([stream.step(X[:, t]) for t in range(3)], axis=1)
    kept = stream.state
    stream.reset()
    stream.state = kept
    rest = np.stack([stream.step(X[:, t]) for t in range(3, 6)], axis=1)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), y, rtol=1e-12, atol=1e-14)
    for ours, wanted in zip(states_of(stream.state), states_of(state), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-14)


@every_layer
def test_a_state_goes_on_where_it_was_left(kind, options):
    layer = make(kind, options | {"bidirectional": False, "merge": "concat"})
    y, state = layer(X)
    _, half = layer(X[:, :3])
    rest, end = layer(X[:, 3:], half)
    np.testing.assert_allclose(rest, y[:, 3:], rtol=1e-12, atol=1e-14)
    for ours, wanted in zip(states_of(end), states_of(state), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-14)


@every_layer
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_traces_satisfy_the_equations(kind, options, backend):
    layer = make(kind, options, backend=backend)
    trace = layer.trace(X, lengths=LENGTHS)
    _, state = layer(X, lengths=LENGTHS)
    hidden = trace.hidden_state
    for h, h_n in (
        zip(hidden, states_of(state), strict=False)
        if isinstance(hidden, list)
        else zip(hidden, states_of(state)[0], strict=True)
    ):
        reverse = not np.array_equal(h[np.arange(4), np.array(LENGTHS) - 1], h_n)
        np.testing.assert_array_equal(h[:, 0] if reverse else h[np.arange(4), np.array(LENGTHS) - 1], h_n)
    for value in trace.values():
        for array in value:
            assert not array[np.arange(6) >= np.array(LENGTHS)[:, np.newaxis]].any()
    if kind is GRU and "zoneout" not in options:
        h, z, n = hidden[0], trace.update_gate[0], trace.candidate[0]
        before = np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], axis=1)
        np.testing.assert_allclose(h[0], (z * before + (1 - z) * n)[0], rtol=1e-12, atol=1e-14)
    if kind is LSTM and not {"zoneout", "cell_clip"} & {*options}:
        c = trace.cell_state[0]
        before = np.concatenate([np.zeros_like(c[:, :1]), c[:, :-1]], axis=1)
        made = trace.forget_gate[0] * before + trace.input_gate[0] * trace.cell_input[0]
        np.testing.assert_allclose(c[0], made[0], rtol=1e-12, atol=1e-14)


def test_a_trace_of_one_sequence_and_of_a_list():
    layer = make(LSTM, {"num_layers": 2})
    single = layer.trace(X[0])
    assert single.forget_gate.shape == (2, 6, 5)
    several = layer.trace([X[0], X[1, :2]])
    np.testing.assert_array_equal(several["forget_gate"][:, 0], single.forget_gate)
    assert several.lengths.tolist() == [6, 2]
    assert list(several) == ["input_gate", "forget_gate", "cell_input", "output_gate", "hidden_state", "cell_state"]
    with pytest.raises(AttributeError, match="but no reset_gate"):
        several.reset_gate  # noqa: B018


def test_gates_that_are_off_let_everything_pass():
    trace = make(LSTM, {"input_gate": False, "output_gate": False}).trace(X)
    assert (trace.input_gate == 1).all()
    assert (trace.output_gate == 1).all()
    coupled = make(LSTM, {"coupled_gates": True}).trace(X)
    np.testing.assert_allclose(coupled.input_gate, 1 - coupled.forget_gate, rtol=1e-14)


def test_gates_coupled_either_way():
    """With weights of the one gate for those of the other with their signs changed both are the same."""
    by_forget, by_input = (make(LSTM, {"coupled_gates": value, "peepholes": True}) for value in (True, "input"))
    parameters = {name: value.copy() for name, value in by_forget.parameters.items()}
    for value in parameters.values():
        value[:5] = -value[5:10]
    by_input.set_parameters(parameters)
    trace = by_input.trace(X)
    np.testing.assert_allclose(trace.forget_gate, 1 - trace.input_gate, rtol=1e-14)
    np.testing.assert_allclose(trace.hidden_state, by_forget.trace(X).hidden_state, rtol=1e-12, atol=1e-14)


# Initial parameters -----------------------------------------------------------------------------------------


def test_chrono_biases_the_gates_for_long_memory():
    layer = LSTM(3, 500, init=("chrono", 100), random_state=0)
    bias = layer.parameters["bias_ih_l0"].reshape(4, 500)
    assert (bias[1] >= 0).all()
    assert bias[1].max() <= np.log(99)
    np.testing.assert_array_equal(bias[0], -bias[1])
    np.testing.assert_allclose(np.exp(bias[1]).mean(), 50, rtol=0.1)  # uniform in 1..99
    coupled = LSTM(3, 500, init=("chrono", 100), coupled_gates="input", random_state=0).parameters["bias_ih_l0"]
    np.testing.assert_array_equal(coupled[:500], bias[0])
    assert not coupled[500:].any()
    gru = GRU(3, 500, init=("chrono", 100), random_state=0).parameters["bias_ih_l0"].reshape(3, 500)
    assert (gru[1] >= 0).all()
    assert not gru[[0, 2]].any()


@pytest.mark.parametrize("init", ["keras", "torch"])
@pytest.mark.parametrize(("layer_norm", "name"), [(False, "bias_ih_l0"), (True, "layer_norm_bias_l0")])
def test_forget_bias_where_the_gate_follows_from_the_other(init, layer_norm, name):
    options = {"init": init, "layer_norm": layer_norm, "coupled_gates": "input", "random_state": 0}
    np.testing.assert_array_equal(LSTM(3, 5, forget_bias=2.5, **options).parameters[name][:5], -2.5)
    if init == "keras":
        np.testing.assert_array_equal(LSTM(3, 5, **options).parameters[name][:5], -1.0)


@pytest.mark.parametrize("init", ["keras", "torch"])
@pytest.mark.parametrize(("layer_norm", "name"), [(False, "bias_ih_l0"), (True, "layer_norm_bias_l0")])
def test_forget_bias_is_what_is_added(init, layer_norm, name):
    parameters = LSTM(3, 5, init=init, forget_bias=2.5, layer_norm=layer_norm, random_state=0).parameters
    assert (parameters[name][5:10] == 2.5).all()
    assert layer_norm or not parameters["bias_hh_l0"][5:10].any()


@pytest.mark.parametrize("name", ["preactivation_clip", "cell_clip"])
@pytest.mark.parametrize("bound", [1e39, 3.5e38])
def test_bounds_beyond_float32_are_none(name, bound):
    """Kernels know none but an infinite one, where gradients are concerned, too."""
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    results = []
    for value in (bound, None):
        y, _, pullback = LSTM(3, 5, random_state=0, backend="cpu", **{name: value}).vjp(x)
        results.append([y, *pullback(np.ones_like(y))[2].values()])
    for got, want in zip(*results, strict=True):
        np.testing.assert_array_equal(got, want)


def test_numbers_that_no_float_can_be_are_refused():
    with pytest.raises(ValueError, match=r"^cell_clip must be in \[5e-324, inf\), got 1000"):
        LSTM(3, 5, cell_clip=10**400)
    with pytest.raises(ValueError, match=r"^nonlinearity: 'elu' must be in \[-inf, inf\), got 1000"):
        RNN(3, 5, nonlinearity=("elu", 10**400))


# Refusals ---------------------------------------------------------------------------------------------------

REFUSED = [
    (LSTM, {"dropout": 0.2}, "dropout=0.2 and num_layers=1 do not go together"),
    (LSTM, {"residual": True}, "residual=True and num_layers=1 do not go together"),
    (GRU, {"hidden_size": [5, 4], "residual": True}, "residual=True and hidden_size=(5, 4) do not go together"),
    (RNN, {"merge": "sum"}, "merge='sum' and bidirectional=False do not go together"),
    (RNN, {"hidden_size": 1, "layer_norm": True}, "layer_norm=True and hidden_size=1 do not go together"),
    (GRU, {"hidden_size": [5, 4], "num_layers": 3}, "num_layers must be 2 with hidden_size=[5, 4], got 3"),
    (LSTM, {"proj_size": 5}, "proj_size=5 and hidden_size=5 do not go together"),
    (LSTM, {"coupled_gates": True, "input_gate": False}, "coupled_gates=True and input_gate=False do not go together"),
    (LSTM, {"coupled_gates": True, "forget_gate": False}, "coupled_gates=True and forget_gate=False do not go toge"),
    (LSTM, {"input_gate": False, "forget_gate": False, "output_gate": False, "peepholes": True},
     "peepholes=True and input_gate=False and forget_gate=False and output_gate=False do not go together"),
    (LSTM, {"input_gate": False, "forget_gate": False, "output_gate": False, "full_gate_recurrence": True},
     "full_gate_recurrence=True and input_gate=False"),
    (LSTM, {"input_gate": False, "forget_gate": False, "output_gate": False, "recurrent_activation": "relu"},
     "recurrent_activation=('relu',) and input_gate=False"),
    (LSTM, {"forget_bias": 1.0, "bias": False}, "forget_bias=1.0 and bias=False do not go together"),
    (LSTM, {"forget_bias": 1.0, "forget_gate": False}, "forget_bias=1.0 and forget_gate=False do not go together"),
    (LSTM, {"forget_bias": 1.0, "init": ("chrono", 9)}, "forget_bias=1.0 and init=('chrono', 9) do not go together"),
    (GRU, {"init": ("chrono", 9), "bias": False}, "init=('chrono', 9) and bias=False do not go together"),
    (LSTM, {"init": ("chrono", 9), "forget_gate": False}, "init=('chrono', 9) and forget_gate=False do not go toge"),
    (RNN, {"init": ("chrono", 9)}, "init=('chrono', 9) and cell='rnn' do not go together"),
    (LSTM, {"init": "chrono"}, "init='chrono' needs the longest dependency in steps: init=('chrono', steps)"),
    (LSTM, {"init": ("chrono", 2)}, "init: steps of 'chrono' must be at least 3, got 2"),
    (LSTM, {"init": ("keras", 2)}, "init must be one of ['keras', 'torch', 'chrono'] or ('chrono', steps), got"),
    (GRU, {"recurrent_dropout_mode": "candidate"}, "recurrent_dropout_mode='candidate' needs recurrent_dropout above"),
    (GRU, {"zoneout": (0.1, 0.2)}, "zoneout must be a number with cell='gru', which has one state, got (0.1, 0.2)"),
    (LSTM, {"zoneout": (0.1,)}, "zoneout must be a number or a tuple (p_h, p_c), got 1 numbers"),
    (LSTM, {"zoneout": 1.0}, "zoneout must be in [0.0, 1.0), got 1.0"),
    (LSTM, {"cell_clip": 0.0}, "cell_clip must be in [5e-324, inf), got 0.0"),
    (LSTM, {"input_activation": "selu"}, "input_activation must be one of ['identity', 'affine', 'sigmoid'"),
    (LSTM, {"input_activation": ("relu", 1.0)}, "input_activation must have at most 0 parameters for 'relu', got 1"),
    (LSTM, {"hidden_size": []}, "hidden_size must be an integer or a list with one for each layer, got an empty list"),
    (LSTM, {"hidden_size": [5, 0]}, "hidden_size[1] must be at least 1, got 0"),
    (LSTM, {"coupled_gates": "forget"}, "coupled_gates must be True, False or 'input', got 'forget'"),
    (LSTM, {"coupled_gates": "input", "forget_gate": False}, "coupled_gates='input' and forget_gate=False do not go"),
    (GRU, {"preactivation_clip": -1.0}, "preactivation_clip must be in [5e-324, inf), got -1.0"),
    (RNN, {"nonlinearity": "sine"}, "nonlinearity must be one of ['identity', "),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_what_makes_no_sense_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        kind(**{"input_size": 3, "hidden_size": 5} | options)


@pytest.mark.parametrize(
    "options", [{"peepholes": 1}, {"input_activation": 3}, {"zoneout": "much"}, {"reset_after": None}]
)
def test_wrong_types_are_refused(options):
    (name,) = options
    with pytest.raises(TypeError, match=f"^{name} must be"):
        (GRU if name == "reset_after" else LSTM)(3, 5, **options)


def test_states_of_layers_that_differ_in_size():
    layer = make(LSTM, {"hidden_size": [5, 4]})
    with pytest.raises(ValueError, match="state: h_0 must be a list of 2 arrays, as layers differ in size"):
        layer(X, (np.zeros((2, 4, 5)), np.zeros((2, 4, 5))))
    with pytest.raises(ValueError, match=re.escape("state: c_0[1] must have shape (4, 4), got (4, 5)")):
        layer(X, ([np.zeros((4, 5)), np.zeros((4, 4))], [np.zeros((4, 5)), np.zeros((4, 5))]))
