"""The reference of digits, then every policy: each goes on where it was."""

import functools
from typing import Any

import jax
import numpy as np

from experiments.preferences.ddpo import policy_training, rewarded
from experiments.preferences.ddpo.config import ARMS, DDPO, SHUFFLED, Config, policy, seeds, updates
from experiments.preferences.ddpo.rewarded import RewardedTask
from gendiff.core.types import Params
from gendiff.runs import meshes, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training.checkpoints import Checkpoints


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every arm with every seed of it."""
    rewarded.train_base(config, folder, progress)
    mesh = meshes.build(folder.mesh, ())
    task_of = rewarded.tasks(config, folder)
    steps: dict[tuple[int, str], Any] = {}
    for reward, how in ARMS:
        # the control differs from what it controls in its batches alone
        task, way = task_of[reward], DDPO if how == SHUFFLED else how
        run = training_loop.compile_step(
            steps.setdefault((id(task), way), policy_training.update(config, task, way)),
            policy_training.fresh(config, task, reward),
            mesh,
        )
        for seed in seeds(config, reward, how):
            progress.line(f"train {reward}, {how}, seed {seed}")
            training_loop.train(
                run,
                functools.partial(batch_at, policy(config, reward).batch, how, seed),
                seed=seed,
                steps=updates(config, reward, how),
                folder=inside(folder, reward, how),
                progress=progress,
                checkpoint_every=20,
                log_every=1,
            )


def batch_at(count: int, how: str, seed: int, step: int) -> dict[str, np.ndarray]:
    """The samples of an update by their numbers, none of which comes twice, and whose reward each of them gets."""
    order = np.arange(count, dtype=np.int32)
    if how == SHUFFLED:
        order = np.random.default_rng((seed, step)).permutation(order)
    return {"index": step * count + np.arange(count, dtype=np.int32), "order": order}


def restore(task: RewardedTask, folder: RunFolder, reward: str, how: str, seed: int) -> Params:
    """The parameters of the network after a policy's training. Raises as `Checkpoints` does."""
    with Checkpoints(inside(folder, reward, how).checkpoints(seed), read_only=True) as store:
        learned = store.restore_subtree(None, "policy/params", jax.eval_shape(task.start, jax.random.key(0))).state
    return task.merged(learned, task.reference)


def inside(folder: RunFolder, reward: str, how: str) -> RunFolder:
    """Where an arm keeps its checkpoints and metrics."""
    return folder.inside(f"{reward}_{how}")
