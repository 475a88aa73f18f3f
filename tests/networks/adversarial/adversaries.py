"""Small generators and critics, each once: what is tested of all of them is tested of a new one by its line here."""

import functools

import jax
import numpy as np

from gendiff import networks
from gendiff.core.types import NO_LABEL
from tests.networks import rig

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(3, 5)).astype(np.float32)
POINTS = RNG.normal(size=(3, 2)).astype(np.float32)
PICTURES = RNG.uniform(-1, 1, size=(3, 8, 8, 2)).astype(np.float32)
LABEL = np.array([0, 2, NO_LABEL], np.int32)
WEIGHT = np.float32(0.25)

PICTURE = {"size": 8, "width": 2, "widest": 6, "image_channels": 2, "num_classes": 3}
GENERATORS = {
    "dense": functools.partial(networks.DenseGenerator, width=8, depth=2, out=3, num_classes=3),
    "dcgan": functools.partial(networks.DCGANGenerator, **PICTURE | {"widest": 3}),
    "r3gan": functools.partial(networks.R3GANGenerator, **PICTURE, blocks=1, group_width=2),
    "progressive": functools.partial(networks.ProgressiveGenerator, **PICTURE),
}
CRITICS = {
    "dense": functools.partial(networks.DenseCritic, width=8, depth=2, num_classes=3),
    "dcgan": functools.partial(networks.DCGANCritic, **PICTURE | {"widest": 3}),
    "r3gan": functools.partial(networks.R3GANCritic, **PICTURE, blocks=1, group_width=2),
    "progressive": functools.partial(networks.ProgressiveCritic, **PICTURE),
}
EVERY = {f"{name} generator": build for name, build in GENERATORS.items()} | {
    f"{name} critic": build for name, build in CRITICS.items()
}


def inputs(network):
    """What a network is called with, all conditions among it."""
    name = type(network).__name__
    first = NOISE if name.endswith("Generator") else POINTS if name == "DenseCritic" else PICTURES
    conditions = () if network.num_classes is None else (LABEL,)
    return (first, *conditions, *((WEIGHT,) if name.startswith("Progressive") else ()))


@functools.cache
def random_params(network):
    return rig.random_params(network, *inputs(network))


def parameters_of(network):
    """Those of a network that differs only in how it computes."""
    plain = {"dtype": None} | (
        {} if isinstance(network, networks.DenseGenerator | networks.DenseCritic) else {"convolution": "direct"}
    )
    with jax.enable_x64(False):
        return random_params(network.clone(**plain))


def run(network, *arrays):
    return np.asarray(rig.apply(networks.pure(network), parameters_of(network), *(arrays or inputs(network))))
