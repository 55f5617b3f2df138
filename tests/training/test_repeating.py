"""Steps on batches whose shape comes again are what was noted of the second: to the same bits."""

import gc
import weakref

import numpy as np
import pytest

from numlstm.backends.contract import LossSpec
from numlstm.backends.cpu.machine import recording, thread_count
from numlstm.backends.cpu.recurrent import buffers, prepared
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training.batches import Sequences
from numlstm.training.data import Data
from numlstm.training.loop import Trainer
from numlstm.training.model import Model
from numlstm.training.network import PARTS, Network
from numlstm.training.optimizers import ASGD, SGD, Adam, RMSprop
from numlstm.training.outputs import HEAD
from numlstm.training.targets import StepTargets, Targets

COUNT, STEPS, INPUTS = 22, 9, 5  # batches of 8, 8 and 6
LAYERS = {
    "lstm": {},
    "deep, both directions": {"num_layers": 2, "bidirectional": True},
    "residual, averaged": {"num_layers": 2, "bidirectional": True, "merge": "mean", "residual": True},
    "wide": {"hidden_size": 70},
}
OTHER_CELLS = "gru", "rnn"


def trainer_of(
    layers=None, *, cell="lstm", pooling="last", loss="softmax", dtype="float32", compute_dtype=None, activity=None,
    accumulation=1, solver=Adam, decay=None, lengths=None, **options,
):  # fmt: skip
    """A trainer on random data, of equal lengths unless others are given."""
    rng, backend = np.random.default_rng(0), backend_for("cpu")
    stack = stack_of(cell, INPUTS, dtype, {"hidden_size": 12} | (layers or {}))
    network = Network(stack.computing_in(compute_dtype), 3, pooling, LossSpec(loss, 1.0), activity)
    flat = network.pack(backend, network.initialise("keras", rng))
    data = Data(Sequences.from_padded(rng.normal(size=(COUNT, STEPS, INPUTS)).astype(dtype), lengths),
                targets_of(rng, loss, pooling, lengths))  # fmt: skip
    decay = None if decay is None else np.full_like(flat, decay)
    optimizer = solver(backend, flat, **{"clip_norm": 1.0, "decay": decay} | options)
    model = Model(network, backend, flat, training=True)
    return Trainer(model, optimizer, data, batch_size=8, accumulation=accumulation, rng=np.random.default_rng(1))


def targets_of(rng, loss, pooling, lengths):
    """Targets in float64, or classes, with some weights of 0."""
    count = COUNT * STEPS if pooling == "none" else COUNT
    values = rng.integers(0, 3, (count, 1)) if loss == "softmax" else rng.normal(size=(count, 3))
    weights = rng.integers(0, 3, count).astype(float)
    if pooling == "none":
        return StepTargets(Sequences.from_padded(values.reshape(COUNT, STEPS, -1), lengths), weights[:, None])
    return Targets(values[:, 0] if loss == "softmax" else values, weights)


def trained(trainer, epochs=4):
    """Losses of all steps, the last gradient, and the parameters."""
    losses = [float(trainer.step(group, 0.01)[0]) for _ in range(epochs) for group in trainer.groups()]
    return losses, trainer.model.gradient.copy(), trainer.model.flat.copy()


def without_repeats(*arguments, **options):
    """A trainer that computes each step anew."""
    trainer = trainer_of(*arguments, **options)
    trainer.repeats = None
    return trainer


def assert_repeats_are_the_same(*arguments, **options):
    """Training with repeats equals training without, and repeats there are."""
    trainer = trainer_of(*arguments, **options)
    for ours, truth in zip(trained(trainer), trained(without_repeats(*arguments, **options)), strict=True):
        np.testing.assert_array_equal(ours, truth)
    assert len(trainer.repeats._kept) == 2
    assert all(trainer.repeats._kept.values())


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("pooling", [pooling for pooling in PARTS if PARTS[pooling]])
@pytest.mark.parametrize("groups", [1, 2])
def test_unequal_lengths(groups, layers, pooling, monkeypatch):
    monkeypatch.setattr(prepared, "groups_of", lambda *shape: groups)
    monkeypatch.setattr(buffers, "CHUNK_PAIRS", 8 * 3)
    monkeypatch.setattr(buffers, "CHUNK_BYTES", 1)
    monkeypatch.setattr("numlstm.training.batches.POOLED", 1)  # else the same sequences come together in each epoch
    lengths = np.array([1, 2, 3, 1, 2, 1, 3, 1, 2, 9, 9, 1, 8, 2, 1, 5, 6, 1, 9, 2, 1, 7])  # few long ones
    options = {"pooling": pooling, "lengths": lengths}
    trainer = trainer_of(layers, **options)
    for ours, truth in zip(trained(trainer, 8), trained(without_repeats(layers, **options), 8), strict=True):
        np.testing.assert_array_equal(ours, truth)
    assert sum(map(bool, trainer.repeats._kept.values())) >= 2


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("pooling", PARTS)
def test_layers_and_poolings(layers, pooling):
    assert_repeats_are_the_same(layers, pooling=pooling)


@pytest.mark.skipif("bfloat16" not in backend_for("cpu").compute_dtypes, reason="no such products here")
def test_products_of_fewer_bits():
    assert_repeats_are_the_same({"bidirectional": True}, pooling="concat", compute_dtype="bfloat16")


