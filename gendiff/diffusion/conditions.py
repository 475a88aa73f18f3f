"""Conditions: what a network is told besides x and t.

Each is a pytree of arrays aligned with the samples, or of values for all of them.

One rule holds everywhere: a leaf (b, …) belongs to the samples one by one; a leaf () or (1, …) holds for all of them.
Where a value takes the place of a condition (b, …) and has fewer axes, it is what one sample gets, and holds for all.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays
from gendiff.core.types import Condition, PyTree, Scalar


def for_each(condition: Condition, count: int) -> Condition:
    """The condition with every leaf as (count, …). Unsigned labels, as of files, become signed ones: NO_LABEL is −1.

    Raises:
        ValueError: for a leaf that is aligned with another number of samples.
    """

    def one(leaf: Scalar) -> jax.Array:
        leaf = jnp.asarray(leaf)
        if jnp.issubdtype(leaf.dtype, jnp.unsignedinteger):
            leaf = leaf.astype(jax.dtypes.canonicalize_dtype(jnp.promote_types(leaf.dtype, jnp.int32)))
        if leaf.ndim == 0:
            return jnp.broadcast_to(leaf, (count,))
        if leaf.shape[0] not in (1, count):
            raise ValueError(
                f"a condition of shape {leaf.shape} does not align with {count} samples: pass ({count}, …) for one per "
                "sample, or (1, …) for one that holds for all"
            )
        return jnp.broadcast_to(leaf, (count, *leaf.shape[1:]))

    return jax.tree.map(one, condition)


def in_place_of(condition: Condition, value: Condition) -> Condition:
    """The value in the structure of the condition that it replaces, such as a null.

    Args:
        condition: a pytree of leaves (b, …) or ().
        value: one leaf for all leaves of the condition, or a pytree of the same structure. A leaf with fewer axes than
            the one that it replaces is broadcast to one sample's shape, with a leading axis of 1.

    Raises:
        ValueError: for a pytree of another structure, for a leaf that cannot be broadcast to one sample's shape, and
            for numbers other than 0 and 1 where booleans are, such as NO_LABEL for the mask of a text.
    """
    leaves = jax.tree.leaves(condition)
    structure: object = jax.tree.structure(condition)
    if jax.tree_util.all_leaves([value]):
        values = [value] * len(leaves)
    elif jax.tree.structure(value) == structure:
        values = jax.tree.leaves(value)
    else:
        raise ValueError(
            f"{_shown(value)} cannot take the place of the condition {_shown(condition)}: give one value for all its "
            "leaves, or a tree with the same names"
        )
    return jax.tree.unflatten(structure, [_for_all(leaf, new) for leaf, new in zip(leaves, values, strict=True)])


def _for_all(leaf: Scalar, value: Scalar) -> Scalar:
    if (
        jnp.result_type(leaf) == jnp.bool_
        and arrays.is_concrete(value)
        and not np.all(np.isin(np.asarray(value), (0, 1)))
    ):
        raise ValueError(
            f"{value} cannot stand for booleans of shape {jnp.shape(leaf)}, such as the mask of a text: for a "
            "networks.Text give networks.NO_TEXT, or the Text of an empty caption"
        )
    if jnp.ndim(leaf) <= 1 or jnp.ndim(value) >= jnp.ndim(leaf):
        return value
    shape = jnp.shape(leaf)[1:]
    try:
        return jnp.broadcast_to(jnp.asarray(value, jnp.result_type(leaf)), shape)[None]
    except ValueError:
        raise ValueError(
            f"a value of shape {jnp.shape(value)} cannot stand for a condition of shape {jnp.shape(leaf)}: one sample "
            f"has {shape}"
        ) from None


def _shown(tree: PyTree) -> str:
    """Structure and shapes, as in {'text': (2, 7)}."""
    return str(jax.tree.map(lambda leaf: jnp.shape(leaf) if hasattr(leaf, "dtype") else leaf, tree))
