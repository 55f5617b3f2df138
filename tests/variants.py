"""Cells with their options, for tests that should hold for all of them."""

import mgu  # noqa: F401  (registers the cell)
from pairwise import pairwise

from numlstm import cells

LSTM_FACTORS = {
    "gates": ("all", "coupled", "coupled to the input gate", "no input", "no forget", "no output", "only output"),
    "peepholes": (False, True),
    "full_gate_recurrence": (False, True),
    "proj_size": (0, 2),
    "recurrent_activation": (("sigmoid",), ("hard_sigmoid", 0.3, 0.4), ("softsign",)),
    "input_activation": (("tanh",), ("identity",), ("elu", 0.8), ("leaky_relu", 0.1), ("affine", 0.7, 0.1)),
    "output_activation": (("tanh",), ("identity",), ("softplus",), ("scaled_tanh", 1.2, 0.7), ("relu",)),
    "preactivation_clip": (None, 1.1),
    "cell_clip": (None, 0.6),
    "layer_norm": (False, True),
    "candidate_dropout": (0.0, 0.3),
    "recurrent_dropout": (0.0, 0.4),
    "zoneout": ((), (0.3, 0.0), (0.2, 0.4)),
}
GATES = {
    "all": {},
    "coupled": {"coupled_gates": True},
    "coupled to the input gate": {"coupled_gates": "input"},
    "no input": {"input_gate": False},
    "no forget": {"forget_gate": False},
    "no output": {"output_gate": False},
    "only output": {"input_gate": False, "forget_gate": False},
}
ADDED = ("layer_norm", "candidate_dropout", "recurrent_dropout", "zoneout")


def variant(cell, **options):
    """Keyword arguments of a `LayerSpec` that is not the plain one."""
    added = {name: options.pop(name) for name in ADDED if name in options}
    options |= GATES[options.pop("gates", "all")]
    defaults = cells.get(cell).options
    kept = {name: value for name, value in options.items() if value not in (None, defaults[name])}
    return {"cell": cell, "options": tuple(sorted(kept.items()))} | {
        name: value for name, value in added.items() if value
    }


def lstm_variants(seed=0):
    """A list in which every two options of two factors meet."""
    return [variant("lstm", **case) for case in pairwise(LSTM_FACTORS, seed)]


ONE_BY_ONE = [
    *(variant("lstm", **{name: value}) for name, values in LSTM_FACTORS.items() for value in values[1:]),
    *(variant("lstm", input_activation=(name, *cells.ACTIVATIONS[name][1])) for name in cells.ACTIVATIONS),
]
OTHERS = [
    variant(cell, **options, **added)
    for cell, options in [
        ("gru", {}), ("gru", {"reset_after": False}), ("rnn", {}), ("rnn", {"nonlinearity": ("relu",)}), ("mgu", {}),
    ]
    for added in [
        {}, {"layer_norm": True}, {"zoneout": (0.3,)}, {"recurrent_dropout": 0.4}, {"candidate_dropout": 0.3},
        {"layer_norm": True, "zoneout": (0.2,), "recurrent_dropout": 0.3},
    ]
    if cell == "gru" or "candidate_dropout" not in added
]  # fmt: skip
OTHERS += [
    variant(cell, **options, **added)
    for cell, options in [
        ("gru", {"recurrent_activation": ("hard_sigmoid", 0.3, 0.4), "input_activation": ("softsign",)}),
        ("gru", {"reset_after": False, "recurrent_activation": ("affine", 0.2, 0.5), "preactivation_clip": 0.9}),
        ("gru", {"input_activation": ("elu", 0.8), "preactivation_clip": 1.1}),
        ("gru", {"reset_after": False, "input_activation": ("scaled_tanh", 1.2, 0.7)}),
        ("rnn", {"nonlinearity": ("scaled_tanh", 1.2, 0.7)}), ("rnn", {"nonlinearity": ("leaky_relu", 0.1)}),
        ("rnn", {"preactivation_clip": 0.7}),
    ]
    for added in [{}, {"layer_norm": True, "zoneout": (0.2,), "recurrent_dropout": 0.3}]
]  # fmt: skip


def name_of(kind):
    """A short name for a test."""
    words = [f"{name}={value}" for name, value in (*kind["options"], *kind.items()) if name not in ("cell", "options")]
    return " ".join([kind["cell"], *words])
