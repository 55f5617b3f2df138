"""The flow of gradients through the steps: where gradients vanish or explode, and which paths carry them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.contract import LayerSpec
from ..checks import check_option
from ..layers.layer import Layer
from .lessons import Lesson, lesson_of
from .reading import KEEPS


@dataclass(frozen=True)
class GradientFlow:
    """How large the gradient of a loss is at each step, in each layer.

    The first axis counts layers and directions, as in `Trace`. Steps past the end of a sequence are NaN.

    Attributes
    ----------
    loss : float
        The mean loss of these sequences, which `fit` minimises.
    hidden : float64 array, shape (layers · directions, n, T)
        The norm of dLoss/dh_t, where h_t is the hidden state that step t passes to the next step, to the layer above
        and to the output layer.
    cell : float64 array, shape (layers · directions, n, T), or None
        The norm of dLoss/dc_t, where c_t is the cell state that step t passes to the next step. None if cells have no
        cell state.
    kept : float64 array, shape (layers · directions, n, T)
        The share of the gradient that comes back to step t through the forget gates of the next step, or through the
        update gates of a GRU: the norm of this part divided by the sum of the norms of both parts. The other part
        comes through the recurrent weights. It is 0 for plain RNNs, and NaN at last steps and where no gradient comes
        back.
    spectral_radius : list of dict of str to float
        The largest absolute eigenvalue of the recurrent weights of each gate, by its name, for each layer and
        direction. The gradient of a plain RNN vanishes if it is below 1, and may explode if it is above 1.
    lengths : int array, shape (n,)
        Steps of each sequence.
    reverse : tuple of bool
        For each layer and direction, whether it runs from the last step to the first.
    """

    loss: float
    hidden: np.ndarray
    cell: np.ndarray | None
    kept: np.ndarray
    spectral_radius: list[dict[str, float]]
    lengths: np.ndarray
    reverse: tuple[bool, ...]

    @property
    def state(self) -> np.ndarray:
        """The norm of the gradient of the whole state, hidden and cell state together."""
        return self.hidden if self.cell is None else np.hypot(self.hidden, self.cell)

    def by_lag(self, name: str = "state", layer: int = -1) -> np.ndarray:
        """The mean over all sequences, by the number of steps before the last one that a layer computes.

        Parameters
        ----------
        name : {"state", "hidden", "cell", "kept"}, default "state"
        layer : int, default -1
            The layer and direction.

        Returns
        -------
        float64 array, shape (T,)
            NaN where no sequence has a value.

        Raises
        ------
        ValueError
            If the flow has no such values: for example cell states of cells that have none.
        """
        names = [norm for norm in ("state", "hidden", "cell", "kept") if getattr(self, norm) is not None]
        values = getattr(self, check_option(name, "name", names))
        total, count = np.zeros(values.shape[2]), np.zeros(values.shape[2])
        for row, length in zip(values[layer], self.lengths.tolist(), strict=True):
            backwards = row[:length] if self.reverse[layer] else row[:length][::-1]
            known = ~np.isnan(backwards)
            total[:length][known] += backwards[known]
            count[:length] += known
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def gradient_flow(model: Any, X: Any, y: Any, *, lengths: Any = None, static: Any = None) -> GradientFlow:
    """Measure the gradient of a model's training loss at every step.

    Parameters
    ----------
    model : fitted estimator
    X, y
        Sequences and targets, in forms that its `fit` takes.
    lengths : int array, shape (n,); optional
        Steps of each sequence of a padded array.
    static : array, shape (n, F); optional
        Static features, as in `fit`.

    Returns
    -------
    GradientFlow

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError, ValueError
        If the model is not an estimator of sequences, or `fit` does not take X and y.

    Notes
    -----
    The function goes back step by step, in the order of back-propagation through time, and uses the gradients of the
    cell. So the numbers are exact for every cell and option. There is no dropout, and zoneout works as in prediction.

    References
    ----------
    .. [1] S. Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", 1991.
    .. [2] R. Pascanu, T. Mikolov, Y. Bengio, "On the Difficulty of Training Recurrent Neural Networks", 2013.

    Examples
    --------
    >>> from numlstm import LSTMRegressor
    >>> from numlstm.datasets import make_adding
    >>> from numlstm.inspection import gradient_flow
    >>> X, y = make_adding(32, length=50, random_state=0)
    >>> remaining = {}
    >>> for cell, init in [("lstm", "chrono"), ("rnn", "torch")]:
    ...     model = LSTMRegressor(cell=cell, init=init, pooling="last", batch_size=32, max_iter=2, random_state=0)
    ...     by_lag = gradient_flow(model.fit(X, y), X, y).by_lag()
    ...     remaining[cell] = by_lag[40] / by_lag[0]
    >>> bool(remaining["lstm"] > 0.01), bool(remaining["rnn"] < 1e-6)
    (True, True)
    """
    lesson = lesson_of(model, X, y, lengths, static)
    loss, dy, dfinal = lesson.output_gradients()
    walk = _BackwardWalk(lesson)
    for layer in reversed(range(walk.stack.num_layers)):
        dy = walk.back(layer, dy, dfinal)
    return walk.result(loss)


class _BackwardWalk:
    """Goes back through the layers, and through the steps of each layer."""

    def __init__(self, lesson: Lesson) -> None:
        self.stack, self.lesson = lesson.stack, lesson
        rows, steps = lesson.x.shape[:2]
        self.trace = lesson.trace()
        shape = len(self.stack.specs), rows, steps
        self.norms = {name: np.full(shape, np.nan) for name in ("hidden", "cell", "kept")}

    def back(self, layer: int, dy: np.ndarray | None, dfinal: list[list[Any]]) -> np.ndarray:
        """The gradient of a layer's inputs, from that of its outputs."""
        stack, x = self.stack, self.inputs(layer)
        if dy is not None and stack.merges and stack.merge == "mean":
            dy = dy * 0.5
        dx = np.zeros(x.shape)
        for direction in range(stack.directions):
            index = layer * stack.directions + direction
            dhidden = np.zeros((*x.shape[:2], self.trace["hidden_state"][index].shape[-1]))
            if dy is not None:
                dhidden += stack.part(dy, direction)
            if dfinal[index][0] is not None:
                last = np.zeros_like(self.lesson.lengths) if direction else self.lesson.lengths - 1
                dhidden[np.arange(len(x)), last] += dfinal[index][0]
            dx += self.back_through_steps(index, direction == 1, x, dhidden)
        if stack.residual and layer and dy is not None:
            dx += dy
        return dx

    def inputs(self, layer: int) -> np.ndarray:
        """The inputs of a layer, (N, T, D)."""
        x = self.lesson.x
        for below in range(layer):
            first = below * self.stack.directions
            hidden = self.trace["hidden_state"][first : first + self.stack.directions]
            y = np.concatenate(hidden, axis=-1)
            if self.stack.merges:
                y = np.mean(hidden, axis=0) if self.stack.merge == "mean" else np.sum(hidden, axis=0)
            x = y + x if self.stack.residual and below else y
        return x

    def back_through_steps(self, index: int, reverse: bool, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """The gradient of a layer's inputs in one direction, from that of its outputs; records the norms."""
        layer = self.lesson.single_layer(index)
        in_order = (lambda values: _reversed(values, self.lesson.lengths)) if reverse else lambda values: values
        x, dy = in_order(x), in_order(dy)
        states = [in_order(self.trace[name][index]) for name in ("hidden_state", "cell_state") if name in self.trace]
        gate = next((in_order(self.trace[name][index]) for name in KEEPS if name in self.trace), None)
        norms = {name: np.full(dy.shape[:2], np.nan) for name in self.norms}
        dx, carried = np.zeros(x.shape), [np.zeros(state[:, 0].shape) for state in states]
        steps, total = x.shape[1], np.zeros_like(dy[:, 0])
        for step in reversed(range(steps)):
            if step < steps - 1:
                norms["kept"][:, step] = _kept_share(carried, None if gate is None else gate[:, step + 1], total)
            total = dy[:, step] + carried[0]
            norms["hidden"][:, step] = np.linalg.norm(total, axis=1)
            if len(states) == 2:
                norms["cell"][:, step] = np.linalg.norm(carried[1], axis=1)
            previous = [np.zeros_like(state[:, 0]) if step == 0 else state[:, step - 1] for state in states]
            dx[:, step], carried = _step_backward(layer, x[:, step], previous, [total, *carried[1:]])
        for name, values in norms.items():
            self.norms[name][index] = np.where(self.lesson.inside, in_order(values), np.nan)
        return in_order(dx)

    def result(self, loss: float) -> GradientFlow:
        """All measurements."""
        cell = self.norms["cell"] if "cell_state" in self.trace else None
        suffixes = self.stack.specs
        radii = [_radii(spec, self.lesson.parameters, suffix) for suffix, spec in suffixes.items()]
        reverse = tuple(suffix.endswith("_reverse") for suffix in suffixes)
        return GradientFlow(
            loss, self.norms["hidden"], cell, self.norms["kept"], radii, self.lesson.lengths.copy(), reverse
        )


def _step_backward(
    layer: Layer, x: np.ndarray, states: list[np.ndarray], dstates: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Gradients of a step's input and of the states before it, from those of the states after it."""
    initial, dfinal = ([array[None] for array in arrays] for arrays in (states, dstates))
    single = len(states) == 1
    _, _, pullback = layer.vjp(x[:, None], initial[0] if single else tuple(initial))
    dx, dinitial, _ = pullback(None, dfinal[0] if single else tuple(dfinal))
    return dx[:, 0], [dinitial[0]] if single else [dstate[0] for dstate in dinitial]


def _reversed(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Values (N, T, ...) with the steps of each sequence in reverse order; the padding does not move."""
    result = values.copy()
    for row, length in zip(result, lengths.tolist(), strict=True):
        row[:length] = row[:length][::-1].copy()
    return result


def _kept_share(carried: list[np.ndarray], gate: np.ndarray | None, total: np.ndarray) -> np.ndarray:
    """The share of the gradient that comes back to a step through the forget or update gate.

    `carried` has the gradient (N, S) of each state. The whole gradient of a cell state comes through the gate; without
    a cell state, the gate's part is `gate` times the `total` gradient of the next step.
    """
    if len(carried) == 2:
        part, rest = carried[1], carried[0]
    else:
        part = np.zeros_like(carried[0]) if gate is None else gate * total
        rest = carried[0] - part
    norm = np.linalg.norm(part, axis=1)
    both = norm + np.linalg.norm(rest, axis=1)
    return np.divide(norm, both, out=np.full(len(norm), np.nan), where=both > 0)


def _radii(spec: LayerSpec, parameters: Mapping[str, np.ndarray], suffix: str) -> dict[str, float]:
    """The spectral radius of the recurrent weights of each gate; a projection is multiplied in."""
    weight = np.asarray(parameters["weight_hh" + suffix], np.float64)
    if "weight_hr" + suffix in parameters:
        weight = weight @ parameters["weight_hr" + suffix]
    blocks = weight.reshape(-1, spec.hidden_size, spec.hidden_size)
    radii = {}
    for phase in spec.description.phases:
        for product in phase.products:
            if product.weight == "weight_hh":
                for gate, row in zip(product.gates, product.rows, strict=True):
                    radii[gate.removesuffix("_of_h")] = float(np.abs(np.linalg.eigvals(blocks[row])).max())
    return radii
