"""The targets of a language model: at each step the next token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...backends.contract import LossSpec
from ..data.tokens import END, Vocabulary


@dataclass(frozen=True)
class NextTokens:
    """The tokens that can come next.

    Attributes
    ----------
    words : Vocabulary
        Number 0, the unknown token, can come next, too.
    """

    words: Vocabulary
    by_step = True
    loss = LossSpec("softmax")

    @property
    def outputs(self) -> int:
        """Number of scores at each step."""
        return self.words.count

    def describe(self, scores: np.ndarray) -> str:
        """The prediction of scores (K,), as text for a message."""
        number = int(scores.argmax())
        if number == self.words.numbers.get(END):
            return "the end of a text"
        return f"token {self.words.tokens[number - 1]!r}" if number else "the unknown token"
