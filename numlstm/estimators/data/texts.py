"""Texts of a language model: their tokens, with the end of a text as a token, in parallel streams."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from itertools import pairwise
from typing import Any

import numpy as np

from .frames import is_frame
from .tokens import END, Analyzer, Vocabulary, tokens_of

WORD_OR_MARK = re.compile(r"(?u)\w+|[^\w\s]")
BYTES = tuple(range(256))


def tokenized(text: Any, name: str, analyzer: Analyzer, lowercase: bool) -> Sequence[Hashable]:
    """The tokens of one text, at least one.

    Raises
    ------
    TypeError, ValueError
        If it is not a string, a list of tokens or, for bytes, a bytes object; or if it has no token.
    """
    if isinstance(text, bytes | bytearray):
        if analyzer != "byte":
            raise TypeError(f"{name} must be a string, got {type(text).__name__}: decode it, or set analyzer='byte'")
        tokens: Sequence[Hashable] = list(text)
    elif isinstance(text, str):
        tokens = tokens_of(text, name, analyzer, lowercase, WORD_OR_MARK)
        if callable(analyzer):
            tokens = [_checked(token, f"analyzer({name})", analyzer, lowercase) for token in tokens]
    elif isinstance(text, list | tuple) or (isinstance(text, np.ndarray) and text.ndim == 1):
        tokens = [_checked(token, name, analyzer, lowercase) for token in text]
    else:
        raise TypeError(f"{name} must be a string or a list of tokens, got {type(text).__name__}")
    if not len(tokens):
        raise ValueError(f"{name} must have at least one token, got none in {str(text)[:40]!r}")
    return tokens


def _checked(token: Any, name: str, analyzer: Analyzer, lowercase: bool) -> Hashable:
    """A token of a list, in Python's types."""
    token = token.item() if isinstance(token, np.generic) else token
    if not isinstance(token, str | int) or isinstance(token, bool):
        raise TypeError(f"{name} must hold strings or whole numbers as tokens, got {token!r:.40}")
    if analyzer == "byte" and token not in range(256):
        raise ValueError(f"{name} must hold whole numbers from 0 to 255 as bytes, got {token!r:.40}")
    if isinstance(token, int) and token < 0:
        raise ValueError(f"{name} must hold tokens of at least 0 where they are numbers, got {token}")
    if token == END:
        raise ValueError(f"{name} must not hold the empty string, which stands for the end of a text")
    return token.lower() if lowercase and isinstance(token, str) else token


def listed(X: Any, name: str, expected: str = "a text or a list of texts") -> list[Any]:
    """The items of something that has an order.

    Raises
    ------
    TypeError
        If X is neither a list nor another iterable, or has no order.
    """
    unordered = isinstance(X, Mapping | Set) or is_frame(X)
    if unordered or not hasattr(X, "__iter__") or getattr(X, "ndim", 1) == 0:
        raise TypeError(f"{name} must be {expected}, got {type(X).__name__}")
    return list(X)


def corpus(X: Any, name: str, analyzer: Analyzer, lowercase: bool) -> list[Sequence[Hashable]]:
    """The tokens of all texts; one string, or one bytes object, is one text.

    Raises
    ------
    TypeError, ValueError
        If there is no text, or if one is not as `tokenized` takes it.
    """
    if isinstance(X, str | bytes | bytearray):
        return [tokenized(X, name, analyzer, lowercase)]
    texts = [tokenized(text, f"{name}[{i}]", analyzer, lowercase) for i, text in enumerate(listed(X, name))]
    if not texts:
        raise ValueError(f"{name} must hold at least one text, got none")
    return texts


def vocabulary_of(
    texts: list[Sequence[Hashable]], analyzer: Analyzer, min_frequency: int, max_vocabulary: int | None
) -> Vocabulary:
    """The end of a text, and the tokens of texts by falling frequency; all bytes, if these are the tokens."""
    known = Vocabulary.of(texts, min_frequency, max_vocabulary).tokens
    if not known:
        raise ValueError(f"min_frequency must leave at least one token, got {min_frequency}")
    if analyzer == "byte":
        known = (*known, *(byte for byte in BYTES if byte not in {*known}))
    return Vocabulary((END, *known))


def framed(tokens: Sequence[Hashable], words: Vocabulary) -> np.ndarray:
    """The numbers of a text's tokens with the end of a text on both sides, (T + 2,) int64."""
    end = words.numbers[END]
    return np.concatenate([[end], words.encode(tokens), [end]])


def joined(tokens: Sequence[Any], analyzer: Analyzer) -> str:
    """The text of tokens: words with spaces between them, characters and bytes without."""
    if analyzer == "byte":
        return bytes(tokens).decode(errors="replace")
    return ("" if analyzer == "char" else " ").join(map(str, tokens))


def until(tokens: Iterator[Hashable], n: int, stops: list[str], analyzer: Analyzer) -> Iterator[Hashable]:
    """At most n tokens, until their text ends with one of `stops`."""
    written: list[Hashable] = []
    longest = max(map(len, stops), default=0) * 4  # bytes of a character
    for _, token in zip(range(n), tokens, strict=False):
        yield token
        if stops:
            written.append(token)
            if joined(written[-longest:], analyzer).endswith(tuple(stops)):
                return


def streams(numbers: list[np.ndarray], count: int, least: int) -> list[np.ndarray]:
    """Texts, as from `framed`, with long ones cut so that there are about `count` streams of equal length.

    A stream has at least about `least` steps. It begins with the last token of the stream before.
    """
    steps = sum(len(text) - 1 for text in numbers)
    length = max(-(-steps // count), least)
    parts = []
    for text in numbers:
        edges = np.linspace(0, len(text) - 1, -(-(len(text) - 1) // length) + 1).astype(int)
        parts += [text[start : end + 1] for start, end in pairwise(edges.tolist())]
    return parts
