"""Stacked digits: three digits as the channels of one picture, so that there are 1,000 modes which a classifier of
digits can count.

Digits a, b and c in the channels make mode 100 a + 10 b + c. Each channel is drawn by itself, uniformly over the
pictures, with replacement. Classes of digits are not quite equally frequent, and `law` has the exact share of each
mode.
"""

import jax
import numpy as np
from jaxtyping import Float64, Int32, Integer, Shaped

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike
from gendiff.data.images import Images

CLASSES = 10
CHANNELS = 3
MODES = CLASSES**CHANNELS


def batch_at(
    images: Shaped[np.ndarray, "n h w 1"], labels: Shaped[np.ndarray, "n"], batch: int, seed: int, step: int
) -> Images:
    """Make the batch of a step: a function of (seed, step) and its size.

    Args:
        images: (n, h, w, 1) of one digit each, such as `digits.load().train_images`.
        labels: (n,) their classes 0 … 9.
        batch: pictures per step, >= 1.
        seed: 0 … 2³² - 1.
        step: 0, 1, …
    Returns:
        `clean` (batch, h, w, 3), with the modes as `labels`.

    Raises:
        TypeError: for labels that are no integers.
        ValueError: for numbers out of range, and another shape.
    """
    if len(labels) != len(images):
        raise ValueError(f"labels has {len(labels)} entries, but there are {len(images)} images")
    rows = rows_at(len(images), batch, seed, step)
    checks.ids("labels", labels, CLASSES)
    return Images(np.asarray(stack(images, rows)), np.asarray(mode_of(np.asarray(labels, np.int32)[rows])))


def rows_at(size: int, batch: int, seed: int, step: int) -> Int32[np.ndarray, "b 3"]:
    """Draw which digits the pictures of a step are made of.

    Args:
        size: how many digits there are, 1 … 2³¹ - 1.
        batch: pictures per step, >= 1.
        seed: 0 … 2³² - 1.
        step: 0, 1, …
    Returns:
        (batch, 3) indices 0 … size - 1.

    Raises:
        ValueError: for numbers out of range.
    """
    checks.integer("size", size, 1, 2**31 - 1)
    checks.integer("batch", batch, 1)
    checks.integer("seed", seed, 0, 2**32 - 1)
    checks.integer("step", step, 0)
    return np.random.default_rng((int(seed), int(step))).integers(size, size=(batch, CHANNELS), dtype=np.int32)


def stack(images: Shaped[ArrayLike, "n h w 1"], rows: Integer[ArrayLike, "b 3"]) -> Shaped[ArrayLike, "b h w 3"]:
    """Make pictures of three digits each, one per channel; under `jit` too.

    Args:
        images: (n, h, w, 1).
        rows: (b, 3) which digit each channel shows, 0 … n - 1.

    Raises:
        ValueError: for another shape.
    """
    if np.ndim(images) != 4 or images.shape[-1] != 1:
        raise ValueError(f"images must be (n, h, w, 1), one digit each, got shape {np.shape(images)}")
    _check_columns("rows", rows)
    numbers = arrays.namespace(rows)
    return numbers.moveaxis(numbers.asarray(images)[..., 0][rows], 1, -1)


def mode_of(labels: Integer[ArrayLike, "b 3"]) -> Integer[ArrayLike, "b"]:
    """Number the mode of pictures by the digits in their channels, 100 a + 10 b + c; under `jit` too.

    Args:
        labels: (b, 3) classes 0 … 9.

    Raises:
        TypeError: for labels that are no integers.
        ValueError: for another shape, and a label out of range.
    """
    _check_columns("labels", labels)
    checks.ids("labels", labels, CLASSES)
    return 100 * labels[:, 0] + 10 * labels[:, 1] + labels[:, 2]


def channels(images: Shaped[ArrayLike, "b h w 3"]) -> Shaped[ArrayLike, "n h w 1"]:
    """Take pictures apart for a classifier of digits: (3 b, h, w, 1), the channels of the first picture first.

    With a judge of `metrics.classifier_accuracy`, the modes are
    `mode_of(seen(judge, channels(images)).reshape(-1, 3))`.

    Raises:
        ValueError: for another shape.
    """
    if np.ndim(images) != 4 or images.shape[-1] != CHANNELS:
        raise ValueError(f"images must be (b, h, w, {CHANNELS}), got shape {np.shape(images)}")
    first_axis = arrays.namespace(images).moveaxis(images, -1, 1)
    return first_axis.reshape(-1, *images.shape[1:3], 1)


def law(labels: Shaped[ArrayLike, "n"]) -> Float64[np.ndarray, "1000"]:
    """Compute the exact share of each mode (1000,): products of the shares of the classes.

    Args:
        labels: (n,) classes 0 … 9 of the digits that are stacked.

    Raises:
        TypeError: for labels that are no integers.
        ValueError: for no label, and one out of range.
    """
    checks.ids("labels", labels, CLASSES)
    if not len(labels):
        raise ValueError("labels is empty: without digits there are no modes")
    share = np.bincount(np.asarray(labels), minlength=CLASSES) / len(labels)
    return np.einsum("a,b,c->abc", share, share, share).reshape(MODES)


def _check_columns(name: str, table: np.ndarray | jax.Array) -> None:
    if np.ndim(table) != 2 or np.shape(table)[1] != CHANNELS:
        raise ValueError(f"{name} must be (b, {CHANNELS}), one column per channel, got shape {np.shape(table)}")
