"""The trainings of the latent experiment: for each seed an autoencoder, a model of its latents, and one of pixels for
as many seconds.
"""

from typing import Any

import numpy as np

from experiments.diffusion.latent import budget, networks
from experiments.diffusion.latent.budget import StepTimes
from experiments.diffusion.latent.config import Config
from experiments.diffusion.latent.networks import AUTOENCODER, LATENTS, PIXELS
from gendiff.commands.images import emoji_pictures, image_coding
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import TrainState


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Each training goes on where it was; the number of steps is that of the run's first start."""
    images, _ = emoji_pictures.load(config.side, config.pictures, config.held_out)
    times = budget.measured(config, folder, images, progress)
    progress.line(budget.planned(config, times))
    network, inner = networks.autoencoder(config), folder.inside(AUTOENCODER)
    weights = {"kl_weight": config.kl_weight, "perceptual_weight": config.perceptual_weight}
    for seed in config.seeds:
        progress.line(f"seed {seed}: {AUTOENCODER}")
        image_coding.train(config.autoencoder, network, images, inner, progress, seed=seed, **weights)
        _, _, latents = networks.coder(config, folder, seed, images, progress)
        for name, clean in ((LATENTS, latents), (PIXELS, images)):
            in_parts(config, name, clean, times, folder, progress, seed)


def in_parts(
    config: Config, name: str, clean: np.ndarray, times: StepTimes, folder: RunFolder, progress: Progress, seed: int
) -> None:
    """Train a diffusion model for each part of its budget in turn, and keep its average there.

    Nothing of a step depends on how many follow, so the parts are one training.
    """
    settings, inner, arguments = (
        networks.recipe(config, name),
        folder.inside(name),
        networks.training(config, folder, name, clean),
    )
    intervals: dict[str, Any] = {"checkpoint_every": settings.checkpoint_every, "log_every": settings.log_every}
    ends = times.steps(config, name)

    def train_part(part: int) -> TrainState:
        progress.line(f"seed {seed}: diffusion of {name}, {config.fractions[part]:g} of {config.seconds:g} s")
        return training_loop.train(
            **arguments, seed=seed, steps=ends[part], folder=inner, progress=progress, **intervals
        )

    networks.averages(config, folder, name, seed).fill(train_part)
