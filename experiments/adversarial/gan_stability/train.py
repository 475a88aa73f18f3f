"""Every method on the grid: all seeds at all learning rates by one program, and their samples at places of the
training.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.adversarial import recipes, recipes_together, samples_over_training, targets
from experiments.adversarial.gan_stability.config import Config, followed
from experiments.adversarial.methods import title
from experiments.adversarial.recipes import Recipe
from experiments.adversarial.targets import GRID
from gendiff.core.types import Params
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

FAR = 1e6
"""Where a sample stands that is not finite: a run that has left all numbers behind has failed, and the others are
judged.
"""


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """From each place to the next, and draws there: what has been drawn is not drawn again."""
    for method in config.methods:
        _train(config, folder, progress, method)


def runs(config: Config) -> list[tuple[float, int]]:
    """(pace, seed) of each run, in the order in which a training holds them."""
    return [(pace, seed) for pace in config.paces for seed in config.seeds]


def recipe(config: Config, method: str) -> Recipe:
    """How a method learns the grid."""
    return config.points.recipe(method, 2, config.ema, config.sampling_steps, paced=True)


def steps(config: Config, method: str) -> int:
    """Steps of a training: as many as the operations of a training allow, at least one."""
    return max(1, round(config.points.flops / recipe(config, method).flops))


def restore(config: Config, folder: RunFolder, method: str) -> Params:
    """The parameters that samples are drawn from; every leaf has an axis of runs in front. Raises as
    `training_loop.restore_ema` does.
    """
    return recipes_together.restore(
        recipe(config, method), len(runs(config)), _place(folder, method), config.seeds[0], 1.0
    )


def read(config: Config, folder: RunFolder, method: str, share: float) -> np.ndarray:
    """Samples (paces, seeds, n, 2) at a share of the training. DataError where they are missing or damaged."""
    samples = samples_over_training.read(_place(folder, method), share, ["samples"])["samples"]
    return samples.reshape(len(config.paces), len(config.seeds), *samples.shape[1:])


def over_time(config: Config, folder: RunFolder, method: str) -> np.ndarray:
    """Samples (places, paces, seeds, n, 2) of the parameters themselves at `config.followed`. Raises as `read`."""
    where = _followed(_place(folder, method))
    samples = [samples_over_training.read(where, share, ["samples"])["samples"] for share in followed(config)]
    return np.stack(samples).reshape(len(samples), len(config.paces), len(config.seeds), *samples[0].shape[1:])


def losses(config: Config, folder: RunFolder, method: str) -> np.ndarray:
    """(paces, seeds, steps) the loss of the critic, or of diffusion, in every step; NaN where it was not finite."""
    lines = _place(folder, method).read_metrics(config.seeds[0])
    values = np.array([[line[f"loss_{number}"] for line in lines] for number in range(len(runs(config)))], np.float64)
    return np.where(np.isfinite(values), values, np.nan).reshape(len(config.paces), len(config.seeds), -1)


def bounded(samples: np.ndarray) -> np.ndarray:
    """Samples (…, 2) without any that is not finite or beyond all: those are far from every mode."""
    return np.where(np.isfinite(samples).all(-1, keepdims=True), np.clip(samples, -FAR, FAR), np.float32(FAR))


def _train(config: Config, folder: RunFolder, progress: Progress, method: str) -> None:
    method_recipe, where, total, all_runs = (
        recipe(config, method),
        _place(folder, method),
        steps(config, method),
        runs(config),
    )
    if not samples_over_training.missing(where, config.shares):
        return
    progress.line(f"{title(method)}: {total} steps for {len(config.seeds)} seeds at {len(config.paces)} learning rates")
    paces, seeds = zip(*all_runs, strict=True)
    draws = recipes.draws(method_recipe)

    def look(step: int, state: Any) -> None:
        for share in followed(config):
            if samples_over_training.steps_at(share, total) == step:
                samples = bounded(np.asarray(draws(state.params, jnp.arange(config.points.samples))))
                samples_over_training.write(_followed(where), share, {"samples": samples})

    def draw(state: Any, share: float) -> dict[str, np.ndarray]:
        look(samples_over_training.steps_at(share, total), state)  # a run may be killed between a checkpoint and a look
        count = config.points.last_samples if share == 1 else config.points.samples
        return {"samples": bounded(np.asarray(draws(state.ema, jnp.arange(count))))}

    recipes_together.train(
        *(method_recipe, seeds, targets.batches(GRID, seeds, method_recipe.rows), draw),
        shares=config.shares,
        total=total,
        folder=where,
        progress=progress,
        by_seed=(paces,),
        checkpoint_every=total,
        log_every=1,
        most_nonfinite=1000,
        on_state=look,
    )


def _followed(folder: RunFolder) -> RunFolder:
    return folder.inside("followed")


def _place(folder: RunFolder, method: str) -> RunFolder:
    return folder.inside(method.replace("-", "_"))
