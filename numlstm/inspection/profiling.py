"""A profile of training: the time of each of its parts."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Self

import numpy as np

from ..checks import check_integer
from ..estimators.base.estimator import SequenceEstimator
from ..training.loop import Trainer
from .plotting import COLOURS, single_axes

PARTS = {  # the parts of training, and the functions of a backend that belong to them
    "forward": ("sequence_forward",),
    "backward": ("sequence_backward",),
    "weight gradients": (),
    "head and loss": (
        "affine_forward", "affine_backward", "pool_forward", "pool_backward", "loss", "activity_loss", "concatenate",
        "embed", "embed_backward",
    ),
    "optimizer": ("adam_step", "sgd_step", "rmsprop_step", "clip_scale", "global_norm", "refresh"),
    "data": ("upload", "to_device"),
}  # fmt: skip
OTHERS = "Python"


@dataclass(frozen=True)
class Profile:
    """The time of each part of training; as text it is a table.

    Attributes
    ----------
    seconds : dict of str to float
        Seconds of an epoch: ``forward``, ``backward`` and ``weight gradients`` of the recurrent layers,
        ``head and loss``, ``optimizer``, ``data`` (batches, and their copy to the device), and ``Python``, the rest.
        On GPUs and the reference backend, ``weight gradients`` are a part of ``backward``.
    operations : float
        Approximate floating-point operations of the products of the recurrent layers in an epoch: once forward, twice
        backward.
    gflops : float
        Billions of operations in a second of forward, backward and weight gradients.
    peak : float or None
        The largest number of billions of operations in a second, measured with the same threads; None if it is not
        known.
    tape_bytes : int
        Memory that the forward pass of the largest batch keeps for the backward pass.
    backend : str
    epochs : int
        The times are means over so many epochs.
    """

    seconds: dict[str, float]
    operations: float
    gflops: float
    peak: float | None
    tape_bytes: int
    backend: str
    epochs: int

    @property
    def total(self) -> float:
        """Seconds of an epoch."""
        return sum(self.seconds.values())

    @property
    def share_of_peak(self) -> float | None:
        """`gflops` divided by `peak`."""
        return None if self.peak is None else self.gflops / self.peak

    def __str__(self) -> str:
        rows = [f"{part:<17}{1e3 * spent:>10.2f} ms{spent / self.total:>8.1%}" for part, spent in self.seconds.items()]
        share = "" if self.share_of_peak is None else f", {self.share_of_peak:.0%} of the peak of {self.peak:.0f}"
        return "\n".join([
            f"an epoch on backend {self.backend!r}: {1e3 * self.total:.2f} ms",
            *rows,
            f"recurrent layers: {self.gflops:.1f} GFLOP/s{share}",
            f"tape: {self.tape_bytes / 2**20:.2f} MiB",
        ])  # fmt: skip

    def plot(self, ax: Any = None) -> ProfileDisplay:
        """Draw the seconds of each part as bars.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        ProfileDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return ProfileDisplay(self).plot(ax)


