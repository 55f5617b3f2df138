"""The flow of gradients through the steps: where it vanishes, where it explodes, and what carries it."""

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

    The first axis counts layers and directions, as in `Trace`. Past the length of a sequence there is NaN.

    Attributes
    ----------
    loss : float
        The mean loss that `fit` makes smaller, of these sequences.
    hidden : float64 array, shape (layers · directions, n, T)
        The norm of dLoss/dh_t: of the hidden state that step t gives to the step after it, to the layer above and to
        the output layer.
    cell : float64 array, shape (layers · directions, n, T), or None
        The norm of dLoss/dc_t: of the cell state that step t gives to the step after it. None where cells have none.
    kept : float64 array, shape (layers · directions, n, T)
        Of the gradient that comes back to step t from the step after it, the share that passed through the forget
        gates, or the update gates of a GRU: the norm of this part divided by the sum of the norms of both parts. The
        rest came through the recurrent weights. 0 for plain RNNs; NaN at last steps, and where no gradient comes back.
    spectral_radius : list of dict of str to float
        For each layer and direction, the largest absolute eigenvalue of the recurrent weights of each gate, by its
        name. A plain RNN's gradient vanishes if it is below 1, and may explode above.
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
        """The norm of both together: of all that a step gives to the next one."""
        return self.hidden if self.cell is None else np.hypot(self.hidden, self.cell)

    def by_lag(self, name: str = "state", layer: int = -1) -> np.ndarray:
        """The mean over all sequences, counted in steps before the last one that a layer computes.

        Parameters
        ----------
        name : {"state", "hidden", "cell", "kept"}, default "state"
        layer : int, default -1
            Which layer and direction.

        Returns
        -------
        float64 array, shape (T,)
            NaN where no sequence has a number.

        Raises
        ------
        ValueError
            If there is no such number, as of cell states where cells have none.
        """
        has = [each for each in ("state", "hidden", "cell", "kept") if getattr(self, each) is not None]
        values = getattr(self, check_option(name, "name", has))
        total, count = np.zeros(values.shape[2]), np.zeros(values.shape[2])
        for own, length in zip(values[layer], self.lengths.tolist(), strict=True):
            backwards = own[:length] if self.reverse[layer] else own[:length][::-1]
            known = ~np.isnan(backwards)
            total[:length][known] += backwards[known]
            count[:length] += known
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def gradient_flow(model: Any, X: Any, y: Any, *, lengths: Any = None, static: Any = None) -> GradientFlow:
    """Measure the gradient of a model's loss at every step, as training sees it.

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
        If the model is no estimator of sequences, or X and y are not as in `fit`.

    Notes
    -----
    Every step is taken back by itself, in the order of back-propagation through time, with the gradients of the cell at
    hand: the numbers are exact for every cell and option. Nothing is dropped out, and zoneout mixes as in prediction.

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
    >>> left = {}
    >>> for cell, init in [("lstm", "chrono"), ("rnn", "torch")]:
    ...     model = LSTMRegressor(cell=cell, init=init, pooling="last", batch_size=32, max_iter=2, random_state=0)
    ...     by_lag = gradient_flow(model.fit(X, y), X, y).by_lag()
    ...     left[cell] = by_lag[40] / by_lag[0]
    >>> bool(left["lstm"] > 0.01), bool(left["rnn"] < 1e-6)
    (True, True)
    """
    lesson = lesson_of(model, X, y, lengths, static)
    loss, dy, dfinal = lesson.output_gradients()
    walk = _Walk(lesson)
    for layer in reversed(range(walk.stack.num_layers)):
        dy = walk.back(layer, dy, dfinal)
    return walk.result(loss)


