"""The training of all networks of a seed at once, and their samples on a grid of steps."""

import functools
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from experiments.provenance import side_by_side
from experiments.provenance.memorise import network, sets
from experiments.provenance.memorise.config import Config, grid
from experiments.provenance.side_by_side import SumOfLosses
from gendiff.core import files, npz
from gendiff.data import digits
from gendiff.runs import drawing, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Drawn:
    """At one step. samples: (networks, n, 64). seen, held_out: (networks,) losses on training and on held-out pictures."""

    samples: np.ndarray
    seen: np.ndarray
    held_out: np.ndarray


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """From each step of the grid to the next, and draws there: what has been drawn is not drawn again."""
    split, draw, loss = digits.load(), network.draws(config), network.losses()
    objective = SumOfLosses(network.LOSS)
    optimizer = side_by_side.optimizer(config.learning_rate, config.warmup, config.clip)
    for seed in config.seeds:
        rows = [each.rows for each in sets.of_seed(config, seed)]
        init = side_by_side.starts(config.width, len(rows))
        program = training_loop.compile_loss(objective, optimizer, init, folder, ema=(config.ema,), ema_warm_up=True)
        for step in grid(config):
            if _file(folder, seed, step).exists():
                continue
            state = training_loop.train(
                program,
                functools.partial(side_by_side.batch_at, split.train_images, rows, config.batch, seed),
                seed=seed,
                steps=step,
                folder=folder,
                progress=progress,
                checkpoint_every=config.checkpoint_every,
                log_every=config.log_every,
            )
            count = config.last_samples if step == config.train_steps else config.samples
            samples = drawing.finite(draw(state.ema, jnp.arange(count)), f"seed {seed}, step {step}")
            seen = np.stack([split.train_images[each[: min(config.sizes)]] for each in rows], 1)
            both = np.asarray(loss(state.ema, jnp.asarray(seen), jnp.asarray(split.held_out_images)))
            _write(_file(folder, seed, step), Drawn(samples.reshape(len(rows), count, -1), *both))


def read(folder: RunFolder, seed: int, step: int) -> Drawn:
    """What was drawn at one step. DataError where it is missing or damaged."""
    file = npz.existing(_file(folder, seed, step), ".npz")
    return Drawn(**npz.guarded(file, lambda: npz.read(file, ["samples", "seen", "held_out"])))


def _file(folder: RunFolder, seed: int, step: int) -> Path:
    return folder.path / f"samples_seed_{seed}_step_{step}.npz"


def _write(path: Path, drawn: Drawn) -> None:
    with files.replacing(path) as file:
        np.savez(file, samples=drawn.samples, seen=drawn.seen, held_out=drawn.held_out)
