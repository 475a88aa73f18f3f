"""Every method on every target: all seeds of one training by one program, and their samples at places of it."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.adversarial import recipes, recipes_together, samples_over_training, targets
from experiments.adversarial.gan_modes.config import Config, numbers, shape
from experiments.adversarial.methods import title
from experiments.adversarial.recipes import Recipe
from gendiff.core.errors import NonFiniteError
from gendiff.core.types import Params
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

KEPT = 36
"""Pictures of each seed that are kept; of the others the mode is."""


@dataclass(frozen=True)
class Drawn:
    """At one place of a training. samples: (seeds, n, size) points, or the first pictures. labels: (seeds, n) modes
    seen in pictures.
    """

    samples: np.ndarray
    labels: np.ndarray


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """From each place to the next, and draws there: what has been drawn is not drawn again."""
    for target in config.targets:
        for method in config.methods:
            _train(config, folder, progress, target, method)


def recipe(config: Config, target: str, method: str) -> Recipe:
    """How a method learns a target."""
    return numbers(config, target).recipe(method, shape(config, target).size, config.ema, config.sampling_steps)


def steps(config: Config, target: str, method: str) -> int:
    """Steps of a training: as many as the operations of a training allow, at least one."""
    return max(1, round(numbers(config, target).flops / recipe(config, target, method).flops))


def inside(folder: RunFolder, target: str, method: str) -> RunFolder:
    """Where a training keeps its checkpoints and metrics."""
    return folder.inside(f"{target.replace(' ', '_')}_{method.replace('-', '_')}")


def restore(config: Config, folder: RunFolder, target: str, method: str, *, averaged: bool = True) -> Params:
    """The parameters that samples are drawn from, with an axis of seeds in front, as `recipes_together.restore` gives
    them.
    """
    method_recipe = recipe(config, target, method)
    return recipes_together.restore(
        method_recipe, len(config.seeds), inside(folder, target, method), config.seeds[0], averaged=averaged
    )


def read(folder: RunFolder, target: str, method: str, share: float) -> Drawn:
    """What was drawn at a share of the training. DataError where it is missing or damaged."""
    return Drawn(**samples_over_training.read(inside(folder, target, method), share, ["samples", "labels"]))


def unaveraged(config: Config, folder: RunFolder, target: str, method: str) -> Drawn:
    """What the parameters themselves draw at the end, without their average."""
    params = restore(config, folder, target, method, averaged=False)
    return _drawn(config, target, recipe(config, target, method), params, last=True)


def _train(config: Config, folder: RunFolder, progress: Progress, target: str, method: str) -> None:
    method_recipe, where, total = (
        recipe(config, target, method),
        inside(folder, target, method),
        steps(config, target, method),
    )
    if not samples_over_training.missing(where, config.shares):
        return
    progress.line(f"{target}, {title(method)}: {total} steps for {len(config.seeds)} seeds")

    def draw(state: Any, share: float) -> dict[str, np.ndarray]:
        return vars(_drawn(config, target, method_recipe, state.ema, last=share == 1))

    recipes_together.train(
        *(method_recipe, config.seeds, targets.batches(target, config.seeds, method_recipe.rows), draw),
        shares=config.shares,
        total=total,
        folder=where,
        progress=progress,
        checkpoint_every=2000,
        log_every=20,
        most_nonfinite=100,
    )


def _drawn(config: Config, target: str, method_recipe: Recipe, params: Params, last: bool) -> Drawn:
    together = numbers(config, target).samples
    count = numbers(config, target).last_samples if last else together
    parts = [
        recipes.draws(method_recipe)(params, jnp.arange(begin, begin + together)) for begin in range(0, count, together)
    ]
    samples = np.concatenate(parts, axis=1)[:, :count]
    if not np.isfinite(samples).all():
        raise NonFiniteError(f"{target}: samples are not finite")
    if target != targets.STACKED:
        return Drawn(samples, np.zeros((len(samples), 0), np.int16))
    return Drawn(samples[:, :KEPT], np.stack([targets.modes_of(each) for each in samples]).astype(np.int16))
