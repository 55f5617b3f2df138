"""`LSTMForecaster` as a forecaster of sktime, for its pipelines, splitters and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster

from ..forecasting import LSTMForecaster


class LSTMForecasterSktime(BaseForecaster):
    """`numlstm.LSTMForecaster` behind sktime's interface.

    The horizon is the furthest step of `fh`. The columns of X are future covariates. One model learns from all columns
    of y, and from all instances of a panel or hierarchy.

    Parameters
    ----------
    context_length, season_length, differencing, transform, calendar, conformal, n_members, linear_skip, hidden_size,
    num_layers, cell, pooling, dropout, learning_rate_init, max_iter, batch_size, random_state, backend, dtype, verbose
        See `LSTMForecaster`.

    Attributes
    ----------
    forecaster_ : LSTMForecaster
        The fitted forecaster; its series are the columns of all instances, in a list.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from numlstm.integrations.sktime import LSTMForecasterSktime
    >>> y = load_airline()
    >>> forecaster = LSTMForecasterSktime(max_iter=2, random_state=0).fit(y[:-12], fh=range(1, 13))
    >>> forecaster.predict().shape
    (12,)
    """

    _tags = {  # noqa: RUF012 - sktime wants a plain dict
        "authors": "numlstm",
        "python_dependencies": "numlstm",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:non_contiguous_X": False,
        "capability:random_state": True,
        "capability:update": True,
        "capability:categorical_in_X": False,
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "requires-fh-in-fit": True,
    }

    def __init__(
        self,
        context_length: int | str = "auto",
        season_length: int | str = "auto",
        differencing: str = "auto",
        transform: str = "auto",
        calendar: str | Sequence[str] = "auto",
        conformal: bool = True,
        n_members: int = 2,
        linear_skip: bool = True,
        hidden_size: int | list[int] = 32,
        num_layers: int = 1,
        cell: str = "lstm",
        pooling: str = "concat",
        dropout: float = 0.0,
        learning_rate_init: float = 0.01,
        max_iter: int | str = "auto",
        batch_size: int | str = "auto",
        random_state: Any = None,
        backend: str | None = None,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.context_length = context_length
        self.season_length = season_length
        self.differencing = differencing
        self.transform = transform
        self.calendar = calendar
        self.conformal = conformal
        self.n_members = n_members
        self.linear_skip = linear_skip
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.cell = cell
        self.pooling = pooling
        self.dropout = dropout
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.random_state = random_state
        self.backend = backend
        self.dtype = dtype
        self.compute_dtype = compute_dtype
        self.verbose = verbose
        super().__init__()

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> LSTMForecasterSktime:
        steps = int(fh.to_relative(self.cutoff).to_numpy().max())
        columns = None if X is None else list(X.columns)
        forecaster = LSTMForecaster(horizon=steps, future_covariates=columns, **self.get_params(deep=False))
        tables = _instances(y)
        self._columns, self._levels = y.columns, y.index.names
        self._last = {key: table.index[-1] for key, table in tables.items()}
        self.forecaster_ = forecaster.fit(_series(tables), self._covariates(X))
        return self

    def _predict(self, fh: Any, X: pd.DataFrame | None) -> pd.DataFrame:
        forecasts = self.forecaster_.predict(X=self._covariates(X))
        return self._joined(fh, [forecast.to_frame() for forecast in forecasts], self._columns)

    def _predict_quantiles(self, fh: Any, X: pd.DataFrame | None, alpha: list[float]) -> pd.DataFrame:
        levels = np.unique(alpha)
        quantiles = self.forecaster_.predict_quantiles(levels.tolist(), X=self._covariates(X))
        columns = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        return self._joined(fh, [table.iloc[:, np.searchsorted(levels, alpha)] for table in quantiles], columns)

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> LSTMForecasterSktime:
        tables = _instances(y)
        tables = {key: table[table.index > self._last[key]] for key, table in tables.items()}
        if any(map(len, tables.values())):
            self.forecaster_.update(_series(tables), self._covariates(X))
            self._last = {key: table.index[-1] for key, table in tables.items()}
        return self

    def _covariates(self, X: pd.DataFrame | None) -> list[pd.DataFrame] | None:
        """The covariates of each series: the columns of y share those of their instance."""
        tables = {} if X is None else _instances(X)
        return None if X is None else [tables[key] for key in self._last for _ in self._columns]

    def _joined(self, fh: Any, tables: list[pd.DataFrame], columns: pd.Index) -> pd.DataFrame:
        """One table with the steps that `fh` asks for, from a table for each series."""
        steps, per_instance = fh.to_relative(self.cutoff).to_numpy().astype(int) - 1, len(self._columns)
        parts = {}
        for k, key in enumerate(self._last):
            part = pd.concat(tables[k * per_instance : (k + 1) * per_instance], axis=1).iloc[steps]
            parts[key] = part.set_axis(columns, axis=1)
        return parts[()] if () in parts else pd.concat(parts, names=self._levels)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small models, for sktime's tests."""
        small = {"hidden_size": 4, "max_iter": 1, "n_members": 1, "random_state": 0}
        return [small, {**small, "linear_skip": False, "differencing": "first", "context_length": 3}]


def _instances(data: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """The table of each instance of a panel or hierarchy, by its key; the key of a single table is ()."""
    levels = [*range(data.index.nlevels - 1)]
    if not levels:
        return {(): data}
    return {key: table.droplevel(levels) for key, table in data.groupby(level=levels, sort=False)}


def _series(tables: dict[tuple[Any, ...], pd.DataFrame]) -> list[pd.Series]:
    """Each column of each table."""
    return [table[column] for table in tables.values() for column in table.columns]
