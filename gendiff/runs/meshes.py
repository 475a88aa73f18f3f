"""`run --mesh data=4,fsdp=2`: along which axes the devices split batches, parameters and layers."""

import dataclasses
import functools

import jax

from gendiff.core.errors import ConfigError
from gendiff.core.types import PyTree
from gendiff.runs import distributed
from gendiff.runs.run_folder import Axes
from gendiff.training import sharding


def placed(tree: PyTree, like: PyTree) -> PyTree:
    """A tree of arrays on the devices where those of another lie."""
    return jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), tree, like)


def build(axes: Axes, rules: sharding.Rules) -> jax.sharding.Mesh:
    """The mesh over all devices of all processes. rules: those of the network that split its layers along "tensor".

    Raises ConfigError where the axes do not fit the devices, and where a network without rules is asked to split its
    layers.
    """
    mesh = functools.partial(sharding.mesh, **dataclasses.asdict(axes), devices=distributed.all_devices())
    tensor = mesh().shape["tensor"] if axes.tensor is None else axes.tensor
    if tensor > 1 and not rules:
        raise ConfigError(f"--mesh tensor={tensor}: this network has no rules that split its layers; use data and fsdp")
    return mesh()
