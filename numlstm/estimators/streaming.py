"""Streams of Pipelines: each step is transformed as in the Pipeline, and then used for a prediction."""

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
from .base.transformer import output_dtype
from .encoder import OneHotEncoding, SequenceEncoder
from .imputer import SequenceImputer
from .scaler import SequenceScaler


def stream(model: Any, batch_size: int = 1, *, static: Any = None) -> Stream | PredictionStream | PipelineStream:
    """Predict while a sequence arrives, also with the transformers of a Pipeline.

    Parameters
    ----------
    model : Pipeline, estimator, layer, or search such as GridSearchCV
        A fitted Pipeline must end with an `LSTMClassifier` or `LSTMRegressor`. Its other steps must be
        `SequenceScaler`, `SequenceImputer` (without the method "interpolate"), `SequenceEncoder`, scikit-learn's
        `StandardScaler`, `MinMaxScaler`, `MaxAbsScaler` or `RobustScaler`, "passthrough", None, or Pipelines of these.
        For a fitted search, its `best_estimator_` is used.
    batch_size : int, at least 1, default 1
        Number of sequences that arrive together.
    static : array, shape (batch_size, F); optional
        Static features of each sequence, if the estimator was fitted with them.

    Returns
    -------
    PipelineStream, PredictionStream or Stream
        A copy of the Pipeline, the estimator or the layer. Its ``step(x_t)`` takes the next step of each sequence.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If `model` is of another class.
    ValueError
        If a step of the Pipeline needs more than one step of a sequence, or is not one of those above; the message
        names it. If the model is bidirectional, because the end of a stream is not known.

    See Also
    --------
    numlstm.LSTMClassifier.stream : The stream of an estimator without a Pipeline.

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
            raise ValueError(f"static must be None for {type(model).__name__}, because layers have no static features")
        return model.stream(batch_size)
    if isinstance(model, SequenceModel):
        return model.stream(batch_size, static=static)
    if isinstance(model, Pipeline):
        return PipelineStream(model, batch_size, static)
    return stream(_best_estimator(model), batch_size, static=static)


def _best_estimator(model: Any) -> Any:
    """The best estimator of a search."""
    if not hasattr(model, "refit"):
        raise TypeError(
            "model must be a layer or an estimator of numlstm, a Pipeline that ends in such an estimator, or a search "
            f"for one, got {type(model).__name__}"
        )
    check_is_fitted(model, "best_estimator_", msg="This %(name)s has no best_estimator_: call fit, with refit=True.")
    return model.best_estimator_


class PipelineStream:
    """A copy of a fitted Pipeline that takes one step of its sequences at each call, and keeps the state.

    `numlstm.stream` makes it. If the Pipeline contains a scaler of scikit-learn, this scaler was fitted with X of shape
    (n, T): step t of a stream is scaled like column t, and sequences end after T steps. Several threads may use the
    stream: they wait for one another, and each call is the next step of the same sequences. It cannot be pickled or
    copied.
    """

    def __init__(self, pipeline: Pipeline, batch_size: int, static: Any) -> None:
        *steps, (name, model) = _flat_steps(pipeline)
        if not isinstance(model, SequenceModel):
            raise ValueError(
                "a Pipeline for a stream must end with an LSTMClassifier or LSTMRegressor, got step "
                f"{name!r}, {_describe(model)}"
            )
        steps = [step for step in steps if step[1] is not None and step[1] != "passthrough"]
        self._transforms = [_step_transform(*step) for step in steps]
        column_scalers = [transform for transform in self._transforms if isinstance(transform, ColumnScaler)]
        self._max_steps = min((scaler.steps for scaler in column_scalers), default=None)
        self._stream = model.stream(batch_size, static=static)
        first = steps[0][1] if steps else model
        self._shape = batch_size, getattr(first, "n_channels_", 1)  # scalers of scikit-learn have one channel
        self._nan_allowed = _nan_allowed(self._transforms)
        self._count, self._lock, self._steps = 0, new_lock(), Steps("call reset()")

    def __getstate__(self) -> None:
        raise TypeError("a PipelineStream cannot be pickled or copied: make another one")

    def reset(self) -> None:
        """Begin new sequences."""
        with self._lock, self._steps.anew():
            self._stream.reset()
            self._count = 0

    def step(self, x_t: Any) -> np.ndarray:
        """Transform the next step of each sequence, and predict.

        Parameters
        ----------
        x_t : array, shape (batch_size, C), or (C,) with a batch size of 1
            In the form that the Pipeline takes: not scaled, with NaN if a `SequenceImputer` fills it, and with
            categories if a `SequenceEncoder` comes first.

        Returns
        -------
        array, shape (batch_size, K), or (K,) if `x_t` was (C,)
            The prediction for the sequence so far, like `PredictionStream.step`.

        Raises
        ------
        ValueError, TypeError
            If `x_t` has another shape, or is not numeric or not finite; or if the sequence has more steps than a scaler
            of the Pipeline was fitted with. The stream does not change then.
        RuntimeError
            If an exception such as KeyboardInterrupt interrupted an earlier step. Call `reset` to begin new sequences.
        """
        x = self._checked(x_t)
        with self._lock, self._steps:
            if self._count == self._max_steps:
                raise ValueError(
                    f"x_t is step {self._count + 1} of a sequence, but the Pipeline was fitted with {self._max_steps} "
                    "steps: call reset() to begin new sequences"
                )
            with np.errstate(over="ignore"):  # the estimator's stream refuses numbers that are too large
                for transform in self._transforms:
                    x = transform(x, self._count)
            prediction = self._stream.step(x)
            self._count += 1
        return prediction

    def _checked(self, x_t: Any) -> np.ndarray:
        """The checked input of one step."""
        has_categories = bool(self._transforms) and isinstance(self._transforms[0], StepEncoder)
        if not has_categories:
            x = as_numbers(x_t, "x_t")
        else:
            x = x_t if isinstance(x_t, np.ndarray) else np.asarray(x_t, object)
        if x.shape != self._shape and (1, *x.shape) != self._shape:
            raise ValueError(f"x_t must have shape {self._shape}, got {x.shape}")
        if has_categories or np.isfinite(x).all() or (self._nan_allowed and not np.isinf(x).any()):
            return x
        raise ValueError(f"x_t must be finite, but contains {'' if self._nan_allowed else 'NaN or '}infinity")


# Steps of a Pipeline --------------------------------------------------------------------------------------


def _flat_steps(pipeline: Pipeline) -> Iterator[tuple[str, Any]]:
    """All steps with their names, including the steps of inner Pipelines."""
    for name, step in pipeline.steps:
        if isinstance(step, Pipeline):
            yield from _flat_steps(step)
        else:
            yield name, step


def _describe(step: Any) -> str:
    return repr(step) if step is None or isinstance(step, str) else type(step).__name__


class Transform(Protocol):
    """A transformer of single steps: it takes step t of a sequence, (C,) or (batch_size, C)."""

    takes_nan: bool

    def __call__(self, x: np.ndarray, t: int, /) -> np.ndarray: ...


def _step_transform(name: str, step: Any) -> Transform:
    """The transform of single steps for a fitted transformer. Unknown transformers may need more than one step.

    Raises
    ------
    NotFittedError, ValueError
        If the transformer is not fitted, not known, or needs later steps.
    """
    kind = type(step)
    if kind in _SEQUENCE_TRANSFORMS:
        check_is_fitted(step)
        if kind is SequenceImputer and "interpolate" in step.methods_:
            raise ValueError(
                f"step {name!r} of a Pipeline for a stream must not have the method 'interpolate', which reads later "
                f"steps, but has it for channel {step.methods_.index('interpolate')}: fit it with 'forward'"
            )
        return _SEQUENCE_TRANSFORMS[kind](step)
    if kind in _SCALER_OPERATIONS:
        check_is_fitted(step)
        return ColumnScaler(step)
    known = [transformer.__name__ for transformer in (*_SEQUENCE_TRANSFORMS, *_SCALER_OPERATIONS)]
    raise ValueError(
        f"step {name!r} of a Pipeline for a stream must be one of {known} or 'passthrough', got {_describe(step)}: "
        "transform each step yourself, and pass it to the stream of the estimator, pipeline[-1].stream()"
    )


def _nan_allowed(transforms: list[Transform]) -> bool:
    """Whether an imputer fills NaN before any transform that refuses it."""
    for transform in transforms:
        if isinstance(transform, StepImputer) or not transform.takes_nan:
            return transform.takes_nan
    return False


class ChannelScaler:
    """A `SequenceScaler` for single steps."""

    takes_nan = False

    def __init__(self, scaler: SequenceScaler) -> None:
        self._center, self._scale = scaler.center_.copy(), scaler.scale_.copy()

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        return ((x.astype(np.float64) - self._center) / self._scale).astype(output_dtype([x]))


class StepImputer:
    """A `SequenceImputer` for single steps; for "forward" it keeps the filled values of the last step."""

    takes_nan = True

    def __init__(self, imputer: SequenceImputer) -> None:
        self._forward = np.array([method == "forward" for method in imputer.methods_])
        self._statistics, self._indicator = imputer.statistics_.copy(), imputer.indicator_
        self._filled: dict[int, np.ndarray] = {}  # by step

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        missing = np.isnan(x)
        last = self._filled.get(t - 1, self._statistics)
        filled = np.where(missing, np.where(self._forward, last, self._statistics), x.astype(np.float64))
        # If a later transform refuses step t, step t comes again. So the values of step t - 1 are kept, too.
        self._filled = {t - 1: last, t: filled}
        output = np.concatenate([filled, missing], axis=-1) if self._indicator else filled
        return output.astype(output_dtype([x]))


class StepEncoder:
    """A `SequenceEncoder` for single steps."""

    takes_nan = True

    def __init__(self, encoder: SequenceEncoder) -> None:
        self._encode = OneHotEncoding(encoder)

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        rows = x.reshape(-1, self._encode.channels)
        encoded = self._encode(rows, lambda row: "x_t" if x.ndim == 1 else f"x_t[{row}]")
        return encoded.reshape(*x.shape[:-1], -1).astype(output_dtype([x]))


class ColumnScaler:
    """A scaler of scikit-learn for single steps: step t is column t of X (n, T).

    It does the operations of the scaler in the same order and precision, but without the checks, which take longer than
    a step.
    """

    takes_nan = True

    def __init__(self, scaler: Any) -> None:
        self.steps = scaler.n_features_in_
        operations = _SCALER_OPERATIONS[type(scaler)](scaler)
        self._operations = [(function, numbers.copy()) for function, numbers in operations if numbers is not None]
        # Since scikit-learn 1.8, StandardScaler converts its mean and scale to the precision of X.
        self._rounded = isinstance(scaler, StandardScaler) and scaler.__sklearn_tags__().array_api_support
        self._limits = _limits(scaler) if getattr(scaler, "clip", False) else None

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        x = x.astype(x.dtype if x.dtype in (np.float64, np.float32, np.float16) else np.float64)
        for function, numbers in self._operations:
            function(x, numbers[t].astype(x.dtype) if self._rounded else numbers[t], out=x)
        return x if self._limits is None else x.clip(*self._limits, out=x)


def _limits(scaler: Any) -> tuple[float, float]:
    return scaler.feature_range if isinstance(scaler, MinMaxScaler) else (-1.0, 1.0)


_SEQUENCE_TRANSFORMS: dict[type, Callable[[Any], Transform]] = {
    SequenceScaler: ChannelScaler,
    SequenceImputer: StepImputer,
    SequenceEncoder: StepEncoder,
}

# The operations of each scaler's `transform`, in its order; None if the scaler does not do an operation.
_SCALER_OPERATIONS: dict[type, Callable[[Any], list[tuple[np.ufunc, np.ndarray | None]]]] = {
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
