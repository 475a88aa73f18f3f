"""Training and sampling that are killed over and over, beside the same commands left alone."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from experiments.diffusion.batch_jobs import lives
from experiments.diffusion.batch_jobs.config import Config
from gendiff.runs import shards
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training.checkpoints import Checkpoints

KILLED = "killed"
"""Folder of the commands that are killed, within the run."""


@dataclasses.dataclass(frozen=True)
class Survived:
    """What is left after kills. lives: seconds of each killed process. different: bytes that differ from an undisturbed
    command.
    """

    lives: list[float]
    different: int


def train(config: Config, folder: RunFolder, progress: Progress) -> list[Survived]:
    """One run after the other, each with a seed of its own, until there have been enough kills."""
    rng, survived, seed = np.random.default_rng(0), [], 0
    done = 0
    while done < config.kills:
        names = [folder.path / KILLED / f"train_{seed}_{kind}" for kind in ("alone", "killed")]
        alone, killed = (_train_words(config, seed, name) for name in names)
        names[0].parent.mkdir(exist_ok=True)
        log = names[0].parent / f"train_{seed}.log"
        progress.line(f"training run {seed}: left alone, then killed at random moments ({done} kills so far)")
        lives.run(alone, log)
        ends = lives.until_done(killed, log, rng, config.kills - done, config.shortest, config.longest)
        survived.append(Survived(ends, _trained_differently(seed, *names)))
        done, seed = done + len(ends), seed + 1
    return survived


def sample(config: Config, folder: RunFolder, progress: Progress) -> Survived:
    """A job of samples in shards: left alone, and killed. Nothing where the configuration asks for no samples."""
    if config.killed_samples == 0:
        return Survived([], 0)
    where = folder.path / KILLED
    where.mkdir(exist_ok=True)
    log = where / "sample.log"
    alone, killed = (_sample_words(config, folder, where / f"samples_{kind}") for kind in ("alone", "killed"))
    progress.line("a job of samples: left alone, then killed at random moments")
    lives.run(alone, log)
    ends = lives.until_done(killed, log, np.random.default_rng(1), config.sample_kills, config.shortest, config.longest)
    first, second = (shards.existing(where / f"samples_{kind}") for kind in ("alone", "killed"))
    pairs = [(first.path(number), second.path(number)) for number in range(first.manifest.count)]
    return Survived(ends, sum(_bytes_between(*pair) for pair in pairs))


def _train_words(config: Config, seed: int, out: Path) -> list[str]:
    numbers = ["--train-steps", str(config.killed_steps), "--checkpoint-every", str(config.killed_every)]
    return ["run", "digits", "--smoke", "--quiet", "--seed", str(seed), *numbers, "--out", str(out)]


def _sample_words(config: Config, folder: RunFolder, out: Path) -> list[str]:
    size = [
        "--num",
        str(config.killed_samples),
        "--shard-size",
        str(config.killed_shard_size),
        "--together",
        str(config.killed_shard_size),
    ]
    return [
        "sample",
        str(folder.path),
        "--quiet",
        *size,
        "--steps",
        str(config.sampling_steps),
        "--sampler",
        "ddim",
        "--out",
        str(out),
    ]


def _trained_differently(seed: int, alone: Path, killed: Path) -> int:
    """Bytes of metrics and of the last checkpoint's arrays that differ."""
    states = []
    for path in (alone, killed):
        with Checkpoints(RunFolder(path).checkpoints(seed), read_only=True) as store:
            restored = store.restore(None, store.contents())
            states.append(
                {"step": np.array(restored.step)} | {name: _raw(leaf) for name, leaf in restored.state.items()}
            )
    changed = sum(int(np.sum(left != right)) for left, right in zip(*(state.values() for state in states), strict=True))
    return changed + _bytes_between(alone / "metrics.jsonl", killed / "metrics.jsonl")


def _raw(leaf: jax.Array) -> np.ndarray:
    values = jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return np.frombuffer(np.asarray(values).tobytes(), np.uint8)


def _bytes_between(first: Path, second: Path) -> int:
    left, right = (np.frombuffer(path.read_bytes(), np.uint8) for path in (first, second))
    return abs(len(left) - len(right)) + int(np.sum(left[: len(right)] != right[: len(left)]))
