"""Batches of a source, read ahead in the background by Grain: pure functions of (seed, step, process).

The rows of step s are `batches.batch_at(len(source), batch, seed, s)`, and process p of P has the p-th of P equal
slices of them. So the global order does not depend on the number of processes, and a resumed run sees the data that it
would have seen.
"""

import dataclasses
import importlib
import os
import time
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from gendiff.core import checks, extras
from gendiff.core.errors import ConfigError, DataError
from gendiff.data import batches as order
from gendiff.data import scaling
from gendiff.data.images.image_set import Images
from gendiff.data.images.random_access import Source

if TYPE_CHECKING:
    import grain

_FLIP = 0x666C6970
"""What separates the draws of flips from those of the order."""
_AHEAD = 2**40
"""Steps that one reader may go."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads the batch of a step; it crosses to worker processes.

    Args:
        source: (n,) examples.
        batch: rows per step, of all processes together.
        seed: of the order and of the flips.
        process: the number of this process.
        processes: how many there are.
        flip: whether half of the images are mirrored.
    """

    source: Source
    batch: int
    seed: int
    process: int
    processes: int
    flip: bool

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images (b / processes, h, w, c) and labels (b / processes,) of a step."""
        share = self.batch // self.processes
        mine = slice(self.process * share, (self.process + 1) * share)
        rows = order.batch_at(len(self.source), self.batch, self.seed, int(step))[mine]
        images, labels = zip(*(self.source[int(row)] for row in rows), strict=True)
        for row, image in zip(rows, images, strict=True):
            if image.shape != images[0].shape:
                first = f"{self.source.name(int(rows[0]))} has {images[0].shape}"
                raise DataError(
                    f"{self.source.name(int(row))}: shape {image.shape}, but {first}; pass size= to give all one size"
                )
        pixels = np.stack(images)
        if self.flip:
            # one number per position in the batch of all processes, so that who reads it does not matter
            mirrored = np.random.default_rng((self.seed, int(step), _FLIP)).random(self.batch)[mine] < 0.5
            pixels[mirrored] = pixels[mirrored, :, ::-1]
        is_integer = np.issubdtype(pixels.dtype, np.integer)
        clean = np.asarray(scaling.to_unit(pixels, self.source.levels)) if is_integer else pixels.astype(np.float32)
        return clean, np.array(labels, np.int32)


class Pipeline:
    """Batches by step. `batches` builds it.

    `pipeline(step)` and iteration read ahead in the background; `pipeline[step]` reads now, in this thread. All give
    the same batch for the same step, whatever was asked before. Use one per thread.

    Attributes:
        wait_seconds: how long calls and iteration have kept their caller waiting so far.
    """

    def __init__(self, reader: Reader, *, start: int, workers: int, prefetch: int) -> None:
        self.wait_seconds = 0.0
        self._reader, self._start, self._workers, self._prefetch = reader, start, workers, prefetch
        self._ahead: grain.DatasetIterator | None = None
        self._next = -1
        self._closed = False

    def __getitem__(self, step: int) -> Images:
        checks.integer("step", step, 0)
        return self._images(self._reader(step))

    def __call__(self, step: int) -> Images:
        """The batch of a step.

        The one after it is being read already when this returns; another order than 0, 1, … costs a new start.
        """
        checks.integer("step", step, 0)
        if self._closed:
            raise ValueError("the pipeline is closed: build another with pipeline.batches")
        began = time.perf_counter()
        try:
            if self._ahead is None or step != self._next:
                self._stop()
                self._ahead = _read_ahead(self._reader, int(step), self._workers, self._prefetch)
            self._next = int(step) + 1
            return self._images(next(self._ahead))
        except BaseException:
            self._stop()
            raise
        finally:
            self.wait_seconds += time.perf_counter() - began

    def __iter__(self) -> Iterator[Images]:
        step = self._start
        while True:
            yield self(step)
            step += 1

    def close(self) -> None:
        """End the threads and processes that read ahead; what they have read is dropped."""
        self._closed = True
        self._stop()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _images(self, read: tuple[np.ndarray, np.ndarray]) -> Images:
        # out of memory that workers share
        clean, labels = read if self._workers == 0 else (np.array(read[0]), np.array(read[1]))
        return Images(clean, labels, classes=self._reader.source.classes, levels=self._reader.source.levels)


def batches(
    source: Source,
    *,
    batch: int,
    seed: int,
    start: int = 0,
    process: int = 0,
    processes: int = 1,
    flip: bool = False,
    workers: int = 0,
    prefetch: int = 4,
) -> Pipeline:
    """Read batches of a source in the background.

    Also known as: data loader, prefetching.

    Each batch is an `Images` with `clean` float32 (batch / processes, h, w, c) in [-1, 1] and `labels` int32. Images
    that are floats in the source, such as latents, stay as they are.

    Args:
        source: (n,) examples of one shape.
        batch: rows per step of all processes together, 1 … n, a multiple of `processes`.
        seed: of the order and of the flips, 0 … 2³² - 1.
        start: the first step of an iteration.
        process: the number of this process, 0 … processes - 1.
        processes: how many processes share each batch.
        flip: mirror each image left to right with probability 1/2, drawn from (seed, step, position in the batch).
        workers: 0 reads in threads of this process. Decoding releases Python's lock, so this is fast enough for most.
            More start so many worker processes, which takes seconds and needs a script that guards its start with
            `if __name__ == "__main__":`.
        prefetch: batches that are read ahead, 1 or more; as many threads read, at most one per core.

    Raises:
        ValueError: for numbers outside these ranges.
        ConfigError: for a batch that the processes do not divide.
        ImportError: without Grain.
    """
    checks.integer("seed", seed, 0, 2**32 - 1)
    checks.integer("start", start, 0)
    checks.integer("processes", processes, 1)
    checks.integer("process", process, 0, processes - 1)
    checks.integer("workers", workers, 0)
    checks.integer("prefetch", prefetch, 1)
    checks.integer("batch", batch, 1, len(source))
    if batch % processes:
        below = batch - batch % processes
        raise ConfigError(
            f"batch = {batch} is not a multiple of processes = {processes}; use {below or processes} or "
            f"{below + processes}"
        )
    _grain()
    return Pipeline(
        Reader(source, batch, seed, process, processes, flip), start=start, workers=workers, prefetch=prefetch
    )


def _grain() -> ModuleType:
    try:
        return importlib.import_module("grain")
    except ImportError as error:
        raise ImportError(extras.needs("batches in the background need", "grain", "data")) from error


def _read_ahead(reader: Reader, step: int, workers: int, prefetch: int) -> "grain.DatasetIterator":
    """An iterator over the batches from `step` on."""
    grain = _grain()
    steps = grain.MapDataset.range(step, step + _AHEAD).map(reader)
    if workers == 0:
        threads = min(prefetch, os.cpu_count() or 1)
        return iter(steps.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)))
    from absl import flags

    if not flags.FLAGS.is_parsed():  # Grain asks absl for a flag, which only absl's own programs have parsed
        flags.FLAGS.mark_as_parsed()
    one_at_a_time = steps.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=max(1, prefetch // workers))
    return iter(one_at_a_time.mp_prefetch(options))
