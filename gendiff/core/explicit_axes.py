"""Computing on meshes with Explicit axes, the default of `jax.make_mesh`: XLA chooses the shardings inside."""

from collections.abc import Callable
from typing import TypeVar

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from gendiff.core.types import PyTree, Scalar

T = TypeVar("T")


def as_auto(function: Callable[..., T], arguments: tuple[PyTree, ...], out: Callable[[AbstractMesh], PyTree]) -> T:
    """Call `function(*arguments)` with all Explicit axes of their mesh made Auto inside.

    Without an Explicit axis it is a plain call.

    Args:
        function: of arrays, to arrays.
        arguments: trees of arrays.
        out: from the mesh to the shardings of the result, a prefix of its tree.
    """
    mesh = _explicit_mesh(arguments)
    if mesh is None:
        return function(*arguments)
    result: T = jax.sharding.auto_axes(function, out_sharding=out(mesh))(*arguments)
    return result


def like(tree: PyTree, mesh: Mesh | AbstractMesh) -> PyTree:
    """Shardings of the tree's own leaves on the mesh; leaves without one are replicated."""

    def one(leaf: Scalar) -> NamedSharding:
        sharding = jax.typeof(leaf).sharding
        return NamedSharding(mesh, PartitionSpec() if sharding.mesh.empty else sharding.spec)

    return jax.tree.map(one, tree)


def by_sample(array: Scalar, mesh: Mesh | AbstractMesh) -> NamedSharding:
    """The sharding of an array's first axis, for other arrays with one entry per sample."""
    sharding = like(array, mesh)
    return NamedSharding(mesh, PartitionSpec(*sharding.spec[:1]))


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """The sharding of a full copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def _explicit_mesh(arguments: PyTree) -> AbstractMesh | None:
    shardings = (getattr(jax.typeof(leaf), "sharding", None) for leaf in jax.tree.leaves(arguments))
    meshes = [jax.sharding.get_abstract_mesh(), *(sharding.mesh for sharding in shardings if sharding is not None)]
    return next((mesh for mesh in meshes if not mesh.empty and mesh.explicit_axes), None)
