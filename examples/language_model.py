"""
A network that writes Python's documentation
============================================

A language model of English: how many bits does a character take, beside n-grams, zlib and lzma? What does the model
write after 1, 4 and 20 epochs, and which characters surprise it?

    python examples/language_model.py [picture.png] [--short]

The text is the documentation that ships with Python (pydoc_data.topics), without repeated lines, which a compressor
would find word by word. The topics are sorted; every eighth part of 10,000 characters is tested.
"""

from __future__ import annotations

import lzma
import math
import sys
import textwrap
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pydoc_data.topics import topics
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from numlstm import LSTMLanguageModel

PART, EVERY = 10_000, 8
AGES = 1, 4, 20
PROMPT = "The "
SHOWN = 180  # characters of the picture
COLUMNS = 60
OPTIONS: dict[str, Any] = {  # the best of five settings on a part of the training text
    "learning_rate_init": 0.007, "embedding_size": 64, "output_dropout": 0.3, "weight_dropout": 0.2, "random_state": 0,
}  # fmt: skip


def load_parts() -> tuple[str, list[str]]:
    """Parts of the documentation to train on, and parts to test."""
    lines = dict.fromkeys(line for topic in sorted(topics) for line in topics[topic].splitlines())
    text = "\n".join(lines)
    parts = [text[start : start + PART] for start in range(0, len(text), PART)]
    training = [part for k, part in enumerate(parts) if k % EVERY != EVERY - 1]
    return "".join(training), [part for k, part in enumerate(parts) if k % EVERY == EVERY - 1]


class NGrams:
    """Characters given the ones before, by interpolated Kneser-Ney smoothing (Chen & Goodman 1999).

    Parameters
    ----------
    text : str
        To count.
    order : int
        Characters of the longest n-gram.
    """

    def __init__(self, text: str, order: int) -> None:
        self.order, self.symbols = order, len(set(text)) + 1
        self.counts: list[dict[str, Counter[str]]] = []
        for length in range(order):
            followers: dict[str, Counter[str]] = defaultdict(Counter)
            if length == order - 1:
                for k in range(length, len(text)):
                    followers[text[k - length : k]][text[k]] += 1
            else:  # in how many contexts that are one character longer does a character follow?
                for gram in {text[k - length - 1 : k + 1] for k in range(length + 1, len(text))}:
                    followers[gram[1:-1]][gram[-1]] += 1
            self.counts.append(followers)
        of_counts = [Counter(n for f in followers.values() for n in f.values()) for followers in self.counts]
        self.discounts = [ones[1] / (ones[1] + 2 * ones[2]) if ones[1] else 0.0 for ones in of_counts]
        self.totals = [{c: (f.total(), len(f)) for c, f in followers.items()} for followers in self.counts]

    def probability(self, context: str, character: str) -> float:
        """The probability of a character after a context."""
        likely = 1 / self.symbols
        for length in range(min(len(context), self.order - 1) + 1):
            after = context[len(context) - length :]
            if after not in self.totals[length]:
                break
            total, kinds = self.totals[length][after]
            discount = self.discounts[length]
            likely = (max(self.counts[length][after][character] - discount, 0) + discount * kinds * likely) / total
        return likely

    def bits(self, text: str) -> float:
        """Bits of a character of a text."""
        reach = self.order - 1
        return -sum(
            math.log2(self.probability(text[max(0, k - reach) : k], character)) for k, character in enumerate(text)
        ) / len(text)


def packed_bits(pack: Callable[[bytes], bytes], training: str, test: list[str]) -> float:
    """Bits of a character of `test`, packed after the training text."""
    before = len(pack(training.encode()))
    added = sum(len(pack((training + part).encode())) - before for part in test)
    return 8 * added / sum(map(len, test))


def rivals(training: str, test: list[str], orders: tuple[int, ...]) -> dict[str, float]:
    """Bits of a character by other methods, which all know the training text."""
    characters = sum(map(len, test))
    results = {}
    for order in orders:
        grams = NGrams(training, order)
        results[f"n-grams up to {order}"] = sum(len(part) * grams.bits(part) for part in test) / characters
    results["zlib"] = packed_bits(lambda data: zlib.compress(data, 9), training, test)
    results["lzma"] = packed_bits(lambda data: lzma.compress(data, preset=9), training, test)
    return results


