"""The documentation that a language model shares with the other estimators."""

from __future__ import annotations

import re

from ...documenting import sharing
from . import parameters


def without(section: str, *names: str) -> str:
    """A section of parameters or attributes without some of its entries, each named by its first line's beginning."""
    for name in names:
        section = re.sub(rf"\n    {re.escape(name)}\b.*?(?=\n    \S|\Z)", "", section, flags=re.DOTALL)
    return section


REGULARISATION = without(parameters.REGULARISATION, "input_dropout, recurrent_dropout, weight_dropout")
REGULARISATION = REGULARISATION.replace(
    "\n    recurrent_dropout_mode",
    """
    embedding_dropout, output_dropout, recurrent_dropout, weight_dropout : float in [0, 1), default 0.0
        Fractions that are zeroed in training: of the tokens' vectors, of the last layer's outputs, of the state that
        the recurrent weights read (these with one mask for all steps of a piece [4]_), and of the recurrent weights
        (one mask for a piece [3]_).
    token_dropout : float in [0, 1), default 0.0
        Fraction of the tokens that is zeroed in training, at all their places in a piece [4]_.
    recurrent_dropout_mode""",
    1,
)
TEXTS = """
        X : str, or list of n texts
            A text is a string, or a list of tokens: strings, or whole numbers of at least 0. With ``analyzer="byte"``
            it can be a bytes object."""

documented = sharing(
    {
        "NETWORK": without(parameters.NETWORK, "merge"),
        "REGULARISATION": REGULARISATION,
        "TRAINING": without(parameters.TRAINING, "bptt_steps"),
        "VARIANTS": parameters.VARIANTS,
        "SYSTEM": parameters.SYSTEM,
        "ATTRIBUTES": without(
            parameters.ATTRIBUTES, "coef_, intercept_", "n_features_in_", "feature_names_in_", "n_channels_",
            "channel_mean_", "vocabulary_", "embeddings_", "static_mean_", "static_feature_names_in_",
        ).replace("read-only: one stack. With `scale_inputs` it reads scaled channels.", "read-only: one stack.")
        .replace("and its accuracy or R²", "and its mean log-likelihood"),
        "THREADS": parameters.THREADS,
        "TEXTS": TEXTS,
    }
)  # fmt: skip
