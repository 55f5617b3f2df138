"""Steps as dicts of features, as sklearn-crfsuite takes them: a step may lack features that other steps have."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np


def is_list_of_dicts(sequence: Any) -> bool:
    """Whether a sequence is a list that begins with a dict."""
    return isinstance(sequence, list | tuple) and len(sequence) > 0 and isinstance(sequence[0], Mapping)


def features_of(X: Any, name: str) -> list[Hashable]:
    """The features of all steps of all sequences, in the order of their first steps.

    Raises
    ------
    TypeError
        If a sequence is not a list of dicts.
    """
    features: dict[Hashable, None] = {}
    for i, sequence in enumerate(X):
        _check_dicts(sequence, f"{name}[{i}]")
        for step in sequence:
            features.update(dict.fromkeys(step))
    return [*features]


def columns_of(sequence: Any, absent: Mapping[Hashable, Any], name: str) -> list[np.ndarray]:
    """The features of a sequence as arrays of objects, in the order of `absent`, which has the value of absent ones.

    Raises
    ------
    TypeError, ValueError
        If the sequence is not a list of dicts, or if a step has another feature.
    """
    _check_dicts(sequence, name)
    for t, step in enumerate(sequence):
        unknown = [feature for feature in step if feature not in absent]
        if unknown:
            raise ValueError(f"{name}[{t}] must have keys among those of fit, {[*absent]}, got {unknown[0]!r}")
    return [np.array([step.get(feature, value) for step in sequence], object) for feature, value in absent.items()]


def _check_dicts(sequence: Any, name: str) -> None:
    if not isinstance(sequence, list | tuple) or not len(sequence) or not all(isinstance(s, Mapping) for s in sequence):
        raise TypeError(f"{name} must be a list of dicts, one for each step, as the first sequence is")
