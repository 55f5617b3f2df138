"""Streams of Pipelines: every step is transformed as the Pipeline does, then predicted from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from ..concurrency import new_lock
from ..layers.layer import Layer
from ..layers.sequences import as_numbers
from ..layers.stream import Steps, Stream
from .base.model import SequenceModel
from .base.stream import PredictionStream
from .base.transformer import dtype_of
from .encoder import Encoding, SequenceEncoder
from .imputer import SequenceImputer
from .scaler import SequenceScaler


def stream(model: Any, batch_size: int = 1, *, static: Any = None) -> Stream | PredictionStream | PipelineStream:
    """Predict while a sequence arrives, with all that a Pipeline does to it before.

    Parameters
    ----------
    model : Pipeline, estimator, layer, or search such as GridSearchCV
        A fitted Pipeline ends in an `LSTMClassifier` or `LSTMRegressor`; the steps before are `SequenceScaler`,
        `SequenceImputer` (whose method is not "interpolate"), `SequenceEncoder`, scikit-learn's `StandardScaler`,
        `MinMaxScaler`, `MaxAbsScaler` or `RobustScaler`, "passthrough" or None, or Pipelines of these. Of a fitted
        search, its `best_estimator_`.
    batch_size : int, at least 1, default 1
        Streams that advance together.
    static : array, shape (batch_size, F); optional
        Static features of each stream, if the estimator was fitted with any.

    Returns
    -------
    PipelineStream, PredictionStream or Stream
        A snapshot of the Pipeline, the estimator or the layer, whose ``step(x_t)`` takes the next step of every
        sequence.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If `model` is of another class.
    ValueError
        If a step of the Pipeline needs more than one step of a sequence, or is not known here; the message names it.
        If the model is bidirectional: the end of a stream is not known.

    See Also
    --------
    numlstm.LSTMClassifier.stream : What this is for an estimator alone.

    Examples
    --------
    >>> import numpy as np
    >>> import numlstm
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.random.default_rng(0).normal(50.0, 10.0, size=(40, 6, 2))
    >>> model = numlstm.LSTMClassifier(hidden_size=4, bidirectional=False, max_iter=5, random_state=0)
    >>> pipeline = make_pipeline(numlstm.SequenceScaler(), model).fit(X, X[:, -1, 0] > 50)
    >>> stream = numlstm.stream(pipeline)
    >>> for x_t in X[0]:
    ...     probabilities = stream.step(x_t)
    >>> bool(np.allclose(probabilities, pipeline.predict_proba(X[:1])[0], atol=1e-5))
    True
    """
    if isinstance(model, Layer):
        if static is not None:
            raise ValueError(f"static must be None for {type(model).__name__}: layers have no static features")
        return model.stream(batch_size)
    if isinstance(model, SequenceModel):
        return model.stream(batch_size, static=static)
    if isinstance(model, Pipeline):
        return PipelineStream(model, batch_size, static)
    return stream(_best(model), batch_size, static=static)


def _best(model: Any) -> Any:
    """The model that a search has found."""
    if not hasattr(model, "refit"):
        raise TypeError(
            "model must be a layer or an estimator of numlstm, a Pipeline that ends in such an estimator, or a search "
            f"for one, got {type(model).__name__}"
        )
    check_is_fitted(model, "best_estimator_", msg="This %(name)s has no best_estimator_: call fit, with refit=True.")
    return model.best_estimator_


class PipelineStream:
    """A snapshot of a fitted Pipeline that takes one step of every stream at a call, and remembers.

    Made by `numlstm.stream`. A scaler of scikit-learn's has seen X as (n, T), with a mean, a range or the like for each
    of the T steps: step t of a stream is scaled with those of column t, and sequences end after T steps. Threads that
    use it at once wait for one another; each step is one of the same streams. Not to be pickled or copied.
    """

    def __init__(self, pipeline: Pipeline, batch_size: int, static: Any) -> None:
        *before, (name, model) = _steps(pipeline)
        if not isinstance(model, SequenceModel):
            raise ValueError(
                "a Pipeline to be streamed must end in an LSTMClassifier or LSTMRegressor, got step "
                f"{name!r}, {_named(model)}"
            )
        before = [step for step in before if step[1] is not None and step[1] != "passthrough"]
        self._transforms = [_transform(*step) for step in before]
        self._most = min((each.steps for each in self._transforms if isinstance(each, ColumnScaler)), default=None)
        self._stream = model.stream(batch_size, static=static)
        first = before[0][1] if before else model
        self._shape = batch_size, getattr(first, "n_channels_", 1)  # a scaler of scikit-learn's has one channel
        self._nan_allowed = _nan_allowed(self._transforms)
        self._taken, self._turn, self._steps = 0, new_lock(), Steps("call reset()")

    def __getstate__(self) -> None:
        raise TypeError("a PipelineStream cannot be pickled or copied: make another one")

    def reset(self) -> None:
        """Begin new sequences."""
        with self._turn, self._steps.anew():
            self._stream.reset()
            self._taken = 0

    def step(self, x_t: Any) -> np.ndarray:
        """Take one step, transform it, and predict.

        Parameters
        ----------
        x_t : array, shape (batch_size, C), or (C,) with a batch size of 1
            As the Pipeline is given it: not scaled, with NaN where a `SequenceImputer` is to fill it, with categories
            where a `SequenceEncoder` comes first.

        Returns
        -------
        array, shape (batch_size, K), or (K,) if `x_t` was (C,)
            Of a classifier, the probability of each class (``pipeline.classes_``); of a regressor, the targets, without
            their axis if y was one number for each sequence or step. As `predict_proba` and `predict` would give for
            the sequence so far.

        Raises
        ------
        ValueError, TypeError
            If `x_t` has another shape, or is not numeric or not finite; or if the sequence would have more steps than
            the Pipeline's scalers know. The stream is as before then.
        RuntimeError
            If an exception such as KeyboardInterrupt ended an earlier step before its end; `reset` begins anew.
        """
        x = self._checked(x_t)
        with self._turn, self._steps:
            if self._taken == self._most:
                raise ValueError(
                    f"x_t is step {self._taken + 1} of a sequence, but the Pipeline was fitted with {self._most} "
                    "steps: call reset() to begin new sequences"
                )
            with np.errstate(over="ignore"):  # what is too large then, the estimator's stream refuses
                for transform in self._transforms:
                    x = transform(x, self._taken)
            said = self._stream.step(x)
            self._taken += 1
        return said

    def _checked(self, x_t: Any) -> np.ndarray:
        """One step's input, or an error that says what was expected."""
        encoded = bool(self._transforms) and isinstance(self._transforms[0], StepEncoder)
        x = as_numbers(x_t, "x_t") if not encoded else x_t if isinstance(x_t, np.ndarray) else np.asarray(x_t, object)
        if x.shape != self._shape and (1, *x.shape) != self._shape:
            raise ValueError(f"x_t must have shape {self._shape}, got {x.shape}")
        if encoded or np.isfinite(x).all() or (self._nan_allowed and not np.isinf(x).any()):
            return x
        raise ValueError(f"x_t must be finite, but contains {'' if self._nan_allowed else 'NaN or '}infinity")


