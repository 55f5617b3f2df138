"""What numlstm does in threads, forks, other processes and under Ctrl-C: tasks in one situation.

Every result must have the bits that one thread gets alone.
"""

from __future__ import annotations

import asyncio
import faulthandler
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import numlstm
from numlstm import LSTM, LSTMClassifier

THREADS, PATIENCE = 16, 60  # seconds that a child may take
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 60, 3)).astype("float32")  # enough work for two threads
LISTS, LABELS = [x[: 20 + k] for k, x in enumerate(X)], np.arange(24) % 2


def small_model(**options: Any) -> LSTMClassifier:
    """An estimator that is soon fitted."""
    return LSTMClassifier(hidden_size=12, max_iter=2, batch_size=8, random_state=0, **options)


# Tasks: what is used, which can be sent to other processes, and what gives bits of it -----------------------


def call(layer: Any) -> bytes:
    """Outputs of a layer."""
    return layer(X)[0].tobytes()


def pull(layer: Any) -> bytes:
    """Gradients, by a new pullback and by one for all threads."""
    y, _, pullback = layer.vjp(X)
    with LOCK:
        shared = PULLBACKS.setdefault(id(layer), pullback)
    found = [b"".join(gradient.tobytes() for gradient in each(y)[2].values()) for each in (pullback, shared)]
    assert found[0] == found[1]
    return found[0]


def predict(model: Any) -> bytes:
    """Probabilities of sequences of unequal length."""
    return model.predict_proba(LISTS).tobytes()


def fit(model: Any) -> bytes:
    """Probabilities after a fit, of an estimator that others fit, too."""
    return model.fit(LISTS, LABELS).predict_proba(LISTS).tobytes()


def stream(layer: Any) -> bytes:
    """Some steps of a stream."""
    own = layer.stream()
    return b"".join(own.step(x).tobytes() for x in X[0])


def load(path: str) -> bytes:
    """Probabilities by a model from a file."""
    return predict(numlstm.load(path))


def run(graph: Any) -> bytes:
    """Outputs of a graph."""
    return graph.run({"x": X})[0].tobytes()


def graph() -> Any:
    """An LSTM of ONNX's, and a product."""
    from numlstm.graphs.graph import Graph, Node, Value

    rng, shapes = np.random.default_rng(0), {"W": (1, 48, 3), "R": (1, 48, 12), "V": (12, 2)}
    constants = {name: rng.normal(size=shape).astype("float32") / 4 for name, shape in shapes.items()}
    nodes = [Node("LSTM", ("x", "W", "R"), ("y", "h", "c"), {"hidden_size": 12}), Node("MatMul", ("h", "V"), ("z",))]
    return Graph(nodes, [Value("x", "float32", (None, None, 3))], [Value("z", "float32", None)], constants, 22)


def saved() -> str:
    """The path of a model."""
    path = Path(tempfile.mkdtemp()) / "model.safetensors"
    small_model().fit(LISTS, LABELS).save(path)
    return str(path)


LOCK = threading.Lock()
PULLBACKS: dict[int, Any] = {}
TASKS: dict[str, tuple[Callable[[], Any], Callable[[Any], bytes]]] = {
    "call": (lambda: LSTM(3, 24, num_layers=2, bidirectional=True, random_state=0), call),
    "vjp": (lambda: LSTM(3, 24, random_state=0), pull),
    "predict": (lambda: small_model().fit(LISTS, LABELS), predict),
    "fit": (small_model, fit),
    "stream": (lambda: LSTM(3, 24, random_state=0), stream),
    "load": (saved, load),
    "graph": (graph, run),
}


# Situations -------------------------------------------------------------------------------------------------


def threads(use: Callable, thing: Any) -> list[bytes]:
    """Many threads on one object."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(use, [thing] * 3 * THREADS))


def in_child(use: Callable, thing: Any, expected: bytes) -> bool:
    """Whether a forked child finds what is expected, in time."""
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        found = use(thing) == expected
        os._exit(0 if found else 1)
    return os.waitpid(child, 0)[1] == 0


def fork_after_use(use: Callable, thing: Any) -> list[bytes]:
    """A child of a process that has computed; and one of a process that never has."""
    expected = use(thing)
    assert in_child(use, thing, expected)
    assert in_child(lambda thing: threads(use, thing)[-1], thing, expected)
    return [use(thing)]


def fork_while_computing(use: Callable, thing: Any) -> list[bytes]:
    """Children of a process in which other threads compute."""
    expected, results, stop = use(thing), [], threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            results.append(use(thing))

    workers = [threading.Thread(target=go_on) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(12):
        time.sleep(0.005)
        assert in_child(use, thing, expected)
    stop.set()
    for worker in workers:
        worker.join()
    return results


def fork_in_a_callback(use: Callable, thing: Any) -> list[bytes]:
    """A child of a process in the middle of a fit, which then goes on."""
    expected, found = use(thing), []
    model = small_model(callback=lambda progress: found.append(in_child(use, thing, expected)))
    alone = small_model().fit(LISTS, LABELS)
    assert predict(model.fit(LISTS, LABELS)) == predict(alone)
    assert found == [True, True]
    return [use(thing)]


@cache
def spawned() -> Any:
    """Two new processes."""
    return multiprocessing.get_context("spawn").Pool(2)


def spawn(use: Callable, thing: Any) -> list[bytes]:
    """New processes."""
    return spawned().map(use, [thing] * 4, chunksize=1)


def loky(use: Callable, thing: Any) -> list[bytes]:
    """Joblib's processes."""
    from joblib import Parallel, delayed

    return Parallel(n_jobs=2, backend="loky")([delayed(use)(thing)] * 4)


def joblib_threads(use: Callable, thing: Any) -> list[bytes]:
    """Joblib's threads."""
    from joblib import Parallel, delayed

    return Parallel(n_jobs=THREADS, backend="threading")([delayed(use)(thing)] * 3 * THREADS)


def executor(use: Callable, thing: Any) -> list[bytes]:
    """The threads of an event loop."""

    async def gather() -> list[bytes]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[loop.run_in_executor(None, use, thing) for _ in range(2 * THREADS)])

    return asyncio.run(gather())


def interrupt(use: Callable, thing: Any) -> list[bytes]:
    """Ctrl-C at many moments; what was interrupted is used again."""
    results, began = [use(thing)], time.perf_counter()
    results.append(use(thing))
    usual = time.perf_counter() - began
    for share in np.linspace(0.05, 0.95, 12):
        timer = threading.Timer(usual * share, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            for _ in range(20):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a fit that is interrupted says so, and ends
                    use(thing)
            time.sleep(1)  # until it comes
        except KeyboardInterrupt:
            pass
        finally:
            timer.join()
        results.append(use(thing))
    return results


SITUATIONS = {
    "threads": threads,
    "fork after use": fork_after_use,
    "fork while computing": fork_while_computing,
    "fork in a callback": fork_in_a_callback,
    "spawn": spawn,
    "loky": loky,
    "joblib threads": joblib_threads,
    "executor": executor,
    "interrupt": interrupt,
}


def main(tasks: str, situation: str) -> None:
    """Compare all results of each task with that of a thread alone."""
    faulthandler.enable()
    for task in tasks.split(","):
        make, use = TASKS[task]
        results = SITUATIONS[situation](use, make())
        expected = use(make())
        assert results
        assert len(expected) > 0
        assert all(result == expected for result in results), f"{task}, {situation}: other bits"
