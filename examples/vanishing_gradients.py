"""
How far back a gradient reaches
===============================

How much does the last output of a layer change with the input of an earlier step? `vjp` gives that gradient for a plain
RNN, and for LSTMs whose forget gates are closed, half open and open at first. Nothing is trained. Prints what is left
of it after 100 steps, and saves a picture: `python examples/vanishing_gradients.py [picture.png]`.
"""

# sphinx_gallery_thumbnail_path = "../examples/vanishing_gradients.png"
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from numlstm import LSTM, RNN

STEPS, SEQUENCES, FEATURES, UNITS = 101, 32, 8, 64
KIND = {"dtype": "float64", "random_state": 0}
LAYERS = {
    "plain RNN": RNN(FEATURES, UNITS, **KIND),
    "LSTM, forget bias -1": LSTM(FEATURES, UNITS, forget_bias=-1.0, **KIND),
    "LSTM, forget bias 1": LSTM(FEATURES, UNITS, forget_bias=1.0, **KIND),
    "LSTM, forget bias 4": LSTM(FEATURES, UNITS, forget_bias=4.0, **KIND),
}


def reach(layer, x, dy):
    """The mean norm of the gradient of each input, from the last step back, as a share of the last one's."""
    y, _, pullback = layer.vjp(x)
    dx, _, _ = pullback(np.concatenate([np.zeros_like(y[:, 1:]), dy[:, None]], axis=1))
    norms = np.linalg.norm(dx, axis=2).mean(axis=0)[::-1]
    return norms / norms[0]


def draw(curves, path):
    """The share that is left against the distance."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for (name, curve), colour in zip(curves.items(), ("0.5", "tab:red", "tab:orange", "tab:blue"), strict=True):
        axes.semilogy(curve, color=colour, label=name)
    axes.set(xlabel="steps back", ylabel="gradient of an input,\nas a share of the last one's", xlim=(0, STEPS - 1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


def main(path="vanishing_gradients.png"):
    """Go back through every layer, print, draw; return what is left after 100 steps, by name."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(SEQUENCES, STEPS, FEATURES)), rng.normal(size=(SEQUENCES, UNITS))
    curves = {name: reach(layer, x, dy) for name, layer in LAYERS.items()}
    for name, curve in curves.items():
        print(f"{name}: {curve[-1]:.1e} after {STEPS - 1} steps")
    draw(curves, path)
    print(f"picture: {path}")
    return {name: float(curve[-1]) for name, curve in curves.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
