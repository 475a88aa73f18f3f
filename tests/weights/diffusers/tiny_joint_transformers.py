"""Tiny transformers of two streams and a T5, as diffusers and transformers wrote them
(make_joint_transformers_fixture.py).
"""

import functools
import json
from pathlib import Path

import numpy as np
import safetensors

from gendiff import networks
from gendiff.weights import diffusers_flux, diffusers_sd3
from tests.weights.rig import shapes

NAMES = {"Stable Diffusion 3": diffusers_sd3, "Stable Diffusion 3.5": diffusers_sd3, "FLUX": diffusers_flux}
"""Model -> the module with its rules."""


def module_of(config):
    return {module.KIND: module for module in NAMES.values()}[config["_class_name"]]


def network_inputs(x, t, tokens, pooled, scale=None):
    """The inputs of our network, from theirs."""
    text = networks.Text(tokens, np.ones(tokens.shape[:2], bool), pooled)
    return (x, t, text) if scale is None else (x, t, text, networks.GuidanceScale(scale))


def example(config, size=(8, 8)):
    """Inputs of the shapes that the model of a config.json takes."""
    network = networks.DiT(**module_of(config).network_fields(config))
    channels = config["in_channels"] // (diffusers_flux.PACKED if network.guidance or network.single_depth else 1)
    shapes = {
        "x": (1, *size, channels),
        "t": (1,),
        "tokens": (1, 1, network.text_channels),
        "pooled": (1, network.pooled_channels),
    }
    inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return network_inputs(**inputs | ({"scale": np.ones(1, np.float32)} if network.guidance else {}))


@functools.cache
def written(name):
    """(config, arrays, inputs by name, output)."""
    with safetensors.safe_open(Path(__file__).with_name("joint_transformers_fixture.safetensors"), "numpy") as file:
        config = json.loads(file.metadata()["configs"])[name]
        parts = {key: file.get_tensor(key) for key in file.keys()}
    inputs = {key.partition("/")[2]: array for key, array in parts.items() if key.startswith(f"{name} inputs/")}
    arrays = {key.partition("/")[2]: array for key, array in parts.items() if key.startswith(f"{name}/")}
    return config, arrays, inputs, parts[f"{name} output"]


@functools.cache
def converted(name):
    """(network, its inputs, its parameters)."""
    config, arrays, inputs, _ = written(name)
    module, given_here = NAMES[name], network_inputs(**inputs)
    network = networks.DiT(precision="highest", **module.network_fields(config))
    return network, given_here, module.params(config, arrays, shapes(network, *given_here))
