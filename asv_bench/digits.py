"""Whole fits on scikit-learn's digits, by this library, a plain PyTorch loop and skorch; and the costs of starting.

`python asv_bench/digits.py [--write]`: hidden size 64, batches of 32, 30 epochs, Adam, clipped gradients, the same for
all. Each contestant has a process of its own, and they take turns; the script prints minimum and median of several
fits. Then it measures, each in new processes: the time of compiling with an empty cache and with a filled one, the
time of imports, of a step of a stream, and of a prediction for one short sequence.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time

import tables
from processes import printed_number, start

ROUNDS = 7
FIRST_FIT = """
import time
from numlstm import LSTMClassifier
import numpy as np
X, y = np.random.default_rng(0).normal(size=(200, 8, 8)), np.arange(200) % 10
fit = lambda: LSTMClassifier(max_iter=1, random_state=0).fit(X, y).predict(X)
start = time.perf_counter(); fit(); first = time.perf_counter() - start
start = time.perf_counter(); fit(); print(first - (time.perf_counter() - start))
"""
IMPORT = """
import time
start = time.perf_counter()
from numlstm import LSTM
print(time.perf_counter() - start)
"""
IMPORT_ESTIMATOR = """
import time
import sklearn.base
start = time.perf_counter()
from numlstm import LSTMClassifier
print(time.perf_counter() - start)
"""
PREDICT = """
import time
import numpy as np
from numlstm import LSTMClassifier
X, y = np.random.default_rng(0).normal(size=(64, 10, 3)), np.arange(64) % 3
model, one = LSTMClassifier(max_iter=1, random_state=0).fit(X, y), X[:1]
times = []
for _ in range(5000):
    start = time.perf_counter()
    model.predict(one)
    times.append(time.perf_counter() - start)
print(min(times))
"""
STREAM = """
import time
import numpy as np
from numlstm import LSTM
stream, x = LSTM(16, 64, random_state=0).stream(), np.ones(16, np.float32)
times = []
for _ in range(5000):
    start = time.perf_counter()
    stream.step(x)
    times.append(time.perf_counter() - start)
print(min(times))
"""


def digits():
    """Rows of pixels as steps, with the split of the example."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) / 16).astype("float32")
    return train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=0)


def fit_numlstm():
    from numlstm import LSTMClassifier

    train, test, train_labels, test_labels = digits()

    def fit():
        model = LSTMClassifier(
            bidirectional=False, pooling="last", learning_rate="constant", learning_rate_init=0.005, batch_size=32,
            max_iter=30, n_iter_no_change=None, scale_inputs=False, random_state=0,
        ).fit(train, train_labels)  # fmt: skip
        return lambda: model.score(test, test_labels)

    return fit


def torch_network():
    """PyTorch, and the class of the same network in it."""
    import torch

    torch.set_num_threads(int(os.environ.get("NUMLSTM_NUM_THREADS", len(os.sched_getaffinity(0)))))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(8, 64, batch_first=True)
            self.output = torch.nn.Linear(64, 10)

        def forward(self, x):
            return self.output(self.lstm(x)[1][0][-1])

    return torch, Network


def fit_torch():
    torch, Network = torch_network()
    train, test, train_labels, test_labels = map(torch.from_numpy, digits())

    def fit():
        torch.manual_seed(0)
        network = Network()
        optimizer = torch.optim.Adam(network.parameters(), 0.005)
        loss = torch.nn.CrossEntropyLoss()
        for _ in range(30):
            order = torch.randperm(len(train))
            for first in range(0, len(train), 32):
                rows = order[first : first + 32]
                optimizer.zero_grad()
                loss(network(train[rows]), train_labels[rows]).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
        return lambda: float((network(test).argmax(1) == test_labels).float().mean())

    return fit


def fit_skorch():
    torch, Network = torch_network()
    from skorch import NeuralNetClassifier
    from skorch.callbacks import GradientNormClipping

    train, test, train_labels, test_labels = digits()

    def fit():
        torch.manual_seed(0)
        model = NeuralNetClassifier(
            Network, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=0.005, max_epochs=30,
            batch_size=32, iterator_train__shuffle=True, train_split=None, verbose=0,
            callbacks=[GradientNormClipping(1.0)],
        )  # fmt: skip
        model.fit(train, train_labels)
        return lambda: model.score(test, test_labels)

    return fit


CONTESTANTS = (fit_numlstm, fit_torch, fit_skorch)


def serve(connection, contestant):
    """The process of a contestant."""
    fit = contestant()
    fit()
    while connection.recv():
        began = time.perf_counter()
        score = fit()
        connection.send((time.perf_counter() - began, score()))


def compare():
    """Seconds and accuracies of all contestants, in alternating rounds."""
    connections = {contestant: start(serve, contestant, daemon=True)[0] for contestant in CONTESTANTS}
    results = {contestant: [] for contestant in CONTESTANTS}
    for _ in range(ROUNDS):
        for contestant, connection in connections.items():
            connection.send(True)
            results[contestant].append(connection.recv())
    for connection in connections.values():
        connection.send(False)
    return results


def least(code, runs, **environment):
    """The least number that code prints in several new processes."""
    return min(printed_number(code, **environment) for _ in range(runs))


def measured():
    """The lines of the tables."""
    yield "| | seconds of a fit, minimum (median) | accuracy |\n|---|---|---|"
    for contestant, rounds in compare().items():
        times, scores = zip(*rounds, strict=True)
        name = contestant.__name__.removeprefix("fit_")
        yield f"| {name} | {min(times):.2f} ({statistics.median(times):.2f}) | {scores[-1]:.3f} |"
    yield "\n| | |\n|---|---|"
    with tempfile.TemporaryDirectory() as cache:
        yield f"| compiling, with an empty cache | {printed_number(FIRST_FIT, NUMBA_CACHE_DIR=cache):.1f} s |"
        yield f"| the same, from the disk cache | {least(FIRST_FIT, 3, NUMBA_CACHE_DIR=cache):.2f} s |"
    yield f"| `from numlstm import LSTM` | {least(IMPORT, 5):.2f} s |"
    yield f"| `from numlstm import LSTMClassifier`, after `import sklearn.base` | {least(IMPORT_ESTIMATOR, 5):.2f} s |"
    yield f"| `stream.step`, 16 inputs, 64 hidden units | {1e6 * printed_number(STREAM):.1f} µs |"
    yield f"| `predict` for one sequence of 10 steps, at the defaults | {1e6 * printed_number(PREDICT):.0f} µs |"


if __name__ == "__main__":
    tables.report("digits.md", measured(), "torch")
