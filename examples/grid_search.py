"""
A grid search over a Pipeline
=============================

Search for good settings as with any scikit-learn estimator: a Pipeline in a GridSearchCV, in two processes.

A step of a sequence is a row of 8 pixels of a handwritten digit. The script prints the best settings, their
cross-validated accuracy, and the accuracy on a test set, and saves a picture:
`python examples/grid_search.py [picture.png] [--short]`.
"""

# sphinx_gallery_thumbnail_path = "../examples/grid_search.png"
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from numlstm import LSTMClassifier, SequenceScaler

POOLINGS, RATES = ["last", "attention", "concat"], [0.003, 0.01, 0.03]


def draw(search, path):
    """Draw mean and standard deviation of the accuracy for each combination."""
    results = search.cv_results_
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    positions = np.arange(len(results["params"]))
    labels = ["{1}\n{0}".format(*parameters.values()) for parameters in results["params"]]
    colours = ["tab:red" if i == search.best_index_ else "tab:blue" for i in positions]
    axes.bar(positions, results["mean_test_score"], yerr=results["std_test_score"], color=colours, capsize=4)
    axes.set_xticks(positions, labels)
    lowest = (results["mean_test_score"] - results["std_test_score"]).min()
    axes.set(ylim=(lowest - 0.02, 1), ylabel="cross-validated accuracy", xlabel="pooling, learning_rate_init")
    figure.savefig(path, dpi=100)


def main(path="grid_search.png", short=False):
    """Search, score and draw; return the accuracy on the test set."""
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 8, 8)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    pipeline = make_pipeline(SequenceScaler(), LSTMClassifier(max_iter=15 if short else 25, random_state=0))
    grid = {
        "lstmclassifier__learning_rate_init": RATES[1:] if short else RATES,
        "lstmclassifier__pooling": POOLINGS[:1] if short else POOLINGS,
    }
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2, verbose=int(sys.stderr.isatty()))
    search.fit(train, train_labels)
    accuracy = search.score(test, test_labels)
    print("best:", {name.partition("__")[2]: value for name, value in search.best_params_.items()})
    print(f"cross-validated accuracy: {search.best_score_:.4f}")
    print(f"accuracy: {accuracy:.4f}")
    draw(search, path)
    print(f"picture: {path}")
    return accuracy


if __name__ == "__main__":
    main(*[argument for argument in sys.argv[1:] if argument != "--short"], short="--short" in sys.argv)