class Clock:
    """Counts the time of nested calls once: for the innermost call."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys([*PARTS, OTHERS], 0.0)
        self.parts = [OTHERS]
        self.since = time.perf_counter()

    def timed(self, part: str, function: Callable[..., Any], wait: Callable[[], None]) -> Callable[..., Any]:
        """A wrapper of `function` that counts its time for a part."""

        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            with self.counting(part):
                result = function(*arguments, **options)
                wait()
            return result

        return call

    @contextmanager
    def counting(self, part: str) -> Any:
        """Count the time of the block for a part."""
        self.switch()
        self.parts.append(part)
        try:
            yield
        finally:
            self.switch()
            self.parts.pop()

    def switch(self) -> None:
        """Count the time since the last call."""
        now = time.perf_counter()
        self.seconds[self.parts[-1]] += now - self.since
        self.since = now


class TimedBackend:
    """A backend whose functions are timed.

    Parameters
    ----------
    backend : Backend
    clock : Clock
    """

    def __init__(self, backend: Any, clock: Clock) -> None:
        self._backend = backend
        for part, names in PARTS.items():
            for name in names:
                setattr(self, name, clock.timed(part, getattr(backend, name), backend.wait))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def profile(
    model: Any, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None, static: Any = None, epochs: int = 2
) -> Profile:
    """Measure the time of each part of a fit, on fresh weights. The estimator does not change.

    Parameters
    ----------
    model : estimator
        Fitted or not.
    X, y, sample_weight, lengths, static
        As in its `fit`.
    epochs : int, at least 1, default 2
        Epochs to average over. One more epoch runs before them, to compile kernels and allocate memory.

    Returns
    -------
    Profile
        ``print(profile(model, X, y))`` shows a table; its `plot` draws bars.

    Raises
    ------
    TypeError, ValueError, FloatingPointError, BackendUnavailableError
        As `fit` does; and if the model is not an estimator of sequences.

    Notes
    -----
    On a GPU the profile waits for the end of each part, to know its time. So an epoch takes longer than in `fit`, where
    the processor prepares the next step meanwhile. The times include those of other processes on the machine.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMClassifier
    >>> from numlstm.inspection import profile
    >>> X = np.random.default_rng(0).normal(size=(64, 20, 4))
    >>> print(profile(LSTMClassifier(hidden_size=32, backend="cpu"), X, X[:, -1, 0] > 0))
    an epoch on backend 'cpu': ... ms
    forward ... ms ...%
    backward ... ms ...%
    weight gradients ... ms ...%
    head and loss ... ms ...%
    optimizer ... ms ...%
    data ... ms ...%
    Python ... ms ...%
    recurrent layers: ... GFLOP/s...
    tape: ... MiB
    """
    if not isinstance(model, SequenceEstimator):
        raise TypeError(f"model must be a classifier or regressor of numlstm, got {type(model).__name__}")
    check_integer(epochs, "epochs", 1)
    clock = Clock()
    trainer = _trainer(model, X, y, sample_weight, lengths, static, clock)
    _epoch(trainer, model.learning_rate_init)
    tape_bytes = _tape_bytes(trainer)  # once kernels are compiled
    clock.seconds = dict.fromkeys(clock.seconds, 0.0)
    clock.since = time.perf_counter()
    network, backend = trainer.model.network, trainer.model.backend
    with backend.watching_weight_gradients(lambda method: clock.timed("weight gradients", method, backend.wait)):
        for _ in range(epochs):
            _epoch(trainer, model.learning_rate_init)
    clock.switch()
    seconds = {part: spent / epochs for part, spent in clock.seconds.items() if spent or PARTS.get(part, True)}
    operations = 3 * network.stack.operations(1, float(trainer.data.sequences.lengths.sum()))
    peak = backend.peak(network.stack.dtype)
    of_layers = sum(seconds.get(part, 0.0) for part in ("forward", "backward", "weight gradients"))
    gflops = operations / of_layers / 1e9
    return Profile(seconds, operations, gflops, None if peak is None else peak / 1e9, tape_bytes, backend.name, epochs)


def _trainer(model: Any, X: Any, y: Any, sample_weight: Any, lengths: Any, static: Any, clock: Clock) -> Trainer:
    """A timed trainer with fresh weights of an estimator."""
    model._check_parameters()
    fitted = model._without_results()
    codec, network, data = model._prepare(fitted, X, y, sample_weight, lengths, static)
    rng = np.random.default_rng(0)
    backend: Any = TimedBackend(model._backend_to_train(network, data), clock)
    parameters = model._initial_parameters(fitted, codec, network, data, rng)
    trainer = model._trainer(network, backend, parameters, data, rng)
    timed: Any = trainer
    timed.repeats = None  # the parts of a step could not be timed
    timed.model.loss_and_gradient = clock.timed(OTHERS, trainer.model.loss_and_gradient, backend.wait)
    timed._loss_and_gradient = clock.timed("data", trainer._loss_and_gradient, backend.wait)
    timed.groups = clock.timed("data", trainer.groups, backend.wait)
    return trainer


def _epoch(trainer: Trainer, learning_rate: float) -> None:
    """Train for an epoch."""
    for batches in trainer.groups():
        float(trainer.step(batches, learning_rate)[0])


def _tape_bytes(trainer: Trainer) -> int:
    """Bytes of the host's memory that a forward pass over the longest batch keeps."""
    model, sequences = trainer.model, trainer.data.sequences
    stack, backend = model.network.stack, model.backend
    x, lengths = sequences.take(np.argsort(-sequences.lengths, kind="stable")[: trainer.batch_size])
    x = backend.to_device(x, stack.dtype)
    layers = stack.prepare(backend, model.network.parts(backend, model.flat)[0], training=False)
    tracemalloc.start()
    try:
        y, final, tapes = stack.forward(backend, layers, x, None, lengths, training=True)
        allocated = tracemalloc.get_traced_memory()[0] if tapes else 0
    finally:
        tracemalloc.stop()
    results = [y, *(state for states in final for state in states)]
    return max(0, allocated - sum(array.nbytes for array in results if isinstance(array, np.ndarray)))


class ProfileDisplay:
    """Seconds of each part of training, as bars.

    Parameters
    ----------
    profile : Profile

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : matplotlib BarContainer
        In milliseconds, in the order of the profile's `seconds`.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default there is a new figure.

        Returns
        -------
        ProfileDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = single_axes(ax, (6.4, 2.8))
        self.figure_ = self.ax_.figure
        seconds = self.profile.seconds
        self.bars_ = self.ax_.barh([*seconds], [1e3 * spent for spent in seconds.values()], color=COLOURS[0])
        self.ax_.bar_label(self.bars_, [f"{spent / self.profile.total:.0%}" for spent in seconds.values()], padding=3)
        self.ax_.invert_yaxis()
        self.ax_.margins(x=0.12)
        share = self.profile.share_of_peak
        of_peak = "" if share is None else f", {share:.0%} of the peak"
        self.ax_.set(xlabel="milliseconds of an epoch", title=f"{self.profile.gflops:.1f} GFLOP/s{of_peak}")
        return self
