"""How samples move between modes while a training goes on: where they are by turns, and how far they travel.

The samples of one training come from the same noise at all times, so those of a model that rests do not move.
"""

import numpy as np

from experiments.adversarial import targets
from experiments.adversarial.targets import GRID
from gendiff.metrics import modes


def masses(samples: np.ndarray) -> np.ndarray:
    """(…, modes) the share of samples (…, n, 2) that are nearest to each mode, good or not."""
    centres = targets.POINTS[GRID]().centres
    rows = samples.reshape(-1, *samples.shape[-2:])
    nearest = [((each[:, None] - centres) ** 2).sum(-1).argmin(-1) for each in rows]
    counts = np.stack([np.bincount(each, minlength=len(centres)) for each in nearest])
    return counts.reshape(*samples.shape[:-2], len(centres)) / samples.shape[-2]


def travelled(shares: np.ndarray) -> np.ndarray:
    """(places, …) how far samples have travelled at each place, from their shares (places, …, modes).

    From one place to the next it is the total variation distance: the least share of samples that must go to another
    mode. A straight way from one law to another is at most 1 long.
    """
    steps = np.abs(np.diff(shares, axis=0)).sum(-1) / 2
    return np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])


def covered(samples: np.ndarray) -> np.ndarray:
    """(places, …, modes) bool: whether the samples (places, …, n, 2) cover a mode."""
    count = samples.shape[-2]
    rows = samples.reshape(-1, count, 2)
    enough = modes.least_count(count, targets.known(GRID))
    counts = [targets.report(GRID, each, np.zeros(0, np.int16), count).counts for each in rows]
    return np.stack(counts).reshape(*samples.shape[:-2], -1) >= enough


def returns(is_covered: np.ndarray) -> np.ndarray:
    """(…,) how often a mode that had been lost is covered again, from (places, …, modes)."""
    begins = is_covered[1:] & ~is_covered[:-1]
    had_been = np.logical_or.accumulate(is_covered, axis=0)[:-1]
    return (begins & had_been).sum((0, -1))
