"""From the probabilities of CTC to labels: beam search, and the steps of each label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from .alphabet import BLANK

Prefix = tuple[int, ...]
LanguageModel = Callable[[Prefix], np.ndarray]


def beam_search(
    log_probabilities: np.ndarray, beam_size: int, language_model: LanguageModel | None = None
) -> list[tuple[Prefix, float]]:
    """The most probable rows of labels, the best first, with their log-probabilities.

    The search keeps for each prefix two probabilities: of the paths that read so and end in a blank, and of those that
    end in a label. It needs both because a label may repeat only after a blank (Graves 2012, section 7.5). A language
    model adds ``language_model(prefix)`` (K,) for each new label.

    Parameters
    ----------
    log_probabilities : array, shape (T, 1 + K)
        The first column is that of the blank.
    beam_size : int
        Prefixes that the search keeps after each step.
    language_model : callable, optional
    """
    beams: dict[Prefix, tuple[float, float]] = {(): (0.0, -np.inf)}
    language_scores: dict[Prefix, np.ndarray] = {}
    for step in log_probabilities.astype(np.float64):
        grown: dict[Prefix, list[float]] = defaultdict(lambda: [-np.inf, -np.inf])
        for prefix, (blank, label) in beams.items():
            both, same = np.logaddexp(blank, label), grown[prefix]
            same[0] = np.logaddexp(same[0], both + step[BLANK])
            if prefix:
                same[1] = np.logaddexp(same[1], label + step[prefix[-1]])
            if language_model and prefix not in language_scores:
                language_scores[prefix] = language_model(prefix)
            for k in range(1, len(step)):
                before = blank if prefix and k == prefix[-1] else both
                value = before + step[k] + (language_scores[prefix][k - 1] if language_model else 0.0)
                if value > -np.inf:
                    longer = grown[(*prefix, k)]
                    longer[1] = np.logaddexp(longer[1], value)
        best = sorted(grown.items(), key=lambda item: (-np.logaddexp(item[1][0], item[1][1]), item[0]))[:beam_size]
        beams = {prefix: (ends[0], ends[1]) for prefix, ends in best}
    return [(prefix, float(np.logaddexp(ends[0], ends[1]))) for prefix, ends in beams.items()]


def align(log_probabilities: np.ndarray, labels: Sequence[int]) -> list[tuple[int, int]]:
    """The first and the last step of each label on the most probable path that reads so (Viterbi)."""
    states = np.full(2 * len(labels) + 1, BLANK)
    states[1::2] = labels
    leap = np.zeros(len(states), bool)
    leap[3::2] = states[3::2] != states[1:-2:2]
    emissions = log_probabilities[:, states].astype(np.float64)
    best = np.full(len(states), -np.inf)
    best[:2] = emissions[0, :2]
    origins = []
    for emission in emissions[1:]:
        ways = np.full((3, len(states)), -np.inf)
        ways[0], ways[1, 1:], ways[2, 2:] = best, best[:-1], np.where(leap[2:], best[:-2], -np.inf)
        origins.append(ways.argmax(axis=0))
        best = ways.max(axis=0) + emission
    state = len(states) - 1
    if state and best[state - 1] > best[state]:
        state -= 1
    path = [state]
    for origin in reversed(origins):
        path.append(path[-1] - int(origin[path[-1]]))
    states_by_step = np.array(path[::-1])
    steps_by_label = [np.flatnonzero(states_by_step == 2 * k + 1) for k in range(len(labels))]
    return [(int(steps[0]), int(steps[-1])) for steps in steps_by_label]
