"""What tests of foreign parameters share: random ones under both names, and whether two trees are equal."""

import jax
import numpy as np

from gendiff.weights import rules


def drawn(shapes, rules_of):
    """(random parameters of our network with these shapes, the same by their names)."""
    rng = np.random.default_rng(0)
    ours = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    return ours, rules.to_theirs(ours, rules_of)


def equal(first, second):
    """Bit for bit, in the same structure."""
    same = map(np.array_equal, jax.tree.leaves(first), jax.tree.leaves(second))
    return jax.tree.structure(first) == jax.tree.structure(second) and all(same)
