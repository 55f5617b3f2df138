"""Products on tensor cores, which nothing here has: their fragments emulated as PTX defines the instruction."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from numlstm.backends.cuda import fragments, tables
from numlstm.backends.cuda.intrinsics import KINDS, ROUNDED


def rounded(kind, array):
    """The numbers as factors of a product."""
    each = [ROUNDED[kind](number) for number in np.ravel(array).astype(np.float32)]
    return np.array(each, np.float64).reshape(np.shape(array))


def as_ptx_has_it(kind, lane, register, of_first):
    """Row and terms of what a register of a thread holds of the first factor or the second: the tables of PTX.

    ``mma.m16n8k8`` with tf32: a0: (g, t), a1: (g + 8, t), a2: (g, t + 4), a3: (g + 8, t + 4); b0: (t, g), b1: (t + 4,
    g).
    ``mma.m16n8k16`` with halves, two in a register: a0, a1: (g, 2t + i), a2, a3: (g + 8, 2t + i), a4, a5: (g, 2t + 8 +
    i), a6, a7: (g + 8, 2t + 8 + i); b0, b1: (2t + i, g), b2, b3: (2t + 8 + i, g).
    """
    g, t = divmod(lane, 4)
    if kind == "tf32":
        return (g + 8 * (register % 2), [t + 4 * (register // 2)]) if of_first else (g, [t + 4 * register])
    first = 2 * t + 8 * (register // 2 if of_first else register)
    return g + 8 * (register % 2) * of_first, [first, first + 1]


@pytest.mark.parametrize("kind", KINDS)
def test_fragments_are_those_of_ptx(kind):
    per_word = 1 + fragments.HALVES[kind]
    for of_first, place, registers in ((True, fragments.weight_place, 4), (False, fragments.source_place, 2)):
        for lane in range(fragments.WARP):
            for register in range(registers):
                row, term = place(lane * registers + register)
                terms = [term * per_word + k for k in range(per_word)]
                assert (row, terms) == as_ptx_has_it(kind, lane, register, of_first)


@pytest.mark.parametrize("kind", KINDS)
def test_product_of_fragments(kind):
    """What threads hold, multiplied as the instruction does it, is the product of rounded matrices."""
    rng, depth = np.random.default_rng(0), fragments.DEPTH[kind]
    a, b = rng.normal(size=(16, depth)), rng.normal(size=(8, depth))  # columns of weights, rows of the batch
    per_word = 1 + fragments.HALVES[kind]
    first, second, sums = np.full((16, depth), np.nan), np.full((depth, 8), np.nan), np.full((8, 16), np.nan)
    for lane in range(fragments.WARP):
        for register in range(4):
            (column, term), (row, terms) = (
                fragments.weight_place(4 * lane + register), as_ptx_has_it(kind, lane, register, True)
            )  # fmt: skip
            first[row, terms] = rounded(kind, a[column, term * per_word : term * per_word + per_word])
        for register in range(2):
            (row, term), (column, terms) = (
                fragments.source_place(2 * lane + register), as_ptx_has_it(kind, lane, register, False)
            )  # fmt: skip
            second[terms, column] = rounded(kind, b[row, term * per_word : term * per_word + per_word])
    product = first @ second
    for lane in range(fragments.WARP):
        g, t = divmod(lane, 4)
        for register in range(4):  # c0: (g, 2t), c1: (g, 2t + 1), c2: (g + 8, 2t), c3: (g + 8, 2t + 1)
            column, row = fragments.sum_place(lane, register)
            sums[row, column] = product[g + 8 * (register // 2), 2 * t + register % 2]
    np.testing.assert_allclose(sums, rounded(kind, b) @ rounded(kind, a).T, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_rounding(kind):
    """To the nearest that the kind has: half a unit in the last of its digits."""
    digits = {"tf32": 11, "float16": 11, "bfloat16": 8}[kind]
    x = np.random.default_rng(0).uniform(1, 2, 1000).astype(np.float32)
    error = np.abs(rounded(kind, x) - x)
    assert 0.4 * 2.0 ** (1 - digits) < error.max() <= 0.5 * 2.0 ** (1 - digits)
    assert np.isnan(rounded(kind, np.array([np.nan])))[0]
    np.testing.assert_array_equal(rounded(kind, np.array([np.inf, 1.0, -0.5, 0.0])), [np.inf, 1.0, -0.5, 0.0])


# The functions of kernels, on threads of Python that exchange what they hold ---------------------------------

THREADS = 64


class Machine:
    """A block of threads, and the instructions that `fragments` is made of."""

    def __init__(self, kind):
        self.kind, self.here = kind, threading.local()
        self.block, self.blockDim = threading.Barrier(THREADS), SimpleNamespace(x=THREADS)
        self.warps = [threading.Barrier(32) for _ in range(THREADS // 32)]
        self.held = [[None] * 32 for _ in self.warps]

    @property
    def threadIdx(self):
        return SimpleNamespace(x=self.here.number)

    def syncthreads(self):
        self.block.wait(20)

    def word_of(self, kind):
        per_word = 1 + fragments.HALVES[kind]
        return lambda x, y: tuple(float(ROUNDED[kind](np.float32(each))) for each in (x, y)[:per_word])

    def multiply_fragments(self, kind):
        def multiply(a, b, c):
            warp, lane = divmod(self.here.number, 32)
            self.held[warp][lane] = a, b
            self.warps[warp].wait(20)
            first, second = np.full((16, fragments.DEPTH[kind]), np.nan), np.full((fragments.DEPTH[kind], 8), np.nan)
            for other, (words_a, words_b) in enumerate(self.held[warp]):
                for register, word in enumerate(words_a):
                    row, terms = as_ptx_has_it(kind, other, register, True)
                    first[row, terms] = word
                for register, word in enumerate(words_b):
                    column, terms = as_ptx_has_it(kind, other, register, False)
                    second[terms, column] = word
            self.warps[warp].wait(20)
            product, (g, t) = first @ second, divmod(lane, 4)
            return tuple(c[k] + product[g + 8 * (k // 2), 2 * t + k % 2] for k in range(4))

        return multiply

    def run(self, function, *arguments):
        """Run a function on all threads."""
        failures = []

        def thread(number):
            self.here.number = number
            try:
                function(*arguments)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=thread, args=(k,)) for k in range(THREADS)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert not failures, failures


@pytest.fixture
def machine(monkeypatch, request):
    made = Machine(request.param)
    monkeypatch.setattr(fragments, "cuda", made)
    monkeypatch.setattr(fragments, "device_function", lambda function: function)
    monkeypatch.setattr(fragments, "word_of", made.word_of)
    monkeypatch.setattr(fragments, "multiply_fragments", made.multiply_fragments)
    monkeypatch.setattr(fragments, "quotient", lambda a, b: a // b)
    monkeypatch.setattr(fragments, "load4", lambda array, k: tuple(array[k : k + 4]))
    return made


@pytest.mark.parametrize("machine", KINDS, indirect=True)
@pytest.mark.parametrize(
    ("length", "used", "rows", "tile", "chunk", "parts"),
    [(5, 3, 1, 8, 16, 1), (37, 20, 7, 8, 16, 2), (33, 32, 19, 40, 32, 1), (64, 17, 30, 32, 64, 2)],
)
def test_functions_of_kernels(machine, length, used, rows, tile, chunk, parts):
    """Weights, a tile of rows in chunks, and sums of parts, come to the product; nothing else is touched."""
    kind, rng = machine.kind, np.random.default_rng(length)
    weights, source = rng.normal(size=(length, used)), rng.normal(size=(rows, length + 2))
    columns, depth = -(-used // 16) * 16, fragments.DEPTH[kind]
    words = -(-length // depth) * depth * columns // (1 + fragments.HALVES[kind])
    ints = np.zeros(32, int)
    ints[[tables.LENGTH, tables.COLUMNS, tables.PARTS, tables.USED]] = length, columns, parts, used
    sources, sums, row_sums = words, words + tile * chunk, used + 3
    reals = np.full(sums + parts * tile * row_sums, np.nan, object)
    reals[sums:] = 0.0

    def weight_at(ints, at, flat, first, k, column, forward):
        return weights[k, column] if k < length and column < used else 0.0

    machine.run(fragments.load_for(kind, weight_at), ints, 0, reals, None, 0, True)
    machine.run(
        fragments.multiply_for(kind),
        ints,
        0,
        reals,
        source.ravel(),
        1,
        length + 2,
        rows,
        SimpleNamespace(tile=tile, chunk=chunk, sources=sources, sums=sums),
        row_sums,
        2,
    )
    got = reals[sums:].astype(float).reshape(parts, tile, row_sums).sum(axis=0)
    wanted = rounded(kind, source[:, 1 : length + 1]) @ rounded(kind, weights)
    np.testing.assert_allclose(got[:rows, 2 : used + 2], wanted, rtol=1e-12, atol=1e-12)
    assert not got[:, [0, 1, used + 2]].any()
