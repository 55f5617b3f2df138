"""
Handwritten digits, row by row
==============================

Learn handwritten digits from raw pixels.

Each of scikit-learn's 1,797 digits is a sequence of 8 steps, the rows of 8 pixels. The script prints the accuracy on a
test set of a quarter of the digits, and saves a picture: `python examples/handwritten_digits.py [picture.png]`.
"""

# sphinx_gallery_thumbnail_path = "../examples/handwritten_digits.png"
import sys
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from numlstm import LSTMClassifier

SHOWN = 10


def draw(model, images, labels, accuracy, path):
    """Draw the learning curve, and digits with their predictions: correct ones in grey, wrong ones in red."""
    predicted = model.predict(images)
    confidence = model.predict_proba(images).max(axis=1)
    wrong = (predicted != labels).nonzero()[0]
    shown = [*wrong[:SHOWN], *(predicted == labels).nonzero()[0][: 2 * SHOWN - min(len(wrong), SHOWN)]]
    figure = plt.figure(figsize=(10, 5.2), layout="constrained")
    curve, digits = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    axes = curve.subplots()
    axes.semilogy(range(1, model.n_iter_ + 1), model.loss_curve_, color="tab:blue")
    axes.set(xlabel="epoch", ylabel="training loss", title=f"LSTM on handwritten digits: accuracy {accuracy:.3f}")
    axes.grid(alpha=0.3)
    for axes, index in zip(digits.subplots(2, SHOWN).flat, shown, strict=True):
        correct = predicted[index] == labels[index]
        axes.imshow(images[index], cmap="gray_r")
        axes.set_title(
            f"{predicted[index]} ({confidence[index]:.0%})", fontsize=9, color="0.3" if correct else "tab:red"
        )
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def main(path="handwritten_digits.png"):
    """Train, score and draw; return the accuracy."""
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 8, 8) / 16
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    start = time.perf_counter()
    model = LSTMClassifier(verbose=sys.stderr.isatty(), random_state=0).fit(train, train_labels)
    seconds = time.perf_counter() - start
    accuracy = model.score(test, test_labels)
    print(f"{len(train)} digits, {model.n_iter_} epochs in {seconds:.1f} s on backend {model.backend_!r}")
    print(f"accuracy: {accuracy:.4f}")
    draw(model, test, test_labels, accuracy, path)
    print(f"picture: {path}")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:])