def learn(training: str, ages: tuple[int, ...], **options: Any) -> tuple[LSTMLanguageModel, dict[int, str]]:
    """A trained model, and what it writes after some epochs."""
    kept: dict[int, Any] = {}

    def keep(progress: Any) -> None:
        if progress.epoch in ages:
            kept[progress.epoch] = progress.parameters()

    model = LSTMLanguageModel(max_iter=ages[-1], callback=keep, **OPTIONS | options).fit(training)
    written = {}
    for age, parameters in kept.items():
        model.set_parameters(parameters)
        written[age] = PROMPT + "".join(model.generate(PROMPT, n=300, temperature=0.7, random_state=1))
    return model, written


def draw(bits: dict[str, float], written: dict[int, str], passage: str, surprise: np.ndarray, picture: str) -> None:
    """Bits of a character by method; what the model writes at several ages; the surprise over a passage."""
    figure, (top, middle, bottom) = plt.subplots(
        3, figsize=(10, 8.5), height_ratios=(2, 1.9, 1.3), layout="constrained"
    )
    names = sorted(bits, key=bits.__getitem__, reverse=True)
    bars = top.barh(names, [bits[name] for name in names], color=["C0" if name == "LSTM" else "0.7" for name in names])
    top.bar_label(bars, fmt="%.3f", padding=3)
    top.set(xlabel="bits of a character of held-out text: fewer are better", xlim=(0, 1.15 * max(bits.values())))
    middle.axis("off")
    middle.set_title("what the model writes", loc="left")
    lines = []
    for age, text in written.items():
        shown = textwrap.wrap(" ".join(text.split()), 92, max_lines=3, placeholder=" ...")
        lines += [f"after {age} epoch{'s' * (age > 1)}:", *("    " + line for line in shown), ""]
    middle.text(0, 1, "\n".join(lines), family="monospace", fontsize=9, va="top", transform=middle.transAxes)
    rows = -(-len(passage) // COLUMNS)
    grid = np.full(rows * COLUMNS, np.nan)
    grid[: len(passage)] = surprise
    image = bottom.imshow(grid.reshape(rows, COLUMNS), cmap="Oranges", vmin=0, vmax=8, aspect="auto")
    for k, character in enumerate(passage):
        bottom.text(k % COLUMNS, k // COLUMNS, character, ha="center", va="center", family="monospace", fontsize=9)
    bottom.set(xticks=[], yticks=[])
    bottom.set_title("how much each character surprises the model", loc="left")
    figure.colorbar(image, ax=bottom, label="bits")
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def main(picture: str = "language_model.png", short: bool = False) -> tuple[float, dict[str, float]]:
    """Bits of a character by the LSTM, and by the other methods."""
    training, test = load_parts()
    ages, options = AGES, {}
    if short:
        training, test, ages, options = training[:60_000], test[:1], (1, 8), {"hidden_size": 64}
    print(f"{len(training):,} characters to train on, {sum(map(len, test)):,} to test")
    others = rivals(training, test, (5,) if short else (5, 10))
    start = time.perf_counter()
    model, written = learn(training, ages, **options)
    seconds = time.perf_counter() - start
    bits = model.bits_per_character(test)
    print(f"LSTM: {bits:.3f} bits a character, perplexity {model.perplexity(test):.2f}, fitted in {seconds:.0f} s")
    for name, value in others.items():
        print(f"{name}: {value:.3f}")
    for age, text in written.items():
        print(f"after {age} epochs: {' '.join(text.split())}")
    start = time.perf_counter()
    count = sum(1 for _ in model.generate(PROMPT, n=5000, random_state=0))
    print(f"{1e6 * (time.perf_counter() - start) / count:.0f} microseconds for each character that it writes")
    passage = " ".join(test[0][:2000].split())[:SHOWN]
    draw({"LSTM": bits, **others}, written, passage, model.surprise(passage), picture)
    return bits, others


if __name__ == "__main__":
    paths = [argument for argument in sys.argv[1:] if argument != "--short"]
    main(*paths[:1], short="--short" in sys.argv)
