"""The penalty on the outputs of a layer.

References
----------
.. [1] S. Merity, N. S. Keskar, R. Socher, "Regularizing and optimizing LSTM language models", ICLR 2018, section 4.5
   (activation regularisation, and temporal activation regularisation).
"""

from __future__ import annotations

import numpy as np


def activity(rows: list[np.ndarray], size: float, change: float) -> tuple[float, list[np.ndarray]]:
    """The penalty of rows, each (length, F), and its gradient for each row.

    The two means are over all rows together, so that a long row weighs more than a short one.
    """
    numbers = sum(row.size for row in rows)
    changes = sum(row[1:].size for row in rows)
    loss, gradients = 0.0, []
    for row in rows:
        difference = np.diff(row, axis=0)
        gradient = size * 2.0 * row / numbers
        loss += size * float(np.sum(row**2)) / numbers
        if len(difference):
            loss += change * float(np.sum(difference**2)) / changes
            slope = change * 2.0 * difference / changes
            gradient[1:] += slope
            gradient[:-1] -= slope
        gradients.append(gradient)
    return loss, gradients
