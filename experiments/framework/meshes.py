"""`run --mesh data=4,fsdp=2`: along which axes the devices split batches, parameters and layers."""

import dataclasses
import re

import jax

from experiments.framework import distributed
from gendiff.core.errors import ConfigError
from gendiff.training import sharding


@dataclasses.dataclass(frozen=True)
class Axes:
    """Devices along each axis of `sharding.mesh`; None for `data` is what the other two leave."""

    data: int | None = None
    fsdp: int = 1
    tensor: int = 1


def parse(text: str) -> Axes:
    """The axes that data=D,fsdp=F,tensor=T names, some of the three in any order. Raises ConfigError for another text."""
    pairs = [piece.partition("=")[::2] for piece in text.split(",")]
    names = [name for name, _ in pairs]
    known = len(set(names)) == len(names) and set(names) <= set(sharding.AXES)
    if not known or not all(re.fullmatch("[1-9][0-9]{0,8}", size) for _, size in pairs):
        raise ConfigError(f"--mesh {text}: give some of data=D,fsdp=F,tensor=T, each once and at least 1, such as data=4,fsdp=2")
    return Axes(**{name: int(size) for name, size in pairs})


def build(axes: Axes, rules: sharding.Rules) -> jax.sharding.Mesh:
    """The mesh over all devices of all processes. rules: those of the network that split its layers along "tensor".

    Raises ConfigError where the axes do not fit the devices, and where a network without rules is asked to split its layers.
    """
    if axes.tensor > 1 and not rules:
        raise ConfigError(f"--mesh tensor={axes.tensor}: this network has no rules that split its layers; use data and fsdp")
    return sharding.mesh(axes.data, axes.fsdp, axes.tensor, devices=distributed.all_devices())
