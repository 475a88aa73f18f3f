"""Which rows make up the batch of a step: a pure function of (seed, step), so that a resumed run sees the same data."""

import functools

import numpy as np
from jaxtyping import Int32, Int64

from gendiff.core import checks


def batch_at(size: int, batch: int, seed: int, step: int) -> Int32[np.ndarray, "b"]:
    """Find the rows of one step, drawn without replacement within an epoch.

    Also known as: shuffling, deterministic data loader.

    An epoch is size // batch steps through one permutation. The last size % batch rows of the permutation sit that
    epoch out; in another epoch others do. The first call of an epoch costs one permutation of `size`; those of the last
    two epochs are kept.

    Args:
        size: rows of the data, 1 … 2³¹ - 1.
        batch: rows per step, 1 … size.
        seed: 0 … 2³² - 1.
        step: 0, 1, …
    Returns:
        (batch,) indices 0 … size - 1.

    Raises:
        ValueError: for numbers outside these ranges.
    """
    checks.integer("size", size, 1, 2**31 - 1)
    checks.integer("batch", batch, 1)
    checks.integer("seed", seed, 0, 2**32 - 1)
    checks.integer("step", step, 0)
    if batch > size:
        raise ValueError(
            f"batch = {batch} is larger than the {size} rows it is drawn from; use a batch of at most {size}"
        )
    size, batch = int(size), int(batch)
    epoch, turn = divmod(int(step), size // batch)
    return _order(size, int(seed), epoch)[turn * batch : (turn + 1) * batch].copy()


def epoch_order(size: int, seed: int, epoch: int) -> Int32[np.ndarray, "n"]:
    """Draw the permutation of 0…size-1 that epoch number `epoch` walks through."""
    return np.random.default_rng((int(seed), int(epoch))).permutation(size).astype(np.int32)


def endless_at(batch: int, step: int) -> Int64[np.ndarray, "b"]:
    """Number the examples of step 0, 1, … of a set without end, such as `shapes`: each number once, in order."""
    checks.integer("batch", batch, 1)
    checks.integer("step", step, 0)
    return np.arange(int(batch), dtype=np.int64) + int(step) * int(batch)


@functools.lru_cache(maxsize=2)
def _order(size: int, seed: int, epoch: int) -> np.ndarray:
    return epoch_order(size, seed, epoch)
