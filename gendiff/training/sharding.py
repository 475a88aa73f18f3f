"""Data parallelism on one machine: the batch is split over the devices, the state is the same on each, and XLA adds the gradients.

A step needs no change: `jit(step)(replicate(state, mesh), shard(batch, mesh))`.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gendiff.core import trees
from gendiff.core.errors import ConfigError

T = TypeVar("T")

AXIS = "data"


def mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """One axis "data" over the devices, by default all of this process. Its axis type is Auto: XLA chooses how to split what is inside."""
    chosen = jax.local_devices() if devices is None else list(devices)
    return jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def check_batch(size: int, mesh: Mesh) -> None:
    """Refuse a batch that the devices do not divide.

    Raises:
        ConfigError: with the nearest valid sizes.
    """
    count = mesh.size
    if size < 1 or size % count:
        below, above = size // count * count, (size // count + 1) * count
        nearest = f"{below} or {above}" if below > 0 else f"{above}"
        raise ConfigError(f"a batch of {size} samples does not divide over {count} devices: the nearest valid sizes are {nearest}")


def shard(batch: T, mesh: Mesh) -> T:
    """Split every array (b, …) of the batch over the devices, along its first axis.

    Raises:
        ConfigError: unless the devices divide b, and for an array without axes.
    """
    for path, leaf in trees.paths(batch).items():
        shape = getattr(leaf, "shape", ())
        if not shape:
            raise ConfigError(f"{path} of the batch has no batch axis to split")
        check_batch(shape[0], mesh)
    return jax.tree.map(lambda leaf: jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(AXIS))), batch)


def replicate(tree: T, mesh: Mesh) -> T:
    """Put every array of the tree whole on every device, in buffers of its own: donating the result leaves the original usable."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()), may_alias=False)


def describe(mesh: Mesh) -> dict[str, Any]:
    """Tell what belongs beside a result: the number of devices and their kind."""
    return {"devices": mesh.size, "kind": mesh.devices.flat[0].device_kind}
