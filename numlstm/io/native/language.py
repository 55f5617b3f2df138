"""The output layer of a language model as fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...checks import check_flag, check_integer, check_real
from ...estimators.data.categories import TokenReading
from ...estimators.data.tokens import END
from ...estimators.targets.next_tokens import NextTokens
from ...training.network import Network
from .values import fields_of, inside

FIELDS = "cutoffs", "tied", "output_dropout"


def to_fields(network: Network) -> dict[str, Any]:
    """The tails of the softmax, whether weights are shared, and dropout."""
    return {"cutoffs": [*network.cutoffs], "tied": network.tied, "output_dropout": network.output_dropout}


def codec_of(reading: TokenReading | None) -> NextTokens:
    """The codec for tokens that are read.

    Raises
    ------
    ValueError
        If no texts are read, or the end of a text is not the first token.
    """
    if reading is None or not reading.text:
        raise ValueError("tokens must describe texts for a language model")
    if reading.vocabularies[0].tokens[:1] != (END,):
        raise ValueError("vocabularies must begin with the empty string, the end of a text, for a language model")
    return NextTokens(reading.vocabularies[0])


def network_from_fields(content: Any, network: Network) -> Network:
    """The network with the output layer that the fields describe.

    Raises
    ------
    ValueError
        If there is none.
    """
    content = fields_of(content, "targets", FIELDS)
    with inside("targets"):
        if not isinstance(content["cutoffs"], list):
            raise ValueError(f"cutoffs must be a list, got {content['cutoffs']!r:.80}")
        cutoffs = tuple(check_integer(cutoff, "cutoffs", 1) for cutoff in content["cutoffs"])
        if sorted({*cutoffs}) != [*cutoffs] or any(cutoff >= network.outputs for cutoff in cutoffs):
            raise ValueError(f"cutoffs must grow, and be below {network.outputs}, got {[*cutoffs]!r:.80}")
        tied = bool(check_flag(content["tied"], "tied"))
        if tied and (cutoffs or network.tokens is None or network.tokens.output_size != network.stack.output_size):
            raise ValueError("tied must be false where the output layer and the vectors have other shapes")
        dropout = check_real(content["output_dropout"], "output_dropout", 0.0, 1.0)
    return replace(network, cutoffs=cutoffs, tied=tied, output_dropout=float(dropout))
