"""Sharding: where batches, parameters and states lie on a mesh of devices, for all kinds of parallelism.

Also known as: data parallelism, fully sharded data parallelism (FSDP), tensor parallelism.

The batch is split over the axes "data" and "fsdp". Parameters are whole along "data", split along "fsdp" (each device
keeps a share, and gathers a layer when it computes it), and split along "tensor" where rules say so. XLA derives all
else from these, so a step or a draw needs no change: `jit(step)(distribute(state, mesh), shard(batch, mesh))`.
"""

import math
import re
from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from gendiff.core import checks, trees
from gendiff.core.errors import ConfigError
from gendiff.core.renamed import renamed
from gendiff.core.types import ArrayLike, PyTree

T = TypeVar("T")

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")
"""The axes that split a batch."""
SMALLEST = 4096
"""Arrays with fewer entries are replicated: to gather them would take longer than to read them."""

Rules = tuple[tuple[str, tuple[str | None, ...]], ...]
"""Pairs of a pattern for the path of an array, and the mesh axis along each axis of that array.

The pattern is a regular expression. None is an axis that is not split.
"""


def mesh(
    data: int | None = None, fsdp: int | None = 1, tensor: int | None = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Build a mesh with the axes "data", "fsdp" and "tensor".

    Their type is Auto: XLA chooses how to split what is inside.

    Args:
        data: groups of devices that each hold all parameters.
        fsdp: devices over which each large parameter is split, as are the batch, the averages and the optimizer's
            state.
        tensor: devices over which single layers are split by rules.
        devices: None: all of this process.

    One of the three sizes may be None, for what the other two leave: `mesh(data=1, fsdp=None)` splits over all devices.

    Raises:
        ConfigError: unless the product of the three is the number of devices, and where more than one is None.
    """
    chosen = jax.local_devices() if devices is None else list(devices)
    sizes = dict(zip(AXES, (data, fsdp, tensor), strict=True))
    stated = {name: size for name, size in sizes.items() if size is not None}
    for name, size in stated.items():
        checks.integer(name, size, -(2**31))
        if size < 1:
            raise ConfigError(f"{name} = {size} must be at least 1: a number of devices")
    rest = [name for name in AXES if name not in stated]
    if len(rest) > 1:
        raise ConfigError(
            f"{' and '.join(rest)} are None: one axis alone takes what the others leave, so give the others a size, "
            "such as 1"
        )
    product = math.prod(stated.values())
    if not chosen or (len(chosen) % product if rest else len(chosen) != product):
        stated_sizes = " times ".join(f"{name} = {size}" for name, size in stated.items())
        verb = "does not divide" if rest else "is not"
        raise ConfigError(f"{stated_sizes} = {product} {verb} {len(chosen)}, the number of devices")
    shape = tuple(stated.get(name, len(chosen) // product) for name in AXES)
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=chosen)


def check_batch(size: int, mesh: Mesh | AbstractMesh) -> None:
    """Refuse a batch that the devices do not divide.

    Raises:
        ConfigError: with the nearest valid sizes.
    """
    count = math.prod(mesh.shape[axis] for axis in _batch_axes(mesh))
    if size < 1 or size % count:
        below, above = size // count * count, (size // count + 1) * count
        nearest = f"{below} or {above}" if below > 0 else f"{above}"
        raise ConfigError(
            f"a batch of {size} samples does not divide over {count} devices: the nearest valid sizes are {nearest}"
        )


def share(mesh: Mesh) -> tuple[int, int]:
    """Return (number, count) of the equal part of each batch that this process loads; (0, 1) for a single process.

    These are `process` and `processes` of `data.pipeline.batches`. Processes whose devices hold the same samples load
    the same part.

    Raises:
        ConfigError: where the samples of this process are no contiguous part of the batch.
    """
    count = math.prod(mesh.shape[axis] for axis in _batch_axes(mesh))
    here = NamedSharding(mesh, PartitionSpec(_batch_axes(mesh))).addressable_devices_indices_map((count,))
    mine = sorted({places[0].indices(count)[0] for places in here.values() if places is not None})
    size = len(mine)
    if not mine or mine != list(range(mine[0], mine[0] + size)) or count % size or mine[0] % size:
        raise ConfigError(
            f"this process has the parts {mine} of {count} of a batch: give sharding.mesh its devices in order of "
            "processes"
        )
    return mine[0] // size, count // size


def shard(batch: T, mesh: Mesh) -> T:
    """Split every array (b, …) of the batch over the axes "data" and "fsdp", along its first axis.

    Where the mesh has devices of several processes, each gives its own part of the batch, as `share` says; the result
    is the whole.

    Raises:
        ConfigError: unless the devices divide b, and for an array without axes.
    """
    parts = share(mesh)[1]
    where = NamedSharding(mesh, PartitionSpec(_batch_axes(mesh)))

    def put(leaf: ArrayLike) -> jax.Array:
        array: jax.Array
        if mesh.is_multi_process:
            shape = (leaf.shape[0] * parts, *leaf.shape[1:])
            array = jax.make_array_from_process_local_data(where, np.asarray(leaf), shape)
        else:
            array = jax.device_put(leaf, where)
        return array

    for path, leaf in trees.paths(batch).items():
        shape = getattr(leaf, "shape", ())
        if not shape:
            raise ConfigError(f"{path} of the batch has no batch axis to split")
        check_batch(shape[0] * parts, mesh)
    split: T = jax.tree.map(put, batch)
    return split


def replicate(tree: T, mesh: Mesh) -> T:
    """Put a full copy of each array of the tree on all devices.

    The buffers are new: donating the result leaves the original usable.
    """
    copies: T = jax.device_put(tree, NamedSharding(mesh, PartitionSpec()), may_alias=False)
    return copies


def distribute(tree: T, mesh: Mesh, rules: Rules = (), *, smallest: int = SMALLEST) -> T:
    """Put each array of the tree on the devices by its sharding of `shardings`, in new buffers."""
    parts: T = jax.device_put(tree, shardings(tree, mesh, rules, smallest=smallest), may_alias=False)
    return parts


def shardings(
    tree: PyTree,
    mesh: Mesh | AbstractMesh,
    rules: Rules = (),
    *,
    smallest: int = SMALLEST,
    by_size: Sequence[str] = ("fsdp",),
) -> PyTree:
    """Return the sharding of each array of a tree.

    `jit`, `put` and `Checkpoints.restore` take the result. The first rule whose pattern is found in the path, and which
    names as many axes as the array has, splits the array. Then each axis of `by_size` splits the largest axis that it
    divides and that is still whole, of equals the first. The averages and the optimizer's state have the paths of the
    parameters inside of their own, so the same rules split them.

    Args:
        tree: of arrays or their shapes, such as a state, or the result of `jax.eval_shape`.
        mesh: see `mesh`; an abstract one tells where arrays would belong on devices that are not here.
        rules: such as `networks.transformer.TENSOR_PARALLEL`.
        smallest: arrays with fewer entries that no rule splits stay whole, at least 1.
        by_size: axes of the mesh that split arrays by their size. "tensor" behind "fsdp" leaves no large array without
            a rule whole on a device, for draws with a model that fits none. Where a rule names one of these axes, and
            it does not divide the array there, the array is split by its size alone.

    Raises:
        ConfigError: for a rule that fits no array, names an axis that the mesh lacks, or whose axis does not divide the
            array and is not in `by_size`.
    """
    checks.integer("smallest", smallest, 1)
    used: set[int] = set()
    specs = [
        _spec(path, tuple(leaf.shape), mesh, rules, smallest, used, by_size) for path, leaf in trees.paths(tree).items()
    ]
    idle = [pattern for number, (pattern, _) in enumerate(rules) if number not in used]
    if idle:
        raise ConfigError(
            f"no array of the tree fits the rules {idle}: its paths are such as {list(trees.paths(tree))[:3]}"
        )
    return jax.tree.unflatten(jax.tree.structure(tree), [NamedSharding(mesh, spec) for spec in specs])


def describe(mesh: Mesh) -> dict[str, int | str]:
    """Return what to report beside a result: the number of devices, in all and per axis, and their kind."""
    return {"devices": mesh.size, **dict(mesh.shape), "kind": mesh.devices.flat[0].device_kind}


def _spec(
    path: str,
    shape: tuple[int, ...],
    mesh: Mesh | AbstractMesh,
    rules: Rules,
    smallest: int,
    used: set[int],
    by_size: Sequence[str],
) -> PartitionSpec:
    axes: list[str | None] = [None] * len(shape)
    for number, (pattern, pattern_axes) in enumerate(rules):
        if re.search(pattern, path) and len(pattern_axes) == len(shape):
            used.add(number)
            axes = list(pattern_axes)
            break
    for number, (size, axis) in enumerate(zip(shape, axes, strict=True)):
        if axis is not None and axis not in mesh.axis_names:
            raise ConfigError(
                f"the rule for {path} names the axis {axis!r}, and the mesh has {', '.join(mesh.axis_names)}"
            )
        if axis is not None and size % mesh.shape[axis]:
            if axis not in by_size:
                raise ConfigError(
                    f"{axis} = {mesh.shape[axis]} does not divide {size}, an axis of {path} {shape}: choose a divisor"
                )
            axes[number] = None
    for name in by_size if np.prod(shape) >= smallest else ():
        share = mesh.shape.get(name, 1)
        free = [axis for axis, size in enumerate(shape) if axes[axis] is None and size % share == 0]
        if share > 1 and name not in axes and free:
            axes[max(free, key=lambda axis: shape[axis])] = name
    return PartitionSpec(*axes)


def _batch_axes(mesh: Mesh | AbstractMesh) -> tuple[str, ...]:
    return tuple(axis for axis in BATCH if axis in mesh.axis_names)


__getattr__ = renamed("training.sharding", {"place": ("training.sharding.distribute", distribute)})
