"""A transformer of pictures has room for what a token holds: otherwise its loss is that of a narrow linear map."""

import ast
import math
from pathlib import Path

from experiments.diffusion import training_recipes
from experiments.diffusion.training_recipes import networks as recipes
from experiments.language import quantise
from experiments.multimodal import EXPERIMENT as MULTIMODAL
from experiments.multimodal import documents
from experiments.multimodal.config import NETWORKS, SCENES
from experiments.scaling import growth, scaling_train
from experiments.scaling.scaling_train import rows

FACTOR = 1.5
"""Channels of a token over the numbers that it holds, at least."""


def full(experiment):
    return experiment.presets["full"]


def of_recipes():
    return [(recipes.transformer(full(training_recipes.EXPERIMENT).transformer, name), 1) for name in recipes.RECIPES]


def of_scaling():
    config = full(scaling_train.EXPERIMENT)
    sizes = zip(config.pictures.widths, config.pictures.depths, strict=True)
    return [(rows.network(rows.PICTURES, width, depth, config.length), 3) for width, depth in sizes]


def of_quantise():
    return [(quantise.digits_network(full(quantise.EXPERIMENT)), 1)]


def of_multimodal():
    config = full(MULTIMODAL)
    # those of scenes denoise nothing: what they read need not come out of a token again
    return [(documents.network(config, name), 1) for name in NETWORKS if name not in SCENES]


BUILT = {
    "experiments/diffusion/training_recipes/networks.py": of_recipes,
    "experiments/language/quantise.py": of_quantise,
    "experiments/multimodal/documents.py": of_multimodal,
    "experiments/scaling/growth.py": lambda: [(growth.TRANSFORMER, 3)],
    "experiments/scaling/scaling_train/rows.py": of_scaling,
}
"""File that builds a transformer of patches -> its networks of a full run, and the channels of their pictures."""
OF_USERS = {"gendiff/commands/train/named_networks.py"}
"""Builds what a user names."""
KINDS = ("DiT", "VideoTransformer", "MultimodalTransformer")
SOURCES = Path(__file__).parents[3]


def builds_one(path):
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(isinstance(function, ast.Attribute) and function.attr in KINDS for function in calls)


def test_every_file_that_builds_a_transformer_of_patches_is_listed():
    folders = (SOURCES / "experiments", SOURCES / "gendiff/commands", SOURCES / "gendiff/runs")
    files = {str(path.relative_to(SOURCES)) for folder in folders for path in folder.rglob("*.py") if builds_one(path)}
    assert {file for file in files if not file.startswith(("experiments/bench/", "experiments/examples/"))} == set(
        BUILT
    ) | OF_USERS


def test_a_token_has_more_channels_than_numbers():
    narrow = []
    for file, networks in BUILT.items():
        for network, channels in networks():
            patch = network.patch if isinstance(network.patch, tuple) else (network.patch, network.patch)
            if network.width < FACTOR * math.prod(patch) * channels:
                narrow.append(f"{file}: {network.width} channels, {math.prod(patch) * channels} numbers")
    assert not narrow
