"""Sequences of unequal length, and their batches."""

import numpy as np
import pytest

from numlstm.training.batches import Sequences, shuffled_batches, sorted_batches
from numlstm.training.targets import Targets


def ragged(rng, count=30):
    return [rng.normal(size=(rng.integers(1, 9), 2)) for _ in range(count)]


def of_lengths(lengths):
    """Sequences of numbers."""
    return Sequences.from_list([np.zeros((length, 1)) for length in lengths], "float32")


def test_batches_hold_every_sequence_once_in_random_order():
    lengths = np.full(10, 3)
    batches = shuffled_batches(of_lengths(lengths), 4, np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    order = np.concatenate(batches)
    assert sorted(order) == list(range(10))
    assert order.tolist() != list(range(10))


def test_the_same_generator_gives_the_same_batches():
    lengths = np.random.default_rng(1).integers(1, 50, 333)
    first, again, other = (shuffled_batches(of_lengths(lengths), 8, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=False) if len(a) == len(b))


@pytest.mark.parametrize("batch_size", [16, 32, 64])
def test_at_most_a_tenth_of_all_steps_is_padding(batch_size):
    lengths = np.random.default_rng(0).integers(1, 101, 3000)
    batches = shuffled_batches(of_lengths(lengths), batch_size, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(3000))
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    assert 1 - lengths.sum() / padded <= 0.10
    longest = [lengths[rows].max() for rows in batches]
    assert longest != sorted(longest)
    assert longest != sorted(longest)[::-1]


def test_sorted_batches_hold_every_sequence_once():
    lengths = np.random.default_rng(0).integers(1, 40, 200)
    batches = list(sorted_batches(lengths, 100))
    assert sorted(np.concatenate(batches)) == list(range(200))
    assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= 100 for rows in batches)


def test_a_list_and_a_padded_array_are_the_same_sequences():
    rng = np.random.default_rng(0)
    arrays = ragged(rng)
    lengths = np.array([len(array) for array in arrays])
    padded = np.full((len(arrays), lengths.max() + 2, 2), np.nan)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    for sequences in (Sequences.from_list(arrays, "float64"), Sequences.from_padded(padded, lengths)):
        for rows in (np.array([3, 0, 7]), np.array([5])):
            x, own = sequences.take(rows)
            assert x.shape[:2] == (len(rows), lengths[rows].max())
            for got, row, length in zip(x, rows, lengths[rows] if own is None else own, strict=True):
                np.testing.assert_array_equal(got[:length], arrays[row])
        part = sequences.subset(np.array([2, 9]))
        np.testing.assert_array_equal(part.split()[1], arrays[9])


def test_equal_lengths_need_none():
    x = np.arange(24.0).reshape(4, 3, 2)
    for sequences in (Sequences.from_padded(x, None), Sequences.from_list(list(x), "float64")):
        for part, rows in ((sequences, [3, 1]), (sequences.subset(np.array([3, 1])), [0, 1])):
            taken, lengths = part.take(np.array(rows))
            assert lengths is None
            np.testing.assert_array_equal(taken, x[[3, 1]])


@pytest.mark.parametrize("weights", [np.full(6, 0.7), np.full((6, 2), 0.7), np.arange(6.0), np.ones((6, 2)) * [1, 0]])
def test_weights_are_divided_by_the_terms_of_a_mean(weights):
    targets = Targets(np.arange(6), weights)
    for rows, total in [([0, 3, 5], 3), ([4, 1, 2], 3), ([4, 1, 2], 6), ([4], 3), ([0, 3, 5], 3)]:
        values, shares = targets.take(np.array(rows), total)
        np.testing.assert_array_equal(values, rows)
        np.testing.assert_array_equal(shares, weights[rows] / total)
