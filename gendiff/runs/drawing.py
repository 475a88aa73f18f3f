"""Draws in parts of one size: one compiled program serves all of them, and each part is handed on as soon as it is
there.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core.errors import NonFiniteError
from gendiff.core.types import ArrayLike, PyTree
from gendiff.runs.progress import Progress, Task
from gendiff.runs.shards import Shards

Tag = TypeVar("Tag")


def stream(
    draw: Callable[..., PyTree],
    groups: Iterable[tuple[Tag, tuple[np.ndarray, ...]]],
    *,
    together: int,
    padded: bool = False,
) -> Iterator[tuple[Tag, slice, PyTree]]:
    """(tag, places within the group, what was drawn there), part by part; a part is copied to the host while the next
    one is computed.

    draw: (index, *aligned) -> a pytree of arrays (together, …); best a function jitted by `devices.jit`, its other
        arguments bound.
    groups: (tag, (index, *aligned)), each array (n, …). A part never spans two groups. Every part has min(together, n)
    samples; the last of a group repeats sample n - 1, and the repeats are cut off. padded: it has `together` of them in
    any case.
    """
    waiting: tuple[Tag, slice, PyTree] | None = None
    for tag, arrays in groups:
        total = len(arrays[0])
        size = together if padded else min(together, total)
        for begin in range(0, total, size):
            rows = np.minimum(np.arange(begin, begin + size), total - 1)
            started = tag, slice(begin, min(begin + size, total)), draw(*(jnp.asarray(array[rows]) for array in arrays))
            if waiting is not None:
                yield _on_host(*waiting)
            waiting = started
    if waiting is not None:
        yield _on_host(*waiting)


def parts(
    draw: Callable[..., PyTree], index: np.ndarray, *aligned: np.ndarray, together: int, title: str, progress: Progress
) -> Iterator[tuple[slice, PyTree]]:
    """(places within `index`, what was drawn there) of one group, with progress; see `stream`."""
    with progress.task(title, len(index)) as task:
        for _, rows, samples in stream(draw, [(None, (index, *aligned))], together=together):
            yield rows, samples
            task.update(rows.stop)


def draw_all(
    draw: Callable[..., PyTree], index: np.ndarray, *aligned: np.ndarray, together: int, title: str, progress: Progress
) -> PyTree:
    """All parts of `parts` as one: a pytree of arrays (n, …)."""
    samples = [part for _, part in parts(draw, index, *aligned, together=together, title=title, progress=progress)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *samples)


def pictures(
    parts: Iterable[tuple[object, slice, np.ndarray]], index: np.ndarray, task: Task, steps: int, *, counted: bool
) -> np.ndarray:
    """The parts of `stream` as one array (n, …). steps: of one part, told to the task behind it unless the program is
    `counted` itself.

    Raises NonFiniteError as `check_finite` does.
    """
    samples = []
    for number, (_, _, part) in enumerate(parts, 1):
        samples.append(part)
        if not counted:
            task.update(number * steps)
    jax.effects_barrier()  # the last steps are told before the bar ends
    joined = np.concatenate(samples)
    check_finite(joined, index)
    return joined


def into_shards(
    draw: Callable[..., PyTree],
    folder: Shards,
    todo: list[int],
    *,
    labels: Callable[[np.ndarray], np.ndarray],
    pixels: Callable[[np.ndarray], np.ndarray],
    together: int,
    progress: Progress,
    title: str = "",
) -> None:
    """Draws these shards and writes each as soon as it is whole. NonFiniteError where samples are not finite.

    draw: (index, labels) -> images, always for `together` samples, or a shard where that has fewer. labels: of an
        index.
    pixels: of images, uint8. title: of what is drawn.
    """

    def group(number: int) -> tuple[np.ndarray, np.ndarray]:
        """(index, labels) of one shard."""
        ids = folder.manifest.ids(number)
        index = np.arange(ids.start, ids.stop, dtype=np.int32)
        return index, labels(index)

    groups, size = ((number, group(number)) for number in todo), min(together, folder.manifest.shard_size)
    with progress.task(f"sample {title}".strip(), sum(len(folder.manifest.ids(number)) for number in todo)) as task:
        begin, done, shard = time.monotonic(), 0, np.empty((0, *folder.manifest.shape), np.uint8)
        for number, part, images in stream(draw, groups, together=size, padded=True):
            index, classes = group(number)
            check_finite(images, index[part], title)
            if part.start == 0:
                shard = np.empty((len(index), *folder.manifest.shape), np.uint8)
            shard[part] = pixels(images)
            if part.stop == len(index):
                folder.write(number, shard, classes, time.monotonic() - begin)
                begin = time.monotonic()
            done += len(images)
            task.update(done)


def finite(output: ArrayLike, title: str) -> np.ndarray:
    """The samples (n, …) on the host. NonFiniteError as `check_finite` raises it, by their places."""
    samples = np.asarray(output)
    check_finite(samples, np.arange(len(samples)), title)
    return samples


def check_finite(samples: np.ndarray, index: np.ndarray, title: str = "") -> None:
    """NonFiniteError with the indices of the samples that hold a NaN or an infinity, if there are any. title: what was
    drawn.
    """
    bad = index[~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)]
    if bad.size:
        listed = ", ".join(map(str, bad[:20])) + (f" and {len(bad) - 20} more" if len(bad) > 20 else "")
        prefix = f"{title}: " if title else ""
        raise NonFiniteError(
            f"{prefix}{bad.size} of {len(samples)} samples are not finite and not written; indices: {listed}"
        )


def _on_host(tag: Tag, rows: slice, samples: PyTree) -> tuple[Tag, slice, PyTree]:
    return tag, rows, jax.tree.map(lambda leaf: np.asarray(leaf)[: rows.stop - rows.start], samples)
