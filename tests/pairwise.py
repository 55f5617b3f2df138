"""A short list of cases in which every two options of two different factors meet."""

import itertools
import random


def pairwise(factors, seed=0, tries=60):
    """Dictionaries with one option of every factor; greedy, the same for the same seed."""
    rng = random.Random(seed)
    names = list(factors)
    missing = {
        ((a, p), (b, q))
        for a, b in itertools.combinations(names, 2)
        for p, q in itertools.product(factors[a], factors[b])
    }
    while missing:
        wanted = rng.choices(sorted(missing, key=repr), k=tries)
        drawn = [{name: rng.choice(factors[name]) for name in names} | dict(pair) for pair in wanted]
        best = max(drawn, key=lambda case: len(missing & _pairs(case)))
        missing -= _pairs(best)
        yield best


def _pairs(case):
    return set(itertools.combinations(case.items(), 2))
