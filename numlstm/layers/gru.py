"""The GRU layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .layer import Layer, documented


@documented
class GRU(Layer):
    """Layers of gated recurrent units, one or several, in one direction or two; batch first.

    Means what `torch.nn.GRU` means where the names are the same.

    Parameters
    ----------
    <<SHARED>>
    recurrent_dropout_mode : {"variational", "candidate"}, default "variational"
        ``"candidate"``: `recurrent_dropout` zeroes that share of the candidate instead, with a new mask at each step
        (Semeniuta et al. 2016).
    zoneout : float in [0, 1), default 0.0
        Share of the units that keep their old value at a step of training (Krueger et al. 2017); elsewhere old and new
        are mixed in that proportion.
    reset_after : bool, default True
        Whether the reset gate is applied after the recurrent product, as in PyTorch, cuDNN and Keras, or before it
        (Cho et al. 2014; ONNX's ``linear_before_reset=0``).
    recurrent_activation, input_activation : str or tuple, default "sigmoid" and "tanh"
        Of the gates, and of the candidate: any that `LSTM` takes.
    preactivation_clip : float, positive, or None, default None
        Bound of the arguments of these activations.
    init : {"keras", "torch"} or ("chrono", steps), default "keras"
        ``"keras"``: Glorot-uniform input weights, orthogonal recurrent weights. ``"torch"``: everything uniform in
        ±1/√H. ``("chrono", steps)``: as "keras", with update gates biased for dependencies of up to so many steps
        (Tallec & Ollivier 2018).
    <<LAST>>

    Attributes
    ----------
    parameters : mapping of str to read-only array
        ``weight_ih_l0`` (3H, D), ``weight_hh_l0`` (3H, H), ``bias_ih_l0`` and ``bias_hh_l0`` (3H,), with
        ``_reverse`` for the other direction and ``l1``, ... for the layers above. Rows are in PyTorch's order: reset
        gate, update gate, candidate. With `layer_norm`, ``layer_norm_weight_l0`` and ``layer_norm_bias_l0``: reset,
        update, candidate, and with `reset_after` the candidate's recurrent part (4H, else 3H).

    Raises
    ------
    TypeError, ValueError
        If a parameter has the wrong type or is out of range, or two make no sense together.

    Notes
    -----
    With σ the logistic function, ⊙ the product unit by unit, and W, R, b the blocks of rows above::

        r = σ(W_r x + R_r h + b_r)                    reset gate
        z = σ(W_z x + R_z h + b_z)                    update gate: what to keep
        n = tanh(W_n x + b_in + r ⊙ (R_n h + b_hn))   candidate; reset before: tanh(W_n x + R_n (r ⊙ h) + b_n)
        h' = (1 - z) ⊙ n + z ⊙ h                      hidden state, the output

    <<THREADS>>

    References
    ----------
    .. [1] K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
       Translation", 2014, equations 5-8.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import GRU
    >>> y, h_n = GRU(3, 5, random_state=0)(np.zeros((2, 7, 3)))
    >>> y.shape, h_n.shape
    ((2, 7, 5), (1, 2, 5))
    """

    cell = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int | list[int],
        num_layers: int = 1,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        merge: str = "concat",
        residual: bool = False,
        layer_norm: bool = False,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        recurrent_dropout_mode: str = "variational",
        zoneout: float = 0.0,
        weight_dropout: float = 0.0,
        recompute: bool = False,
        reset_after: bool = True,
        recurrent_activation: Any = "sigmoid",
        input_activation: Any = "tanh",
        preactivation_clip: float | None = None,
        init: str | tuple[str, int] = "keras",
        backend: str | None = None,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self._start(locals(), backend, dtype, compute_dtype, random_state)
