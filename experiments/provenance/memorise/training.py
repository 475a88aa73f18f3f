"""What each network of a seed learns, the training of all of them at once, and their samples on a grid of steps."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from experiments.provenance import side_by_side
from experiments.provenance.side_by_side import SCHEDULE, SHAPE
from gendiff import diffusion
from gendiff.commands.images.image_training import IMAGES
from gendiff.core import files, npz
from gendiff.core.errors import ConfigError
from gendiff.core.types import Loss, Params
from gendiff.data import digits
from gendiff.diffusion import grids, objectives, parameterization, samplers, sampling, weighting
from gendiff.diffusion.types import Denoiser
from gendiff.runs import devices, drawing, ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Natural, Positive, Seed, Several
from gendiff.runs.run_folder import RunFolder

EMA = 0.998
"""Decay per step of the parameters that are sampled from."""
REPEATED = "set with copies"
Size = Annotated[int, msgspec.Meta(ge=8, le=IMAGES)]


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of sets and of training; each trains a network for every set, all of them as one program."""
    sizes: Distinct[Size] = (64, 128, 256, 512, 1024)
    """Pictures of each set; the smaller sets lie in the larger ones."""
    halves: Distinct[Size] = (64, 512)
    """Sizes that have a second set, disjoint from the first."""
    inside: Size = 512
    """Different pictures of the set in which some stand many times; its de-duplicated form is the set of this size."""
    copies: Distinct[Annotated[int, msgspec.Meta(ge=1, le=1024)]] = (1, 2, 4, 8, 16, 32)
    """How often they stand there."""
    copied: Several = 16
    """How many pictures stand there as often as each of these numbers."""
    train_steps: Count = 10000
    """Optimizer steps, the same for all sets."""
    first: Count = 250
    """The first step at which samples are drawn; from one such step to the next their number grows by half of an
    octave.
    """
    batch: Count = 64
    """Pictures per step."""
    width: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 256
    """Hidden numbers of a layer."""
    learning_rate: Positive = 2e-3
    """Of Adam, constant after the warm-up."""
    warmup: Natural = 200
    """Steps until it is reached."""
    samples: Several = 500
    """Samples of each network at each step of the grid."""
    last_samples: Several = 2000
    """The same at the last step."""
    sampling_steps: Several = 30
    """DDPM steps, which are DDIM steps with fresh noise."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""


def grid(config: Config) -> tuple[int, ...]:
    """The steps at which samples are drawn, the last one included."""
    steps, at = [], float(config.first)
    while round(at) < config.train_steps:
        steps.append(round(at))
        at *= 2**0.5
    return (*steps, config.train_steps)


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name in ("sizes", "halves", "copies"):
        ranges.rising(name, getattr(config, name))
        if len(getattr(config, name)) < 2:
            words = f"--{name} {ranges.as_typed(getattr(config, name))} must be two or more"
            raise ConfigError(f"{words}: what grows with them is asked for")
    for size in (*config.halves, config.inside):
        ranges.among("inside" if size == config.inside else "halves", size, "sizes", config.sizes)
    if 2 * config.halves[-1] > IMAGES:
        words = f"--halves {ranges.as_typed(config.halves)}: two disjoint sets of the last"
        raise ConfigError(f"{words} need more than {IMAGES} digits")
    if len(config.copies) * config.copied > config.inside:
        raise ConfigError(f"--copied {config.copied} of each of --copies are more than --inside {config.inside}")
    ranges.at_most("batch", config.batch, "sizes", config.sizes[0])
    ranges.at_most("first", config.first, "train-steps", config.train_steps)
    if config.warmup >= config.train_steps:
        raise ConfigError(
            f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps"
        )


def sets(config: Config, seed: int) -> dict[str, np.ndarray]:
    """By name the training digits that each network of a seed learns: each size, the second halves, and the set with
    copies.
    """
    order = np.random.default_rng(seed).permutation(IMAGES)
    first = {f"{size}": order[:size] for size in config.sizes}
    second = {f"{size}, second half": order[IMAGES - size :] for size in config.halves}
    return {**first, **second, REPEATED: np.repeat(order[: config.inside], times(config))}


def distinct(rows: np.ndarray) -> np.ndarray:
    """The rows without copies, in their order."""
    return np.array(list(dict.fromkeys(rows.tolist())))


def times(config: Config) -> np.ndarray:
    """(inside,) how often each picture of the set with copies stands there: `copied` of each number, then those that
    stand once.
    """
    marked = np.repeat(config.copies, config.copied)
    return np.concatenate([marked, np.ones(config.inside - len(marked), np.int64)])


FORM = parameterization.clean()
predict = functools.partial(side_by_side.predict, pace=0.02, standardised=True)
"""An MLP that predicts the clean picture. In this form it memorises in far fewer steps than with the flow's own
target.
"""
LOSS: Loss = objectives.denoising(predict, SCHEDULE, FORM, levels=weighting.stratified_levels(), drop_condition=0.0)


def draw(config: Config, denoise: Denoiser, index: jax.Array) -> jax.Array:
    """Samples (n, 8, 8, 1) of DDPM: sample i takes the same noise with every denoiser, at every step."""
    levels = grids.trailing(SCHEDULE, config.sampling_steps)
    return sampling.sample(jax.random.key(1), denoise, samplers.ddim(eta=1.0), levels, SHAPE, index)


def draws(config: Config) -> Callable[[Params, jax.Array], jax.Array]:
    """(parameters, index (n,)) -> samples (networks, n, 8, 8, 1)."""

    def of_one(params: Params, index: jax.Array) -> jax.Array:
        return draw(config, diffusion.from_network(predict, params, FORM), index)

    return devices.jit(jax.vmap(of_one, in_axes=(0, None)))


def losses() -> Callable[[Params, jax.Array, jax.Array], jax.Array]:
    """(parameters, learned (b, networks, 8, 8, 1), held-out (h, 8, 8, 1)) -> (2, networks) mean losses over 8 draws."""

    def both(params: Params, learned: jax.Array, held_out: jax.Array) -> jax.Array:
        fresh = jnp.broadcast_to(held_out[:, None], (held_out.shape[0], learned.shape[1], *SHAPE))

        def mean(key: jax.Array) -> jax.Array:
            pairs = zip(jax.random.split(key), (learned, fresh), strict=True)
            return jnp.stack([side_by_side.each_loss(params, each, images, LOSS) for each, images in pairs])

        return jnp.mean(jax.lax.map(mean, jax.random.split(jax.random.key(2), 8)), axis=0)

    return devices.jit(both)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """At one step. samples: (networks, n, 64). seen, held_out: (networks,) losses on training and on held-out
    pictures.
    """

    samples: np.ndarray
    seen: np.ndarray
    held_out: np.ndarray


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """From each step of the grid to the next, and draws there: what has been drawn is not drawn again."""
    split, drawn_by, loss = digits.load(), draws(config), losses()
    objective = side_by_side.SumOfLosses(LOSS)
    optimizer = side_by_side.optimizer(config.learning_rate, config.warmup, 1.0)
    for seed in config.seeds:
        rows = list(sets(config, seed).values())
        init = side_by_side.starts(config.width, len(rows))
        program = training_loop.compile_loss(objective, optimizer, init, folder, ema=(EMA,), ema_warm_up=True)
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
                checkpoint_every=2000,
                log_every=100,
            )
            count = config.last_samples if step == config.train_steps else config.samples
            samples = drawing.finite(drawn_by(state.ema, jnp.arange(count)), f"seed {seed}, step {step}")
            learned = np.stack([split.train_images[each[: min(config.sizes)]] for each in rows], 1)
            both = np.asarray(loss(state.ema, jnp.asarray(learned), jnp.asarray(split.held_out_images)))
            with files.replacing(_file(folder, seed, step)) as file:
                np.savez(file, samples=samples.reshape(len(rows), count, -1), seen=both[0], held_out=both[1])


def read(folder: RunFolder, seed: int, step: int) -> Drawn:
    """What was drawn at one step. DataError where it is missing or damaged."""
    file = npz.existing(_file(folder, seed, step), ".npz")
    return Drawn(**npz.guarded(file, lambda: npz.read(file, ["samples", "seen", "held_out"])))


def _file(folder: RunFolder, seed: int, step: int) -> Path:
    return folder.path / f"samples_seed_{seed}_step_{step}.npz"
