"""Draws in parts of one size: one compiled program serves all of them, and each part is handed on as soon as it is there."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.framework import devices
from experiments.framework.progress import Progress


def jit(draw: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` with the compiler options of this backend."""
    return jax.jit(draw, compiler_options=devices.compiler_options(), **options)


def parts(
    draw: Callable[..., Any], index: np.ndarray, *aligned: np.ndarray, together: int, title: str, progress: Progress
) -> Iterator[tuple[slice, Any]]:
    """(places within `index`, what was drawn there), part by part.

    draw: (index, *aligned) -> a pytree of arrays (together, …); best a function jitted by `jit`, its other arguments bound.
    index: (n,) and each of `aligned` (n, …). Every part has `together` samples; the last repeats sample n - 1, and the repeats are cut off.
    """
    size = min(together, len(index))
    with progress.task(title, len(index)) as task:
        for begin in range(0, len(index), size):
            rows = np.minimum(np.arange(begin, begin + size), len(index) - 1)
            drawn = draw(*(jnp.asarray(array[rows]) for array in (index, *aligned)))
            place = slice(begin, min(begin + size, len(index)))
            yield place, jax.tree.map(lambda leaf, kept=place.stop - place.start: np.asarray(leaf)[:kept], drawn)
            task.update(place.stop)


def whole(draw: Callable[..., Any], index: np.ndarray, *aligned: np.ndarray, together: int, title: str, progress: Progress) -> Any:
    """All parts of `parts` as one: a pytree of arrays (n, …)."""
    drawn = [part for _, part in parts(draw, index, *aligned, together=together, title=title, progress=progress)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *drawn)
