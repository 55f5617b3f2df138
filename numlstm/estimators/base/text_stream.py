"""The next token of a text, one token at a time: predictions, and choices."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from ...layers.stream import Stream
from ...training.network import Network
from ...training.outputs import HEAD, AdaptiveSoftmax
from ..data.texts import tokenized
from ..data.tokens import END, Vocabulary
from .model import Fitted

UNKNOWN = 0
NEGLIGIBLE = -750.0  # its exponential is 0


class TextStream:
    """A copy of a trained language model that reads a text token by token, and predicts the next one.

    The method `stream` of a language model makes it. It has read the end of a text, so the first prediction is that of
    a text's first token. Not for several threads at once, nor to be pickled or copied.
    """

    def __init__(self, fitted: Fitted, stream: Stream) -> None:
        assert fitted.reading is not None
        self._reading, self._stream = fitted.reading, stream
        self._words: Vocabulary = fitted.reading.vocabularies[0]
        self._table = np.ascontiguousarray(fitted.parameters["embedding_0"])
        self._scores = scores_function(fitted.network, fitted.parameters)
        self.reset()

    def __getstate__(self) -> None:
        raise TypeError("a TextStream cannot be pickled or copied: make another one")

    def reset(self) -> None:
        """Begin a new text."""
        self._stream.reset()
        self._read(self._words.numbers[END])

    def step(self, token: Any) -> np.ndarray:
        """Read a token.

        Parameters
        ----------
        token : str or int
            An unknown one counts as the unknown token.

        Returns
        -------
        array, shape (K,)
            The probability of each token to come next, in the order of ``[unknown, *model.vocabulary_]``.

        Raises
        ------
        TypeError, ValueError
            If `token` is not one token. The stream is as before then.
        """
        tokens = tokenized([token], "token", self._reading.analyzer, self._reading.lowercase)
        self._read(int(self._words.encode(tokens)[0]))
        return self.probabilities

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each token to come next, (K,)."""
        odds = np.exp(self._next - self._next.max())
        return odds / odds.sum()

    def generate(self, choose: Callable[[np.ndarray], int]) -> Iterator[Hashable]:
        """Tokens that `choose` takes by the scores of all tokens, until it chooses the end of the text."""
        tokens, end = (None, *self._words.tokens), self._words.numbers[END]
        while (number := choose(self._next)) != end:
            yield tokens[number]
            self._read(number)

    def _read(self, number: int) -> None:
        self._next = self._scores(self._stream.step(self._table[number]))


def scores_function(network: Network, parameters: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A function from the last layer's outputs (F,) to scores of all tokens (K,): logarithms but for a constant."""
    softmax = network.softmax

    def affine(suffix: str) -> Callable[[np.ndarray], np.ndarray]:
        weight, bias = parameters["weight" + suffix], parameters["bias" + suffix]
        return lambda x: weight @ x + bias

    if not isinstance(softmax, AdaptiveSoftmax):
        return affine(HEAD)
    scores_of_head, frequent = affine(HEAD), softmax.cutoffs[0]
    tails = [(affine(f"_projection_{k}"), affine(f"_tail_{k}")) for k in range(len(softmax.cutoffs))]

    def scores(h: np.ndarray) -> np.ndarray:
        head = scores_of_head(h)
        parts = [head[:frequent]]
        for k, (project, scores_of_tail) in enumerate(tails):
            tail = scores_of_tail(project(h))
            highest = tail.max()
            parts.append(tail - (highest + np.log(np.exp(tail - highest).sum())) + head[frequent + k])
        return np.concatenate(parts)

    return scores


def chooser(
    temperature: float, top_k: int | None, top_p: float | None, rng: np.random.Generator
) -> Callable[[np.ndarray], int]:
    """A function that chooses a token by the scores of all tokens (K,); it never chooses the unknown token.

    Parameters
    ----------
    temperature : float
        Scores are divided by this; with 0 the highest score is chosen.
    top_k : int or None
        Number of tokens, those with the highest scores, that can be chosen.
    top_p : float or None
        The most likely tokens can be chosen whose probabilities together reach `top_p` (Holtzman et al. 2020).
    rng : numpy.random.Generator
    """

    def choose(scores: np.ndarray) -> int:
        scores = scores.copy()
        scores[UNKNOWN] = -np.inf
        if temperature == 0:
            return int(scores.argmax())
        if top_k is not None and top_k < len(scores) - 1:
            scores = np.where(scores >= np.partition(scores, -top_k)[-top_k], scores, -np.inf)
        distances = (scores - scores.max()).astype(np.float64)
        odds = np.exp(np.maximum(distances, NEGLIGIBLE * temperature) / temperature)
        if top_p is not None:
            odds = _nucleus(odds, top_p)
        sums = odds.cumsum(dtype=np.float64)
        return int(sums.searchsorted(rng.random() * sums[-1], side="right"))

    return choose


def _nucleus(odds: np.ndarray, top_p: float) -> np.ndarray:
    """The fewest of the largest odds that reach the share `top_p` of all, zeros instead of the others."""
    order = np.argsort(-odds, kind="stable")
    sums = odds[order].cumsum()
    count = int(np.searchsorted(sums, top_p * sums[-1])) + 1
    kept = np.zeros_like(odds)
    kept[order[:count]] = odds[order[:count]]
    return kept
