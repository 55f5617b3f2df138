"""`estimator_from_torch`: PyTorch's models of a recurrent module and a linear map as estimators."""

from __future__ import annotations

import os
from itertools import takewhile
from typing import Any, TypeVar

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ...backends.contract import LossSpec
from ...backends.dispatch import backend_for, check_name
from ...checks import check_option
from ...estimators.base.model import Codec, Fitted
from ...estimators.classifier import LSTMClassifier
from ...estimators.regressor import LSTMRegressor
from ...estimators.targets.classes import Classes
from ...estimators.targets.numbers import Numbers
from ...layers.options import not_defaults, stack_of
from ...training.network import Network
from ...training.outputs import HEAD
from ...training.progress import ALL_EPOCHS
from .derived import parameter
from .files import StateDict, state_dict_of
from .layers import Module, check_choices, common_dtype, read
from .names import AFFINE, chosen, forms_under, listed, located, prefixes, unwrapped

POOLINGS = ("last", "mean", "max")

Estimator = TypeVar("Estimator", LSTMClassifier, LSTMRegressor)


def estimator_from_torch(
    state_dict: StateDict | str | os.PathLike[str],
    recurrent: str = "",
    head: str = "",
    classes: Any = None,
    *,
    pooling: str = "last",
    nonlinearity: str = "tanh",
    dropout: float = 0.0,
    backend: str | None = None,
    dtype: str | None = None,
) -> LSTMClassifier | LSTMRegressor:
    """The fitted estimator that predicts what a model of PyTorch's does: recurrent module, pooling, linear map.

    Parameters
    ----------
    state_dict : mapping of str to tensor or array, or path
        As in `from_torch`.
    recurrent, head : str, default ""
        What the names of the `torch.nn.LSTM`, `torch.nn.GRU` or `torch.nn.RNN` begin with, and those of the
        `torch.nn.Linear` (K outputs; its bias may be missing), such as ``"lstm."`` and ``"fc."``; both as `prefix` in
        `from_torch`. If both are given, other names are left alone. If not, there must be no others: they would be of
        modules that this leaves out.
    classes : array-like, shape (K,), or None, default None
        The labels that the outputs are scores of, in their order, for a classifier: the scores before the softmax that
        `torch.nn.CrossEntropyLoss` applies. Of a head with one output, the logit of `torch.nn.BCEWithLogitsLoss`, two
        labels: of 0 and of 1. None makes a regressor.
    pooling : {"last", "mean", "max", "none"}, default "last"
        What the head reads. "last": the final hidden state of the last layer, ``h_n[-1]``, or
        ``torch.cat([h_n[-2], h_n[-1]], dim=-1)`` in two directions, where ``output[:, -1]`` is another thing. "mean" or
        "max": that of the outputs at all steps of a sequence, without padding. "none": the outputs at each step, for a
        regressor with targets at each step.
    nonlinearity, dropout, backend, dtype
        As in `from_torch`.

    Returns
    -------
    LSTMClassifier or LSTMRegressor
        Fitted, with parameters that say what the model is, and others at their defaults; `classes_` are sorted, and
        probabilities in that order. A regressor's targets are not scaled (``scale_targets=False``), and predicted as
        (n,) for one output, (n, K) for several; with ``pooling="none"`` as for a fit with targets at each step. It has
        biases, zeros where the module has none. `partial_fit`, and `fit` with ``warm_start=True``, train it further.

    Raises
    ------
    ValueError, TypeError, ImportError
        As `from_torch` does; if not one head fits, its shapes do not go with the recurrent module, there are names of
        other modules and `recurrent` or `head` is not given, or `classes` are not one label for each output.
    BackendUnavailableError
        If the backend asked for is not available.

    See Also
    --------
    from_torch : The recurrent module alone.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm.io import estimator_from_torch
    >>> rng = np.random.default_rng(0)
    >>> state_dict = {
    ...     "gru.weight_ih_l0": rng.normal(size=(15, 3)),
    ...     "gru.weight_hh_l0": rng.normal(size=(15, 5)),
    ...     "fc.weight": rng.normal(size=(2, 5)),
    ...     "fc.bias": np.zeros(2),
    ... }
    >>> model = estimator_from_torch(state_dict, "gru.", "fc.", classes=["up", "down"])
    >>> model.predict_proba(np.ones((4, 7, 3))).shape
    (4, 2)
    >>> model.classes_.tolist()
    ['down', 'up']
    """
    check_choices(nonlinearity, dtype, recurrent=recurrent, head=head)
    check_option(pooling, "pooling", (*POOLINGS, "none") if classes is None else POOLINGS)
    backend = None if backend is None else check_name(backend)
    whole = unwrapped(state_dict_of(state_dict))
    place = located([*whole], recurrent, "recurrent")
    linear = prefixes([*whole], rf"(?:(?<=\.)|\A)(?:{AFFINE})")
    head_place = chosen(linear, head, "head", "Linear", [*whole])
    if not (recurrent and head):
        _refuse_others(whole, place, head_place)
    module = read(whole, place, None, dtype, {"dropout": dropout, "nonlinearity": nonlinearity})
    weight, bias = _head(whole, head_place, module, dtype)
    parameters = {name: value for name, value in module.options.items() if name != "bias"}
    parameters = {"bidirectional": False, **parameters, "scale_inputs": False}
    parameters |= {"cell": module.cell, "dtype": module.dtype, "backend": backend}
    parameters["pooling"] = "last" if pooling == "none" else pooling  # which steps with targets of their own need
    if classes is None:
        regressor = LSTMRegressor(**parameters, scale_targets=False)
        return _fitted(regressor, module, weight, bias, pooling, _numbers(pooling, len(bias)))
    order, labels = _sorted_labels(classes, len(bias), head_place)
    if len(bias) == 1:  # a softmax of 0 and a logit is the logit's sigmoid
        weight, bias = (np.concatenate([np.zeros_like(array), array]) for array in (weight, bias))
    classifier = LSTMClassifier(**parameters)
    return _fitted(classifier, module, weight[order], bias[order], pooling, Classes(labels, multilabel=False))


