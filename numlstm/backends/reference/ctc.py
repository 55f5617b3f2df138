"""Connectionist temporal classification of one row, in logarithms, with the notation of Graves et al. (2006).

References
----------
.. [1] A. Graves, S. Fernández, F. Gomez, J. Schmidhuber, "Connectionist Temporal Classification: Labelling Unsegmented
   Sequence Data with Recurrent Neural Networks", ICML 2006.
"""

from __future__ import annotations

import numpy as np


def ctc(s: np.ndarray, labels: np.ndarray, blank: int) -> tuple[float, np.ndarray]:
    """``-log p(labels | s)`` of scores s (T, K), and its gradient: eq. 6-8, 10-11 and 15 of the paper."""
    if not np.isfinite(s).all():
        return np.nan, np.full_like(s, np.nan)
    log_y = s - np.logaddexp.reduce(s, axis=1, keepdims=True)
    states = np.full(2 * len(labels) + 1, blank)  # l' of the paper: blanks between labels, and at both ends
    states[1::2] = labels
    alpha = _forward(log_y[:, states], states, blank)
    beta = _forward(log_y[::-1, states[::-1]], states[::-1], blank)[::-1, ::-1]
    log_p = np.logaddexp.reduce(alpha[-1, -2:])
    if log_p == -np.inf:
        return np.inf, np.zeros_like(s)
    posterior = np.exp(alpha + beta - log_y[:, states] - log_p)  # both alpha and beta contain y of the step
    gradient = np.exp(log_y)
    for state, column in zip(states, posterior.T, strict=True):
        gradient[:, state] -= column
    return -log_p, gradient


def _forward(log_y: np.ndarray, states: np.ndarray, blank: int) -> np.ndarray:
    """The forward variable of every step and state: log-probability of all path beginnings that end there."""
    alpha = np.full(log_y.shape, -np.inf)
    alpha[0, :2] = log_y[0, :2]
    for t in range(1, len(log_y)):
        for s, label in enumerate(states):
            ways = alpha[t - 1, max(0, s - 1) : s + 1]
            if s >= 2 and label != blank and label != states[s - 2]:
                ways = alpha[t - 1, s - 2 : s + 1]
            alpha[t, s] = np.logaddexp.reduce(ways) + log_y[t, s]
    return alpha
