"""A forecaster of time series."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..checks import check_integer, check_rng
from ..savable import Savable
from . import backtest as backtests
from .learning import Learnt, checked_future, learn, names_of, seen
from .parameters import check_coverage, check_parameters, checked_levels
from .series import Panel, joined, read_future, read_panel
from .tables import written
from .windows import Windows

INTERVAL = 0.1, 0.5, 0.9  # levels of quantiles, by default


class LSTMForecaster(Savable, BaseEstimator):
    """Forecast one time series, or many with one model, by LSTM layers and a linear map that read windows of the past.

    Members of several kinds learn from windows of the series, in different ways of differencing and scaling; each
    forecasts all steps of the horizon at once. Their forecasts are averaged, with weights that follow from their errors
    on windows that were held out [1]_. Settings at "auto" depend on the frequency of the data, and on the data.

    Parameters
    ----------
    horizon : int, at least 1, or "auto", default "auto"
        Steps to forecast. "auto": a season, or 1 where there is none.
    context_length : int, at least 1, or "auto", default "auto"
        Steps of the past that a forecast reads. "auto": two seasons, or 8 steps where there is none; at least the
        horizon; fewer where the shortest series has not that many.
    season_length : int, at least 1, or "auto", default "auto"
        Steps of a season; 1 for none. "auto": 12 for months, 4 for quarters, 52 for weeks, 7 for days, 5 for working
        days, a day for steps down to five minutes, an hour for shorter ones; where the index says nothing, the lag at
        which the autocorrelation peaks.
    differencing : {"auto", "none", "first", "seasonal"}, default "auto"
        What values are relative to: the mean of the series, the last value of the window, or the value a season before;
        "auto" has members of all three kinds.
    transform : {"auto", "none", "log"}, default "auto"
        What is learnt of: values, or their logarithms; "auto" takes logarithms where all values are positive and swings
        grow with the level (`numlstm.forecasting.transforms.transform_of`).
    calendar : "auto" or tuple of {"minute", "hour", "weekday", "day", "month"}, default "auto"
        Features of time stamps, sine and cosine of each cycle. "auto": those that are longer than a season and there
        at least twice: the month for days, the weekday for shorter steps. What a window holds needs no feature.
    past_covariates, future_covariates : list of columns of X, or None, default None
        Columns that are known until the forecast is made, and columns that are known for its steps, too. By default all
        columns of X are past covariates.
    quantiles : sequence of float in (0, 1), rising, or None, default None
        Levels of quantiles that networks learn, in place of the mean.
    distribution : {"gaussian", "student_t", "negative_binomial"} or None, default None
        What networks learn the parameters of, in place of the mean.
    conformal : bool, default True
        Whether intervals are made to cover what they should on windows that were held out [2]_. Without it there are
        intervals with `quantiles` or a `distribution` only.
    n_members : int, at least 1, default 2
        Networks of each kind, of different seeds.
    linear_skip : bool, default True
        Whether there are members that are linear maps of the window, too: ridge regressions.
    hidden_size, num_layers, cell, pooling, dropout, learning_rate_init, max_iter, batch_size
        Of the networks, as of `LSTMRegressor`; 32 hidden units by default.
    random_state : int, numpy.random.RandomState or None, default None
        Seed of all members. With an int, results repeat to the bit.
    id_column, time_column : str, default "id" and "time"
        Columns of a long DataFrame, and of one that holds time stamps in a column.
    backend, dtype, verbose
        As of `LSTMRegressor`.

    Attributes
    ----------
    horizon_, context_length_, season_length_ : int
    transform_ : str
    calendar_ : tuple of str
    weights_ : dict
        The weight of each member, by its kind of differencing and its type.

    See Also
    --------
    LSTMRegressor, sliding_windows : What it is made of.

    Notes
    -----
    Steps that are missing from the index are filled in, and their values are missing. Missing values are 0 after
    scaling, and a channel says where they are; as targets they are left out.

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
        self.verbose = verbose

    # Learning --------------------------------------------------------------------------------------------

    def fit(self, y: Any, X: Any = None, *, static: Any = None) -> LSTMForecaster:
        """Learn from one series or many.

        Parameters
        ----------
        y : array, shape (T,) or (T, series); list of arrays (T_i,); Series or DataFrame of pandas or polars
            A DataFrame is wide, with a column for each series; or long, with the columns `id_column`, `time_column` and
            one for the values, in any order of rows; or it has pandas' index of two levels, series and time. NaN is for
            a value that is missing.
        X : array, shape (T, C), DataFrame, or a list of these; optional
            Covariates of each series, in the form of y; a single one is for all series. It begins no later and ends no
            earlier than y; where it ends later, its `future_covariates` are kept for `predict`.
        static : array, shape (series, S), or DataFrame whose index has the names of series; optional
            Numbers that belong to a whole series.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are not as described; the forecaster is unchanged then.

        Examples
        --------
        Three series of unequal length, learnt by one model.

        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = [np.sin(np.arange(steps) / 2) for steps in (40, 50, 60)]
        >>> forecaster = LSTMForecaster(horizon=3, max_iter=1, random_state=0).fit(y)
        >>> [len(forecast) for forecast in forecaster.predict()]
        [3, 3, 3]
        """
        check_parameters(self)
        panel = read_panel(y, X, static, names_of(self))
        found = learn(self, panel)
        self._learnt = found
        self._panel = _ends(panel.map(lambda own: seen(own, found.settings, panel.frequency)), found)
        return self

    def update(self, y: Any, X: Any = None) -> LSTMForecaster:
        """Take in new observations: forecasts begin after them, and intervals rest on the errors in them, too.

        Members learn nothing of them.

        Parameters
        ----------
        y : in the form of `fit`
            What follows the last step of each series.
        X : optional
            Covariates of the same steps, and of later ones.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If y is not as described, or begins before the end of what is known.

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
        before, panel = [len(each) for each in self._panel.series], self._gone_on(y, X)
        self._learnt = self._learnt.observed(panel.series, before)
        self._panel = _ends(panel, self._learnt)
        return self

    def _gone_on(self, y: Any, X: Any) -> Panel:
        """All that is known of the series, with new observations."""
        known = self._panel
        new = read_panel(y, X, None, names_of(self), known.frequency)
        own = {each.key: each for each in new.series}
        if set(own) != {each.key for each in known.series}:
            expected = [each.key for each in known.series]
            raise ValueError(f"y must have the series of fit, {expected}, got {list(own)}")
        self._check_covariates(new, ("past",))
        counted = known.form.stamps.kind in ("none", "range") and new.form.stamps.kind in ("none", "range")
        series = [joined(each, own[each.key], known.frequency, counted) for each in known.series]
        return replace(known, series=series)

    # Forecasting -----------------------------------------------------------------------------------------

    def predict(self, horizon: int | None = None, X: Any = None, *, y: Any = None, static: Any = None) -> Any:
        """Forecast the steps after the last one known.

        Parameters
        ----------
        horizon : int, at least 1 and at most that of `fit`; optional
            Steps to forecast; by default all.
        X : optional
            Future covariates of these steps; where dates say which they are, there may be others.
        y : in a form of `fit`; optional
            Series to forecast in place of those of `fit`. Then X and `static` are as in `fit`. Give them whole: where
            `differencing` is "none", their mean and deviation count.
        static : optional
            Of these series.

        Returns
        -------
        array, shape (H,) or (H, series), list of arrays, or what pandas or polars have for it
            In the form of y, with the index that goes on.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If the horizon is beyond that of `fit`, or future covariates do not reach it.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> forecaster = LSTMForecaster(horizon=3, max_iter=1, random_state=0).fit(y[:57])
        >>> bool(np.abs(forecaster.predict() - y[57:]).max() < 0.1)
        True
        """
        panel, windows, horizon = self._ahead(horizon, X, y, static)
        point = self._learnt.point(windows)[:, :horizon]
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
        horizon, X, y, static
            As of `predict`.

        Returns
        -------
        array, shape (H, levels) or (H, series, levels), list of arrays, or DataFrame with a column for each level
            They rise with the level.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does, and if levels are none, or others than those that were learnt.

        Examples
        --------
        >>> import numpy as np
        >>> from numlstm import LSTMForecaster
        >>> y = np.sin(np.arange(60) / 2)
        >>> forecaster = LSTMForecaster(quantiles=(0.1, 0.5, 0.9), horizon=3, max_iter=1, random_state=0).fit(y)
        >>> bool((np.diff(forecaster.predict_quantiles(), axis=1) >= 0).all())
        True
        """
        own = self.quantiles if self.quantiles is not None else INTERVAL
        levels = checked_levels(own if quantiles is None else quantiles, "quantiles")
        panel, windows, horizon = self._ahead(horizon, X, y, static)
        values = self._quantiles(windows, levels)[:, :horizon]
        return _written(panel, [*values], horizon, [float(level) for level in levels])

    def predict_interval(
        self, coverage: float = 0.8, horizon: int | None = None, X: Any = None, *, y: Any = None, static: Any = None
    ) -> Any:
        """Intervals that cover the truth with a probability.

        Parameters
        ----------
        coverage : float in (0, 1), default 0.8
        horizon, X, y, static
            As of `predict`.

        Returns
        -------
        array, shape (H, 2) or (H, series, 2), list of arrays, or DataFrame with the columns "lower" and "upper"

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict_quantiles` does.

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
            Paths of each series.
        horizon, X, y, static
            As of `predict`.
        random_state : int, numpy.random.Generator or None, default None

        Returns
        -------
        array, shape (n, H), or (n, H, series) where there are several series

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `predict` does, and without a `distribution`.

        Notes
        -----
        Steps of a path depend on one another as the errors of the windows that were held out do from one step to the
        next: a Gaussian copula of an autoregression of order 1.

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
        panel, windows, horizon = self._ahead(horizon, X, y, static)
        if not self._learnt.head.is_distribution:
            raise ValueError("distribution must be given to sample from it, got None")
        paths = self._learnt.paths(windows, n, rng)[:, :, :horizon]
        return paths[:, 0] if panel.form.kind in ("array", "series") and not panel.form.listed else paths.swapaxes(1, 2)

    def score(self, y: Any, X: Any = None) -> float:
        """Minus the mean absolute scaled error of forecasts of the steps after the last one known.

        Errors are divided by those of the seasonal naive forecast within what is known. What is longer than the horizon
        is forecast in several parts, each with all before it known. So `GridSearchCV` with ``TimeSeriesSplit`` can
        search for parameters: ``search.fit(y)``.

        Parameters
        ----------
        y : in the form of `fit`
            What follows the last step known.
        X : optional
            Its covariates.

        Returns
        -------
        float, at most 0

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `update` does.

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
        """Errors over windows at the end of series, beside those of forecasts that cost nothing.

        A copy of the forecaster learns from what is before the first window, or before each with `refit`; it forecasts
        each window from all that is before it.

        Parameters
        ----------
        y, X, static
            As of `fit`.
        n_windows : int, at least 1, default 5
            Windows, one after the other, up to the end of each series.
        horizon : int, at least 1; optional
            Steps of a window; by default the parameter `horizon`.
        refit : bool, default False
        coverage : float in (0, 1), default 0.8
            Of the intervals.

        Returns
        -------
        DataFrame where pandas is installed, else structured array
            A row for each model, series and step ahead, with the columns "model", "series", "step", "mase", "smape",
            "rmse", "pinball", "coverage" and "seconds" (of learning and forecasting, for a series). Models are this
            one, the seasonal naive forecast, drift and, where statsmodels is installed, exponential smoothing (ETS).
            "pinball" is twice the mean pinball loss over the levels 0.1, 0.2, ..., 0.9, or those of `quantiles`: an
            approximation of the CRPS. It and "coverage" are NaN of models without quantiles.

        Raises
        ------
        TypeError, ValueError
            As `fit` does, and if series are too short.

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

    def _ahead(self, horizon: Any, X: Any, y: Any, static: Any) -> tuple[Panel, Windows, int]:
        """The series, their last windows, and how many steps to forecast."""
        check_is_fitted(self)
        settings = self._learnt.settings
        horizon = settings.lengths.horizon if horizon is None else check_integer(horizon, "horizon", 1)
        if horizon > settings.lengths.horizon:
            raise ValueError(
                f"horizon must be at most that of fit, {settings.lengths.horizon}, got {horizon}: fit with a longer one"
            )
        panel = self._panel
        if y is not None:
            panel = read_panel(y, X, static, names_of(self), self._learnt.frequency)
            self._check_covariates(panel)
        elif X is not None and self.future_covariates:
            panel = read_future(panel, X, names_of(self))
        checked_future(panel.series, horizon, self.future_covariates or ())
        ends = [np.array([len(each)]) for each in panel.series]
        return panel, self._learnt.windows(panel.series, ends), horizon

    def _check_covariates(self, panel: Panel, roles: Sequence[str] = ("past", "future", "static")) -> None:
        """New series must have the covariates of those of `fit`."""
        ours, theirs = self._panel.series[0], panel.series[0]
        for name in roles:
            what = "static" if name == "static" else "X"
            expected, got = getattr(ours, name).shape[-1], getattr(theirs, name).shape[-1]
            if expected != got:
                raise ValueError(f"{what} must have {expected} {name} covariates, as in fit, got {got}")

    def _quantiles(self, windows: Windows, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        found = self._learnt
        if not found.has_quantiles:
            raise ValueError("conformal must be True for intervals of a forecaster without quantiles or distribution")
        if found.levels is not None and not np.isclose(np.asarray(levels)[:, None], found.levels).any(axis=1).all():
            raise ValueError(
                f"quantiles must be among those that were learnt, {list(self.quantiles or ())}, got {levels}"
            )
        if found.calibration is not None and not found.calibration.held_out:
            warnings.warn(
                "y in fit was too short to hold out windows: intervals rest on errors of what was learnt from, and are "
                "too narrow",
                stacklevel=3,
            )
        return self._learnt.quantiles(windows, levels)

    # What is what ----------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_learnt")

    def _known(self, attribute: str) -> Learnt:
        if not hasattr(self, "_learnt"):
            raise AttributeError(f"LSTMForecaster is not fitted yet: it has no {attribute}")
        return self._learnt

    @property
    def horizon_(self) -> int:
        """Steps that are forecast."""
        return self._known("horizon_").settings.lengths.horizon

    @property
    def context_length_(self) -> int:
        """Steps that a forecast reads."""
        return self._known("context_length_").settings.lengths.context

    @property
    def season_length_(self) -> int:
        """Steps of a season."""
        return self._known("season_length_").settings.lengths.season

    @property
    def transform_(self) -> str:
        """What is learnt of: "none" for values, "log" for their logarithms."""
        return self._known("transform_").settings.transform

    @property
    def calendar_(self) -> tuple[str, ...]:
        """Features of the calendar that are read."""
        return self._known("calendar_").settings.calendar

    @property
    def weights_(self) -> dict[tuple[str, str], float]:
        """The weight of each member, by its kind of differencing and its type."""
        found = self._known("weights_").combination
        names = [(member.kind, type(member).__name__.lower()) for member in found.members]
        return dict(zip(names, found.weights.tolist(), strict=True))


def _ends(panel: Panel, found: Learnt) -> Panel:
    """What forecasts, and a look back at them, need of series."""
    steps = found.settings.reach + found.settings.lengths.horizon
    return panel.map(lambda own: own.tail(steps, panel.frequency))


def _written(panel: Panel, values: list[np.ndarray], horizon: int, columns: Any = None) -> Any:
    """Values of each series in the form of y."""
    return written(panel.form, [each.key for each in panel.series], panel.times(horizon), values, columns)