# Reading ------------------------------------------------------------------------------------------------------


def _refuse_others(whole: StateDict, recurrent: str, head: str) -> None:
    """Refuse parameters of other modules in the same model."""
    pairs = zip(recurrent.split("."), head.split("."), strict=False)
    model = "".join(f"{one}." for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    others = [
        key
        for key in whole
        if key.startswith(model) and not key.startswith((recurrent, head)) and hasattr(whole[key], "shape")
    ]
    if others:
        raise ValueError(
            f"state_dict must hold nothing but parameters of {recurrent!r} and {head!r}, got {listed(others)}: if the "
            "model's scores do not depend on these, give both recurrent and head"
        )


def _head(whole: StateDict, prefix: str, module: Module, dtype: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The weight (K, features) and bias (K,) of the linear map after a recurrent module."""
    forms = forms_under([*whole], prefix, AFFINE, "Linear")
    if "weight" not in forms:
        raise ValueError(f"state_dict must hold {prefix + 'weight'!r}, which is missing")
    arrays = {prefix + name: parameter(whole, prefix + name, forms[name]) for name in forms}
    if dtype is None:
        common_dtype({module.prefix + "weight_ih_l0": module.parameters["weight_ih_l0"]} | arrays)
    weight, bias = arrays[prefix + "weight"], arrays.get(prefix + "bias")
    options = module.options
    features = (options["proj_size"] or options["hidden_size"]) * (1 + options["bidirectional"])
    if weight.ndim != 2 or weight.shape[1] != features or not len(weight):
        raise ValueError(
            f"{prefix + 'weight'!r} must have shape (outputs, {features}), as {module.prefix!r} has {features} "
            f"features, got {weight.shape}"
        )
    bias = np.zeros_like(weight[:, 0]) if bias is None else bias
    if bias.shape != weight.shape[:1]:
        raise ValueError(f"{prefix + 'bias'!r} must have shape {weight.shape[:1]}, as the weight has, got {bias.shape}")
    return weight, bias


# Fitted estimators --------------------------------------------------------------------------------------------


def _sorted_labels(classes: Any, outputs: int, head: str) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts labels, and the sorted labels."""
    try:
        labels = column_or_1d(np.asarray(classes))
        if labels.dtype.kind == "U" and not all(isinstance(label, str) for label in classes):
            raise TypeError("labels must be of one type")  # NumPy makes texts of all
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError("NaN is no label")
        check_classification_targets(labels)
        known, order = np.unique(labels, return_index=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"classes must be an array of labels, got {classes!r}") from error
    if len(known) < len(labels):
        raise ValueError(f"classes must hold each label once, got {labels.tolist()}")
    if len(known) != max(outputs, 2):
        raise ValueError(
            f"classes must hold {max(outputs, 2)} labels, as {head!r} has {outputs} outputs, got {labels.tolist()}"
        )
    return order, known


def _numbers(pooling: str, outputs: int) -> Numbers:
    """Targets that are not scaled."""
    form = {"none": ("list of one", "list")}.get(pooling, ("one", "several"))[outputs > 1]
    return Numbers(form, np.zeros(outputs), np.ones(outputs), LossSpec("squared", 0.0), scaled=False)


def _fitted(
    model: Estimator, module: Module, weight: np.ndarray, bias: np.ndarray, pooling: str, codec: Codec
) -> Estimator:
    """The estimator, fitted with these weights."""
    model._check_parameters()
    options = {name: value for name, value in module.options.items() if name != "bias"}
    stack = stack_of(module.cell, module.input_size, module.dtype, options)
    module.check_shapes(stack)
    network = Network(stack, codec.outputs, pooling, codec.loss)
    learnt = module.parameters | {"weight" + HEAD: weight, "bias" + HEAD: bias}
    parameters = {
        name: np.array(learnt[name], module.dtype) if name in learnt else np.zeros(shape, module.dtype)
        for name, shape in network.shapes.items()
    }
    fitted, channels = Fitted(network, parameters, codec), stack.input_size
    model.__dict__.update(
        {"n_channels_": channels, "n_features_in_": channels, "_columns": None, "_lengths_given": False},
        **model._trained(fitted, not_defaults(options), backend_for(model.backend).name),
        loss_curve_=[], validation_loss_curve_=None, validation_scores_=None, best_loss_=np.inf, n_iter_=0,
        stop_reason_=ALL_EPOCHS,
    )  # fmt: skip
    return model
