"""The networks of the latent experiment: what each is, what it trains with, and how it is read back."""

from typing import Any

import jax
import numpy as np

from experiments.diffusion.latent import costs
from experiments.diffusion.latent.config import Config
from experiments.diffusion.part_averages import PartAverages
from gendiff.commands.images import image_coding, image_model, image_training
from gendiff.commands.images.image_coding import Coder
from gendiff.commands.images.image_model import Model
from gendiff.commands.images.image_training import Recipe
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch
from gendiff.networks import Autoencoder
from gendiff.runs import meshes, ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

AUTOENCODER, LATENTS, PIXELS = "autoencoder", "latents", "pixels"
"""Folders of the trainings, and names of the networks."""
MODELS = (LATENTS, PIXELS)


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config.autoencoder, "autoencoder.", images=config.pictures)
    image_coding.check("autoencoder", config.autoencoder, max(config.factor, costs.FACTOR))
    for name in MODELS:
        image_training.check_batch(recipe(config, name), f"{name}.", images=config.pictures)
        image_training.check_side(recipe(config, name), f"{name}.", shape(config, name)[0])
    for name in ("fractions", "resolutions"):
        ranges.rising(name, getattr(config, name))
    image_training.check_side(config.pixels, "pixels.", config.resolutions[0] // costs.FACTOR)
    if config.fractions[-1] != 1:
        raise ConfigError(
            f"--fractions {ranges.as_typed(config.fractions)}: the last must be 1, which is all of --seconds"
        )
    ranges.at_most("draw-size", config.draw_size, "samples", config.samples)
    ranges.at_most("samples", config.samples, "pictures", config.pictures)
    ranges.at_most("shown", config.shown, "samples", config.samples)
    ranges.at_most("shown", config.shown, "held-out", config.held_out)


def autoencoder(config: Config) -> Autoencoder:
    """The experiment's."""
    return image_coding.network(config.autoencoder, config.factor, config.channels)


def coder(
    config: Config, folder: RunFolder, seed: int, images: np.ndarray, progress: Progress
) -> tuple[Coder, Params, np.ndarray]:
    """(the trained autoencoder of a seed with normalised latents, its parameters, the latents of the training
    pictures).
    """
    inner = folder.inside(AUTOENCODER)
    params = image_coding.restore(config.autoencoder, autoencoder(config), inner, seed)
    unit, latents = image_coding.normalized(autoencoder(config), params, images, config.together, progress)
    return unit, params, latents


def recipe(config: Config, name: str) -> Recipe:
    """That of a diffusion model."""
    return {LATENTS: config.latents, PIXELS: config.pixels}[name]


def shape(config: Config, name: str) -> tuple[int, int, int]:
    """Of one of what a diffusion model draws."""
    side = config.side // config.factor
    return {LATENTS: (side, side, config.channels), PIXELS: (config.side, config.side, 3)}[name]


def model(config: Config, name: str) -> Model:
    """A diffusion model. All pictures have one class."""
    fields: dict[str, Any] = {"shape": shape(config, name), "num_classes": 1, "levels": None}
    return image_training.unet(recipe(config, name), schedules.flow(), parameterization.flow(), **fields)


def training(config: Config, folder: RunFolder, name: str, clean: np.ndarray) -> dict[str, Any]:
    """The arguments of `training_loop.train`, and of a step benchmark, that name the training of a diffusion model."""
    settings, network = recipe(config, name), model(config, name)
    return {
        "program": training_loop.compile_loss(
            *(image_model.loss(network), image_training.steady_optimizer(settings), network.init, folder),
            ema=(settings.ema,),
            ema_warm_up=True,
        ),
        "data": Batch(clean=clean, condition=(np.zeros(len(clean), np.int32),)),
        "batch": settings.batch,
    }


def averages(config: Config, folder: RunFolder, name: str, seed: int) -> PartAverages:
    """The averaged parameters of a diffusion model after each part of its training."""
    return PartAverages(folder.inside(name).path, seed, len(config.fractions), model(config, name).init)


def untrained(config: Config, folder: RunFolder, name: str, seed: int, like: Params) -> Params:
    """The parameters that the training of a seed began with, where those of `like` are."""
    program = training(config, folder, name, np.zeros((1, *shape(config, name)), np.float32))["program"]
    return meshes.placed(program.fresh(jax.random.key(seed)).params, like)
