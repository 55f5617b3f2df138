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

    The horizon is the furthest step of `fh`. The columns of X are future covariates.

    Parameters
    ----------
    context_length, season_length, differencing, transform, calendar, conformal, n_members, linear_skip, hidden_size,
    num_layers, cell, pooling, dropout, learning_rate_init, max_iter, batch_size, random_state, backend, dtype, verbose
        See `LSTMForecaster`.

    Attributes
    ----------
    forecaster_ : LSTMForecaster
        The fitted forecaster.

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
        "capability:multivariate": False,
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:non_contiguous_X": False,
        "capability:random_state": True,
        "capability:update": True,
        "capability:categorical_in_X": False,
        "y_inner_mtype": "pd.Series",
        "X_inner_mtype": "pd.DataFrame",
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
        self.verbose = verbose
        super().__init__()

    def _fit(self, y: pd.Series, X: pd.DataFrame | None, fh: Any) -> LSTMForecasterSktime:
        steps = int(fh.to_relative(self.cutoff).to_numpy().max())
        columns = None if X is None else list(X.columns)
        forecaster = LSTMForecaster(horizon=steps, future_covariates=columns, **self.get_params(deep=False))
        self.forecaster_ = forecaster.fit(y, X)
        self._last = y.index[-1]
        return self

    def _predict(self, fh: Any, X: pd.DataFrame | None) -> pd.Series:
        return pd.Series(
            self.forecaster_.predict(X=X).to_numpy()[self._steps(fh)],
            index=fh.to_absolute_index(self.cutoff),
            name=self._y.name,
        )

    def _predict_quantiles(self, fh: Any, X: pd.DataFrame | None, alpha: list[float]) -> pd.DataFrame:
        levels = np.unique(alpha)
        values = self.forecaster_.predict_quantiles(levels.tolist(), X=X).to_numpy()[self._steps(fh)]
        columns = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        index = fh.to_absolute_index(self.cutoff)
        return pd.DataFrame(values[:, np.searchsorted(levels, alpha)], index=index, columns=columns)

    def _update(self, y: pd.Series, X: pd.DataFrame | None = None, update_params: bool = True) -> LSTMForecasterSktime:
        is_new = y.index > self._last
        if is_new.any():
            self.forecaster_.update(y[is_new], None if X is None else X.loc[y.index[is_new]])
            self._last = y.index[-1]
        return self

    def _steps(self, fh: Any) -> np.ndarray:
        """The rows of a forecast that `fh` asks for."""
        return fh.to_relative(self.cutoff).to_numpy().astype(int) - 1

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small models, for sktime's tests."""
        small = {"hidden_size": 4, "max_iter": 1, "n_members": 1, "random_state": 0}
        return [small, {**small, "linear_skip": False, "differencing": "first", "context_length": 3}]
