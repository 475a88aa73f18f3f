"""The `sample` command: samples of one method from its stored parameters."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from experiments.adversarial import drawn_files, mosaics, targets
from experiments.adversarial.drawn_files import DrawOptions
from experiments.adversarial.gan_modes import train
from experiments.adversarial.gan_modes.config import Config
from experiments.adversarial.methods import VANILLA, title
from gendiff.runs import devices, drawing, ranges, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.registry import SampleCommand
from gendiff.runs.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class SampleOptions(DrawOptions):
    """Draw points or pictures from a network of a run folder."""

    target: Literal["ring", "grid", "stacked digits"] = "grid"
    """What the network has learned."""
    method: str = VANILLA
    """How it has learned it: a name of the run's --methods."""


def _sample(config: Config, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit the run, and the errors of `training_loop.restore_ema`."""
    number = config.seeds.index(drawn_files.trained_seed(options, config.seeds))
    ranges.among("target", options.target, "targets", config.targets)
    ranges.known("method", (options.method,), config.methods)
    recipe = train.recipe(config, options.target, options.method)
    params = vmapped_seeds.of_seed(train.restore(config, folder, options.target, options.method), number)
    draw = devices.jit(lambda index: recipe.draw(params, jax.random.key(options.seed), index))
    samples = drawing.finite(draw(jnp.arange(options.num)), f"{options.target}, {title(options.method)}")
    pictures = options.target == targets.STACKED
    tiles = samples.reshape(-1, targets.SIDE, targets.SIDE, 3) if pictures else samples
    tile = mosaics.pictures(tiles) if pictures else mosaics.cloud(samples)
    file = drawn_files.write(options, folder, f"samples of {options.method} on {options.target}", tiles, tile)
    report = targets.report(
        options.target, samples, targets.modes_of(samples) if pictures else samples[:, 0], len(samples)
    )
    progress.line(
        f"{len(samples)} samples of {title(options.method)} cover {report.modes} of {report.known} modes: {file}"
    )


COMMAND = SampleCommand(SampleOptions, _sample)
