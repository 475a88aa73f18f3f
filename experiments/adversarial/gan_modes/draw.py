"""The `sample` command: samples of one method from its stored parameters."""

import dataclasses
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.adversarial.gan_modes import mosaics, targets, train
from experiments.adversarial.gan_modes.config import Config
from experiments.adversarial.methods import VANILLA, title
from experiments.framework import configuration, drawing, ranges
from experiments.framework.progress import Progress
from experiments.framework.registry import SampleCommand
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures
from gendiff.core import files
from gendiff.core.errors import ConfigError

MOST = 100_000


@dataclasses.dataclass(frozen=True)
class SampleOptions:
    """Draw points or pictures from a network of a run folder."""

    target: Literal["ring", "grid", "stacked digits"] = "grid"
    """What the network has learned."""
    method: str = VANILLA
    """How it has learned it: a name of the run's --methods."""
    num: int = 1000
    """Number of samples, from 1 to 100,000. Sample 17 is the same whatever the number."""
    seed: int = 0
    """Seed of the samples' noise, from 0 to 2**32 - 1."""
    trained_seed: int | None = None
    """Which of the run's training seeds; None takes the first."""
    out: str | None = None
    """Where to write NAME.npz, with a picture NAME.png beside it; None is a file in the run folder."""


def _sample(config: Config, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit the run, and the errors of `training_loop.restore_ema`."""
    ranges.among("target", options.target, "targets", config.targets)
    ranges.known("method", (options.method,), config.methods)
    configuration.check_seed(options.seed)
    if not 1 <= options.num <= MOST:
        raise ConfigError(f"--num {options.num} is outside 1 … {MOST}")
    trained = config.seeds[0] if options.trained_seed is None else options.trained_seed
    ranges.among("trained-seed", trained, "seeds", config.seeds)
    of, number = train.recipe(config, options.target, options.method), config.seeds.index(trained)
    params = jax.tree.map(lambda leaf: leaf[number], train.restore(config, folder, options.target, options.method))
    draw = drawing.jit(lambda index: of.draw(params, jax.random.key(options.seed), index))
    samples = drawing.finite(draw(jnp.arange(options.num)), f"{options.target}, {title(options.method)}")
    name = f"samples_of_{options.method}_on_{options.target}".replace(" ", "_").replace("-", "_")
    file = (folder.path / name if options.out is None else Path(options.out).expanduser().absolute()).with_suffix(".npz")
    pictures = options.target == targets.STACKED
    shown = samples.reshape(-1, targets.SIDE, targets.SIDE, 3) if pictures else samples
    with files.replacing(file) as stream:
        np.savez(stream, samples=shown)
    tile = mosaics.digits(samples) if pictures else mosaics.cloud(samples)
    figures.grid(tile[None], 1, file.with_suffix(".png"), "samples", scale=4)
    report = targets.report(options.target, samples, targets.seen(samples) if pictures else samples[:, 0], len(samples))
    progress.line(f"{len(samples)} samples of {title(options.method)} cover {report.modes} of {report.known} modes: {file}")


COMMAND = SampleCommand(SampleOptions, _sample)
