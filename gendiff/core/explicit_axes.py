"""Meshes with Explicit axes, the default of `jax.make_mesh`: what gendiff computes on them leaves the shardings inside to XLA."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec


def as_auto(function: Callable[..., Any], arguments: tuple[Any, ...], out: Callable[[Any], Any]) -> Any:
    """Call `function(*arguments)` with every Explicit axis of their mesh made Auto inside; without such an axis, just call it.

    Args:
        function: of arrays, to arrays.
        arguments: trees of arrays.
        out: from the mesh to the shardings of the result, a prefix of its tree.
    """
    mesh = _explicit_mesh(arguments)
    return (
        function(*arguments) if mesh is None else jax.sharding.auto_axes(function, out_sharding=out(mesh))(*arguments)
    )


def like(tree: Any, mesh: Any) -> Any:
    """Shardings of the tree's own leaves on the mesh; leaves that have none there become whole on every device."""

    def one(leaf: Any) -> NamedSharding:
        sharding = jax.typeof(leaf).sharding
        return NamedSharding(mesh, PartitionSpec() if sharding.mesh.empty else sharding.spec)

    return jax.tree.map(one, tree)


def by_sample(array: Any, mesh: Any) -> NamedSharding:
    """The sharding of the first axis of an array alone: that of any other array with one entry per sample."""
    sharding = like(array, mesh)
    return NamedSharding(mesh, PartitionSpec(*sharding.spec[:1]))


def whole(mesh: Any) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def _explicit_mesh(arguments: Any) -> Any:
    shardings = (getattr(jax.typeof(leaf), "sharding", None) for leaf in jax.tree.leaves(arguments))
    meshes = [jax.sharding.get_abstract_mesh(), *(sharding.mesh for sharding in shardings if sharding is not None)]
    return next((mesh for mesh in meshes if not mesh.empty and mesh.explicit_axes), None)
