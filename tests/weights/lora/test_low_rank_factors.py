"""Factors of several layers are blocks of one pair, whose product is that of the layers side by side, and separate
again bit for bit.
"""

import numpy as np

from gendiff.core.low_rank import LowRank
from gendiff.weights import layouts, low_rank_factors
from gendiff.weights.lora.low_rank_factors import Factors
from gendiff.weights.rules import Rule
from tests.tables import table

RNG = np.random.default_rng(0)
RULES = {
    "unequal shares": (Rule("k", ("q.weight", "k.weight", "v.weight"), layouts.LINEAR, 1, (2, 1, 1)), (5, 8)),
    "pairs of neighbours": (Rule("k", ("q.weight", "v.weight"), (layouts.NeighbourPairs(4), layouts.LINEAR)), (5, 8)),
    "a convolution": (Rule("k", ("c.weight",), layouts.CONVOLUTION), (3, 3, 2, 4)),
    "patches": (Rule("k", ("c.weight",), layouts.Patches(2)), (12, 4)),
    "a gate": (Rule("k", ("g.weight",), layouts.SwappedOutputs()), (5, 6)),
    "times": (Rule("k", ("t.weight",), layouts.SwappedInputs()), (6, 4)),
}
rules_table = table("rule, kernel", RULES.values())


def random_factors(rule, kernel):
    """Factors of every layer, each of a rank of its own."""
    return {
        number: Factors(
            RNG.normal(size=(2 + number, *shape[1:])).astype(np.float32),
            RNG.normal(size=(shape[0], 2 + number, *(1,) * (len(shape) - 2))).astype(np.float32),
        )
        for number, shape in enumerate(low_rank_factors.shapes(rule, kernel))
    }


def same(first, second):
    assert first.keys() == second.keys()
    return all(np.array_equal(*pair) for number in first for pair in zip(first[number], second[number], strict=True))


@rules_table
def test_the_product_of_the_joined_factors_is_the_products_of_the_layers_joined(rule, kernel):
    parts = random_factors(rule, kernel)
    change = low_rank_factors.joined(rule, kernel, parts)
    weights = [
        (up.reshape(-1, len(down)) @ down.reshape(len(down), -1)).reshape(shape)
        for (down, up), shape in zip(parts.values(), low_rank_factors.shapes(rule, kernel), strict=True)
    ]
    product = (np.asarray(change.down) @ np.asarray(change.up)).reshape(kernel)
    np.testing.assert_allclose(product, rule.joined(weights), rtol=1e-5, atol=1e-5)


@rules_table
def test_they_separate_bit_for_bit(rule, kernel):
    parts = random_factors(rule, kernel)
    assert same(low_rank_factors.split(rule, kernel, low_rank_factors.joined(rule, kernel, parts)), parts)


def test_equal_first_factors_are_shared_and_what_does_not_change_is_left_out():
    rule, kernel = RULES["unequal shares"]
    parts = random_factors(rule, kernel)
    shared = {0: parts[0], 2: Factors(parts[0].down, RNG.normal(size=(2, 2)).astype(np.float32))}
    change = low_rank_factors.joined(rule, kernel, shared)
    assert change.down.shape == (5, 2) and change.up.shape == (2, 8) and not np.asarray(change.up)[:, 4:6].any()
    assert same(low_rank_factors.split(rule, kernel, change), shared)


def test_a_change_of_zero_has_the_factors_of_all_layers():
    rule, kernel = RULES["unequal shares"]
    parts = low_rank_factors.split(rule, kernel, LowRank(np.ones((5, 3), np.float32), np.zeros((3, 8), np.float32)))
    assert [parts[number].up.shape for number in range(3)] == [(4, 3), (2, 3), (2, 3)]
    assert all(factors.down.shape == (3, 5) and not factors.up.any() for factors in parts.values())
