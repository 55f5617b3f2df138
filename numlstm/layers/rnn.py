"""The plain recurrent layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .layer import Layer, documented


@documented
class RNN(Layer):
    """Plain recurrent layers, one or several, in one direction or two; batch first.

    Means what `torch.nn.RNN` means where the names are the same.

    Parameters
    ----------
    <<SHARED>>
    zoneout : float in [0, 1), default 0.0
        Share of the units that keep their old value at a step of training (Krueger et al. 2017); elsewhere old and new
        are mixed in that proportion.
    nonlinearity : str or tuple, default "tanh"
        The activation of the sum of products: "tanh" and "relu" as in PyTorch, or any activation that `LSTM` takes.
    preactivation_clip : float, positive, or None, default None
        Bound of that sum.
    init : {"keras", "torch"}, default "keras"
        ``"keras"``: Glorot-uniform input weights, orthogonal recurrent weights. ``"torch"``: everything uniform in
        ±1/√H.
    <<LAST>>

    Attributes
    ----------
    parameters : mapping of str to read-only array
        ``weight_ih_l0`` (H, D), ``weight_hh_l0`` (H, H), ``bias_ih_l0`` and ``bias_hh_l0`` (H,), with ``_reverse`` for
        the other direction and ``l1``, ... for the layers above. With `layer_norm`, ``layer_norm_weight_l0`` and
        ``layer_norm_bias_l0`` (H,).

    Raises
    ------
    TypeError, ValueError
        If a parameter has the wrong type or is out of range, or two make no sense together.

    Notes
    -----
    ``h' = tanh(W x + R h + b)`` [1]_. The gradient passes from h' to h through R at every step: it vanishes or explodes
    with the number of steps [2]_, which is what the gates of an LSTM are for.

    <<THREADS>>

    References
    ----------
    .. [1] J. Elman, "Finding Structure in Time", 1990.
    .. [2] Y. Bengio, P. Simard, P. Frasconi, "Learning Long-Term Dependencies with Gradient Descent is Difficult",
       1994.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import RNN
    >>> y, h_n = RNN(3, 5, random_state=0)(np.zeros((2, 7, 3)))
    >>> y.shape, h_n.shape
    ((2, 7, 5), (1, 2, 5))
    """

    cell = "rnn"

    def __init__(
        self,
        input_size: int,
        hidden_size: int | list[int],
        num_layers: int = 1,
        *,
        nonlinearity: Any = "tanh",
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        merge: str = "concat",
        residual: bool = False,
        layer_norm: bool = False,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        weight_dropout: float = 0.0,
        recompute: bool = False,
        preactivation_clip: float | None = None,
        init: str = "keras",
        backend: str | None = None,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self._start(locals(), backend, dtype, compute_dtype, random_state)
