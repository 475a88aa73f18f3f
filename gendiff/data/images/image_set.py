"""The record of a set of images in memory."""

import numpy as np

from gendiff.core import records


@records.record
class Images:
    """Images that one array holds, and what was left out of it.

    Args:
        clean: (n, h, w, c) float32 in [-1, 1].
        labels: (n,) int32, NO_LABEL where there are no classes.
        classes: the name of label 0, 1, …
        levels: whole values that a channel had, 256 for 8 bits.
        skipped: one message, path first, per file left out.
    """

    clean: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] = records.static(default=())
    levels: int = records.static(default=256)
    skipped: tuple[str, ...] = records.static(default=())

    def __len__(self) -> int:
        return len(self.clean)
