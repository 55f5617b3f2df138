"""Texts as tokens, and tokens as numbers: the rows of a table of vectors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...concurrency import cached_property

WORD = re.compile(r"(?u)\b\w\w+\b")  # scikit-learn's
ANALYZERS = "char", "byte", "word"
END = ""  # the token of language models at the end of each text; a text begins after the end of another one

Analyzer = str | Callable[[str], Sequence[Hashable]]


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one channel.

    Attributes
    ----------
    tokens : tuple
        The known tokens, the most frequent first. Token k has the number k + 1; all unknown tokens have the number 0.
    """

    tokens: tuple[Hashable, ...]

    @classmethod
    def of(cls, sequences: Iterable[Iterable[Hashable]], min_frequency: int, most: int | None) -> Vocabulary:
        """At most `most` tokens that occur at least `min_frequency` times, by falling frequency, then by token."""
        counts: Counter[Hashable] = Counter()
        for sequence in sequences:
            counts.update(sequence)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], type(item[0]).__name__, item[0]))
        return cls(tuple(token for token, count in ordered[:most] if count >= min_frequency))

    @property
    def count(self) -> int:
        """Rows of a table of vectors: one for each known token, and one for all unknown tokens."""
        return len(self.tokens) + 1

    @cached_property
    def numbers(self) -> dict[Hashable, int]:
        """The number of each known token."""
        return {token: k for k, token in enumerate(self.tokens, 1)}

    def encode(self, tokens: Sequence[Hashable]) -> np.ndarray:
        """The numbers of tokens, (T,) int64."""
        known = self.numbers
        return np.fromiter((known.get(token, 0) for token in tokens), np.int64, len(tokens))


def default_size(count: int) -> int:
    """The default size of vectors for `count` tokens: eight times the fourth root of `count`, from 4 to 256."""
    return int(min(max(4, round(8 * count**0.25)), 256, max(1, count)))


def tokens_of(
    text: str, name: str, analyzer: Analyzer, lowercase: bool, words: re.Pattern = WORD
) -> Sequence[Hashable]:
    """The tokens of a text: characters, bytes in UTF-8, words (by default of two letters or more), or a callable's.

    Raises
    ------
    TypeError, ValueError
        If UTF-8 cannot encode the text, or if the callable returns no list.
    """
    text = text.lower() if lowercase else text
    if analyzer == "char":
        return text
    if analyzer == "byte":
        return _encoded(text, name)
    if analyzer == "word":
        return words.findall(text)
    tokens = analyzer(text)  # type: ignore[operator]
    if not isinstance(tokens, str | list | tuple | np.ndarray):
        raise TypeError(f"analyzer must return a list of tokens, got {type(tokens).__name__} for {text[:40]!r}")
    return tokens  # type: ignore[return-value]


def _encoded(text: str, name: str) -> list[int]:
    try:
        return list(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} must hold characters that UTF-8 can encode with analyzer='byte', got {text[error.start]!r}"
        ) from None


def is_text(X: Any) -> bool:
    """Whether X holds strings, or lists of strings: texts, or sequences of tokens."""
    if isinstance(X, str | bytes):
        return True
    if hasattr(X, "dtype"):
        kind = getattr(X.dtype, "kind", "")
        return getattr(X, "ndim", 0) == 1 and (kind == "U" or (kind == "O" and len(X) > 0 and is_text(list(X))))
    if not isinstance(X, list | tuple):
        return False
    first = next((x for x in X if isinstance(x, str | bytes) or (isinstance(x, list | tuple) and len(x))), None)
    return isinstance(first, str | bytes) or (isinstance(first, list | tuple) and isinstance(first[0], str))


def checked_texts(X: Any, name: str, analyzer: Analyzer, lowercase: bool) -> list[Sequence[Hashable]]:
    """The tokens of every sequence.

    Raises
    ------
    TypeError, ValueError
        If X is one string, or bytes; if a sequence is neither a string nor a list of tokens; or if one has no token.
    """
    if isinstance(X, str | bytes):
        raise TypeError(f"{name} must be a list of strings, got one {type(X).__name__}: pass [{name}]")
    sequences = []
    for i, sequence in enumerate(X):
        if isinstance(sequence, bytes):
            raise TypeError(f"{name}[{i}] must be a string, got bytes: decode them first")
        if isinstance(sequence, str):
            tokens = tokens_of(sequence, f"{name}[{i}]", analyzer, lowercase)
        elif isinstance(sequence, list | tuple) or (isinstance(sequence, np.ndarray) and sequence.ndim == 1):
            for token in sequence:
                if not isinstance(token, Hashable):
                    raise TypeError(f"{name}[{i}] must hold strings or numbers as tokens, got {token!r:.40}")
            tokens = [token.lower() if lowercase and isinstance(token, str) else token for token in sequence]
        else:
            raise TypeError(f"{name}[{i}] must be a string or a list of tokens, got {type(sequence).__name__}")
        if not len(tokens):
            raise ValueError(f"{name}[{i}] must have at least one token, got none in {str(sequence)[:40]!r}")
        sequences.append(tokens)
    return sequences
