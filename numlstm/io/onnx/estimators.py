"""Estimators, scalers and Pipelines as graphs of ONNX's operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ...estimators.base.model import Codec, Fitted, SequenceModel
from ...estimators.scaler import SequenceScaler
from ...estimators.targets.classes import Classes
from ...estimators.targets.numbers import Numbers
from ...graphs.graph import Graph, Value
from ...graphs.operators.shapes import NUMBERS
from ...layers.layer import Layer
from ...layers.stack import Stack
from .builder import NodeBuilder
from .layers import LENGTHS, OPSET, add_layers, length_input, merge_directions


def graph_of_estimator(model: Any, shape: Sequence[int | str], lengths: bool) -> Graph:
    """A graph from x, and lengths if asked for, to labels and probabilities, to targets, or to scaled sequences."""
    scalers, estimator = _checked_steps(model)
    return _Exporter(scalers, estimator, shape, lengths).graph()


def _checked_steps(model: Any) -> tuple[list[SequenceScaler], SequenceModel | None]:
    """The scalers of a Pipeline, and the estimator at its end, if there is one.

    Raises
    ------
    TypeError
        If it has other steps.
    NotFittedError
        If a step is not fitted.
    """
    *before, last = _steps(model)
    for step in before:
        if not isinstance(step, SequenceScaler):
            raise TypeError(f"model must have only SequenceScalers before its last step, got {type(step).__name__}")
    if not isinstance(last, SequenceScaler | SequenceModel):
        hint = "; its best_estimator_ is one" if hasattr(last, "best_estimator_") else ""
        raise TypeError(
            "model must be an LSTM, a GRU or an RNN, an estimator, a SequenceScaler, a Pipeline of these, or a Graph, "
            f"got {type(last).__name__}{hint}"
        )
    for step in (*before, last):
        check_is_fitted(step)
    return (before, last) if isinstance(last, SequenceModel) else ([*before, last], None)


def _steps(model: Any) -> list[Any]:
    """The steps of a Pipeline, and of Pipelines in it; another model is its own only step."""
    if not isinstance(model, Pipeline):
        return [model]
    return [inner for _, step in model.steps if step not in (None, "passthrough") for inner in _steps(step)]


class _Exporter:
    """The graph of scalers and an estimator.

    Parameters
    ----------
    scalers : list of SequenceScaler
    estimator : SequenceModel or None
    shape : (N, T)
        The lengths of the axes of batch and steps, or their names.
    lengths : bool
        Whether the lengths of sequences are an input.
    """

    def __init__(
        self,
        scalers: list[SequenceScaler],
        estimator: SequenceModel | None,
        shape: Sequence[int | str],
        lengths: bool,
    ) -> None:
        self._builder = NodeBuilder()
        self._ends = LENGTHS if lengths else ""  # where sequences end, in steps of the layers
        self._scalers, self._estimator, self._shape, self._lengths = scalers, estimator, shape, lengths

    def graph(self) -> Graph:
        """The graph."""
        scales = [(scaler.center_, scaler.scale_) for scaler in self._scalers]
        if self._estimator is None:
            dtype, channels = "float64", self._scalers[0].n_channels_
        else:
            fitted: Fitted = self._estimator._model
            if fitted.reading is not None:
                raise ValueError("an estimator of texts or categories cannot be written to ONNX, which gets numbers")
            dtype, channels = fitted.network.stack.dtype, self._estimator.n_channels_
            if fitted.channels is not None:
                scales.append((fitted.channels.mean, fitted.channels.scale))
        x_dtype = "float64" if self._scalers else dtype  # a small deviation from a large mean needs it
        inputs = [Value("x", x_dtype, (*self._shape, channels)), *length_input(self._shape, self._lengths)]
        x = self._scaled(scales, x_dtype, dtype)
        if self._estimator is None:
            self._fill(x, "zero", np.zeros((), dtype), out="scaled")
            outputs = [Value("scaled", dtype, (*self._shape, channels))]
        else:
            if fitted.static is not None:
                inputs.append(Value("static", "float64", (self._shape[0], len(fitted.static.mean))))
            x = self._framed(x, getattr(fitted.codec, "subsample", 1), channels, dtype)
            outputs = self._answers(fitted, self._scores(fitted, self._estimator.layers_[0], x))
        return Graph(self._builder.nodes, inputs, outputs, self._builder.constants, OPSET)

    # From x to scores -----------------------------------------------------------------------------------------

    def _scaled(self, scales: Sequence[tuple[np.ndarray, np.ndarray]], x_dtype: str, dtype: str) -> str:
        """Scaled x: computed in float64 and rounded at the end, as estimators do it."""
        builder = self._builder
        x = builder.add("Cast", "x", to=NUMBERS["float64"]) if scales and x_dtype != "float64" else "x"
        for index, (center, scale) in enumerate(scales):
            x = self._standardised(x, f"center_{index}", center, f"scale_{index}", scale)
        return builder.add("Cast", x, to=NUMBERS[dtype]) if scales and dtype != "float64" else x

    def _framed(self, x: str, size: int, channels: int, dtype: str) -> str:
        """x with `size` steps side by side in each, filled up with zeros; lengths count these from there on."""
        if size == 1:
            return x
        builder = self._builder
        x = builder.add(
            "Pad", self._fill(x, "zero_frame", np.zeros((), dtype)), builder.integers(0, 0, 0, 0, size - 1, 0)
        )
        steps = builder.add("Slice", builder.add("Shape", x), builder.integers(1), builder.integers(2))
        whole = builder.add("Mul", builder.add("Div", steps, builder.integers(size)), builder.integers(size))
        x = builder.add("Slice", x, builder.integers(0), whole, builder.integers(1))
        if self._lengths:
            rest, several = (builder.constant(f"frame_{k}", np.array(k, np.int32)) for k in (size - 1, size))
            self._ends = builder.add("Div", builder.add("Add", LENGTHS, rest), several)
        return builder.add("Reshape", x, builder.integers(0, -1, size * channels))

    def _standardised(self, x: str, mean_name: str, mean: np.ndarray, scale_name: str, scale: np.ndarray) -> str:
        """``(x - mean) / scale``."""
        centred = self._builder.add("Sub", x, self._builder.constant(mean_name, mean))
        return self._builder.add("Div", centred, self._builder.constant(scale_name, scale))

    def _fill(self, x: str, name: str, value: np.ndarray, out: str = "") -> str:
        """x (N, T, F) with a value past each length; the value is a constant of that name."""
        if not self._lengths:
            return self._builder.add("Identity", x, out=out) if out else x
        return self._builder.add("Where", self._mask(), x, self._builder.constant(name, value), out=out)

    def _mask(self) -> str:
        """Which steps are within each length, (N, T, 1)."""
        builder = self._builder
        zero, one = (builder.constant(f"number_{value}", np.array(value, np.int64)) for value in (0, 1))
        count = builder.add("Gather", builder.add("Shape", "x"), one, axis=0)
        steps = builder.add("Unsqueeze", builder.add("Range", zero, count, one), builder.integers(0))
        lengths = builder.add("Unsqueeze", builder.add("Cast", LENGTHS, to=NUMBERS["int64"]), builder.integers(1))
        return builder.add("Unsqueeze", builder.add("Less", steps, lengths), builder.integers(2))

    def _scores(self, fitted: Fitted, layer: Layer, x: str) -> str:
        """Scores (N, K), or (N, T, K) with scores for every step."""
        builder, network = self._builder, fitted.network
        y, final = add_layers(builder, layer, builder.add("Transpose", x, perm=(1, 0, 2)), self._ends)
        y = builder.add("Transpose", y, perm=(1, 0, 2)) if network.pooling != "last" else ""
        vectors = [
            self._last(network.stack, final)
            if pooling == "last"
            else self._pooled(pooling, network.stack.dtype, fitted.parameters, y)
            for pooling in network.poolings
        ] or [y]
        features = vectors[0] if len(vectors) == 1 else builder.add("Concat", *vectors, axis=1)
        if fitted.static is not None:
            features = self._with_static(fitted, features)
        weight = builder.constant("weight_output", fitted.parameters["weight_output"].T)
        bias = builder.constant("bias_output", fitted.parameters["bias_output"])
        return builder.add("Add", builder.add("MatMul", features, weight), bias)

    def _with_static(self, fitted: Fitted, features: str) -> str:
        """Features (N, F) or (N, T, F), and scaled static features after them."""
        builder, static = self._builder, fitted.static
        assert static is not None
        scaled = self._standardised("static", "static_mean", static.mean, "static_scale", static.scale)
        scaled = builder.add("Cast", scaled, to=NUMBERS[fitted.network.stack.dtype])
        if fitted.network.pooling == "none":
            steps = builder.add("Slice", builder.add("Shape", features), builder.integers(1), builder.integers(2))
            shape = builder.add("Concat", builder.integers(1), steps, builder.integers(1), axis=0)
            scaled = builder.add("Expand", builder.add("Unsqueeze", scaled, builder.integers(1)), shape)
        return builder.add("Concat", features, scaled, axis=-1)

    def _last(self, stack: Stack, final: list[list[str]]) -> str:
        """The output after each sequence's last step; backward after its first."""
        first = 0 if stack.residual else stack.num_layers - 1
        values = [
            merge_directions(
                self._builder, stack, final[index][0], axis=0, order=(1, 0, 2), shape=(0, stack.output_sizes[index])
            )
            for index in range(first, stack.num_layers)
        ]
        return values[0] if len(values) == 1 else self._builder.add("Sum", *values)

    def _pooled(self, pooling: str, dtype: str, parameters: Mapping[str, np.ndarray], y: str) -> str:
        """A vector (N, F) of all outputs y (N, T, F)."""
        builder = self._builder
        if pooling == "max":
            return builder.add("ReduceMax", self._fill(y, "lowest", np.array(-np.inf, dtype)), axes=(1,), keepdims=0)
        shares = builder.add("Cast", self._mask(), to=NUMBERS[dtype]) if self._lengths else ""
        if pooling == "attention":
            weight = builder.constant("weight_attention", parameters["weight_attention"].reshape(-1, 1))
            bias = builder.constant("bias_attention", parameters["bias_attention"])
            energy = builder.add("Tanh", builder.add("Add", builder.add("MatMul", y, weight), bias))
            energy = builder.add("Exp", energy)
            shares = builder.add("Mul", energy, shares) if shares else energy
        if not shares:
            return builder.add("ReduceMean", y, axes=(1,), keepdims=0)
        steps = builder.integers(1)
        total = builder.add("ReduceSum", builder.add("Mul", y, shares), steps, keepdims=0)
        return builder.add("Div", total, builder.add("ReduceSum", shares, steps, keepdims=0))

    # From scores to what users get ----------------------------------------------------------------------------

    def _answers(self, fitted: Fitted, scores: str) -> list[Value]:
        """Labels and probabilities of a classifier, or predictions of a regressor."""
        dtype, codec = fitted.network.stack.dtype, fitted.codec
        if isinstance(codec, Classes):
            return self._labels(codec, scores, dtype)
        return (
            self._predictions(codec, scores) if isinstance(codec, Numbers) else self._step_scores(codec, scores, dtype)
        )

    def _step_scores(self, codec: Codec, scores: str, dtype: str) -> list[Value]:
        """Scores of labels at each step of the layers: what decodes them stays outside."""
        self._builder.add("Identity", scores, out="scores")
        rows, steps = self._shape
        return [
            Value("scores", dtype, (rows, steps if getattr(codec, "subsample", 1) == 1 else "frames", codec.outputs))
        ]

    def _predictions(self, codec: Numbers, scores: str) -> list[Value]:
        builder, rows = self._builder, self._shape[0]
        double = builder.add("Cast", scores, to=NUMBERS["float64"])
        scaled = builder.add("Mul", double, builder.constant("target_scale", codec.scale))
        targets = builder.add("Add", scaled, builder.constant("target_mean", codec.mean))
        if codec.by_step:
            self._fill(targets, "zero", np.zeros(()), out="predictions")
            return [Value("predictions", "float64", (*self._shape, codec.outputs))]
        if codec.form == "one":
            builder.add("Squeeze", targets, builder.integers(1), out="predictions")
            return [Value("predictions", "float64", (rows,))]
        builder.add("Identity", targets, out="predictions")
        return [Value("predictions", "float64", (rows, codec.outputs))]

    def _labels(self, codec: Classes, scores: str, dtype: str) -> list[Value]:
        builder, rows, count = self._builder, self._shape[0], codec.outputs
        probabilities = Value("probabilities", dtype, (rows, count))
        if codec.multilabel:
            builder.add("Sigmoid", scores, out="probabilities")
            likely = builder.add("Greater", scores, builder.constant("zero", np.zeros((), dtype)))
            builder.add("Cast", likely, out="label", to=NUMBERS["int64"])
            return [Value("label", "int64", (rows, count)), probabilities]
        builder.add("Softmax", scores, out="probabilities", axis=1)
        classes = _onnx_classes(codec.classes)
        largest = builder.add("ArgMax", scores, axis=1, keepdims=0)
        builder.add("Gather", builder.constant("classes", classes), largest, out="label", axis=0)
        return [Value("label", "str" if classes.dtype == object else classes.dtype.name, (rows,)), probabilities]


def _onnx_classes(classes: np.ndarray) -> np.ndarray:
    """Classes in a type of ONNX's: numbers, or texts.

    Raises
    ------
    ValueError
        If they are neither.
    """
    if classes.dtype.name in NUMBERS:
        return classes.astype(classes.dtype.newbyteorder("="))
    if all(isinstance(label, str) for label in classes.tolist()):
        return classes.astype(object)
    raise ValueError(f"classes_ must be numbers or texts to be in ONNX, got dtype {classes.dtype}")
