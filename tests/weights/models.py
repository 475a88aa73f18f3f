"""Foreign models without torch: the shapes of our network for a configuration, and parameters of those shapes."""

import functools
import json

import jax
import numpy as np

from gendiff import networks
from gendiff.weights import diffusers_dit, diffusers_unet

NETWORKS = {diffusers_dit: networks.DiT, diffusers_unet: networks.UNet}


def shapes(module, config):
    return _shapes(module, json.dumps(config))


@functools.cache
def _shapes(module, text):
    config = json.loads(text)
    fields = module.network_fields(config)
    label = () if fields["num_classes"] is None else (np.zeros(1, np.int32),)
    x = np.zeros((1, 8, 8, (module.DEFAULTS | config)["in_channels"]), np.float32)
    return jax.eval_shape(lambda: networks.init(NETWORKS[module](**fields), jax.random.key(0), x, np.zeros(1, np.float32), *label))


def drawn(module, config):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes(module, config))


def equal(first, second):
    same = map(np.array_equal, jax.tree.leaves(first), jax.tree.leaves(second))
    return jax.tree.structure(first) == jax.tree.structure(second) and all(same)
