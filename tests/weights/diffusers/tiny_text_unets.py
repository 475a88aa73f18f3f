"""Tiny U-Nets that read texts, as diffusers wrote them (make_text_unets_fixture.py), and their parameters here."""

import functools
import json
from pathlib import Path

import numpy as np
import safetensors

from gendiff import networks
from gendiff.weights import diffusers_text_unet as text_unet
from tests.weights.rig import shapes

NAMES = ("Stable Diffusion 1", "Stable Diffusion 2", "Stable Diffusion XL")


def network_inputs(x, t, tokens, pooled=None, size=None):
    """The inputs of our network, from theirs."""
    text = networks.Text(tokens, np.ones(tokens.shape[:2], bool), pooled)
    if size is None:
        return x, t, text
    last = {"target": size[:, 4:]} if size.shape[1] == 6 else {"score": size[:, 4]}
    return x, t, text, networks.ImageSize(size[:, :2], size[:, 2:4], **last)


@functools.cache
def written(name):
    """(config, arrays, inputs of our network, output)."""
    with safetensors.safe_open(Path(__file__).with_name("text_unets_fixture.safetensors"), "numpy") as file:
        config = json.loads(file.metadata()["configs"])[name]
        parts = {key: file.get_tensor(key) for key in file.keys() if key.startswith(name)}
    inputs = {key.split("/")[1]: array for key, array in parts.items() if key.startswith(f"{name} inputs/")}
    arrays = {key.removeprefix(f"{name}/"): array for key, array in parts.items() if key.startswith(f"{name}/")}
    return config, arrays, network_inputs(**inputs), parts[f"{name} output"]


@functools.cache
def converted(name):
    """(network, parameters)."""
    config, arrays, inputs, _ = written(name)
    network = networks.UNet(precision="highest", **text_unet.network_fields(config))
    return network, text_unet.params(config, arrays, shapes(network, *inputs))
