"""A training step of a language model of characters, next to PyTorch's: `python asv_bench/characters.py [--write]`.

One layer of 256 units, 32 streams, 64 steps, 100 symbols: vectors of the symbols, LSTM, output layer, cross-entropy,
gradients of all weights, clipping, Adam. Vectors of 25 numbers, which is the default here for so many symbols, and of
256. Each contestant has a process of its own; they take turns. Losses and gradients are compared before anything is
timed. Then characters are written, one at a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np
import tables
from processes import start

T, N, H, SYMBOLS = 64, 32, 256, 100
SIZES = 25, 256
ROUNDS, CALLS = 12, 5


def problem(size):
    """Parameters by PyTorch's names, symbols (N, T) and the symbols that follow them."""
    rng = np.random.default_rng(0)
    shapes = {
        "embedding_0": (SYMBOLS, size), "weight_ih_l0": (4 * H, size), "weight_hh_l0": (4 * H, H),
        "bias_ih_l0": (4 * H,), "bias_hh_l0": (4 * H,), "weight_output": (SYMBOLS, H), "bias_output": (SYMBOLS,),
    }  # fmt: skip
    parameters = {name: rng.uniform(-0.1, 0.1, shape).astype("float32") for name, shape in shapes.items()}
    return parameters, rng.integers(SYMBOLS, size=(N, T)), rng.integers(SYMBOLS, size=(N, T))


def ours(size):
    """Functions for loss and gradients by name, and for a step of training."""
    from numlstm.backends.contract import EmbeddingSpec, LossSpec
    from numlstm.backends.cpu.backend import CpuBackend
    from numlstm.layers.options import stack_of
    from numlstm.training.embedding import TokenChannels
    from numlstm.training.model import Model
    from numlstm.training.network import Network
    from numlstm.training.optimizers import Adam

    parameters, symbols, following = problem(size)
    backend, rng = CpuBackend(), np.random.default_rng(0)
    tokens = TokenChannels(EmbeddingSpec(((SYMBOLS, size),), (False,)), (0,))
    network = Network(
        stack_of("lstm", size, "float32", {"hidden_size": H}), SYMBOLS, "none", LossSpec("softmax"), tokens=tokens
    )
    model = Model(network, backend, network.pack(backend, parameters), training=True)
    optimizer = Adam(backend, model.flat, clip_norm=1.0)
    batch = symbols[:, :, None].astype("float32"), None, following.ravel(), np.full(N * T, 1 / (N * T)), rng

    def gradients():
        return float(model.loss_and_gradient(*batch)[0]), network.unpack(backend, model.gradient)

    def step():
        model.loss_and_gradient(*batch)
        optimizer.step(model.gradient, 1e-3)
        model.changed()

    return gradients, step


def theirs(size):
    """The same in PyTorch."""
    import torch
    from torch import nn

    if "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    parameters, symbols, following = problem(size)
    embedding, lstm = nn.Embedding(SYMBOLS, size), nn.LSTM(size, H, batch_first=True)
    output, loss_of = nn.Linear(H, SYMBOLS), nn.CrossEntropyLoss()
    named = {"embedding_0": embedding.weight, "weight_output": output.weight, "bias_output": output.bias}
    named |= dict(lstm.named_parameters())
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(torch.from_numpy(parameters[name]))
    weights = [*named.values()]
    optimizer = torch.optim.Adam(weights, lr=1e-3)
    x, wanted = torch.from_numpy(symbols), torch.from_numpy(following.ravel())

    def loss_and_backward():
        optimizer.zero_grad()
        loss = loss_of(output(lstm(embedding(x))[0]).reshape(-1, SYMBOLS), wanted)
        loss.backward()
        return loss

    def gradients():
        loss = loss_and_backward().item()
        return loss, {name: parameter.grad.numpy().copy() for name, parameter in named.items()}

    def step():
        loss_and_backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    return gradients, step


def serve(connection, name, size):
    """Send loss and gradients; then the seconds of some steps, whenever asked."""
    gradients, step = ours(size) if name == "numlstm" else theirs(size)
    connection.send(gradients())
    step()
    while connection.recv():
        times = []
        for _ in range(CALLS):
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        connection.send(times)


def compare(size):
    """Seconds of steps by contestant."""
    ends = {name: start(serve, name, size) for name in ("numlstm", "torch")}
    (loss, gradients), (expected_loss, expected) = (connection.recv() for connection, _ in ends.values())
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], atol=1e-4 * np.abs(expected[name]).max(), err_msg=name)
    times = {name: [] for name in ends}
    for _ in range(ROUNDS):
        for name, (connection, _) in ends.items():
            connection.send(True)
            times[name] += connection.recv()
    for connection, process in ends.values():
        connection.send(False)
        process.join()
    return times


def writing():
    """Microseconds for each character that a model of 256 units writes: the least, the median, the 99th percentile."""
    from numlstm import LSTMLanguageModel

    text = "".join(map(chr, range(32, 32 + SYMBOLS))) * 40
    model = LSTMLanguageModel(hidden_size=H, max_iter=1, random_state=0).fit(text)
    times, choices = [], np.random.RandomState(0)
    while len(times) < 20_000:
        begin = time.perf_counter()
        for _ in model.generate("a", n=2000, random_state=choices):
            now = time.perf_counter()
            times.append(1e6 * (now - begin))
            begin = now
    return min(times), statistics.median(times), statistics.quantiles(times, n=100)[98]


def lines():
    """The table, line by line."""
    yield "| size of vectors | numlstm, ms: least (median) | PyTorch, ms: least (median) | ratio of the least |"
    yield "|---|---|---|---|"
    for size in SIZES:
        times = compare(size)
        (least, median), (their_least, their_median) = (
            (1e3 * min(each), 1e3 * statistics.median(each)) for each in times.values()
        )
        yield (
            f"| {size} | {least:.1f} ({median:.1f}) | {their_least:.1f} ({their_median:.1f}) | "
            f"{their_least / least:.2f} |"
        )
    least, median, high = writing()
    yield ""
    yield f"Writing: {least:.0f} µs a character (median {median:.0f}, 99th percentile {high:.0f}), on one thread."


def main():
    """Compare, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table to characters.md")
    parser.add_argument("--threads", type=int, help="of each; by default as many as it takes by itself")
    threads = parser.parse_args().threads
    if threads:
        os.environ |= {"NUMLSTM_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    tables.report("characters.md", lines(), "torch")


if __name__ == "__main__":
    main()
