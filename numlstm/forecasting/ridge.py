"""Ridge regression whose penalty is chosen by leave-one-out errors."""

from __future__ import annotations

import numpy as np

PENALTIES = np.logspace(-6, 2, 17)  # shares of the mean square of the features


def ridge(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (F, H) and intercepts (H,), with the penalty that has the least sum of leave-one-out errors.

    Parameters
    ----------
    features : array, shape (n, F)
    targets : array, shape (n, H)

    References
    ----------
    .. [1] G. Golub, M. Heath, G. Wahba, "Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter",
       1979; the leave-one-out errors are those of section 2.
    """
    mean, centre = features.mean(axis=0), targets.mean(axis=0)
    left, sizes, right = np.linalg.svd(features - mean, full_matrices=False)
    parts = left.T @ (targets - centre)
    total = max(float((sizes**2).sum()), 1e-300)
    errors = []
    for penalty in PENALTIES * total:
        shrunk = sizes**2 / (sizes**2 + penalty)
        leverage = 1 / len(features) + left**2 @ shrunk
        left_out = (targets - centre - left @ (shrunk[:, None] * parts)) / np.maximum(1 - leverage, 1e-6)[:, None]
        errors.append(float((left_out**2).sum()))
    penalty = PENALTIES[int(np.argmin(errors))] * total
    coef = right.T @ ((sizes / (sizes**2 + penalty))[:, None] * parts)
    return coef, centre - mean @ coef


def ridge_with_gaps(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same if some targets are NaN: each column is fitted to the rows it has, and is 0 if it has fewer than two."""
    known = np.isfinite(targets)
    if known.all():
        return ridge(features, targets)
    coef, intercept = np.zeros((features.shape[1], targets.shape[1])), np.zeros(targets.shape[1])
    for k, rows in enumerate(known.T):
        if rows.sum() > 1:
            column_coef, column_intercept = ridge(features[rows], targets[rows, k : k + 1])
            coef[:, k], intercept[k] = column_coef[:, 0], column_intercept[0]
    return coef, intercept
