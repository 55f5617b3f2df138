"""A linear-chain conditional random field over one row: sums and maxima over all paths of labels.

The functions take scores s (T, K), and the field's parameters by name, in float64.

References
----------
.. [1] J. Lafferty, A. McCallum, F. Pereira, "Conditional Random Fields: Probabilistic Models for Segmenting and
   Labeling Sequence Data", ICML 2001.
.. [2] L. Rabiner, "A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition", 1989.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Parameters = Mapping[str, np.ndarray]


def crf(
    s: np.ndarray, labels: np.ndarray, w: np.ndarray, p: Parameters
) -> tuple[float, np.ndarray, dict[str, np.ndarray]]:
    """``-sum(w[t] * log p(labels[t] | labels before t))``; gradients of s and p.

    Each probability is a quotient of sums of exp(score): over all paths that agree with the labels up to t, by that up
    to the label before. So the logarithm of each sum counts with the difference of two weights. A label of -1 agrees
    with any label.
    """
    if not np.isfinite(s).all():
        return np.nan, np.full_like(s, np.nan), {name: np.full_like(value, np.nan) for name, value in p.items()}
    known = np.flatnonzero(labels >= 0)
    loss, ds, pairs = 0.0, np.zeros_like(s), np.zeros_like(p["transitions"])
    for steps, factor in zip([0, *known + 1], np.diff(w[known], prepend=0.0, append=0.0), strict=True):
        if factor:
            wanted = np.where(np.arange(len(s)) < steps, labels, -1)[:, np.newaxis]
            total, of_steps, of_pairs = expectations(
                np.where((wanted == np.arange(s.shape[1])) | (wanted < 0), s, -np.inf), p
            )
            loss, ds, pairs = loss + factor * total, ds + factor * of_steps, pairs + factor * of_pairs
    return loss, ds, {"transitions": pairs, "start": ds[0], "end": ds[-1]}


def expectations(s: np.ndarray, p: Parameters) -> tuple[float, np.ndarray, np.ndarray]:
    """The log-sum over all paths, the probability of each label at each step, the expected number of each pair."""
    forward, backward = np.empty_like(s), np.empty_like(s)
    forward[0], backward[-1] = p["start"] + s[0], p["end"]
    for t in range(1, len(s)):
        forward[t] = np.logaddexp.reduce(forward[t - 1, :, np.newaxis] + p["transitions"], axis=0) + s[t]
    for t in range(len(s) - 1, 0, -1):
        backward[t - 1] = np.logaddexp.reduce(p["transitions"] + s[t] + backward[t], axis=1)
    total = np.logaddexp.reduce(forward[-1] + p["end"])
    pairs = np.zeros_like(p["transitions"])
    for t in range(1, len(s)):
        pairs += np.exp(forward[t - 1, :, np.newaxis] + p["transitions"] + s[t] + backward[t] - total)
    return total, np.exp(forward + backward - total), pairs


def best_path(s: np.ndarray, p: Parameters) -> np.ndarray:
    """The path with the largest score, by Viterbi's algorithm."""
    best, origins = p["start"] + s[0], []
    for scores in s[1:]:
        ways = best[:, np.newaxis] + p["transitions"]
        origins.append(ways.argmax(axis=0))
        best = ways.max(axis=0) + scores
    path = [int(np.argmax(best + p["end"]))]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return np.array(path[::-1])
