"""The networks of the autoencoder experiment: what each is, where it is kept, and how it is read back and used."""

from typing import Any

import numpy as np

from experiments.diffusion.autoencoder.config import Config
from experiments.diffusion.autoencoder.pictures import SIDE, SUBJECTS
from gendiff.commands.images import image_coding, image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Params
from gendiff.diffusion import parameterization, schedules
from gendiff.networks import Autoencoder
from gendiff.runs import ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

EDGES, LONGER = "decoder_edges", "decoder_longer"
"""Folders of the decoders that train on: with the loss on edges, and without."""
LATENTS, PIXELS = "latents", "pixels"
"""Folders of the diffusion models."""
Parts = tuple[np.ndarray, np.ndarray]


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    pictures = len(SUBJECTS) * config.pictures
    for name in ("autoencoders", "decoders", "latents", "pixels"):
        image_training.check(getattr(config, name), f"{name}.", images=pictures)
    for option, values in (("factors", config.factors), ("latent-channels", config.latent_channels)):
        ranges.rising(option, values)
    ranges.among("factor", config.factor, "factors", config.factors)
    ranges.among("channels", config.channels, "latent-channels", config.latent_channels)
    image_coding.check("autoencoders", config.autoencoders, config.factors[-1])
    for name, side in (("latents", SIDE // config.factor), ("pixels", SIDE)):
        image_training.check_side(getattr(config, name), f"{name}.", side)
    ranges.at_most("shown", config.shown, "samples per subject", config.samples // 2)
    ranges.at_most("shown", config.shown, "held-out", config.held_out)


def autoencoder(config: Config, factor: int, channels: int) -> Autoencoder:
    """One of the experiment's."""
    return image_coding.network(config.autoencoders, factor, channels)


def name(factor: int, channels: int) -> str:
    """The folder of an autoencoder."""
    return f"f{factor}_c{channels}"


def restore(config: Config, folder: RunFolder, factor: int, channels: int, seed: int) -> Params:
    """The averaged parameters of an autoencoder."""
    place = folder.inside(name(factor, channels))
    return image_coding.restore(config.autoencoders, autoencoder(config, factor, channels), place, seed)


def restore_decoder(config: Config, folder: RunFolder, of: str, seed: int, params: Params) -> Params:
    """The parameters of the chosen autoencoder `params` with the decoder that trained on, EDGES or LONGER."""
    place = folder.inside(of)
    decoder = training_loop.restore_ema(lambda key: params["decoder"], place, seed=seed, decay=config.decoders.ema)
    return {**params, "decoder": decoder}


def latent_model(config: Config) -> Model:
    """The diffusion model of the chosen autoencoder's latents."""
    side = SIDE // config.factor
    return _unet(config.latents, (side, side, config.channels))


def pixel_model(config: Config) -> Model:
    """The diffusion model of the pictures themselves."""
    return _unet(config.pixels, (SIDE, SIDE, 3))


def _unet(learning: image_training.Learning, shape: tuple[int, int, int]) -> Model:
    fields: dict[str, Any] = {"shape": shape, "num_classes": len(SUBJECTS), "levels": None}
    return image_training.unet(learning, schedules.flow(), parameterization.flow(), **fields)


def normalized(config: Config, params: Params, images: np.ndarray, progress: Progress) -> tuple[image_coding.Coder, np.ndarray]:
    """The chosen autoencoder with normalised latents, and those of the training pictures."""
    chosen = autoencoder(config, config.factor, config.channels)
    return image_coding.normalized(chosen, params, images, config.together, progress)
