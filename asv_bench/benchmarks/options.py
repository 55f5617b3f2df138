"""The cost of each option in training, at one shape."""

from .common import REPEAT, validated

SHAPE = (50, 32, 64, 128)  # (T, N, I, H)
OPTIONS = {
    "LSTM": ("LSTM", {}),
    "peepholes": ("LSTM", {"peepholes": True}),
    "coupled_gates": ("LSTM", {"coupled_gates": True}),
    "input_gate=False": ("LSTM", {"input_gate": False}),
    "full_gate_recurrence": ("LSTM", {"full_gate_recurrence": True}),
    "output_activation=identity": ("LSTM", {"output_activation": "identity"}),
    "proj_size": ("LSTM", {"proj_size": 64}),
    "layer_norm": ("LSTM", {"layer_norm": True}),
    "preactivation_clip, cell_clip": ("LSTM", {"preactivation_clip": 1.0, "cell_clip": 0.5}),
    "input_dropout": ("LSTM", {"input_dropout": 0.2}),
    "recurrent_dropout": ("LSTM", {"recurrent_dropout": 0.2}),
    "recurrent_dropout, candidate": ("LSTM", {"recurrent_dropout": 0.2, "recurrent_dropout_mode": "candidate"}),
    "zoneout": ("LSTM", {"zoneout": (0.1, 0.1)}),
    "weight_dropout": ("LSTM", {"weight_dropout": 0.2}),
    "bidirectional": ("LSTM", {"bidirectional": True}),
    "bidirectional, merge=sum": ("LSTM", {"bidirectional": True, "merge": "sum"}),
    "num_layers=2, dropout": ("LSTM", {"num_layers": 2, "dropout": 0.2}),
    "num_layers=2, residual": ("LSTM", {"num_layers": 2, "residual": True}),
    "unequal lengths": ("LSTM", {"ragged": True}),
    "float64": ("LSTM", {"dtype": "float64"}),
    "GRU, reset_after=False": ("GRU", {"reset_after": False}),
    "GRU, layer_norm": ("GRU", {"layer_norm": True}),
    "RNN, nonlinearity=relu": ("RNN", {"nonlinearity": "relu"}),
}


class Options:
    """A step of training."""

    params = tuple(OPTIONS)
    param_names = ("options",)
    repeat = REPEAT

    def setup(self, name):
        cell, options = OPTIONS[name]
        self.problem = validated(cell, SHAPE, **options)

    def time_training_step(self, name):
        self.problem.training_step()
