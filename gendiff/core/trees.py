"""Operations on pytrees that every chapter shares: copies, casts, readable paths, finiteness."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp

from gendiff.core import packed
from gendiff.core.types import DType, PyTree

T = TypeVar("T")


def copy(tree: T) -> T:
    """Every array in a buffer of its own, so that donating the copy leaves the original usable."""
    result: T = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True) if isinstance(leaf, jax.Array) else leaf, tree)
    return result


def cast(tree: T, dtype: DType) -> T:
    """Floating leaves in `dtype`; integers, keys, booleans and packed kernels as they are."""

    def one(leaf: PyTree) -> PyTree:
        floating = not packed.is_packed(leaf) and hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    result: T = jax.tree.map(one, tree, is_leaf=packed.is_packed)
    return result


def paths(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> dict[str, PyTree]:
    """Leaves by readable path, as in {"params/conv/kernel": array}."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def all_finite(tree: PyTree) -> jax.Array:
    """() bool: no NaN and no infinity in any floating leaf."""
    floating = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in floating])) if floating else jnp.array(True)


def nested(leaves: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """Return the nested dict of leaves by path, as in {"conv/kernel": array}: the inverse of `paths`."""
    tree: dict[str, PyTree] = {}
    for path, leaf in leaves.items():
        *folders, name = path.split("/")
        parent = tree
        for folder in folders:
            parent = parent.setdefault(folder, {})
        parent[name] = leaf
    return tree