@pytest.mark.parametrize("cell", OTHER_CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cells_and_dtypes(cell, dtype):
    assert_repeats_are_the_same(cell=cell, dtype=dtype, pooling="concat")


@pytest.mark.parametrize("variant", [{"peepholes": True}, {"layer_norm": True}, {"proj_size": 5}])
def test_variants(variant):
    assert_repeats_are_the_same(variant)


@pytest.mark.parametrize("loss", ["squared", "huber", "binary"])
@pytest.mark.parametrize("pooling", ["last", "none"])
def test_losses_of_numbers(loss, pooling):
    assert_repeats_are_the_same(loss=loss, pooling=pooling)


SOLVERS = {
    "adamw": (Adam, {"decoupled": True, "decay": 0.1}),
    "decay": (Adam, {"decay": 0.1}),
    "no clipping": (Adam, {"clip_norm": None}),
    "sgd": (SGD, {}),
    "rmsprop": (RMSprop, {"decay": 0.1}),
}


@pytest.mark.parametrize(("kind", "options"), SOLVERS.values(), ids=SOLVERS)
def test_optimizers(kind, options):
    assert_repeats_are_the_same(solver=kind, **options)


def test_many_threads(monkeypatch):
    monkeypatch.setattr("numlstm.backends.cpu.machine.threads.WORK_PER_THREAD", 1.0)
    with thread_count.limit_threads(3):
        assert_repeats_are_the_same({"num_layers": 2, "bidirectional": True}, pooling="concat")


def test_other_calls_in_between_do_not_disturb():
    """Other batches of the same shape overwrite what calls share, but not what was noted."""
    trainer, plain = trainer_of(pooling="max"), without_repeats(pooling="max")
    x = np.random.default_rng(2).normal(size=(8, STEPS, INPUTS)).astype("float32")
    for epoch in range(3):
        for ours, theirs in zip(trainer.groups(), plain.groups(), strict=True):
            scores, pullback = trainer.model.scores_vjp(x, None)
            pullback(np.ones_like(scores))
            with thread_count.limit_threads(1):
                trainer.model.loss_and_gradient(x, None, np.zeros(8, np.int64), np.ones(8), trainer.rng)
            assert float(trainer.step(ours, 0.01)[0]) == float(plain.step(theirs, 0.01)[0]), epoch
    np.testing.assert_array_equal(trainer.model.flat, plain.model.flat)
    assert all(trainer.repeats._kept.values())


def test_what_was_noted_keeps_its_memory():
    """Layers keep the memory of some shapes alone; what was noted of others must not lie in memory that is free."""
    trainer, plain = trainer_of(pooling="concat"), without_repeats(pooling="concat")
    trained(trainer, 2)
    memory = []
    for layer in trainer.model.layers:
        memory += layer._kept.values()
        layer._kept.clear()
        layer._arena.clear()
    head = trainer.model.others[HEAD]
    memory += [product.out for product in head.products.values()]
    memory += [head.buffers.panels, head.buffers.addresses, head.buffers.sums.copies]
    head.products.clear()
    head.buffers = None
    references = [weakref.ref(each) for each in memory]
    memory.clear()
    gc.collect()
    assert all(reference() is not None for reference in references)
    trained(plain, 2)
    for ours, truth in zip(trained(trainer), trained(plain), strict=True):
        np.testing.assert_array_equal(ours, truth)


NOT_REPEATED = {
    "dropout": {"layers": {"num_layers": 2, "dropout": 0.5}},
    "zoneout": {"layers": {"zoneout": 0.1}},
    "recompute": {"layers": {"recompute": True}},
    "activity": {"activity": (0.1, 0.1)},
    "accumulation": {"accumulation": 3},
    "averaging": {"solver": ASGD},
}


@pytest.mark.parametrize("options", NOT_REPEATED.values(), ids=NOT_REPEATED)
def test_steps_that_differ_are_not_repeated(options):
    trainer = trainer_of(**options)
    for ours, truth in zip(trained(trainer), trained(without_repeats(**options)), strict=True):
        np.testing.assert_array_equal(ours, truth)
    assert not trainer.repeats._kept


def test_long_steps_are_not_repeated(monkeypatch):
    monkeypatch.setattr("numlstm.training.network.LONG", 1e3)
    trainer = trainer_of()
    trained(trainer)
    assert not trainer.repeats._kept


def test_targets_for_each_step_of_unequal_sequences_are_not_repeated():
    trainer = trainer_of(pooling="none", lengths=np.arange(COUNT) % STEPS + 1)
    trained(trainer)
    assert not trainer.repeats._kept


def test_what_is_large_and_unequal_is_not_repeated(monkeypatch):
    monkeypatch.setattr("numlstm.training.network.LARGE", 8 * STEPS * (INPUTS + 12) - 1)
    lengths = np.arange(COUNT) % STEPS + 1
    trainer, plain = trainer_of(lengths=lengths), without_repeats(lengths=lengths)
    for ours, truth in zip(trained(trainer, 6), trained(plain, 6), strict=True):
        np.testing.assert_array_equal(ours, truth)
    shapes = [shape[0] for shape in trainer.repeats._kept]
    assert shapes, "smaller batches are repeated"
    assert (8, STEPS, INPUTS) not in shapes


def test_few_shapes_are_kept(monkeypatch):
    """And the arrays of a step that is not kept are its own."""
    monkeypatch.setattr("numlstm.training.repeating.SHAPES_KEPT", 1)
    lengths = np.arange(COUNT) % STEPS + 1
    trainer, plain = trainer_of(lengths=lengths), without_repeats(lengths=lengths)
    for ours, truth in zip(trained(trainer, 6), trained(plain, 6), strict=True):
        np.testing.assert_array_equal(ours, truth)
    assert sum(map(bool, trainer.repeats._kept.values())) == 1


def test_a_step_that_fails_is_not_noted():
    with pytest.raises(ZeroDivisionError), recording.recording():
        1 // 0  # noqa: B018
    assert recording.current() is None


def test_backends_that_note_nothing_run_the_step():
    assert backend_for("reference").record(lambda: 1.5) == (1.5, None)
