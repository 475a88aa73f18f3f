"""`run --mesh data=4,fsdp=2`: along which axes the devices split batches, parameters and layers."""

import dataclasses
import functools
import re

import jax

from gendiff.core.errors import ConfigError
from gendiff.core.types import PyTree
from gendiff.runs import distributed
from gendiff.runs.run_folder import Axes as Axes
from gendiff.training import sharding

ALL = "all"
"""Size of an axis that takes all devices which the others leave."""


def parse(text: str) -> Axes:
    """The axes that data=D,fsdp=F,tensor=T names, some of the three in any order; one number may be `all`. ConfigError
    for another text.
    """
    pairs = [piece.partition("=")[::2] for piece in text.split(",")]
    names = [name for name, _ in pairs]
    known = len(set(names)) == len(names) and set(names) <= set(sharding.AXES)
    sizes = {
        name: None if size == ALL else int(size)
        for name, size in pairs
        if re.fullmatch(f"[1-9][0-9]{{0,8}}|{ALL}", size)
    }
    if not known or len(sizes) != len(pairs) or list(sizes.values()).count(None) > 1:
        allowed = f"each once and at least 1, or one of them {ALL}"
        raise ConfigError(f"--mesh {text}: give some of data=D,fsdp=F,tensor=T, {allowed}, such as data=4,fsdp=2")
    return dataclasses.replace(Axes(1 if None in sizes.values() else None), **sizes)


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
