"""Static features: numbers that describe whole sequences, checked and scaled."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_array

from ...backends.dispatch import gpu_array_in
from .forms import on_host
from .frames import is_frame
from .scaling import mean_and_scale, standardize


@dataclass(frozen=True, eq=False)
class StaticFeatures:
    """The mean, the scale and the name of each static feature in `fit`.

    Attributes
    ----------
    mean, scale : float64 array, shape (F,)
        A network reads ``(static - mean) / scale``.
    names : array of str, shape (F,), or None
        The names of the columns, if the features came in a DataFrame.
    """

    mean: np.ndarray
    scale: np.ndarray
    names: np.ndarray | None

    @classmethod
    def of(cls, values: np.ndarray, names: np.ndarray | None) -> StaticFeatures:
        """The mean and the standard deviation of values (n, F); a constant feature has the scale 1.

        Raises
        ------
        ValueError
            If a standard deviation is not finite.
        """
        return cls(*mean_and_scale(values, "static"), names)

    def scaled(self, values: np.ndarray, dtype: str, name: str) -> np.ndarray:
        """Scaled values (n, F).

        Raises
        ------
        ValueError
            If a scaled number is too large for `dtype`.
        """
        return standardize(values, self.mean, self.scale, dtype, name)

    def checked(self, static: Any, count: int, dtype: str, name: str = "static") -> np.ndarray:
        """Checked and scaled static features of `count` sequences.

        Raises
        ------
        TypeError, ValueError
            If the features are not those of `fit`.

        Warns
        -----
        UserWarning
            If the features had names in `fit` and have none now, or the other way round, as in scikit-learn.
        """
        values, names = check_static(static, count, name)
        if values.shape[1] != len(self.mean):
            raise ValueError(f"{name} must have {len(self.mean)} features, as in fit, got {values.shape[1]}")
        if (names is None) != (self.names is None):
            in_fit, now = ("feature names", "none") if names is None else ("no feature names", "some")
            warnings.warn(f"{name} had {in_fit} in fit, and has {now} now", UserWarning, stacklevel=5)
        elif names is not None and self.names is not None and names.tolist() != self.names.tolist():
            expected, got = self.names.tolist(), names.tolist()
            raise ValueError(f"{name} must have the columns of fit in the same order, {expected}, got {got}")
        return self.scaled(values, dtype, name)


def check_static(static: Any, count: int, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Static features (n, F) in float64, and the names of the columns, if all names are strings.

    Raises
    ------
    TypeError, ValueError
        If the features are not finite real numbers, with one row for each of `count` sequences.
    """
    static = on_host(static) if gpu_array_in(static) is not None else static
    expected = f"{name} must be an array ({count}, features) of finite real numbers"
    try:
        values = check_array(static, dtype=np.float64, order="C", ensure_2d=False, allow_nd=True, input_name=name)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{expected}: {error}") from error
    if values.ndim != 2 or len(values) != count:
        raise ValueError(f"{expected}, one row for each sequence, got shape {values.shape}")
    return values, _names(static, name)


def _names(static: Any, name: str) -> np.ndarray | None:
    if not is_frame(static):
        return None
    are_strings = [isinstance(column, str) for column in static.columns]
    if any(are_strings) and not all(are_strings):
        raise TypeError(
            f"{name} must have column names that are all strings, or no string among them, got {[*static.columns]}"
        )
    return np.array([*static.columns], object) if any(are_strings) else None


def scaled_static(
    features: StaticFeatures | None, static: Any, count: int, dtype: str, name: str = "static"
) -> np.ndarray | None:
    """Checked and scaled static features, or None if `fit` had none.

    Raises
    ------
    TypeError, ValueError
        If the features are not those of `fit`, are missing, or were not there in `fit`.
    """
    if (features is None) != (static is None):
        if features is None:
            raise ValueError(f"{name} must be None, because fit had no static features")
        raise ValueError(
            f"{name} must be an array ({count}, {len(features.mean)}), because fit had static features, got None"
        )
    return None if features is None else features.checked(static, count, dtype, name)
