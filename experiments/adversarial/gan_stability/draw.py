"""The `sample` command: points of one method at one learning rate, from its stored parameters."""

import dataclasses

import jax
import jax.numpy as jnp

from experiments.adversarial import drawn_files, mosaics, targets
from experiments.adversarial.drawn_files import DrawOptions
from experiments.adversarial.gan_stability import train
from experiments.adversarial.gan_stability.config import Config
from experiments.adversarial.methods import VANILLA, title
from experiments.adversarial.targets import GRID
from gendiff.runs import devices, drawing, ranges, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.registry import SampleCommand
from gendiff.runs.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class SampleOptions(DrawOptions):
    """Draw points from a network of a run folder."""

    method: str = VANILLA
    """How it has learned the grid: a name of the run's --methods."""
    pace: float | None = None
    """At which factor of its learning rate: one of the run's --paces; None takes the middle one."""


def _sample(config: Config, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit the run, and the errors of `training_loop.restore_ema`."""
    seed = drawn_files.trained_seed(options, config.seeds)
    ranges.known("method", (options.method,), config.methods)
    pace = config.paces[len(config.paces) // 2] if options.pace is None else options.pace
    ranges.among("pace", pace, "paces", config.paces)
    recipe, number = train.recipe(config, options.method), train.runs(config).index((pace, seed))
    params = vmapped_seeds.of_seed(train.restore(config, folder, options.method), number)
    draw = devices.jit(lambda index: recipe.draw(params, jax.random.key(options.seed), index))
    samples = drawing.finite(draw(jnp.arange(options.num)), title(options.method))
    file = drawn_files.write(
        options, folder, f"samples of {options.method} at {pace:g}", samples, mosaics.cloud(samples)
    )
    report = targets.report(GRID, samples, samples[:, 0], len(samples))
    progress.line(
        f"{len(samples)} samples of {title(options.method)} cover {report.modes} of {report.known} modes: {file}"
    )


COMMAND = SampleCommand(SampleOptions, _sample)
