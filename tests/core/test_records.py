"""What every record is to JAX: leaves, structure, the class itself, and the names of its fields on the way to a
leaf.
"""

import jax
from jax.tree_util import keystr, tree_flatten_with_path

from gendiff.core.records import record, replace, static


@record
class Metres:
    """One number."""

    value: float


@record
class Seconds:
    """The same field, of another class."""

    value: float


@record
class Rule:
    """Two numbers, a function and a setting."""

    low: float
    high: float
    name: str = static(default="none")
    steps: int = static(default=1)


def test_a_structure_knows_its_class_also_where_all_fields_are_alike():
    first, second = jax.tree.structure(Metres(1.0)), jax.tree.structure(Seconds(1.0))
    assert first != second and not first == second


def test_fields_are_leaves_under_their_names_and_static_ones_are_structure():
    rule = Rule(1.0, 2.0, "cosine", steps=3)
    flat, structure = tree_flatten_with_path(rule)
    assert [(keystr(path), leaf) for path, leaf in flat] == [(".low", 1.0), (".high", 2.0)]
    assert jax.tree.unflatten(structure, [3.0, 4.0]) == Rule(3.0, 4.0, "cosine", 3)
    assert structure == jax.tree.structure(replace(rule, low=0.0)) != jax.tree.structure(replace(rule, steps=4))