# Steps of a Pipeline --------------------------------------------------------------------------------------


def _steps(pipeline: Pipeline) -> Iterator[tuple[str, Any]]:
    """All steps by name, those of Pipelines inside too."""
    for name, step in pipeline.steps:
        if isinstance(step, Pipeline):
            yield from _steps(step)
        else:
            yield name, step


def _named(step: Any) -> str:
    return repr(step) if step is None or isinstance(step, str) else type(step).__name__


class Transform(Protocol):
    """What a transformer does with step t, (C,) or (batch_size, C)."""

    takes_nan: bool

    def __call__(self, x: np.ndarray, t: int, /) -> np.ndarray: ...


def _transform(name: str, step: Any) -> Transform:
    """What a fitted transformer does with one step; one that is of no class below may need more of the sequence.

    Raises
    ------
    NotFittedError, ValueError
        If it is not fitted, not known, or needs later steps.
    """
    kind = type(step)
    if kind in _own:
        check_is_fitted(step)
        if kind is SequenceImputer and "interpolate" in step.methods_:
            raise ValueError(
                f"step {name!r} of a Pipeline to be streamed must not have the method 'interpolate', which reads later "
                f"steps, as SequenceImputer has for channel {step.methods_.index('interpolate')}: fit it with 'forward'"
            )
        return _own[kind](step)
    if kind in _operations:
        check_is_fitted(step)
        return ColumnScaler(step)
    known = [each.__name__ for each in (*_own, *_operations)]
    raise ValueError(
        f"step {name!r} of a Pipeline to be streamed must be one of {known} or 'passthrough', got {_named(step)}: "
        "transform each step yourself, and give it to the stream of the last step's estimator, pipeline[-1].stream()"
    )


