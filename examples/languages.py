"""
In which language is a name?
============================

In which of 34 languages is a name? Characters read by an LSTM, beside counts of character n-grams.

    python examples/languages.py [picture.png] [--short]

Names of countries, languages and currencies are Unicode's CLDR, in the package babel. A country's
names are either all trained on or all tested. Names that two languages share are left out.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
from babel import Locale
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from numlstm import LSTMClassifier

LANGUAGES = (
    "af", "az", "ca", "cs", "cy", "da", "de", "en", "es", "et", "eu", "fi", "fr", "ga", "hr", "hu", "is",
    "it", "lt", "lv", "mt", "nb", "nl", "pl", "pt", "ro", "sk", "sl", "sq", "sv", "sw", "tr", "uz", "vi",
)  # fmt: skip
SHOWN = (
    "Yhdysvallat",
    "Verenigde Staten",
    "Birleşik Krallık",
    "Nueva Zelanda",
    "Jungtinė Karalystė",
    "Elfenbenskysten",
)
TEST = 1 / 7  # of all keys


def load_names() -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Names, their languages, and the keys by which CLDR knows what they name."""
    languages_of = defaultdict(set)
    rows = []
    for language in LANGUAGES:
        locale = Locale(language)
        for kind in ("territories", "languages", "currencies"):
            for code, name in getattr(locale, kind).items():
                languages_of[name].add(language)
                rows.append((name, language, (kind, code)))
    rows = [row for row in rows if len(languages_of[row[0]]) == 1]
    names, languages, keys = zip(*rows, strict=True)
    return list(names), list(languages), list(keys)


def split_by_key(keys: list[tuple[str, str]]) -> np.ndarray:
    """Whether each name is tested."""
    known = sorted(set(keys))
    tested = np.random.default_rng(0).permutation(len(known)) < TEST * len(known)
    tested_keys = {key for key, of_test in zip(known, tested, strict=True) if of_test}
    return np.array([key in tested_keys for key in keys])


def contributions(model: LSTMClassifier, name: str) -> tuple[str, np.ndarray]:
    """The predicted language, and how much its log-probability falls without each character."""
    probabilities = model.predict_proba([name])[0]
    best = int(probabilities.argmax())
    without = model.predict_proba([name[:t] + name[t + 1 :] for t in range(len(name))])[:, best]
    return model.classes_[best], np.log(probabilities[best]) - np.log(without)


def draw(model: LSTMClassifier, path: str) -> None:
    """Which characters a decision rests on: the darker, the less likely the language is without it."""
    figure, axes = plt.subplots(len(SHOWN), 1, figsize=(9, 1.0 * len(SHOWN)), constrained_layout=True)
    for ax, name in zip(axes, SHOWN, strict=True):
        language, falls = contributions(model, name)
        ax.imshow(falls[None], cmap="PuOr_r", vmin=-4, vmax=4, aspect="auto", extent=(0, len(name), 0, 1))
        for t, character in enumerate(name):
            ax.text(t + 0.5, 0.5, character, ha="center", va="center", fontsize=14, family="monospace")
        ax.set(xticks=[], yticks=[], xlim=(0, max(map(len, SHOWN))))
        ax.set_ylabel(Locale(language).english_name, rotation=0, ha="right", va="center")
        ax.spines[:].set_visible(False)
    figure.suptitle("orange: without this character the language is less likely; violet: more likely")
    figure.savefig(path, dpi=100)


def main(path: str = "languages.png", short: bool = False) -> tuple[float, float]:
    """Train both, print and return their accuracies, and draw; `short` takes a tenth of the names."""
    names, languages, keys = load_names()
    tested = split_by_key(keys)
    train, test = np.flatnonzero(~tested), np.flatnonzero(tested)
    train = np.random.default_rng(1).permutation(train)[: len(train) // 10 if short else None]
    X, y = [names[i] for i in train], [languages[i] for i in train]
    X_test, y_test = [names[i] for i in test], [languages[i] for i in test]
    print(f"{len(X)} names to train on, {len(X_test)} to test, {len(LANGUAGES)} languages")

    counts = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, lowercase=False),
        LogisticRegression(C=30, max_iter=300),
    )
    began = time.perf_counter()
    counts.fit(X, y)
    seconds = time.perf_counter() - began
    baseline = counts.score(X_test, y_test)
    print(f"n-grams and logistic regression: accuracy {baseline:.3f} ({seconds:.0f} s)")

    model = LSTMClassifier(hidden_size=96, token_dropout=0.1, dropout=0.2, random_state=0)
    began = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - began
    accuracy = model.score(X_test, y_test)
    print(f"LSTM, character by character: accuracy {accuracy:.3f} ({seconds:.0f} s)")
    draw(model, path)
    return accuracy, baseline


if __name__ == "__main__":
    main(*[argument for argument in sys.argv[1:] if argument != "--short"], short="--short" in sys.argv)
