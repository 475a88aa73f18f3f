"""The networks of drawings: the autoencoder, and the network of its latents; where each is kept, how it is trained and read back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gendiff.commands.images import image_coding, image_training
from gendiff.commands.images.image_coding import Coder
from gendiff.commands.images.image_model import Model
from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.config import Config, Drawings
from gendiff.commands.text_to_image.drawings import pictures
from gendiff.commands.text_to_image.drawings.pictures import SIDE
from gendiff.core.types import Params
from gendiff.networks import Autoencoder
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder

AUTOENCODER = "emoji_autoencoder"
"""Folder of the autoencoder."""
NORMALISATION = "normalisation.json"
FACTOR = 4
"""How many times smaller than a picture a latent is."""


@dataclass(frozen=True)
class Normalisation:
    """What makes latents of the training drawings of mean 0 and variance 1: (z - shift) · scale.

    spread: root mean square of the standard deviations that the encoder gives these latents; None in files from before it was kept.
    """

    scale: float
    shift: float
    spread: float | None = None


def autoencoder(config: Drawings, normalisation: Normalisation | None = None) -> Autoencoder:
    """With latents as its convolutions give them, or normalised."""
    network = image_coding.network(config.autoencoder, FACTOR, config.latent_channels)
    return network if normalisation is None else network.clone(scale=normalisation.scale, shift=normalisation.shift)


def model(config: Config, **options: Any) -> Model:
    """The network of latents, which learns the flow. options: of `networks.unet`."""
    drawings = config.drawings
    shape = (SIDE // FACTOR, SIDE // FACTOR, drawings.latent_channels)
    return networks.unet(drawings.latents, config.reading, shape, texts.WIDTH, pooled=True, **options)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The autoencoder with the first seed, then the network of its latents with each; trained parts are left as they are."""
    drawings = config.drawings
    training, _ = pictures.load(drawings)
    place, first = folder.inside(AUTOENCODER), drawings.seeds[0]
    progress.line(f"train an autoencoder of {len(training)} drawings")
    network, weight = autoencoder(drawings), drawings.kl_weight
    image_coding.train(drawings.autoencoder, network, training.images, place, progress, seed=first, kl_weight=weight)
    params = image_coding.restore(drawings.autoencoder, network, place, first)
    coder, latents = image_coding.normalized(network, params, training.images, drawings.together, progress)
    spread = image_coding.spread(coder.network, params, training.images[: drawings.together])
    found = Normalisation(float(np.asarray(coder.network.scale)), float(np.asarray(coder.network.shift)), spread)
    json_files.write(place.path / NORMALISATION, found)
    read = texts.frozen(pictures.written(training, drawings.keywords), progress)
    for seed in drawings.seeds:
        progress.line(f"train the network of latents, seed {seed}")
        networks.fit(model(config), drawings.latents, latents, read, seed, folder.inside(networks.EMOJI), progress)


def restore(config: Config, folder: RunFolder, seed: int) -> Params:
    """The averaged parameters of the network of latents."""
    return image_training.averaged(model(config), folder.inside(networks.EMOJI), seed)


def restore_autoencoder(config: Config, folder: RunFolder) -> tuple[Params, Normalisation]:
    """The averaged parameters of the autoencoder, and what normalises its latents."""
    drawings, place = config.drawings, folder.inside(AUTOENCODER)
    params = image_coding.restore(drawings.autoencoder, autoencoder(drawings), place, drawings.seeds[0])
    return params, json_files.read(place.path / NORMALISATION, Normalisation)


def coder(config: Config, normalisation: Normalisation, progress: Progress) -> Coder:
    """The halves of the autoencoder for many drawings."""
    return Coder(autoencoder(config.drawings, normalisation), config.drawings.together, progress)
