"""Which pictures each network of a seed learns, and how often."""

from dataclasses import dataclass

import numpy as np

from experiments.provenance.memorise.config import Config
from gendiff.commands.images.image_training import IMAGES

REPEATED = "some many times"


@dataclass(frozen=True)
class Learned:
    """What one network learns. rows: (n,) of the training digits, those of copies again."""

    name: str
    rows: np.ndarray

    @property
    def distinct(self) -> np.ndarray:
        """The rows without copies, in their order."""
        return np.array(list(dict.fromkeys(self.rows.tolist())))


def of_seed(config: Config, seed: int) -> tuple[Learned, ...]:
    """All sets of a seed: those of each size, the second halves, and the one with copies."""
    order = np.random.default_rng(seed).permutation(IMAGES)
    first = [Learned(f"{size}", order[:size]) for size in config.sizes]
    second = [Learned(f"{size}, second half", order[IMAGES - size :]) for size in config.halves]
    return (*first, *second, Learned(REPEATED, np.repeat(order[: config.inside], times(config))))


def times(config: Config) -> np.ndarray:
    """(inside,) how often each picture of the set with copies stands there: first `copied` of each number, then those that stand once."""
    marked = np.repeat(config.copies, config.copied)
    return np.concatenate([marked, np.ones(config.inside - len(marked), np.int64)])


def place(config: Config, name: str) -> int:
    """Which of the networks of a seed learned the set of this name."""
    return [each.name for each in of_seed(config, 0)].index(name)
