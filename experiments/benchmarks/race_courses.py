"""What is raced for: trained networks that both sides read, and how good what they draw is."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import ours
from experiments.benchmarks.workloads import Workload
from experiments.diffusion import digits as digits_experiment
from experiments.diffusion import equivalence, few_evaluations, latent
from experiments.diffusion.few_step import draws
from experiments.diffusion.latent import networks
from gendiff.commands.images import emoji_pictures, image_coding, image_features, image_training
from gendiff.commands.images.image_features import FeatureOptions
from gendiff.core.types import Params
from gendiff.data import digits as digits_data
from gendiff.metrics import features, frechet
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

STEPS = 3000
"""Optimizer steps of the network of latents."""


@dataclass(frozen=True)
class Course:
    """What both sides are given, and how near to held-out pictures is what they draw.

    told: of `prepare`: folders of weights, and of `grids.resolved` the resolution and the norm. together: drawn in one call.
    timed: samples that are timed. distance: of samples, the Fréchet distance. agreement: the threshold of how far those of DDIM may differ.
    """

    told: Mapping[str, Any]
    together: int
    timed: int
    distance: Callable[[np.ndarray], float]
    agreement: str = "agreement"


Make = Callable[[Workload, Path, bool], Course]
"""(workload, folder for its files, whether it is tiny, with random weights) -> what is raced for."""


def digits(workload: Workload, place: Path, tiny: bool) -> Course:
    """Digits, by a network that is trained by the recipe of the digits experiment."""
    weights = place / "weights"
    if tiny:
        ours.write_weights(workload, weights)
    else:
        ours.save(workload, _trained_on_digits(place / "training"), weights)
    held_out = frechet.fit(features.pixels(digits_data.load().held_out_images))
    told = {"weights": str(weights), "resolution": draws.RESOLUTION, "norm": draws.norm()}
    return Course(told, 125, workload.batch, lambda drawn: frechet.between(held_out, frechet.fit(equivalence.points_of_digits(drawn))))


def latents(workload: Workload, place: Path, tiny: bool) -> Course:
    """Drawings of emoji, by a network of latents and their decoder that are trained by the recipes of the experiment `latent`."""
    of = Workload("decode", "tiny_vae" if tiny else "latents_vae")
    weights, decoder = place / "weights", place / "decoder"
    told: dict[str, Any] = {"weights": str(weights), "decoder": str(decoder), "resolution": 0.1, "norm": 32.0}
    config = latent.Config(seeds=(0,), side=32, pictures=24, held_out=24) if tiny else latent.Config(seeds=(0,))
    images, held_out = emoji_pictures.load(config.side, config.pictures, config.held_out)
    if tiny:
        ours.write_weights(workload, weights)
        ours.write_weights(of, decoder)
        every = config.side // of.shape[0]
        held_out = held_out[:, ::every, ::every]
    else:
        folder = RunFolder(place / "training")
        folder.path.mkdir(exist_ok=True)
        params, settings, of_latents, measured = _trained_on_drawings(config, images, folder)
        ours.save(workload, of_latents, weights)
        ours.save(of, params, decoder, **settings)
        told |= measured
    rows = functools.partial(image_features.of_drawn, image_features.function(FeatureOptions()))
    fitted = frechet.fit(rows(held_out))
    return Course(told, 100, 16, lambda drawn: frechet.between(fitted, frechet.fit(rows(drawn))), "agreement_pictures")


def _trained_on_digits(place: Path) -> Params:
    config, folder = digits_experiment.Config(seeds=(0,)), RunFolder(place)
    image_training.per_seed(digits_experiment.model)(config, folder, Progress(quiet=True))
    return image_training.averaged(digits_experiment.model(config), folder, 0)


def _trained_on_drawings(
    config: latent.Config, images: np.ndarray, folder: RunFolder
) -> tuple[Params, dict[str, Any], Params, dict[str, float]]:
    """(parameters of the autoencoder, its settings, parameters of the network of latents, what of them the grid needs)."""
    quiet, of = Progress(quiet=True), networks.recipe(config, networks.LATENTS)
    coder, place = networks.autoencoder(config), folder.inside(networks.AUTOENCODER)
    image_coding.train(config.autoencoder, coder, images, place, quiet, seed=0, kl_weight=config.kl_weight)
    unit, params, clean = networks.coder(config, folder, 0, images, quiet)
    every: dict[str, Any] = {"checkpoint_every": of.checkpoint_every, "log_every": of.log_every}
    arguments = networks.training(config, folder, networks.LATENTS, clean)
    state = training_loop.train(**arguments, seed=0, steps=STEPS, folder=folder.inside(networks.LATENTS), progress=quiet, **every)
    scale, shift = (
        np.broadcast_to(np.asarray(value, np.float64), config.channels).tolist() for value in (unit.network.scale, unit.network.shift)
    )
    settings = {"latents_mean": shift, "latents_std": [1 / each for each in scale], "scaling_factor": 1.0}
    resolution = math.sqrt(12) * image_coding.spread(unit.network, params, images[: config.together])
    return params, settings, state.ema, {"resolution": resolution, "norm": few_evaluations.norm(clean)}
