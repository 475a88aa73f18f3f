"""The `sample` command: pictures of one method from its stored averages."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.adversarial import drawn_files, mosaics
from experiments.adversarial.drawn_files import DrawOptions
from experiments.adversarial.gan_progressive import budget, networks, train
from experiments.adversarial.gan_progressive.config import DIFFUSION, PROGRESSIVE, Config
from gendiff.commands import drawing_programs
from gendiff.commands.drawing_options import option
from gendiff.core.types import Params
from gendiff.runs import devices, drawing, ranges
from gendiff.runs.progress import Progress
from gendiff.runs.registry import SampleCommand
from gendiff.runs.run_folder import RunFolder

TOGETHER = 100
Draw = Callable[[Params, jax.Array], jax.Array]
"""(parameters, index (n,)) -> pictures (n, s, s, c)."""


@dataclasses.dataclass(frozen=True)
class SampleOptions(DrawOptions):
    """Draw pictures from a network of a run folder."""

    num: int = 36
    subject: str | None = None
    """What it draws: one of the run's --subjects; None takes the first."""
    method: Literal["progressive", "direct", "diffusion"] = "progressive"
    """How it has learned it."""
    steps: Annotated[int | None, option("steps", "None takes the run's --many. A GAN takes one evaluation.")] = None


def _sample(config: Config, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit the run, and the errors of `training_loop.restore_ema`."""
    subject = config.subjects[0] if options.subject is None else options.subject
    ranges.among("subject", subject, "subjects", config.subjects)
    seed = drawn_files.trained_seed(options, config.seeds)
    params = train.restore(config, folder, subject, options.method, seed)
    draw = (_diffusion if options.method == DIFFUSION else _gan)(config, subject, options)
    index = np.arange(options.num, dtype=np.int32)
    parts = drawing.stream(lambda index: draw(params, index), [(None, (index,))], together=TOGETHER)
    samples = drawing.finite(np.concatenate([part for _, _, part in parts]), f"{subject}, {options.method}")
    clipped = np.clip(samples, -1.0, 1.0)
    file = drawn_files.write(
        options, folder, f"samples of {options.method} of {subject}", clipped, mosaics.pictures(clipped)
    )
    progress.line(f"{len(samples)} samples of {options.method}, {subject}: {file}")


def _gan(config: Config, subject: str, options: SampleOptions) -> Draw:
    stage, weight = networks.last(config, subject), 1.0
    if options.method == PROGRESSIVE:
        grown = budget.growth(config, subject)
        stage, weight = grown.at(grown.total - 1)
    game = networks.trained_game(config, subject, stage)

    def draw(params: Params, index: jax.Array) -> jax.Array:
        return game.draw(params, jax.random.key(options.seed), index, jnp.float32(weight))

    return devices.jit(draw)


def _diffusion(config: Config, subject: str, options: SampleOptions) -> Draw:
    steps = config.many if options.steps is None else options.steps
    program = drawing_programs.label_program(functools.partial(networks.denoiser, config), subject, steps, "ddim")

    def draw(params: Params, index: jax.Array) -> jax.Array:
        label, scale, temperature = jnp.zeros(index.shape, jnp.int32), 1.0, 1.0
        images: jax.Array = program(params, jax.random.key(options.seed), scale, temperature, index, label)
        return images

    return draw


COMMAND = SampleCommand(SampleOptions, _sample)
