"""The LSTM layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .layer import Layer, documented


@documented
class LSTM(Layer):
    """Long Short-Term Memory layers, one or several, in one direction or two; batch first.

    Means what `torch.nn.LSTM` means where the names are the same.

    Parameters
    ----------
    <<SHARED>>
    recurrent_dropout_mode : {"variational", "candidate"}, default "variational"
        ``"candidate"``: `recurrent_dropout` zeroes that share of the cell input instead, with a new mask at each step
        (Semeniuta et al. 2016), so that the memory itself is never disturbed.
    zoneout : float in [0, 1), or tuple (p_h, p_c), default 0.0
        Share of the units of hidden and cell state that keep their old value at a step of training (Krueger et al.
        2017); elsewhere old and new are mixed in that proportion.
    proj_size : int, at least 0 and below `hidden_size`, default 0
        Length P of a projection of the hidden state (Sak et al. 2014): the output, and what the recurrent weights
        read. 0 for none.
    peepholes : bool, default False
        Whether the gates see the cell state (Gers & Schmidhuber 2000), through parameters ``peephole_l0`` (3H).
    coupled_gates : bool or "input", default False
        Whether the input gate is one minus the forget gate (CIFG in [3]_); with ``"input"`` the forget gate is one
        minus the input gate (ONNX's ``input_forget``). The rows of the gate that follows stay in the weights, unused.
    input_gate, forget_gate, output_gate : bool, default True
        Whether the gate exists; without it everything passes (NIG, NFG and NOG in [3]_). Its rows stay in the weights,
        unused.
    full_gate_recurrence : bool, default False
        Whether every gate also reads the gates of the step before (FGR in [3]_; Hochreiter & Schmidhuber 1997),
        through ``weight_gates_l0`` (3H, 3H). The state then holds the gates in use, too: (h, c, i, f, o).
    recurrent_activation, input_activation, output_activation : str or tuple, default "sigmoid", "tanh" and "tanh"
        Of the gates, of the cell input, and of the cell state on its way out. One of ONNX's: "identity" (NIAF and NOAF
        in [3]_), "affine", "sigmoid", "tanh", "scaled_tanh", "relu", "leaky_relu", "thresholded_relu", "hard_sigmoid",
        "elu", "softsign", "softplus"; a tuple (name, alpha, beta) sets parameters.
    preactivation_clip : float, positive, or None, default None
        Bound of the arguments of the activations of gates and cell input.
    cell_clip : float, positive, or None, default None
        Bound of the cell state.
    init : {"keras", "torch"} or ("chrono", steps), default "keras"
        ``"keras"``: Glorot-uniform input weights, orthogonal recurrent weights, forget bias 1. ``"torch"``:
        everything uniform in ±1/√H. ``("chrono", steps)``: as "keras", with gates biased for dependencies of up to so
        many steps (Tallec & Ollivier 2018).
    forget_bias : float or None, default None
        Bias of the forget gate at first; None leaves it to `init`.
    <<LAST>>

    Attributes
    ----------
    parameters : mapping of str to read-only array
        ``weight_ih_l0`` (4H, D), ``weight_hh_l0`` (4H, H), ``bias_ih_l0`` and ``bias_hh_l0`` (4H,), with
        ``_reverse`` for the other direction and ``l1``, ... for the layers above, which read H · directions
        features. Rows are in PyTorch's order: input gate, forget gate, cell input, output gate. Where there are others:
        ``weight_hr_l0`` (P, H), ``peephole_l0`` (3H: i, f, o), ``weight_gates_l0`` (3H, 3H), ``layer_norm_weight_l0``
        and ``layer_norm_bias_l0`` (5H: i, f, g, o, cell state).

    Raises
    ------
    TypeError, ValueError
        If a parameter has the wrong type or is out of range, or two make no sense together.

    Notes
    -----
    With σ the logistic function, ⊙ the product unit by unit, and W, R, b the blocks of rows above::

        i = σ(W_i x + R_i h + b_i)        input gate: what to let in
        f = σ(W_f x + R_f h + b_f)        forget gate: what to keep
        g = tanh(W_g x + R_g h + b_g)     cell input
        o = σ(W_o x + R_o h + b_o)        output gate: what to give out
        c' = f ⊙ c + i ⊙ g                memory cell
        h' = o ⊙ tanh(c')                 hidden state, the output

    The gradient passes from c' to c through f alone: as long as the forget gate stays open it does not vanish
    [1]_. Without f this is the LSTM of [2]_. `docs/guide/cells.md` has the equations of all variants.

    <<THREADS>>

    References
    ----------
    .. [1] F. Gers, J. Schmidhuber, F. Cummins, "Learning to Forget: Continual Prediction with LSTM", 2000.
    .. [2] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997.
    .. [3] K. Greff et al., "LSTM: A Search Space Odyssey", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTM
    >>> layer = LSTM(3, 5, random_state=0)
    >>> y, (h_n, c_n) = layer(np.zeros((2, 7, 3)))
    >>> y.shape, h_n.shape, c_n.shape
    ((2, 7, 5), (1, 2, 5), (1, 2, 5))
    """

    cell = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int | list[int],
        num_layers: int = 1,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        merge: str = "concat",
        residual: bool = False,
        layer_norm: bool = False,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        recurrent_dropout_mode: str = "variational",
        zoneout: float | tuple[float, float] = 0.0,
        weight_dropout: float = 0.0,
        recompute: bool = False,
        peepholes: bool = False,
        coupled_gates: bool | str = False,
        input_gate: bool = True,
        forget_gate: bool = True,
        output_gate: bool = True,
        full_gate_recurrence: bool = False,
        recurrent_activation: Any = "sigmoid",
        input_activation: Any = "tanh",
        output_activation: Any = "tanh",
        preactivation_clip: float | None = None,
        cell_clip: float | None = None,
        init: str | tuple[str, int] = "keras",
        forget_bias: float | None = None,
        backend: str | None = None,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self._start(locals(), backend, dtype, compute_dtype, random_state)
