"""Static features: what is known of a whole sequence, checked and scaled."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_array

from ...backends.dispatch import gpu_array_in
from .forms import on_host
from .frames import is_frame
from .scaling import moments, scaled


@dataclass(frozen=True, eq=False)
class StaticFeatures:
    """What an estimator was fitted with.

    Attributes
    ----------
    mean, scale : float64 array, shape (F,)
        What is taken from each feature, and what it is then divided by.
    names : array of str, shape (F,), or None
        Of the columns, if they came in a DataFrame.
    """

    mean: np.ndarray
    scale: np.ndarray
    names: np.ndarray | None

    @classmethod
    def of(cls, values: np.ndarray, names: np.ndarray | None) -> StaticFeatures:
        """Those of values (n, F), with their mean and deviation; the scale of a constant is 1.

        Raises
        ------
        ValueError
            If a deviation is not finite.
        """
        return cls(*moments(values, "static"), names)

    def scaled(self, values: np.ndarray, dtype: str, name: str) -> np.ndarray:
        """Values (n, F) as the network reads them.

        Raises
        ------
        ValueError
            If they are too large for `dtype`.
        """
        return scaled(values, self.mean, self.scale, dtype, name)

    def checked(self, static: Any, count: int, dtype: str, name: str = "static") -> np.ndarray:
        """Static features of `count` sequences as the network reads them.

        Raises
        ------
        TypeError, ValueError
            If they are not as in `fit`.

        Warns
        -----
        UserWarning
            If names are missing that there were in `fit`, or the other way round, as scikit-learn does.
        """
        values, names = static_numbers(static, count, name)
        if values.shape[1] != len(self.mean):
            raise ValueError(f"{name} must have {len(self.mean)} features, as in fit, got {values.shape[1]}")
        if (names is None) != (self.names is None):
            had, has = ("feature names", "none") if names is None else ("no feature names", "some")
            warnings.warn(f"{name} had {had} in fit, and has {has} now", UserWarning, stacklevel=5)
        elif names is not None and self.names is not None and names.tolist() != self.names.tolist():
            expected, got = self.names.tolist(), names.tolist()
            raise ValueError(f"{name} must have the columns {expected}, in the order of fit, got {got}")
        return self.scaled(values, dtype, name)


def static_numbers(static: Any, count: int, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Static features (n, F) in float64, and the names of columns, if they are all texts.

    Raises
    ------
    TypeError, ValueError
        If they are no finite real numbers, one row for each of `count` sequences.
    """
    static = on_host(static) if gpu_array_in(static) is not None else static
    expected = f"{name} must be an array ({count}, features) of finite real numbers"
    try:
        values = check_array(static, dtype=np.float64, order="C", ensure_2d=False, allow_nd=True, input_name=name)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{expected}: {error}") from error
    if values.ndim != 2 or len(values) != count:
        raise ValueError(f"{expected}, a row for each sequence, got shape {values.shape}")
    return values, _names(static, name)


def _names(static: Any, name: str) -> np.ndarray | None:
    if not is_frame(static):
        return None
    texts = [isinstance(each, str) for each in static.columns]
    if any(texts) and not all(texts):
        raise TypeError(f"{name} must have columns whose names are all texts, or none, got {[*static.columns]}")
    return np.array([*static.columns], object) if any(texts) else None


def static_for(
    features: StaticFeatures | None, static: Any, count: int, dtype: str, name: str = "static"
) -> np.ndarray | None:
    """What the network reads of static features, or None if it was fitted without any.

    Raises
    ------
    TypeError, ValueError
        If they are not as in `fit`, or are missing, or come though there were none.
    """
    if (features is None) != (static is None):
        if features is None:
            raise ValueError(f"{name} must be None, as there were no static features in fit")
        raise ValueError(
            f"{name} must be given, an array ({count}, {len(features.mean)}), as there were static features in fit"
        )
    return None if features is None else features.checked(static, count, dtype, name)
