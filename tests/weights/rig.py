"""What tests of foreign parameters share: random ones under both names, and whether two trees are equal."""

import jax
import numpy as np

from gendiff import networks
from gendiff.core import trees
from gendiff.weights import rules


def shapes(network, *inputs):
    """Those of our network's parameters."""
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *inputs))


def random_pair(shapes, rules_of):
    """(random parameters of our network with these shapes, the same by their names)."""
    rng = np.random.default_rng(0)
    ours = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    return ours, rules.to_theirs(ours, rules_of)


def equal(first, second):
    """Bit for bit, in the same structure."""
    same = map(np.array_equal, jax.tree.leaves(first), jax.tree.leaves(second))
    return jax.tree.structure(first) == jax.tree.structure(second) and all(same)


def in_single_file(arrays, prefix, names):
    """Arrays of diffusers under the names of a single file, from what these begin with there and in diffusers."""
    before = {now: then for then, now in names.items()}

    def then(name):
        parts = name.split(".")
        end = max(end for end in range(1, len(parts)) if ".".join(parts[:end]) in before)
        return ".".join((before[".".join(parts[:end])], *parts[end:]))

    return {prefix + then(name): array for name, array in arrays.items()}


def names_and_shapes(like, rules_of):
    """Their names and shapes of parameters with our shapes, of which none is ever made whole, so that models may be
    large.
    """
    result, paths = {}, trees.paths(like)
    for path, rule, names in rules.matched(paths, rules_of):
        parts = rule.parts(np.broadcast_to(np.int8(0), paths[path].shape))
        result |= {name: part.shape for copies, part in zip(names, parts, strict=True) for name in copies}
    return result