class _Walk:
    """Goes back through the layers, and through the steps of each."""

    def __init__(self, lesson: Lesson) -> None:
        self.stack, self.lesson = lesson.stack, lesson
        rows, steps = lesson.x.shape[:2]
        self.trace = lesson.trace()
        shape = len(self.stack.specs), rows, steps
        self.norms = {name: np.full(shape, np.nan) for name in ("hidden", "cell", "kept")}

    def back(self, layer: int, dy: np.ndarray | None, dfinal: list[list[Any]]) -> np.ndarray:
        """Take the gradient of a layer's outputs back to its inputs."""
        stack, x = self.stack, self.inputs(layer)
        if dy is not None and stack.merges and stack.merge == "mean":
            dy = dy * 0.5
        dx = np.zeros(x.shape)
        for direction in range(stack.directions):
            index = layer * stack.directions + direction
            own = np.zeros((*x.shape[:2], self.trace["hidden_state"][index].shape[-1]))
            if dy is not None:
                own += stack.part(dy, direction)
            if dfinal[index][0] is not None:
                last = np.zeros_like(self.lesson.lengths) if direction else self.lesson.lengths - 1
                own[np.arange(len(x)), last] += dfinal[index][0]
            dx += self.back_through_steps(index, direction == 1, x, own)
        if stack.residual and layer and dy is not None:
            dx += dy
        return dx

    def inputs(self, layer: int) -> np.ndarray:
        """What a layer reads, (N, T, D)."""
        x = self.lesson.x
        for below in range(layer):
            own = [self.trace["hidden_state"][below * self.stack.directions + k] for k in range(self.stack.directions)]
            y = np.concatenate(own, axis=-1)
            if self.stack.merges:
                y = np.mean(own, axis=0) if self.stack.merge == "mean" else np.sum(own, axis=0)
            x = y + x if self.stack.residual and below else y
        return x

    def back_through_steps(self, index: int, reverse: bool, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """The gradient of what one layer in one direction reads, given that of its outputs; norms on the way."""
        layer = self.lesson.single_layer(index)
        turn = (lambda values: _turned(values, self.lesson.lengths)) if reverse else lambda values: values
        x, dy = turn(x), turn(dy)
        states = [turn(self.trace[name][index]) for name in ("hidden_state", "cell_state") if name in self.trace]
        gate = next((turn(self.trace[name][index]) for name in KEEPS if name in self.trace), None)
        norms = {name: np.full(dy.shape[:2], np.nan) for name in self.norms}
        dx, carried = np.zeros(x.shape), [np.zeros(state[:, 0].shape) for state in states]
        steps, total = x.shape[1], np.zeros_like(dy[:, 0])
        for step in reversed(range(steps)):
            if step < steps - 1:
                norms["kept"][:, step] = _kept(carried, None if gate is None else gate[:, step + 1], total)
            total = dy[:, step] + carried[0]
            norms["hidden"][:, step] = np.linalg.norm(total, axis=1)
            if len(states) == 2:
                norms["cell"][:, step] = np.linalg.norm(carried[1], axis=1)
            before = [np.zeros_like(state[:, 0]) if step == 0 else state[:, step - 1] for state in states]
            dx[:, step], carried = _one_step(layer, x[:, step], before, [total, *carried[1:]])
        for name, values in norms.items():
            self.norms[name][index] = np.where(self.lesson.inside, turn(values), np.nan)
        return turn(dx)

    def result(self, loss: float) -> GradientFlow:
        """What was measured."""
        cell = self.norms["cell"] if "cell_state" in self.trace else None
        suffixes = self.stack.specs
        radii = [_radii(spec, self.lesson.parameters, suffix) for suffix, spec in suffixes.items()]
        reverse = tuple(suffix.endswith("_reverse") for suffix in suffixes)
        return GradientFlow(
            loss, self.norms["hidden"], cell, self.norms["kept"], radii, self.lesson.lengths.copy(), reverse
        )


def _one_step(
    layer: Layer, x: np.ndarray, states: list[np.ndarray], dstates: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Gradients of what a step reads and of the states before it, given those of the states after it."""
    given, wanted = ([each[None] for each in arrays] for arrays in (states, dstates))
    alone = len(states) == 1
    _, _, pullback = layer.vjp(x[:, None], given[0] if alone else tuple(given))
    dx, before, _ = pullback(None, wanted[0] if alone else tuple(wanted))
    return dx[:, 0], [before[0]] if alone else [each[0] for each in before]


def _turned(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Each sequence of values (N, T, ...) from its last step to its first; what is past it stays."""
    turned = values.copy()
    for own, length in zip(turned, lengths.tolist(), strict=True):
        own[:length] = own[:length][::-1].copy()
    return turned


def _kept(carried: list[np.ndarray], gate: np.ndarray | None, total: np.ndarray) -> np.ndarray:
    """The share of what is carried back to a step, (N, S) of each state, that came through a gate that keeps.

    That is all of the cell state's, where there is one; else a gate's part of the `total` of the step after it.
    """
    if len(carried) == 2:
        part, rest = carried[1], carried[0]
    else:
        part = np.zeros_like(carried[0]) if gate is None else gate * total
        rest = carried[0] - part
    own = np.linalg.norm(part, axis=1)
    both = own + np.linalg.norm(rest, axis=1)
    return np.divide(own, both, out=np.full(len(own), np.nan), where=both > 0)


def _radii(spec: LayerSpec, parameters: Mapping[str, np.ndarray], suffix: str) -> dict[str, float]:
    """The spectral radius of the recurrent weights of each gate; a projection comes before them."""
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
