"""Vocabularies and tables of vectors as fields: what an estimator knows of the tokens in X."""

from __future__ import annotations

import math
from typing import Any

from ...backends.contract import EmbeddingSpec
from ...checks import check_flag, check_integer, check_option, check_real
from ...estimators.base.model import Fitted
from ...estimators.data.categories import TokenReading
from ...estimators.data.tokens import ANALYZERS, Vocabulary
from ...layers.stack import Stack
from ...training.embedding import TokenChannels
from .values import fields_of, inside

FIELDS = (
    "names", "channels", "vocabularies", "sizes", "frozen", "analyzer", "lowercase", "embedding_dropout",
    "token_dropout",
)  # fmt: skip
TOKENS = str, int, float, bool, type(None)  # what a file can hold of tokens


def to_fields(fitted: Fitted) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The field, if X held tokens; vectors are among the parameters.

    Raises
    ------
    ValueError
        If the analyzer is a function, or a token is of a type that JSON does not have.
    """
    reading, channels = fitted.reading, fitted.network.tokens
    if reading is None or channels is None:
        return None, {}
    if not isinstance(reading.analyzer, str):
        raise ValueError("analyzer must be 'char' or 'word' to be written to a file, got a function")
    for words in reading.vocabularies:
        for token in words.tokens:
            if not isinstance(token, TOKENS) or token in (math.inf, -math.inf) or token != token:
                raise ValueError(f"tokens must be texts or finite numbers to be written to a file, got {token!r}")
    spec = channels.spec
    return {
        "names": None if reading.names is None else [*reading.names],
        "channels": [*reading.channels],
        "vocabularies": [[*words.tokens] for words in reading.vocabularies],
        "sizes": [size for _, size in spec.tables],
        "frozen": [*spec.frozen],
        "analyzer": reading.analyzer,
        "lowercase": bool(reading.lowercase),
        "embedding_dropout": channels.embedding_dropout,
        "token_dropout": channels.token_dropout,
    }, {}


def from_fields(content: Any, stack: Stack) -> tuple[TokenReading, TokenChannels]:
    """How X is read, and the tables for that.

    Raises
    ------
    ValueError
        If there is none.
    """
    content = fields_of(content, "tokens", FIELDS)
    with inside("tokens"):
        names = content["names"]
        if names is not None:
            names = tuple(_list(names, "names", (str, int)))
        channels = tuple(_list(content["channels"], "channels", (int,)))
        width = 1 if names is None else len(names)
        if not channels or sorted({*channels}) != [*channels] or channels[0] < 0 or channels[-1] >= width:
            raise ValueError(f"channels must be among {width} channels, each of them once, got {[*channels]!r:.80}")
        vocabularies = tuple(
            Vocabulary(tuple(_list(tokens, "vocabulary", TOKENS)))
            for tokens in _list(content["vocabularies"], "vocabularies", (list,), len(channels))
        )
        for words in vocabularies:
            if len(words.numbers) < len(words.tokens):
                raise ValueError("vocabularies must hold each token once")
        sizes = [check_integer(each, "sizes", 1) for each in _list(content["sizes"], "sizes", (int,), len(channels))]
        frozen = tuple(_list(content["frozen"], "frozen", (bool,), len(channels)))
        analyzer = check_option(content["analyzer"], "analyzer", ANALYZERS)
        lowercase = check_flag(content["lowercase"], "lowercase")
        dropouts = [check_real(content[name], name, 0.0, 1.0) for name in ("embedding_dropout", "token_dropout")]
        tables = tuple((words.count, size) for words, size in zip(vocabularies, sizes, strict=True))
        numeric = tuple(k for k in range(width) if k not in channels)
        tokens = TokenChannels(EmbeddingSpec(tables, frozen, stack.dtype), channels, numeric, *dropouts)
        if tokens.output_size != stack.input_size:
            raise ValueError(f"sizes must make up the layer's input of {stack.input_size}, got {tokens.output_size}")
    return TokenReading(vocabularies, channels, names, analyzer, lowercase), tokens


def _list(value: Any, name: str, kinds: tuple[type, ...], count: int | None = None) -> list[Any]:
    """`value` if it is a list of these types, of `count` items."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise ValueError(f"{name} must be a list{'' if count is None else f' of {count}'}, got {value!r:.80}")
    for each in value:
        if type(each) not in kinds:
            raise ValueError(f"{name} must hold {', '.join(kind.__name__ for kind in kinds)}, got {each!r:.80}")
    return value