def _nan_allowed(transforms: list[Transform]) -> bool:
    """Whether NaN comes to an imputer, which fills it, before anything that refuses it."""
    for transform in transforms:
        if isinstance(transform, StepImputer) or not transform.takes_nan:
            return transform.takes_nan
    return False


class ChannelScaler:
    """What a `SequenceScaler` does with one step, whichever it is."""

    takes_nan = False

    def __init__(self, scaler: SequenceScaler) -> None:
        self._center, self._scale = scaler.center_.copy(), scaler.scale_.copy()

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        return ((x.astype(np.float64) - self._center) / self._scale).astype(dtype_of([x]))


class StepImputer:
    """What a `SequenceImputer` does with one step: for "forward" it remembers what the one before became."""

    takes_nan = True

    def __init__(self, imputer: SequenceImputer) -> None:
        self._forward = np.array([method == "forward" for method in imputer.methods_])
        self._statistics, self._indicator = imputer.statistics_.copy(), imputer.indicator_
        self._filled: dict[int, np.ndarray] = {}  # by step

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        missing = np.isnan(x)
        before = self._filled.get(t - 1, self._statistics)
        filled = np.where(missing, np.where(self._forward, before, self._statistics), x.astype(np.float64))
        # If a later transform refuses step t, it comes again: what step t - 1 became is still there then.
        self._filled = {t - 1: before, t: filled}
        said = np.concatenate([filled, missing], axis=-1) if self._indicator else filled
        return said.astype(dtype_of([x]))


class StepEncoder:
    """What a `SequenceEncoder` does with one step, whichever it is."""

    takes_nan = True

    def __init__(self, encoder: SequenceEncoder) -> None:
        self._encode = Encoding(encoder)

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        rows = x.reshape(-1, self._encode.channels)
        encoded = self._encode(rows, lambda row: "x_t" if x.ndim == 1 else f"x_t[{row}]")
        return encoded.reshape(*x.shape[:-1], -1).astype(dtype_of([x]))


class ColumnScaler:
    """What a scaler of scikit-learn's does with column t of X (n, T), which is step t.

    Its own operations, in its own order and precision, without its checks, which take longer than a step.
    """

    takes_nan = True

    def __init__(self, scaler: Any) -> None:
        self.steps = scaler.n_features_in_
        operations = _operations[type(scaler)](scaler)
        self._operations = [(function, numbers.copy()) for function, numbers in operations if numbers is not None]
        # Since it takes arrays of any library, in scikit-learn 1.8, it takes its own numbers in the precision of X.
        self._rounded = isinstance(scaler, StandardScaler) and scaler.__sklearn_tags__().array_api_support
        self._limits = _limits(scaler) if getattr(scaler, "clip", False) else None

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        x = x.astype(x.dtype if x.dtype in (np.float64, np.float32, np.float16) else np.float64)
        for function, numbers in self._operations:
            function(x, numbers[t].astype(x.dtype) if self._rounded else numbers[t], out=x)
        return x if self._limits is None else x.clip(*self._limits, out=x)


def _limits(scaler: Any) -> tuple[float, float]:
    return scaler.feature_range if isinstance(scaler, MinMaxScaler) else (-1.0, 1.0)


_own: dict[type, Callable[[Any], Transform]] = {
    SequenceScaler: ChannelScaler,
    SequenceImputer: StepImputer,
    SequenceEncoder: StepEncoder,
}

# For each scaler of scikit-learn's: what `transform` does with X, in its order; None where it leaves that out.
_operations: dict[type, Callable[[Any], list[tuple[np.ufunc, np.ndarray | None]]]] = {
    StandardScaler: lambda scaler: [
        (np.subtract, scaler.mean_ if scaler.with_mean else None),
        (np.divide, scaler.scale_ if scaler.with_std else None),
    ],
    MinMaxScaler: lambda scaler: [(np.multiply, scaler.scale_), (np.add, scaler.min_)],
    MaxAbsScaler: lambda scaler: [(np.divide, scaler.scale_)],
    RobustScaler: lambda scaler: [
        (np.subtract, scaler.center_ if scaler.with_centering else None),
        (np.divide, scaler.scale_ if scaler.with_scaling else None),
    ],
}
