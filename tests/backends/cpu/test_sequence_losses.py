"""Losses over sequences on the CPU: against PyTorch and python-crfsuite, and for any number of threads."""

import numpy as np
import pytest

from numlstm.backends.contract import SequenceLossSpec
from numlstm.backends.cpu.backend import CpuBackend
from numlstm.backends.cpu.machine import threads

CPU = CpuBackend()


def run(kind, scores, lengths, targets, weights, flat=None, blank=0):
    spec = SequenceLossSpec(kind, scores.shape[2], blank)
    flat = np.zeros(CPU.size(spec), scores.dtype) if flat is None else flat
    gradient = np.empty_like(flat)
    loss, slopes = CPU.sequence_loss(CPU.prepare(spec, flat), scores, lengths, targets, weights, gradient)
    return loss, slopes, gradient


def draw_ctc(seed):
    """Random lengths, repeated labels, rows without labels."""
    rng = np.random.default_rng(seed)
    rows, steps, labels = rng.integers(1, 7), rng.integers(6, 40), rng.integers(2, 12)
    scores = rng.uniform(0.1, 8.0) * rng.normal(size=(rows, steps, labels))
    counts = rng.integers(0, 4, size=rows)
    lengths = np.minimum(steps, rng.integers(6, steps + 1, size=rows))
    targets = np.where(np.arange(3) < counts[:, None], rng.integers(1, labels, size=(rows, 3)), -1)
    targets[:, 1] = np.where(counts > 1, targets[:, 0], -1)
    return scores, lengths, targets, counts


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("seed", range(12))
def test_ctc_is_that_of_pytorch(seed, reduction):
    torch = pytest.importorskip("torch", reason="CTC is compared with PyTorch's where that is installed")
    scores, lengths, targets, counts = draw_ctc(seed)
    rows = len(scores)
    weights = {"none": np.linspace(0.5, 2.0, rows), "sum": np.ones(rows),
               "mean": 1.0 / (np.maximum(counts, 1) * rows)}[reduction]  # fmt: skip
    theirs = torch.tensor(scores.transpose(1, 0, 2), requires_grad=True)
    loss = torch.nn.CTCLoss(reduction=reduction)(
        theirs.log_softmax(-1), torch.tensor(targets.clip(0)), torch.tensor(lengths), torch.tensor(counts)
    )
    loss = (loss * torch.tensor(weights)).sum() if reduction == "none" else loss
    loss.backward()
    value, slopes, _ = run("ctc", scores, lengths, targets, weights)
    assert value == pytest.approx(float(loss.detach()), rel=1e-10, abs=1e-10)
    np.testing.assert_allclose(slopes, theirs.grad.numpy().transpose(1, 0, 2), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("kind", "shape"), [("ctc", 37), ("crf", 37), ("crf", (37, 30))], ids=str)
def test_bits_are_the_same_for_any_number_of_threads(kind, shape, monkeypatch):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(37, 30, 9)).astype("float32")
    lengths, weights = rng.integers(20, 31, size=37), rng.random(shape)
    targets = rng.integers(1, 9, size=(37, 30 if kind == "crf" else 8))
    flat = rng.normal(size=99).astype("float32") if kind == "crf" else None
    results = []
    for parts in (1, 2, 3, 8):
        monkeypatch.setattr(
            threads, "even_shards", lambda count, work, unit=1, parts=parts: threads.split(count, parts, 1)
        )
        results.append(run(kind, scores, lengths, targets, weights, flat))
    for result in results[1:]:
        for got, wanted in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_crf_is_that_of_crfsuite(tmp_path):
    """Best paths and marginals for the same potentials, which crfsuite tells with six decimals."""
    pycrfsuite = pytest.importorskip(
        "pycrfsuite", reason="CRFs are compared with python-crfsuite where it is installed"
    )
    rng = np.random.default_rng(1)
    labels, names = 4, [f"f{k}" for k in range(5)]
    features = [rng.normal(size=(rng.integers(3, 9), 5)) for _ in range(30)]
    rows = [[dict(zip(names, map(float, step), strict=True)) for step in sequence] for sequence in features]
    trainer = pycrfsuite.Trainer("lbfgs", verbose=False)
    trainer.set_params({"feature.possible_transitions": True, "feature.possible_states": True, "max_iterations": 20})
    for row in rows:
        trainer.append(pycrfsuite.ItemSequence(row), [str(k) for k in rng.integers(labels, size=len(row))])
    path = str(tmp_path / "model")
    trainer.train(path)
    tagger = pycrfsuite.Tagger()
    tagger.open(path)
    info = tagger.info()
    weight = np.array([[info.state_features.get((name, str(k)), 0.0) for k in range(labels)] for name in names])
    transitions = np.array(
        [[info.transitions.get((str(a), str(b)), 0.0) for b in range(labels)] for a in range(labels)]
    )
    flat = np.concatenate([transitions.ravel(), np.zeros(2 * labels)])
    weights = CPU.prepare(SequenceLossSpec("crf", labels), flat)
    for sequence, row in zip(features, rows, strict=True):
        scores = (sequence @ weight)[None]
        said = [int(label) for label in tagger.tag(pycrfsuite.ItemSequence(row))]
        assert CPU.best_paths(weights, scores, None)[0].tolist() == said
        theirs = [[tagger.marginal(str(k), t) for k in range(labels)] for t in range(len(row))]
        np.testing.assert_allclose(CPU.marginals(weights, scores, None)[0], theirs, rtol=0, atol=2e-6)
