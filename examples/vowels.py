"""
Speakers by their vowels
========================

Recognise nine speakers by two Japanese vowels: utterances of 7 to 29 steps, which `fit` takes as a list.

The data (Kudo, Toyama & Shimbo 1999; UCI) are in the package sktime, which is part of the extra `examples`: 12 channels
at each step, 270 utterances for training and 370 for the test. The script prints the accuracy, and saves a picture: the
confusion matrix, and the probabilities while an utterance goes on: `python examples/vowels.py [picture.png] [--short]`.
"""

# sphinx_gallery_thumbnail_path = "../examples/vowels.png"
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from numlstm import LSTMClassifier


def read(part):
    """The utterances (steps, 12) and their speakers."""
    package = find_spec("sktime")
    if package is None:
        raise SystemExit('the data are in the package sktime: pip install -e ".[examples]"')
    folder = Path(next(iter(package.submodule_search_locations))) / "datasets" / "data" / "JapaneseVowels"
    _, _, lines = (folder / f"JapaneseVowels_{part}.ts").read_text().partition("@data\n")
    utterances, speakers = [], []
    for line in lines.splitlines():
        *channels, speaker = line.split(":")
        utterances.append(np.array([channel.split(",") for channel in channels], float).T)
        speakers.append(int(speaker))
    return utterances, np.array(speakers)


def draw(model, utterances, speakers, accuracy, path):
    """Draw the confusion matrix, and the probability of each speaker after each step of one utterance."""
    figure, (table, curves) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(speakers, model.predict(utterances), ax=table, cmap="Blues", colorbar=False)
    table.set(title=f"accuracy {accuracy:.3f}", xlabel="predicted speaker", ylabel="speaker")
    longest = int(np.argmax([len(x) for x in utterances]))
    x, speaker = utterances[longest], speakers[longest]
    probabilities = model.predict_proba([x[: t + 1] for t in range(len(x))])
    for curve, label in zip(probabilities.T, model.classes_, strict=True):
        correct = label == speaker
        curves.plot(range(1, len(x) + 1), curve, color="tab:red" if correct else "0.7", linewidth=2 if correct else 1)
    curves.set(title=f"an utterance of speaker {speaker}", xlabel="steps heard", ylabel="probability of each speaker")
    curves.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main(path="vowels.png", short=False):
    """Train, score and draw; return the accuracy."""
    (train, names), (test, truth) = read("TRAIN"), read("TEST")
    lengths = [len(x) for x in (*train, *test)]
    model = LSTMClassifier(max_iter=20 if short else "auto", verbose=sys.stderr.isatty(), random_state=0)
    start = time.perf_counter()
    model.fit(train, names)
    seconds = time.perf_counter() - start
    accuracy = model.score(test, truth)
    print(f"{len(train)} utterances of {min(lengths)} to {max(lengths)} steps, {model.n_iter_} epochs", end=" ")
    print(f"in {seconds:.1f} s")
    print(f"accuracy: {accuracy:.4f}")
    draw(model, test, truth, accuracy, path)
    print(f"picture: {path}")
    return accuracy


if __name__ == "__main__":
    main(*[argument for argument in sys.argv[1:] if argument != "--short"], short="--short" in sys.argv)
