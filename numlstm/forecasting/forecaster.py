"""A forecaster of time series."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..checks import check_integer, check_rng
from ..savable import Savable
from . import backtest as backtests
from .extension import extended
from .learning import Learnt, checked_future, learn, names_of, seen
from .parameters import check_coverage, check_parameters, checked_levels
from .series import Panel, joined, read_future, read_panel
from .tables import written
from .windows import Windows

INTERVAL = 0.1, 0.5, 0.9  # default levels of quantiles


class LSTMForecaster(Savable, BaseEstimator):
    """Forecast one time series, or many with one model, by LSTM layers and linear maps that read windows of the past.

    The forecast is a weighted mean of several members. Members learn from windows of the series; they differ in
    differencing and scaling. Each member forecasts all steps of the horizon at once. The weights follow from the errors
    of the members on windows that were held out, as in [1]_. Settings at "auto" depend on the data and their frequency.

    Parameters
    ----------
    horizon : int, at least 1, or "auto", default "auto"
        Steps to forecast. "auto": a season, or 1 if there is no season.
    context_length : int, at least 1, or "auto", default "auto"
        Steps of the past that a forecast reads. "auto": two seasons, or 8 steps if there is no season; at least the
        horizon; fewer if the shortest series is too short.
    season_length : int, at least 1, or "auto", default "auto"
        Steps of a season; 1 for none. "auto": 12 for months, 4 for quarters, 52 for weeks, 7 for days, 5 for working
        days, a day for steps down to five minutes, an hour for shorter ones; if the index suggests none, the lag at
        which the autocorrelation peaks.
    differencing : {"auto", "none", "first", "seasonal"}, default "auto"
        What values are relative to. "none": the mean of the series; "first": the last value of the window;
        "seasonal": the value a season before; "auto": there are members of each kind that suits the data.
    transform : {"auto", "none", "log"}, default "auto"
        Whether the model learns from values ("none") or their logarithms ("log"). "auto" takes logarithms if all values
        are positive and swings grow with the level (`numlstm.forecasting.transforms.transform_of`).
    calendar : "auto" or tuple of {"minute", "hour", "weekday", "day", "month"}, default "auto"
        Features of time stamps: sine and cosine of each cycle. "auto": cycles that are longer than a season and that
        the data contain at least twice: the month for days, the weekday for shorter steps.
    past_covariates, future_covariates : list of columns of X, or None, default None
        Past covariates are known up to the start of the forecast, future covariates also for its steps. By default all
        columns of X are past covariates.
    quantiles : sequence of float in (0, 1), rising, or None, default None
        Levels of quantiles that networks learn instead of the mean.
    distribution : {"gaussian", "student_t", "negative_binomial"} or None, default None
        Distribution whose parameters networks learn instead of the mean.
    conformal : bool, default True
        Whether intervals are calibrated on windows that were held out [2]_. If False, intervals need `quantiles` or a
        `distribution`.
    n_members : int, at least 1, default 2
        Number of networks of each kind, with different seeds.
    linear_skip : bool, default True
        Whether linear maps of the window are members, too: ridge regressions, and a damped trend.
    hidden_size, num_layers, cell, pooling, dropout, learning_rate_init, max_iter, batch_size
        Parameters of the networks, as in `LSTMRegressor`; by default 32 hidden units.
    random_state : int, numpy.random.RandomState or None, default None
        Seed of all members. With an int, results repeat to the bit.
    id_column, time_column : str, default "id" and "time"
        Names of the columns that hold the series and the time stamps in a DataFrame.
    backend, dtype, verbose
        As in `LSTMRegressor`.
    compute_dtype : {"tf32", "float16", "bfloat16", "int8"} or None, default None
        As in `LSTMRegressor`, for the networks of the next `fit`, and so also for the windows that calibrate intervals;
        with ``"bfloat16"`` they are trained in it.

    Attributes
    ----------
    horizon_, context_length_, season_length_ : int
        The values in use, also for "auto".
    transform_ : str
        The transform in use.
    calendar_ : tuple of str
        The calendar features in use.
    weights_ : dict
        The weight of each member, by its kind of differencing and its type.

    See Also
    --------
    LSTMRegressor, sliding_windows : A regressor and windows, to build a forecaster by hand.

    Notes
    -----
    Steps that are missing in the index are filled in with missing values. Missing values are 0 after scaling, and a
    channel marks them; the loss leaves out missing targets.

    References
    ----------
    .. [1] J. Bates, C. Granger, "The Combination of Forecasts", 1969.
    .. [2] H. Papadopoulos et al., "Inductive Confidence Machines for Regression", 2002: split conformal prediction.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import LSTMForecaster
    >>> months = np.arange(96)
    >>> y = 10 + 0.1 * months + np.sin(2 * np.pi * months / 12)
    >>> forecaster = LSTMForecaster(horizon=6, max_iter=5, random_state=0).fit(y[:90])
    >>> forecaster.season_length_
    12
    >>> bool(np.abs(forecaster.predict() - y[90:]).max() < 0.1)
    True
    """

    def __init__(
        self,
        *,
        horizon: int | str = "auto",
        context_length: int | str = "auto",
        season_length: int | str = "auto",
        differencing: str = "auto",
        transform: str = "auto",
        calendar: str | Sequence[str] = "auto",
        past_covariates: Sequence[Any] | None = None,
        future_covariates: Sequence[Any] | None = None,
        quantiles: Sequence[float] | None = None,
        distribution: str | None = None,
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
        random_state: int | np.random.RandomState | None = None,
        id_column: str = "id",
        time_column: str = "time",
        backend: str | None = None,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.horizon = horizon
        self.context_length = context_length
        self.season_length = season_length
        self.differencing = differencing
        self.transform = transform
        self.calendar = calendar
        self.past_covariates = past_covariates
        self.future_covariates = future_covariates
        self.quantiles = quantiles
        self.distribution = distribution
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
        self.id_column = id_column
        self.time_column = time_column
        self.backend = backend
        self.dtype = dtype
        self.compute_dtype = compute_dtype
        self.verbose = verbose

    # Learning --------------------------------------------------------------------------------------------

    def fit(self, y: Any, X: Any = None, *, static: Any = None) -> LSTMForecaster:
        """Learn from one series or many.

        Parameters
        ----------
        y : array, shape (T,) or (T, series); list of arrays (T_i,); Series or DataFrame of pandas or polars
            A DataFrame is wide, with a column for each series; or long, with the columns `id_column`, `time_column` and
            one for the values, and rows in any order; or it has a pandas index of two levels, series and time. NaN
            marks a missing value.
        X : array, shape (T, C), DataFrame, or a list of these; optional
            Covariates of each series, in the form of y; a single table is for all series. X must contain all steps of
            y. If it ends later than y, `predict` uses its `future_covariates`.
        static : array, shape (series, S), or DataFrame whose index has the names of series; optional
            Numbers that describe a whole series.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are not as described; then the forecaster does not change.

        Examples
        --------
        One model learns from three series of unequal length.

        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = [np.sin(np.arange(steps) / 2) for steps in (40, 50, 60)]
        >>> forecaster = LSTMForecaster(horizon=3, max_iter=1, random_state=0).fit(y)
        >>> [len(forecast) for forecast in forecaster.predict()]
        [3, 3, 3]
        """
        check_parameters(self)
        panel = read_panel(y, X, static, names_of(self))
        learnt = learn(self, panel)
        self._learnt = learnt
        self._panel = _ends(panel.map(lambda series: seen(series, learnt.settings, panel.frequency)), learnt)
        return self

    def update(self, y: Any, X: Any = None) -> LSTMForecaster:
        """Add new observations: forecasts start after them, and intervals also use the errors in these steps.

        Members do not learn from them.

        Parameters
        ----------
        y : in the form of `fit`
            The observations after the last known step of each series.
        X : optional
            Covariates of the same steps; future covariates also of later steps.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If y is not as described, or starts before the end of the known steps.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> forecaster = LSTMForecaster(horizon=3, max_iter=1, random_state=0).fit(y[:50])
        >>> bool(np.abs(forecaster.update(y[50:57]).predict() - y[57:]).max() < 0.1)
        True
        """
        check_is_fitted(self)
        before, panel = [len(series) for series in self._panel.series], self._extended_panel(y, X)
        self._learnt = self._learnt.observed(panel.series, before)
        self._panel = _ends(panel, self._learnt)
        return self

    def _extended_panel(self, y: Any, X: Any) -> Panel:
        """The known series, extended by new observations."""
        known = self._panel
        new = read_panel(y, X, None, names_of(self), known.frequency)
        new_series = {series.key: series for series in new.series}
        expected = [series.key for series in known.series]
        if set(new_series) != set(expected):
            raise ValueError(f"y must have the series of fit, {expected}, got {list(new_series)}")
        self._check_covariates(new, ("past",))
        counted = known.form.stamps.kind in ("none", "range") and new.form.stamps.kind in ("none", "range")
        extended = [joined(series, new_series[series.key], known.frequency, counted) for series in known.series]
        return replace(known, series=extended)

    # Forecasting -----------------------------------------------------------------------------------------

    def predict(self, horizon: int | None = None, X: Any = None, *, y: Any = None, static: Any = None) -> Any:
        """Forecast the steps after the last known step.

        Parameters
        ----------
        horizon : int, at least 1; optional
            Steps to forecast; by default all steps of the horizon of `fit`. A longer horizon is forecast in parts: each
            takes the forecasts before it as observations. That needs a forecaster without past covariates.
        X : optional
            Future covariates of these steps. With dates, X may contain other steps, too.
        y : in a form of `fit`; optional
            Series to forecast instead of those of `fit`. Then X and `static` are as in `fit`. Pass whole series:
            members without differencing read their mean and deviation.
        static : optional
            Static numbers of these series.

        Returns
        -------
        array, shape (H,) or (H, series), list of arrays, or Series or DataFrame of pandas or polars
            In the form of y; an index continues that of y.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If future covariates do not reach the horizon, or it is longer than that of `fit` and there are past
            covariates.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> forecaster = LSTMForecaster(horizon=3, max_iter=1, random_state=0).fit(y[:57])
        >>> bool(np.abs(forecaster.predict() - y[57:]).max() < 0.1)
        True
        """
        panel, windows, horizon = self._ahead(horizon, X, y, static, beyond=True)
        point = extended(self._learnt, panel, windows, horizon, self._learnt.point)
        return _written(panel, [*point], horizon)

    def predict_quantiles(
        self,
        quantiles: Sequence[float] | None = None,
        horizon: int | None = None,
        X: Any = None,
        *,
        y: Any = None,
        static: Any = None,
    ) -> Any:
        """Quantiles of forecasts.

        Parameters
        ----------
        quantiles : sequence of float in (0, 1), rising; optional
            Levels; by default the parameter `quantiles`, or (0.1, 0.5, 0.9).
        horizon : int, at least 1 and at most that of `fit`; optional
        X, y, static
            As in `predict`.

        Returns
        -------
        array, shape (H, levels) or (H, series, levels), list of arrays, or DataFrame with a column for each level
            Quantiles rise with the level.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`, and if there are no levels, or levels that were not learnt, or the horizon is longer than
            that of `fit`: `sample` draws paths that are longer.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> forecaster = LSTMForecaster(quantiles=(0.1, 0.5, 0.9), horizon=3, max_iter=1, random_state=0).fit(y)
        >>> bool((np.diff(forecaster.predict_quantiles(), axis=1) >= 0).all())
        True
        """
        default = self.quantiles if self.quantiles is not None else INTERVAL
        levels = checked_levels(default if quantiles is None else quantiles, "quantiles")
        panel, windows, horizon = self._ahead(horizon, X, y, static)
        values = self._quantiles(windows, levels)[:, :horizon]
        return _written(panel, [*values], horizon, [float(level) for level in levels])

    def predict_interval(
        self, coverage: float = 0.8, horizon: int | None = None, X: Any = None, *, y: Any = None, static: Any = None
    ) -> Any:
        """Intervals that cover the truth with a given probability.

        Parameters
        ----------
        coverage : float in (0, 1), default 0.8
        horizon : int, at least 1 and at most that of `fit`; optional
        X, y, static
            As in `predict`.

        Returns
        -------
        array, shape (H, 2) or (H, series, 2), list of arrays, or DataFrame with the columns "lower" and "upper"

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict_quantiles`.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> forecaster = LSTMForecaster(horizon=3, max_iter=1, random_state=0).fit(y)
        >>> forecaster.predict_interval(0.9).shape
        (3, 2)
        """
        share = check_coverage(coverage)
        panel, windows, horizon = self._ahead(horizon, X, y, static)
        values = self._quantiles(windows, [(1 - share) / 2, (1 + share) / 2])[:, :horizon]
        return _written(panel, [*values], horizon, ["lower", "upper"])

    def sample(
        self,
        n: int = 100,
        horizon: int | None = None,
        X: Any = None,
        *,
        y: Any = None,
        static: Any = None,
        random_state: Any = None,
    ) -> np.ndarray:
        """Paths that the series may take, drawn from the `distribution`.

        Parameters
        ----------
        n : int, at least 1, default 100
            Number of paths for each series.
        horizon, X, y, static
            As in `predict`.
        random_state : int, numpy.random.Generator or None, default None

        Returns
        -------
        array, shape (n, H), or (n, H, series) if there are several series

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`, and if there is no `distribution`.

        Notes
        -----
        Steps of a path depend on one another by a Gaussian copula, an autoregression of order 1. Its coefficient is the
        correlation of errors at neighbouring steps in windows that were held out.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> forecaster = LSTMForecaster(distribution="gaussian", horizon=3, max_iter=1, random_state=0).fit(y)
        >>> forecaster.sample(20, random_state=0).shape
        (20, 3)
        """
        check_integer(n, "n", 1)
        rng = check_rng(random_state, "random_state")
        panel, windows, horizon = self._ahead(horizon, X, y, static, beyond=True)
        learnt = self._learnt
        if not learnt.head.is_distribution:
            raise ValueError("distribution must be given to sample from it, got None: fit with a distribution")
        if horizon <= self.horizon_:
            paths = learnt.paths(windows, n, rng)[:, :, :horizon]
        else:
            path = partial(extended, learnt, panel, windows, horizon, lambda windows: learnt.paths(windows, 1, rng)[0])
            paths = np.array([path() for _ in range(n)])
        return paths[:, 0] if panel.form.kind in ("array", "series") and not panel.form.listed else paths.swapaxes(1, 2)

    def score(self, y: Any, X: Any = None) -> float:
        """Minus the mean absolute scaled error (MASE) of forecasts of the steps after the last known step.

        Errors are divided by those of the seasonal naive forecast within the series of `fit`. If y is longer than the
        horizon, it is forecast in several parts; each part knows all steps before it. So `GridSearchCV` with
        ``TimeSeriesSplit`` can search for parameters: ``search.fit(y)``.

        Parameters
        ----------
        y : in the form of `fit`
            The observations after the last known step.
        X : optional
            Covariates of these steps.

        Returns
        -------
        float, at most 0

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `update`.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> forecaster = LSTMForecaster(horizon=3, max_iter=1, random_state=0).fit(y[:57])
        >>> bool(forecaster.score(y[57:]) > -0.5)
        True
        """
        check_is_fitted(self)
        return backtests.score(self, y, X)

    def backtest(
        self,
        y: Any,
        X: Any = None,
        *,
        static: Any = None,
        n_windows: int = 5,
        horizon: int | None = None,
        refit: bool = False,
        coverage: float = 0.8,
    ) -> Any:
        """Errors over windows at the end of series, beside the errors of simple rivals.

        A copy of the forecaster learns from the steps before the first window, or with `refit` before each window. It
        forecasts each window from all steps before it.

        Parameters
        ----------
        y, X, static
            As in `fit`.
        n_windows : int, at least 1, default 5
            Number of windows. They follow one another up to the end of each series.
        horizon : int, at least 1; optional
            Steps of a window; by default the parameter `horizon`.
        refit : bool, default False
            Whether to learn again before each window.
        coverage : float in (0, 1), default 0.8
            Coverage of the intervals.

        Returns
        -------
        DataFrame if pandas is installed, else structured array
            A row for each model, series and step ahead, with the columns "model", "series", "step", "mase", "smape",
            "rmse", "pinball", "coverage" and "seconds" (of learning and forecasting, for a series). Models are this
            one, the seasonal naive forecast, drift and, if statsmodels is installed, exponential smoothing (ETS).
            "pinball" is twice the mean pinball loss over the levels 0.1, 0.2, ..., 0.9, or those of `quantiles`: an
            approximation of the CRPS. "pinball" and "coverage" are NaN for models without quantiles.

        Raises
        ------
        TypeError, ValueError
            As in `fit`, and if series are too short.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> table = LSTMForecaster(horizon=3, max_iter=1, random_state=0).backtest(y, n_windows=2)
        >>> [str(model) for model in dict.fromkeys(table["model"])][:3]
        ['LSTMForecaster', 'seasonal naive', 'drift']
        """
        return backtests.backtest(self, y, X, static, n_windows, horizon, refit, coverage)

    def _ahead(self, horizon: Any, X: Any, y: Any, static: Any, beyond: bool = False) -> tuple[Panel, Windows, int]:
        """The series to forecast, their last windows, and the number of steps to forecast.

        With `beyond`, there may be more steps than in the horizon of `fit`.
        """
        check_is_fitted(self)
        longest = self._learnt.settings.lengths.horizon
        horizon = longest if horizon is None else check_integer(horizon, "horizon", 1)
        if horizon > longest:
            self._check_beyond(horizon, longest, beyond)
        panel = self._panel
        if y is not None:
            panel = read_panel(y, X, static, names_of(self), self._learnt.frequency)
            self._check_covariates(panel)
        elif X is not None and self.future_covariates:
            panel = read_future(panel, X, names_of(self))
        checked_future(panel.series, horizon, self.future_covariates or ())
        return panel, self._learnt.last_windows(panel), horizon

    def _check_beyond(self, horizon: int, longest: int, possible: bool) -> None:
        """Refuse a horizon longer than that of `fit` where forecasts cannot be taken as observations."""
        expected = f"horizon must be at most that of fit, {longest}, got {horizon}"
        if not possible:
            raise ValueError(f"{expected}: fit with a longer one; beyond it there are only `predict` and `sample`")
        if self._panel.series[0].past.shape[1]:
            raise ValueError(f"{expected}: past covariates are not known there; fit with a longer one")

    def _check_covariates(self, panel: Panel, roles: Sequence[str] = ("past", "future", "static")) -> None:
        """Check that new series have as many covariates as the series of `fit`."""
        known_series, new_series = self._panel.series[0], panel.series[0]
        for role in roles:
            argument = "static" if role == "static" else "X"
            expected, got = getattr(known_series, role).shape[-1], getattr(new_series, role).shape[-1]
            if expected != got:
                raise ValueError(f"{argument} must have {expected} {role} covariates, as in fit, got {got}")

    def _quantiles(self, windows: Windows, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantiles (n, H, levels) at levels that the forecaster has; warns if intervals are too narrow."""
        learnt = self._learnt
        learnt.check_levels(levels, "quantiles")
        if learnt.calibration is not None and not learnt.calibration.held_out:
            warnings.warn(
                "y in fit was too short to hold out windows: intervals rest on errors in windows that members learnt "
                "from, and are too narrow; fit longer series",
                stacklevel=3,
            )
        return learnt.quantiles(windows, levels)

    # Fitted attributes -----------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_learnt")

    def _learnt_for(self, attribute: str) -> Learnt:
        """What `fit` has learnt, for a fitted attribute."""
        if not hasattr(self, "_learnt"):
            raise AttributeError(f"LSTMForecaster is not fitted yet, so it has no {attribute}: call fit")
        return self._learnt

    @property
    def horizon_(self) -> int:
        """Steps to forecast."""
        return self._learnt_for("horizon_").settings.lengths.horizon

    @property
    def context_length_(self) -> int:
        """Steps that a forecast reads."""
        return self._learnt_for("context_length_").settings.lengths.context

    @property
    def season_length_(self) -> int:
        """Steps of a season."""
        return self._learnt_for("season_length_").settings.lengths.season

    @property
    def transform_(self) -> str:
        """The transform before learning: "none", or "log" for logarithms."""
        return self._learnt_for("transform_").settings.transform

    @property
    def calendar_(self) -> tuple[str, ...]:
        """Calendar features that the members read."""
        return self._learnt_for("calendar_").settings.calendar

    @property
    def weights_(self) -> dict[tuple[str, str], float]:
        """The weight of each member, by its kind of differencing and its type."""
        combination = self._learnt_for("weights_").combination
        names = [(member.kind, type(member).__name__.lower()) for member in combination.members]
        return dict(zip(names, combination.weights.tolist(), strict=True))


def _ends(panel: Panel, learnt: Learnt) -> Panel:
    """The last steps of the series, as many as forecasts and `update` need."""
    steps = learnt.settings.reach + learnt.settings.lengths.horizon
    return panel.map(lambda series: series.tail(steps, panel.frequency))


def _written(panel: Panel, values: list[np.ndarray], horizon: int, columns: Any = None) -> Any:
    """The values of each series, in the form of y."""
    return written(panel.form, [series.key for series in panel.series], panel.times(horizon), values, columns)
