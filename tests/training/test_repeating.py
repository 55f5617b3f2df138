"""Steps on batches whose shape comes again are what was noted of the second: to the same bits."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from numlstm.backends.contract import EmbeddingSpec, LossSpec, SequenceLossSpec
from numlstm.backends.cpu.machine import recording, thread_count
from numlstm.backends.cpu.recurrent import buffers, prepared
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training.batches import Sequences
from numlstm.training.data import Data
from numlstm.training.embedding import TokenChannels
from numlstm.training.labels import LabelRows, WeightedLabels
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
NUMBERS = "squared", "huber", "binary"  # losses of them
LEVELS = 0.1, 0.5, 0.9
DISTRIBUTIONS = {"quantiles": 6, "gaussian": 4, "student_t": 6, "negative_binomial": 4}  # scores of two targets


def trainer_of(
    layers=None, *, cell="lstm", pooling="last", loss="softmax", dtype="float32", compute_dtype=None, activity=None,
    accumulation=1, solver=Adam, decay=None, lengths=None, static=0, tokens=None,
    output_dropout=0.0, bptt_steps=None, **options,
):  # fmt: skip
    """A trainer on random data, of equal lengths unless others are given."""
    rng, backend = np.random.default_rng(0), backend_for("cpu")
    stack = stack_of(cell, tokens.output_size if tokens else INPUTS, dtype, {"hidden_size": 12} | (layers or {}))
    spec = LossSpec(loss, 1.0, LEVELS if loss == "quantiles" else ())
    if loss in ("crf", "weighted crf"):
        spec = SequenceLossSpec("crf", 3)
    network = Network(
        stack.computing_in(compute_dtype), DISTRIBUTIONS.get(loss, 3), pooling, spec, activity, static, tokens,
        output_dropout=output_dropout,
    )  # fmt: skip
    flat = network.pack(backend, network.initialise("keras", rng))
    x = rng.normal(size=(COUNT, STEPS, INPUTS)).astype(dtype)
    if tokens:
        x = x[:, :, : len(tokens.channels) + len(tokens.numeric)]
        x[:, :, list(tokens.channels)] = rng.integers(-1, 7, (COUNT, STEPS, len(tokens.channels)))
    data = Data(
        Sequences.from_padded(np.ascontiguousarray(x), lengths),
        targets_of(rng, loss, pooling, lengths),
        rng.normal(size=(COUNT, static)) if static else None,
    )
    decay = None if decay is None else np.full_like(flat, decay)
    optimizer = solver(backend, flat, **{"clip_norm": 1.0, "decay": decay} | options)
    model = Model(network, backend, flat, training=True)
    return Trainer(
        model, optimizer, data, batch_size=8, accumulation=accumulation, rng=np.random.default_rng(1),
        bptt_steps=bptt_steps,
    )  # fmt: skip


def targets_of(rng, loss, pooling, lengths):
    """Targets in float64, or classes, with some weights of 0."""
    count = COUNT * STEPS if pooling == "none" else COUNT
    values = rng.normal(size=(count, 3)) if loss in NUMBERS else rng.integers(0, 3, (count, 1))
    if loss in DISTRIBUTIONS:
        values = rng.integers(1, 9, (count, 4 if loss == "negative_binomial" else 2)).astype(float)
    weights = rng.integers(0, 3, count).astype(float)
    if loss.endswith("crf"):
        lengths, starts = np.full(COUNT, STEPS) if lengths is None else lengths, STEPS * np.arange(COUNT)
        kind, of = (WeightedLabels, weights) if loss == "weighted crf" else (LabelRows, weights[:COUNT])
        return kind(np.where(weights, values[:, 0], -1), starts, lengths, of, least=0)
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


def repeated(trainer):
    """The shapes of batches whose steps are repeated."""
    return [shape for shape, repeat in trainer.repeats._kept.items() if repeat] if trainer.repeats else []


def assert_repeats_are_the_same(*arguments, **options):
    """Training with repeats equals training without, and repeats there are."""
    trainer = trainer_of(*arguments, **options)
    for ours, truth in zip(trained(trainer), trained(without_repeats(*arguments, **options)), strict=True):
        np.testing.assert_array_equal(ours, truth)
    assert len(repeated(trainer)) == len(trainer.repeats._kept) == 2


UNEQUAL = np.array([1, 2, 3, 1, 2, 1, 3, 1, 2, 9, 9, 1, 8, 2, 1, 5, 6, 1, 9, 2, 1, 7])  # few long ones


@pytest.fixture
def unequal(monkeypatch):
    """A function that holds training on sequences of unequal length with repeats to training without."""
    monkeypatch.setattr(buffers, "CHUNK_PAIRS", 8 * 3)
    monkeypatch.setattr(buffers, "CHUNK_BYTES", 1)
    monkeypatch.setattr("numlstm.training.batches.POOLED", 1)  # else the same sequences come together in each epoch

    def check(*arguments, **options):
        options = options | {"lengths": UNEQUAL}
        trainer = trainer_of(*arguments, **options)
        truths = trained(without_repeats(*arguments, **options), 8)
        for ours, truth in zip(trained(trainer, 8), truths, strict=True):
            np.testing.assert_array_equal(ours, truth)
        kept = trainer.repeats._kept
        assert len(repeated(trainer)) >= 2
        assert len({shape[0] for shape in kept}) == len(kept), "all that a batch has is padded to the same steps"

    return check


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("pooling", PARTS)
@pytest.mark.parametrize("groups", [1, 2])
def test_unequal_lengths(unequal, groups, layers, pooling, monkeypatch):
    monkeypatch.setattr(prepared, "groups_of", lambda *shape: groups)
    unequal(layers, pooling=pooling)


LOOKED_UP = TokenChannels(EmbeddingSpec(((7, 4),), (False,)), (0,))
TWO_TABLES = EmbeddingSpec(((7, 4), (9, 3)), (False, True))
TOKENS = {
    "looked up": LOOKED_UP,
    "frozen": TokenChannels(EmbeddingSpec(((7, 4),), (True,)), (0,)),
    "more than steps": TokenChannels(EmbeddingSpec(((500, 4),), (False,)), (0,)),
    "two tables": TokenChannels(TWO_TABLES, (0, 1)),
    "with numbers": TokenChannels(TWO_TABLES, (0, 2), (1, 3)),
}


@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("layers", [{}, {"num_layers": 2, "bidirectional": True}], ids=["plain", "deep"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tokens(unequal, tokens, layers, dtype):
    tokens = replace(tokens, spec=replace(tokens.spec, dtype=dtype))
    assert_repeats_are_the_same(layers, tokens=tokens, pooling="mean", dtype=dtype)
    unequal(layers, tokens=tokens, pooling="mean", dtype=dtype)
    unequal(layers, tokens=tokens, pooling="none", dtype=dtype)


@pytest.mark.parametrize("loss", ["crf", "weighted crf"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_crf(unequal, loss, dtype):
    assert_repeats_are_the_same(loss=loss, pooling="none", dtype=dtype)
    unequal(loss=loss, pooling="none", dtype=dtype)
    unequal({"bidirectional": True}, loss=loss, pooling="none", tokens=LOOKED_UP)


@pytest.mark.parametrize("pooling", ["last", "none"])
@pytest.mark.parametrize("loss", DISTRIBUTIONS)
def test_distributions(unequal, loss, pooling):
    assert_repeats_are_the_same(loss=loss, pooling=pooling)
    unequal(loss=loss, pooling=pooling)


@pytest.mark.parametrize("pooling", ["last", "concat", "none"])
@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_static_features(unequal, pooling, loss):
    assert_repeats_are_the_same(static=4, pooling=pooling, loss=loss)
    unequal(static=4, pooling=pooling, loss=loss)


@pytest.mark.parametrize("lengths", [None, UNEQUAL])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_pieces(layers, lengths):
    """Those of equal lengths; the state goes on from piece to piece."""
    layers = {name: value for name, value in layers.items() if name not in ("bidirectional", "merge")}
    options = {"pooling": "none", "bptt_steps": 3, "lengths": lengths, "tokens": LOOKED_UP}
    trainer = trainer_of(layers, **options)
    for ours, truth in zip(trained(trainer), trained(without_repeats(layers, **options)), strict=True):
        np.testing.assert_array_equal(ours, truth)
    kept = trainer.repeats._kept
    assert {shape[1] for shape, repeat in kept.items() if repeat} == {True, False}, "first pieces, and later ones"
    assert {shape[0][1] for shape in kept} == {3} if lengths is None else True


@pytest.mark.parametrize("loss", NUMBERS)
def test_numbers_for_each_step_of_unequal_sequences(unequal, loss):
    unequal(pooling="none", loss=loss)


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


@pytest.mark.parametrize("loss", NUMBERS)
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


FOLLOWING = {"crf": {"loss": "crf", "pooling": "none"}, "bfloat16": {"compute_dtype": "bfloat16"}}


@pytest.mark.parametrize("options", FOLLOWING.values(), ids=FOLLOWING)
def test_a_step_is_noted_with_what_follows_the_weights(options):
    """Even if the weights have been read since they changed, as at the end of an epoch."""
    if options.get("compute_dtype") not in (None, *backend_for("cpu").compute_dtypes):
        pytest.skip("this processor has no such products")
    trainer, plain = trainer_of(**options), without_repeats(**options)
    for epoch in range(4):
        for ours, theirs in zip(trainer.groups(), plain.groups(), strict=True):
            assert epoch > 1 or trainer.model.layers  # reads them until all is noted
            assert float(trainer.step(ours, 0.01)[0]) == float(plain.step(theirs, 0.01)[0])
    assert len(repeated(trainer)) == 2
    np.testing.assert_array_equal(trainer.model.flat, plain.model.flat)


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
    memory += [head.buffers.dy, head.buffers.addresses, head.buffers.sums.copies]
    head.products.clear()
    head.buffers = None
    references = [weakref.ref(each) for each in memory]
    memory.clear()
    gc.collect()
    assert all(reference() is not None for reference in references)
    trained(plain, 2)
    for ours, truth in zip(trained(trainer), trained(plain), strict=True):
        np.testing.assert_array_equal(ours, truth)


RANDOM = {
    "dropout": {"layers": {"num_layers": 2, "dropout": 0.5}},
    "masks of sequences": {"layers": {"bidirectional": True, "input_dropout": 0.2, "recurrent_dropout": 0.3}},
    "zoneout": {"layers": {"zoneout": (0.2, 0.1)}},
    "dropout of vectors": {"tokens": replace(TOKENS["with numbers"], embedding_dropout=0.3)},
    "dropout of outputs": {"pooling": "mean", "output_dropout": 0.4},
}


@pytest.mark.parametrize("options", RANDOM.values(), ids=RANDOM)
@pytest.mark.parametrize("groups", [1, 2])
def test_random_masks(unequal, groups, options, monkeypatch):
    """Each step draws a seed, as it does where none is repeated."""
    monkeypatch.setattr(prepared, "groups_of", lambda *shape: groups)
    assert_repeats_are_the_same(**options)
    unequal(**options)


NOT_REPEATED = {
    "dropped weights": {"layers": {"weight_dropout": 0.3}},
    "recompute": {"layers": {"recompute": True}},
    "activity": {"activity": (0.1, 0.1)},
    "accumulation": {"accumulation": 3},
    "averaging": {"solver": ASGD},
    "truncated gradients of whole sequences": {"bptt_steps": 3},
    "dropped tokens": {"tokens": replace(LOOKED_UP, token_dropout=0.3)},
}


@pytest.mark.parametrize("options", NOT_REPEATED.values(), ids=NOT_REPEATED)
def test_steps_that_differ_are_not_repeated(options):
    trainer = trainer_of(**options)
    for ours, truth in zip(trained(trainer), trained(without_repeats(**options)), strict=True):
        np.testing.assert_array_equal(ours, truth)
    assert not repeated(trainer)


def test_long_steps_are_not_repeated(monkeypatch):
    monkeypatch.setattr("numlstm.training.network.LONG", 1e3)
    trainer = trainer_of()
    trained(trainer)
    assert not repeated(trainer)


def test_what_is_large_and_unequal_is_not_repeated(monkeypatch):
    monkeypatch.setattr("numlstm.training.network.LARGE", 8 * STEPS * (INPUTS + 12) - 1)
    lengths = np.arange(COUNT) % STEPS + 1
    trainer, plain = trainer_of(lengths=lengths), without_repeats(lengths=lengths)
    for ours, truth in zip(trained(trainer, 6), trained(plain, 6), strict=True):
        np.testing.assert_array_equal(ours, truth)
    shapes = [shape[0] for shape in repeated(trainer)]
    assert shapes, "smaller batches are repeated"
    assert (8, STEPS, INPUTS) not in shapes


def test_few_shapes_are_kept(monkeypatch):
    """And the arrays of a step that is not kept are its own."""
    monkeypatch.setattr("numlstm.training.repeating.SHAPES_KEPT", 1)
    lengths = np.arange(COUNT) % STEPS + 1
    trainer, plain = trainer_of(lengths=lengths), without_repeats(lengths=lengths)
    for ours, truth in zip(trained(trainer, 6), trained(plain, 6), strict=True):
        np.testing.assert_array_equal(ours, truth)
    assert len(repeated(trainer)) == 1


def test_a_step_that_fails_is_not_noted():
    with pytest.raises(ZeroDivisionError), recording.recording():
        1 // 0  # noqa: B018
    assert recording.current() is None


def test_backends_that_note_nothing_run_the_step():
    assert backend_for("reference").record(lambda: 1.5) == (1.5, None)
