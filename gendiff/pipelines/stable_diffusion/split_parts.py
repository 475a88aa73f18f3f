"""Where the parameters of a folder lie on a mesh of devices: each device holds its share of every large array."""

import re
from collections.abc import Callable

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from gendiff import networks
from gendiff.core import trees
from gendiff.core.types import DType, Params, PyTree
from gendiff.training import sharding
from gendiff.weights.rules import ForeignArray, Maker, Rule, Shape

AXES = ("fsdp", "tensor")
"""Those of a mesh that split parameters; "data" splits the pictures that are drawn together alone."""


def shardings(params: Params, mesh: Mesh | AbstractMesh) -> PyTree:
    """Return the sharding of each parameter, or of the arrays inside of a packed one.

    "tensor" splits the layers of transformer blocks by `networks.transformer.TENSOR_PARALLEL`. All other large arrays,
    those that it does not divide so, and all with "fsdp", are split along their largest axis that the devices divide.

    Args:
        params: of a part, or their shapes.
        mesh: see `training.sharding.mesh`.
    """
    paths = trees.paths(params)
    rules = networks.transformer.TENSOR_PARALLEL if mesh.shape["tensor"] > 1 else ()
    fitting = tuple(
        (pattern, axes)
        for pattern, axes in rules
        if any(re.search(pattern, path) and len(leaf.shape) == len(axes) for path, leaf in paths.items())
    )
    return sharding.shardings(params, mesh, fitting, by_size=AXES)


def with_shardings(shapes: Params, mesh: Mesh | AbstractMesh) -> Params:
    """Return the shapes of parameters with the sharding of each, as `rules.to_ours` reads them."""

    def joined(leaf: jax.ShapeDtypeStruct, where: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    return jax.tree.map(joined, shapes, shardings(shapes, mesh))


def split(params: Params, mesh: Mesh) -> Params:
    """Put parameters where they belong; those that lie there stay."""
    parts: Params = jax.device_put(params, shardings(params, mesh))
    return parts


def maker(inner: Maker, mesh: Mesh) -> Maker:
    """Return a `maker` for `rules.to_ours` that puts what another one makes where it belongs, array by array."""

    def make(
        path: str, rule: Rule, parts: list[ForeignArray], expected: Shape, read: Callable[[DType], jax.Array]
    ) -> PyTree:
        value = inner(path, rule, parts, expected, read)
        return jax.block_until_ready(split({path: value}, mesh)[path])

    return make
