"""
See inside an LSTM that has learnt to add
=========================================

What opens its gates, how long it remembers, and what its answer rests on. Two numbers of a sequence are marked, and
their sum is to be said at the end (experiment 4 of Hochreiter & Schmidhuber 1997). After training the input gates of
some units open at the marks, and the forget gates of others keep what came in until the end. Nothing told the network
to do so. Prints the score, and how much of its answers rests on the two marked steps; saves a picture of one
sequence: its gates and states, the share of every step in the answer, and how long each unit remembers: `python
examples/see_inside.py [picture.png]`.
"""

# sphinx_gallery_thumbnail_path = "../examples/see_inside.png"
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from numlstm import LSTMRegressor
from numlstm.datasets import make_adding
from numlstm.inspection import AttributionDisplay, attribute, plot_gates, plot_memory


def draw(model, sequences, shares, path):
    """Gates and states on the left, attribution and memory on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 8), layout="constrained")
    plot_gates(model, sequences, row=0, ax=left)
    right.set_axis_off()
    upper, lower = right.get_subplotspec().subgridspec(2, 1).subplots()
    AttributionDisplay(shares, row=0).plot(upper)
    plot_memory(model, sequences, ax=lower)
    figure.savefig(path, dpi=90)


def main(path="see_inside.png"):
    """Learn, look inside, draw; return R² and the share of the marked steps."""
    X, y = make_adding(2500, length=30, random_state=0)
    model = LSTMRegressor(hidden_size=16, pooling="last", init="chrono", max_iter=30, random_state=0)
    model.fit(X[:2000], y[:2000])
    new, truth = X[2000:], y[2000:]
    score = model.score(new, truth)
    shares = attribute(model, new, baselines=[0.0, 0.0])
    marked = [
        np.abs(values[x[:, 1] == 1]).sum() / np.abs(values).sum() for values, x in zip(shares.values, new, strict=True)
    ]
    print(f"R² on new sequences: {score:.4f}")
    print(f"share of the answer that rests on the two marked steps of 30: {np.mean(marked):.2f}")
    print(f"shares of a sequence miss its answer by {np.abs(shares.delta).max():.1e} at most")
    draw(model, new, shares, path)
    print(f"picture: {path}")
    return score, float(np.mean(marked))


if __name__ == "__main__":
    main(*sys.argv[1:])
